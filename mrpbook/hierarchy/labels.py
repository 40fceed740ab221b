"""Superclasses with subclasses on the multi-view generator, and labels of every grain."""
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..data import MultiView, Sample
from ..rng import generator
from ..validation import check_integer


@dataclass(frozen=True)
class Grained(MultiView):
    """k subclasses in equal superclasses: a sample of subclass y shows one common and one fine semantic (ours, after the words
    "hierarchical multi-view" of Hong et al.; their definition is not known to us).

    Semantics 0 ... superclasses - 1 are common: c = y // (k / superclasses) is shown by every sample of superclass c. Semantic
    superclasses + y is fine: shown by subclass y alone. Samples come in two kinds. *Easy* ones show both at full strength
    (`own`). *Hard* ones (`single` of `Sample`, share mu) show the common one at rho times that. Each semantic of another
    superclass joins with s times the frequency of its own label (the first `room` of them, in random order), at `off` in easy
    samples and [Gamma / 2, Gamma] in hard ones.
    y of the samples is the subclass; `strong` is 1 (the fine one) for hard samples.

    Raises ValueError unless superclasses >= 2 divides k and views = 2 (the common and the fine one); others as `MultiView`.
    """

    k: int = 16
    superclasses: int = 4

    def __post_init__(self):
        check_integer("superclasses", self.superclasses, 2)
        if self.k % self.superclasses or self.views != 2:
            raise ValueError(f"k = {self.k}, superclasses = {self.superclasses}, views = {self.views}: expected superclasses "
                             "of equally many subclasses, and two views")
        super().__post_init__()

    @property
    def n(self) -> int:
        """Number of semantics: one for each superclass, one for each subclass."""
        return self.superclasses + self.k

    def coarse(self, y: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
        """The superclass of each subclass."""
        return y // (self.k // self.superclasses)

    def sample(self, N: int, seed: int, purpose: str = "train", *, mu: float | None = None) -> Sample:
        S = super().sample(N, seed, purpose, mu=mu)
        return replace(S, strong=torch.where(S.single, 1, -1))

    def _strengths(self, rng, y, single, strong):
        of, N = self.k // self.superclasses, len(y)
        top = np.concatenate([np.arange(self.superclasses), np.arange(self.k) // of])  # superclass of each semantic
        frequency = np.repeat([1 / self.superclasses, 1 / self.k], [self.superclasses, self.k])
        own = np.concatenate([top[None, :self.superclasses] == y[:, None] // of, np.arange(self.k) == y[:, None]], axis=1)
        joins = (rng.random((N, self.n)) < self.s * frequency) & (top[None] != y[:, None] // of)
        # keep the `room` semantics of lowest random rank among those that joined
        joins &= np.argsort(np.argsort(np.where(joins, rng.random((N, self.n)), np.inf), axis=1), axis=1) < self.room
        mine, off = rng.uniform(*self.own, (N, self.n)), rng.uniform(*self.off, (N, self.n))
        mine[:, :self.superclasses] *= np.where(single, self.rho, 1.0)[:, None]
        off = np.where(single[:, None], rng.uniform(self.Gamma / 2, self.Gamma, (N, self.n)), off)
        return np.where(own, mine, np.where(joins, off, 0.0))


def shuffled(m: Grained, y: Int[Tensor, "N"], seed: int) -> Int[Tensor, "N"]:
    """Fine labels in random order within each superclass: as many classes, as large, but they name the superclass only."""
    out, g = y.clone(), generator(seed, "labels: shuffled")
    for c in range(m.superclasses):
        where = (m.coarse(y) == c).nonzero()[:, 0]
        out[where] = y[where[torch.from_numpy(g.permutation(len(where)))]]
    return out


def merged(scores: Float[Tensor, "N k"], groups: int) -> Float[Tensor, "N groups"]:
    """Scores of groups of neighbouring classes: the logarithm of their exponentials' sum, so that softmax adds chances."""
    return scores.view(len(scores), groups, -1).logsumexp(2)
