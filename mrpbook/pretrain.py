"""Gradient descent on kernels, in common time or along arc length."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .gradients import Descent
from .memory import check_fits
from .network import SmoothedReLU
from .objectives import Objective
from .validation import check_integer, check_real


class Diverged(ArithmeticError):
    """Kernels left the range of finite numbers."""


@dataclass(frozen=True)
class Trajectory:
    """Network states: times [T] (learning rate x steps) and kernels [T, K, d]. Every state is at one common time."""

    times: Float[Tensor, "T"]
    kernels: Float[Tensor, "T K d"]

    @property
    def last(self) -> Float[Tensor, "K d"]:
        return self.kernels[-1]


@dataclass(frozen=True)
class ArcTrajectory:
    """Paths in equal relative steps: kernels [S, K, d] and the common time each kernel has reached there, times [S, K].

    Row s is *not* a state of a network: its kernels are at different times. `at_common_time` gives network states.
    """

    times: Float[Tensor, "S K"]
    kernels: Float[Tensor, "S K d"]

    def at_common_time(self, times: Float[Tensor, "T"]) -> Trajectory:
        """Network states at the given common times [T], by linear interpolation along each kernel's own path.

        A kernel whose path ends before a time stands at its end; ask only for times that every kernel has reached, or
        check with `reached`.
        """
        times = times.to(self.times)
        right = torch.searchsorted(self.times.T.contiguous(), times.expand(self.times.shape[1], -1).contiguous())
        right = right.clamp(1, len(self.times) - 1).T
        t0, t1 = self.times.gather(0, right - 1), self.times.gather(0, right)
        share = ((times[:, None] - t0) / (t1 - t0).clamp_min(1e-30)).clamp(0, 1)[..., None].to(self.kernels.dtype)
        index = right[..., None].expand(-1, -1, self.kernels.shape[2])
        w0, w1 = self.kernels.gather(0, index - 1), self.kernels.gather(0, index)
        return Trajectory(times.to(self.kernels.dtype), w0 + share * (w1 - w0))

    def reached(self, times: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
        """Share of kernels whose path extends to each time, [T]."""
        return (self.times[-1][None] >= times[:, None]).float().mean(1)


def pretrain(objective: Objective, X: Float[Tensor, "N P d"], w0: Float[Tensor, "K d"], act: SmoothedReLU | None = None,
             *, lr: float = 1.0, steps: int = 400, snapshots: int | Sequence[int] = 10,
             stop: Callable[[Tensor], bool] | None = None) -> Trajectory:
    """Plain gradient descent, w <- w + lr * descent direction: all kernels share one clock, time = lr * steps.

    objective: any Objective; X: [N, P, d]; w0: initial kernels [K, d] (not changed); snapshots: every so many steps, or a
    list of steps (step 0 and the last one are always kept); stop: called at snapshots, ends the run when it returns True.
    Raises ValueError for wrong shapes, a direction of the wrong shape, or lr, steps, snapshots <= 0; Diverged when the
    kernels of a snapshot are not finite; MemoryError, before the first step, if the snapshots do not fit, or the workspace of a
    masked objective of this package.
    """
    act = act or SmoothedReLU()
    _check(X, w0)
    check_real("lr", lr, 0, open_low=True)
    check_integer("steps", steps, 1)
    if isinstance(snapshots, int):
        snapshots = range(0, steps + 1, check_integer("snapshots", snapshots, 1))
    keep = set(snapshots) | {0, steps}
    # twice: single states, then stacked
    check_fits(f"{len(keep)} snapshots of K = {len(w0)} kernels in d = {w0.shape[1]} dimensions",
               2 * len(keep) * w0.numel() * w0.element_size(), "the number of snapshots or K")
    direction, w = Descent(objective, X.detach(), len(w0), act), w0.detach().clone()
    times, kept = [0.0], [w.clone()]
    for step in range(1, steps + 1):
        g = direction(w)
        if g.shape != w.shape:
            raise ValueError(f"descent of {type(objective).__name__} has shape {tuple(g.shape)}: expected {tuple(w.shape)}")
        w.add_(g, alpha=lr)
        if step in keep:
            _check_finite(w, step)
            times.append(lr * step)
            kept.append(w.clone())
            if stop is not None and stop(w):
                break
    return Trajectory(torch.tensor(times, device=w.device), torch.stack(kept))


def pretrain_each(objective: Objective, X: Float[Tensor, "N P d"], w0: Float[Tensor, "K d"], act: SmoothedReLU | None = None,
                  *, settled: Callable[[Tensor], Tensor], lr: float = 1.0, steps: int = 400, check_every: int = 20
                  ) -> tuple[Float[Tensor, "K d"], Int[Tensor, "K"]]:
    """The state in which each kernel first settled (or, if it never did, its state after `steps` steps), [K, d], and the
    steps it took, [K].

    settled: kernels [K, d] -> bool [K], asked every `check_every` steps. Settled kernels are no longer computed, which is
    legitimate only where kernels are independent and without memory (ValueError otherwise). Rows are at *different*
    times: good for which semantic each kernel ends on, not for statements about a network.
    """
    if not getattr(objective, "independent", False):
        raise ValueError(f"objective = {type(objective).__name__}: its kernels are coupled or remember their past, so none "
                         "may leave early. Use pretrain")
    act = act or SmoothedReLU()
    check_integer("steps", steps, 1)
    check_integer("check_every", check_every, 1)
    w, active, taken = w0.clone(), (~settled(w0)).nonzero()[:, 0], torch.zeros(len(w0), dtype=torch.int64,
                                                                                       device=w0.device)
    for start in range(0, steps, check_every):
        if len(active) == 0:
            break
        some = min(check_every, steps - start)
        moved = pretrain(objective, X, w[active], act, lr=lr, steps=some, snapshots=some).last
        w[active] = moved
        taken[active] += some
        active = active[~settled(moved)]
    return w, taken


def pretrain_along_arcs(objective: Objective, X: Float[Tensor, "N P d"], w0: Float[Tensor, "K d"],
                        act: SmoothedReLU | None = None, *, length: float = 0.05, steps: int = 400) -> ArcTrajectory:
    """Follow each kernel along its own path in equal relative steps |dw| = length |w|, recovering the common time
    dt = |dw| / |direction|.

    Source: derived (change of clock per kernel). Legitimate only where the direction of kernel r depends on kernel r
    alone and on no past, as `objective.independent` says; otherwise ValueError. A kernel with zero direction stays where
    it is and its time is inf. First order in `length`: winners are robust, times near an equilibrium are not.
    """
    if not getattr(objective, "independent", False):
        raise ValueError(f"objective = {type(objective).__name__}: its kernels are coupled or remember their past, so a "
                         "clock per kernel would follow another algorithm. Use pretrain (common time)")
    act = act or SmoothedReLU()
    _check(X, w0)
    check_real("length", length, 0, open_low=True)
    check_integer("steps", steps, 1)
    direction, w = Descent(objective, X.detach(), len(w0), act), w0.detach().clone()
    check_fits(f"the path of K = {len(w0)} kernels in d = {w0.shape[1]} dimensions over steps = {steps}",
               (steps + 1) * w0.numel() * w0.element_size(), "steps or K")
    times = torch.zeros(steps + 1, len(w0), dtype=torch.float64, device=w0.device)
    kept = w0.new_empty(steps + 1, *w0.shape)
    kept[0] = w
    for step in range(1, steps + 1):
        g = direction(w)
        # in float64: directions of small kernels are so short that their squares underflow in float32
        size, step_length = g.double().norm(dim=1, keepdim=True), length * w.double().norm(dim=1, keepdim=True)
        moves = size > 0
        w.add_(torch.where(moves, g / size * step_length, 0.0).to(w.dtype))
        _check_finite(w, step)
        times[step] = times[step - 1] + torch.where(moves, step_length / size, torch.inf)[:, 0]
        kept[step] = w
    return ArcTrajectory(times, kept)


def _check(X, w0):
    if X.ndim != 3 or w0.ndim != 2 or X.shape[2] != w0.shape[1]:
        raise ValueError(f"X {tuple(X.shape)} and w0 {tuple(w0.shape)}: expected [N, P, d] and [K, d] with the same d")
    if not len(X) or not len(w0):
        raise ValueError(f"X {tuple(X.shape)} and w0 {tuple(w0.shape)}: expected at least one sample and one kernel")
    if X.dtype != w0.dtype:
        raise ValueError(f"X is {X.dtype} and w0 {w0.dtype}: expected the same type of number")


def _check_finite(w, step):
    if not torch.isfinite(w).all():
        raise Diverged(f"kernels are not finite after {step} steps: lower lr, or choose an objective without runaway growth")
