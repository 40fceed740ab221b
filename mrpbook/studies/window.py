"""One draw: when each kernel is captured, how long it stays single, and what the teacher and the mask can do about it."""
import math
from dataclasses import dataclass

import numpy as np
import torch

from ..data import MultiView
from ..network import SmoothedReLU, initial_kernels
from ..objectives import MaskedObjective, NormalisedTeacher, PlainDecoder, RescaledTeacher
from ..pretrain import pretrain
from ..semantics import SINGLE, holding
from ..window import patch_strengths, window
from . import capture
from .follow import until


def times(seed: int, noise: float = 0.3, theta: float = 0.75, q: int = 4, sigma_0: float = 0.05, A: float = 1.0,
          tau: float | None = None, K: int = 16, N: int = 200, enough: float = 0.5, share: float = 0.0,
          predict: bool = False) -> dict:
    """Capture and fusion of K kernels of one draw in common time; N samples, all multi-view.

    tau: of the rescaled teacher; None: the normalised one of size A. A kernel's window lasts from capture until the other view
    of its class has 0.3 of its largest overlap. It is asked of kernels whose overlap with that view is positive at capture
    (without noise an overlap <= 0 never moves), followed until the windows of a share `enough` of them are known to be over (0:
    to capture only). With a `share`, of all kernels, and at least until the common time at which that share is captured.

    Returns `capture` [K] and, unless enough = 0, `window` [K] (inf: longer than followed, nan: not asked); with a share the
    `time` at which it is captured, the number `captured` by then, and of these how many are `single` still. predict: also
    `predicted` [K], noise-free, by `mrpbook.window.window` from the overlap at capture and this draw's strengths, where the
    window is known and that overlap positive (else nan).
    """
    m, _, V, S, w0 = capture.setting(seed, noise, K, N, mu=0.0)
    act, w0, X = SmoothedReLU(q), w0 * (sigma_0 / 0.05), S.X
    clock = {"stages": 4, "longest": 30.0} if noise > 0.2 else {"stages": 6, "longest": 100.0}  # windows are long without noise
    objective = NormalisedTeacher(theta, A=A) if tau is None else RescaledTeacher(theta, tau=tau)
    if noise == 0:  # kernels move within the span of the semantics, and overlaps <= 0 not at all: the same paths, cheaper
        V, w0 = torch.eye(m.n), (w0 @ V.T).clamp_min(0)
        X = V[S.patch_semantic.clamp_min(0)] * S.z[..., None]

    def capturing(lam):
        return lam.amax(1) * m.patch_strength - act.varrho

    def fusing(lam):
        return other_view(lam) - SINGLE * lam.amax(1)

    def ahead(lam):
        return torch.maximum(other_view(lam), lam.amax(1) / 20)

    caught, w, _ = until(capturing, lambda lam: lam.amax(1), objective, X, V, w0, act, stages=2, length=0.1)
    if enough == 0:
        return {"capture": caught}
    winner, second = (w @ V.T).argmax(1), other_view(w @ V.T)
    asked = (second > 0) | (share > 0)
    time = caught.kthvalue(math.ceil(share * K)).values if share else caught.new_zeros(())
    over, on = torch.full_like(caught, torch.nan), caught <= time
    over[asked], *_ = until(fusing, ahead, objective, X, V, w[asked], act, length=0.4, enough=enough,
                            at_least=(time - caught)[asked], **clock)
    out = {"capture": caught, "window": over, "time": time, "captured": on.sum(), "single": (on & (caught + over > time)).sum()}
    if predict:
        z = [patch_strengths(S, j) for j in range(m.n)]
        known = (over < torch.inf) & (second > 0)
        out["predicted"] = [window(z[j], z[j ^ 1], float(lam2), A, objective.kappa, act) if there else torch.nan
                            for j, lam2, there in zip(winner.tolist(), second, known, strict=True)]
    return out


def other_view(lam):
    """Overlap with the other view of the class of the largest overlap [K]; two views per class, lam: [K, n]."""
    return lam.gather(1, (lam.argmax(1) ^ 1)[:, None])[:, 0]


def log_ratio(one: dict, other: dict, name: str) -> float:
    """Median over kernels of ln(one / other), over those whose `name` is finite and positive in both."""
    one, other = (np.asarray(cell[name], float) for cell in (one, other))
    known = np.isfinite(one) & np.isfinite(other) & (one > 0) & (other > 0)
    return float(np.median(np.log(one[known] / other[known])))


def typical(cell: dict, at: float = 0.5) -> float:
    """Quantile of the windows of the kernels asked, one of their values; known up to the share `enough` of the cell."""
    asked = np.asarray(cell["window"])
    return float(np.quantile(asked[~np.isnan(asked)], at, method="inverted_cdf"))


def scheduled(seed: int, p: float = 0.0, t0: float = 40.0, kappa: float = 1.0, release: bool = False, A: float = 1.0,
              noise: float = 0.3, K: int = 16, N: int = 200, time: int = 1000, lr: float = 5.0, every: int = 20) -> dict:
    """A network in common time whose mask hides kappa (1 + t/t0)^-p in place of a constant kappa, from the start.

    release: kernels that have been captured are trained without a mask from then on. A: the size of their target from then on.
    The rule is read `every` so many units of time; in between the mask is constant. Returns, per reading, `times`, and the
    `capture.shares` of the network: captured, single, one_class, count.
    """
    m, act, V, S, w = capture.setting(seed, noise, K, N, mu=0.0)
    ever, states = torch.zeros(K, dtype=torch.bool), [w]
    for start in range(0, time, every):
        theta = 1 / (1 + kappa * (1 + start / t0) ** -p)
        ever = ever | holding(w, V, m, act).captured
        w = w.clone()
        for objective, group in ((NormalisedTeacher(theta), ~ever), (NormalisedTeacher(1.0 if release else theta, A=A), ever)):
            if group.any():  # kernels are independent, so each group may be trained on its own
                w[group] = pretrain(objective, S.X, w[group], act, lr=lr, steps=round(every / lr), snapshots=every).last
        states.append(w)
    return {"times": range(0, time + 1, every)} | capture.shares(holding(torch.stack(states), V, m, act))


@dataclass(frozen=True)
class Oracle(MaskedObjective):
    """A teacher without sense: an arbitrary function of the kernel's answer, to see what no target can change."""

    def target(self, a, act):
        h = act(a).sum(1)
        return torch.sin(7 * h) - h**2


def lead_errors(seed: int, equal: bool = True, theta: float = 0.75, K: int = 24) -> dict:
    """Does the lead of one view over the other fall at the same rate under any teacher? Relative errors, worst of all kernels.

    No noise, no semantics of other classes, kernels of all sizes, in float64; equal: all patches of a view have the strength
    1.1 / C_p, otherwise strengths as drawn. The rate of `lead` along the descent direction of each teacher, against
    - c theta c (1 - theta) pi C_p z [sigma(lambda_1 z) - sigma(lambda_2 z)], pi the share of samples that hold the class.
    """
    m = MultiView(noise=0.0, s=0.0, own=(1.1, 1.1))
    act, V, S = SmoothedReLU(), m.semantics(seed).double(), m.sample(100, seed, "pretrain")
    strength = m.patch_strength * (S.patch_semantic >= 0).double() if equal else S.z.double()
    X = torch.eye(m.n, dtype=torch.float64)[S.patch_semantic.clamp_min(0)] * strength[..., None]
    w = (initial_kernels(K, m.d, seed).double() @ V.T).abs() * torch.logspace(0, 1.7, K, dtype=torch.float64)[:, None]
    pi = torch.bincount(S.y, minlength=m.k).double() / len(S)
    first, second = w.view(K, m.k, 2).unbind(-1)
    errors = {}
    for objective in (NormalisedTeacher(theta), RescaledTeacher(theta), PlainDecoder(theta), Oracle(theta)):
        pull = objective.descent(w, X, act) / act.derivative(w * m.patch_strength)
        rate = pull.view(K, m.k, 2) @ torch.tensor([1.0, -1.0], dtype=torch.float64)
        c = objective.c
        law = -c * theta * c * (1 - theta) * pi * m.C_p * m.patch_strength * (
            act(first * m.patch_strength) - act(second * m.patch_strength))
        errors[type(objective).__name__] = float(((rate - law).abs() / (law.abs() + 1e-12)).max())
    return errors


def starts(seeds, K: int = 16, sigma_0: float = 0.05) -> tuple[float, float]:
    """Medians of a kernel's largest initial overlap and of that with the other view of its class, where this is positive."""
    both = []
    for seed in seeds:
        m, _, V, _, w0 = capture.setting(seed, 0.0, K, N=1)
        lam = w0 @ V.T * (sigma_0 / 0.05)
        both.append(torch.stack([lam.amax(1), other_view(lam)])[:, other_view(lam) > 0])
    return tuple(torch.cat(both, 1).median(1).values.tolist())
