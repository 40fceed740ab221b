"""The argument's inequalities, checked along a run.

A step of the argument says that something is positive; here is that something at each state of a run, as a `Slack`. The exact
list in the paper's proof is not known to us: each docstring gives the formula and says what is recalled, derived or ours.
"""
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .data import MultiView, Sample
from .network import SmoothedReLU, activations
from .objectives import MaskedObjective
from .pretrain import Trajectory
from .semantics import SINGLE, holding, overlaps
from .validation import check_integer, check_real

C = 2.0  # how far above the scale of the start still counts as that scale (ours)


@dataclass(frozen=True)
class Slack:
    """How far an inequality is from failing: > 0 where it holds, NaN where it does not speak.

    times [T]; values [T, ...]: one per time and kernel (or class), in the units that the function which made it names.
    """

    name: str
    statement: str
    times: Float[Tensor, "T"]
    values: Float[Tensor, "..."]
    source: str

    def __post_init__(self):
        if self.values.shape[:1] != self.times.shape:
            raise ValueError(f"values {tuple(self.values.shape)}, times {tuple(self.times.shape)}: expected [T, ...] and [T]")

    @property
    def holds(self) -> Float[Tensor, "T"]:
        """Per time, the share of what the inequality speaks of for which it holds; NaN where it speaks of nothing."""
        rows = self.values.reshape(len(self.times), -1)
        return (rows > 0).sum(1) / (~rows.isnan()).sum(1)


def report(slacks: Sequence[Slack], share: float = 0.05) -> pd.DataFrame:
    """One row per inequality. speaks: number of values that are not NaN; holds: share of them > 0; first: first time at which
    one is not; left: first time at which more than `share` at that time are not (inf: never); tightest, median: of all.
    """
    rows = []
    for s in slacks:
        some, fails = s.values[~s.values.isnan()].double(), 1 - s.holds
        first, left = (float(s.times[fails > limit][0]) if (fails > limit).any() else math.inf for limit in (0, share))
        tightest, median, holds = (some.min(), some.median(), (some > 0).double().mean()) if len(some) else [math.nan] * 3
        rows.append({"inequality": s.name, "source": s.source, "speaks": len(some), "holds": float(holds), "first": first,
                     "left": left, "tightest": float(tightest), "median": float(median)})
    return pd.DataFrame(rows)


def winners_grow(path: Trajectory, model: MultiView, V: Float[Tensor, "n d"], act: SmoothedReLU) -> Slack:
    """max_j <w_r(t'), v_j> > max_j <w_r(t), v_j> from each state to the next, until kernel r has captured, [T - 1, K].

    Slack: relative growth over the interval that ends at the time given. Source: recalled (winners grow), form ours.
    """
    held = holding(_states(path), V, model, act)
    top = held.overlaps.amax(-1)
    values = ((top[1:] - top[:-1]) / top[:-1].abs()).masked_fill(held.captured.cummax(0).values[:-1], torch.nan)
    return Slack("winners grow", "largest overlaps increase until capture", path.times[1:], values, "recalled, form ours")


def losers_stay(path: Trajectory, V: Float[Tensor, "n d"], sigma_0: float = 0.05) -> Slack:
    """|<w_r, v_j>| < C sigma_0 sqrt(2 ln(K n)) for all j but the largest overlap of kernel r at that time, [T, K].

    C = 1 is about the largest of all K n overlaps at the start. Slack: share of the bound left. Source: recalled (all but the
    winners' overlaps stay of order sigma_0 up to logarithms); C = 2 and the logarithm are ours.
    """
    lam = overlaps(_states(path), V)
    lam = lam.abs().scatter(-1, lam.argmax(-1, keepdim=True), 0)
    return Slack("losers stay", "other overlaps keep their scale", path.times, _left(lam, sigma_0), "recalled, constants ours")


def outsiders_stay(path: Trajectory, model: MultiView, V: Float[Tensor, "n d"], sigma_0: float = 0.05) -> Slack:
    """|<w_r, v_j>| < C sigma_0 sqrt(2 ln(K n)) for every j if kernel r is in no winner set, [T, K]; NaN if it is in one.

    Slack: share of the bound left. Source: recalled (kernels outside the winner sets stay small); constants ours.
    """
    inside = winner_sets(path.kernels[0], model, V).any(-1)
    values = _left(overlaps(_states(path), V).abs(), sigma_0).masked_fill(inside, torch.nan)
    return Slack("outsiders stay", "kernels in no winner set stay small", path.times, values, "recalled, constants ours")


def noise_stays_small(path: Trajectory, V: Float[Tensor, "n d"], S: Sample, act: SmoothedReLU) -> Slack:
    """max over samples and patches of |<w_r, xi_p>| < varrho, xi_p the patch without its own semantic, [T, K].

    Slack: share of varrho left. Source: recalled (noise correlations stay small), bound ours.
    """
    noise = S.X - S.z[..., None] * V[S.patch_semantic.clamp_min(0)]
    values = 1 - torch.stack([activations(w, noise).abs().amax((0, 1)) for w in _states(path)]) / act.varrho
    return Slack("noise stays small", "no noise answers at varrho", path.times, values, "recalled, bound ours")


def nothing_memorised(path: Trajectory, V: Float[Tensor, "n d"], sigma_0: float = 0.05) -> Slack:
    """|w_r - V^T V w_r| < C sigma_0 sqrt(d - n), [T, K]; needs d > n. Slack: share of the bound left. Source: ours."""
    w = _states(path)
    bound = C * check_real("sigma_0", sigma_0, 0, open_low=True) * math.sqrt(check_integer("d - n", w.shape[-1] - len(V), 1))
    values = 1 - (w - overlaps(w, V) @ V).norm(dim=-1) / bound
    return Slack("nothing memorised", "what is outside the semantics keeps its scale", path.times, values, "ours")


def bracket_positive(path: Trajectory, model: MultiView, V: Float[Tensor, "n d"], S: Sample, act: SmoothedReLU,
                     objective: MaskedObjective) -> Slack:
    """H - alpha h - beta sigma(a_p) > 0 on all patches with the kernel's winner and H > 0, until capture, [T, K].

    Slack: the least bracket as a share of its H. Source: derived. For the normalised teacher with independent masks it is at
    least 1 - rms(h) / (theta A), as sigma(a_p) <= h: while rms(h) < theta A, nothing pulls the winner down.
    """
    held = holding(_states(path), V, model, act)
    (alpha, beta), values = objective.weights(S.X.shape[1]), torch.zeros(held.winner.shape)
    asked = ~held.captured.cummax(0).values
    for t, w in enumerate(path.kernels):
        a = activations(w[asked[t]], S.X)  # a kernel's bracket does not depend on the others
        H, sigma = objective.target(a, act)[:, None], act(a)
        share = 1 - (alpha * sigma.sum(1, keepdim=True) + beta * sigma) / H
        on = S.patch_semantic[..., None] == held.winner[t, asked[t]]
        values[t, asked[t]] = torch.where(on & (H > 0), share, torch.inf).amin((0, 1))
    values = values.masked_fill(~asked | values.isinf(), torch.nan)
    return Slack("bracket positive", "the teacher leads on the winner's patches until capture", path.times, values, "derived")


def winners_were_ahead(path: Trajectory, model: MultiView, V: Float[Tensor, "n d"], act: SmoothedReLU) -> Slack:
    """lambda_rj(0) > (1 - 1/ln k) max_j' lambda_rj'(0) for the winner j of each captured kernel r, [T, K]; k >= 3.

    Slack: lambda_rj(0) as a share of the largest, less 1 - 1/ln k. Source: ours, the recalled winner sets read per kernel.
    """
    held = holding(_states(path), V, model, act)
    start = held.overlaps[0].expand_as(held.overlaps)
    share = start.gather(-1, held.winner[..., None])[..., 0] / start.amax(-1)
    values = (share - _near(model)).masked_fill(~held.captured, torch.nan)
    return Slack("winners were ahead", "what a kernel captured was among its largest overlaps", path.times, values, "ours")


def classes_stay_apart(path: Trajectory, model: MultiView, V: Float[Tensor, "n d"], act: SmoothedReLU) -> Slack:
    """max over other classes' j of <w_r, v_j> < 0.3 max_j <w_r, v_j> for every captured kernel r, [T, K].

    Slack: share of the bound left. Source: ours (the abstract says one semantic per kernel).
    """
    held = holding(_states(path), V, model, act)
    own = torch.arange(model.n) // model.views == (held.winner // model.views)[..., None]
    values = 1 - held.overlaps.masked_fill(own, -torch.inf).amax(-1) / (SINGLE * held.overlaps.amax(-1))
    values = values.masked_fill(~held.captured, torch.nan)
    return Slack("classes stay apart", "no captured kernel serves a second class", path.times, values, "ours")


def winner_sets(w0: Float[Tensor, "K d"], model: MultiView, V: Float[Tensor, "n d"]) -> Bool[Tensor, "K n"]:
    """Kernel r is in M_j if lambda_rj(0) >= (1 - 1/ln k) max_r' lambda_r'j(0), [K, n]. Recalled up to the factor of 1/ln k."""
    return overlaps(w0, V) >= _near(model) * overlaps(w0, V).amax(0)


def loss_falls(path: Trajectory, S: Sample, act: SmoothedReLU, objective: MaskedObjective) -> Slack:
    """L(t') < L(t) from each state to the next, L the expected loss, its target computed anew at each state, [T - 1].

    Slack: relative fall over the interval that ends at the time given. Source: derived. The normalised teacher's descent is
    that of L; with c = tau = 1, L = (1 - theta)/2 mean[(1 - theta) h^2 + theta v], which rises as kernels learn.
    """
    X = S.X.double()  # falls of a part in a million count
    loss = torch.stack([objective.loss(w.double(), X, act) for w in _states(path)])
    values = 1 - loss[1:] / loss[:-1]
    return Slack("the loss falls", "the loss falls from each state to the next", path.times[1:], values, "derived")


def labels_saturate(times: Float[Tensor, "T"], gap: Float[Tensor, "T k"], second: Float[Tensor, "T k"], enough: float = 0.05
                    ) -> Slack:
    """gap_i < eps (`enough`) while second_i < 1, for class i of a network trained on labels, [T, k].

    gap_i: mean of 1 - softmax_y over multi-view samples of class i; second_i: largest overlap of the class's kernels with the
    view they hold less of, 1 is capture. Speaks once gap_i < eps, and at the last time. Slack: min(1 - gap_i / eps, 1 -
    second_i). Source: recalled from Allen-Zhu & Li, eps ours.
    """
    silent = ~(gap < check_real("enough", enough, 0, 1, open_low=True)).cummax(0).values
    silent[-1] = False
    values = torch.minimum(1 - gap / enough, 1 - second).masked_fill(silent, torch.nan)
    return Slack("labels saturate", "labels are explained with one view per class", times, values, "recalled, eps ours")


def _left(lam, sigma_0):
    """Share of the bound C sigma_0 sqrt(2 ln(K n)) that the largest entries of lam [..., K, n] leave."""
    scale = check_real("sigma_0", sigma_0, 0, open_low=True) * math.sqrt(2 * math.log(lam.shape[-2] * lam.shape[-1]))
    return 1 - lam.amax(-1) / (C * scale)


def _near(model):
    return 1 - 1 / math.log(check_integer("model.k", model.k, 3))


def _states(path):
    if path.times.ndim != 1:
        raise ValueError(f"path.times has shape {tuple(path.times.shape)}: expected [T], as `at_common_time` returns")
    return path.kernels
