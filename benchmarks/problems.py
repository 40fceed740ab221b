"""One gradient of a masked objective: its size, its data, its right answer."""
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch

from mrpbook.network import SmoothedReLU
from mrpbook.objectives import MaskedObjective

ACT = SmoothedReLU()


@dataclass(frozen=True)
class Problem:
    """N samples of P patches of dimension d; K kernels for each of `seeds` networks that share the samples.

    Patches have length about 1 and kernels are such that activations fall into all three ranges of sigma. Data are normal
    numbers: no way's time depends on them.
    """

    objective: MaskedObjective
    N: int
    P: int
    d: int
    K: int
    seeds: int = 1

    @property
    def size(self) -> str:
        seeds = f"{self.seeds} seeds x " if self.seeds > 1 else ""
        return f"N={self.N} P={self.P} d={self.d} {seeds}K={self.K}"

    @property
    def work(self) -> float:
        """4 N P d K per seed, in GFLOP: the product with X forth and back. The teacher's activations are tau times the
        student's, so they need no product of their own."""
        return 4e-9 * self.N * self.P * self.d * self.K * self.seeds

    @cached_property
    def X(self) -> torch.Tensor:
        return self._normal(0, (self.N, self.P, self.d), self.d**-0.5)

    @cached_property
    def w(self) -> torch.Tensor:
        """The kernels of all seeds, [seeds * K, d]."""
        return self._normal(1, (self.seeds * self.K, self.d), 0.3)

    @property
    def rows(self) -> torch.Tensor:
        return self.X.view(-1, self.d)

    def _normal(self, stream, shape, sd):
        numbers = np.random.default_rng([stream, self.N, self.P, self.d, self.K]).standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(numbers * np.float32(sd))

    def is_direction(self, found) -> None:
        """`found` is the descent direction of all kernels [seeds * K, d]: AssertionError unless it is, to float32."""
        same(found, right_answer(self))

    def is_gradient(self, found) -> None:
        """`found` is minus that direction, by automatic differentiation."""
        same(found, -right_answer(self))


@lru_cache(maxsize=2)
def right_answer(problem: Problem) -> torch.Tensor:
    """The readable form in float64, in portions of kernels, which do not meet in these objectives."""
    X, portion = problem.X.double(), max(1, 5_000_000 // len(problem.rows))
    return torch.cat([problem.objective.descent(w, X, ACT) for w in problem.w.double().split(portion)])


def to_tensor(found) -> torch.Tensor:
    return found if isinstance(found, torch.Tensor) else torch.from_numpy(np.array(found))


def same(found, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Equal within `tolerance` of the largest number; AssertionError otherwise."""
    found = to_tensor(found).double()
    assert found.numel() == expected.numel(), f"{tuple(found.shape)} instead of {tuple(expected.shape)}"
    gap = (found.reshape(expected.shape) - expected).abs().max() / expected.abs().max()
    assert gap <= tolerance, f"off by {gap:.2g} of the largest number"
