"""What kernels hold: captured, single, one-class."""
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .data import MultiView
from .network import SmoothedReLU

SINGLE = 0.3  # a kernel is single while its second-largest overlap is below this share of the largest


@dataclass(frozen=True)
class Holding:
    """What each of K kernels holds, at one state. Leading axes (seeds, times) are allowed in front of K.

    overlaps: <w_r, v_j> [..., K, n]; winner: the semantic of largest overlap [..., K]; captured: that overlap times the
    mean strength per patch reaches varrho; single: the second-largest overlap is below 0.3 of the largest; one_class:
    the largest overlap with another class's semantic is. single and one_class are False for kernels not captured.
    """

    overlaps: Float[Tensor, "*lead K n"]
    winner: Int[Tensor, "*lead K"]
    captured: Bool[Tensor, "*lead K"]
    single: Bool[Tensor, "*lead K"]
    one_class: Bool[Tensor, "*lead K"]

    @property
    def semantics(self) -> Bool[Tensor, "*lead n"]:
        """Semantic j is captured: some captured kernel has it as its largest overlap, [..., n]."""
        return captured_semantics(self.winner, self.captured, self.overlaps.shape[-1])


def captured_semantics(winner: Int[Tensor, "*lead K"], captured: Bool[Tensor, "*lead K"], n: int) -> Bool[Tensor, "*lead n"]:
    """Which of n semantics some captured kernel holds, [..., n]."""
    hits = torch.zeros(*winner.shape[:-1], n, dtype=torch.int64, device=winner.device)
    return hits.scatter_add(-1, winner, captured.long()) > 0


def overlaps(w: Float[Tensor, "*lead K d"], V: Float[Tensor, "n d"]) -> Float[Tensor, "*lead K n"]:
    """<w_r, v_j>, [..., K, n]."""
    return w @ V.T


def holding(w: Float[Tensor, "*lead K d"], V: Float[Tensor, "n d"], model: MultiView, act: SmoothedReLU) -> Holding:
    """Measure what kernels w hold of the semantics V of `model`; the definitions stand at `Holding` (ours)."""
    lam = overlaps(w, V)
    top, index = lam.topk(min(2, lam.shape[-1]), dim=-1)
    winner = index[..., 0]
    captured = top[..., 0] * model.patch_strength >= act.varrho
    owner = torch.arange(model.n, device=lam.device) // model.views
    other = lam.masked_fill(owner == (winner // model.views)[..., None], -torch.inf).amax(-1)
    limit = SINGLE * top[..., 0]
    single = captured & (top[..., -1] < limit)
    return Holding(lam, winner, captured, single, captured & (other < limit))


def first_time(event: Bool[Tensor, "T *shape"], times: Float[Tensor, "T"]) -> Float[Tensor, "*shape"]:
    """The first of `times` at which the event holds, inf where it never does."""
    first = times[event.int().argmax(0)]
    return torch.where(event.any(0), first, torch.full_like(first, torch.inf))


def fusion_time(held: Holding, times: Float[Tensor, "T"], share: float = 0.05) -> float:
    """First time at which at least `share` of the captured kernels are no longer single; inf if never. held: [T, K]."""
    count = held.captured.sum(-1)
    fused = (held.captured & ~held.single).sum(-1) / count.clamp_min(1)
    return float(first_time((count > 0) & (fused >= share), times))
