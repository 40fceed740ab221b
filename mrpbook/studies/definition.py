"""One draw of the data model: its conditions, and a perfect reader of one view per class."""
import math
import warnings
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from ..data import MultiView, Sample, TheoryWarning

WIDE, WIDER = 6, 8  # standard deviations allowed: for one share, and for the largest of 10^6 noise readings


def strength_in_patches(S: Sample) -> Float[Tensor, "N P n"]:
    """The strength of every semantic in every patch: z_p where patch p holds it, else 0."""
    holds = S.patch_semantic[..., None] == torch.arange(S.strengths.shape[1])
    return holds * S.z[..., None]


def conditions(S: Sample, m: MultiView, V: Float[Tensor, "n d"]) -> dict[str, tuple[float, float, Tensor]]:
    """Each condition of the definition as (low, high, values): all values must lie in [low, high].

    Conditions on chances are about shares in S, which may be 6 standard deviations off; a patch may hold, beside its own
    semantic, readings of 8 standard deviations of its noise. The noise is measured off the semantics, so d > n.
    Source: definition recalled, numbers at finite k ours.
    """
    owner = torch.arange(m.n) // m.views
    own, there = owner == S.y[:, None], S.strengths > 0
    strong = own & (~S.single[:, None] | (torch.arange(m.n) % m.views == S.strong[:, None]))
    single, other = S.single[:, None].expand_as(own), there & ~own
    z = strength_in_patches(S)
    held = (S.patch_semantic[..., None] == torch.arange(m.n)).sum(1)
    gram, unequal = V @ V.T, ~torch.eye(m.n, dtype=torch.bool)
    left = S.X - z @ V
    beside = left @ V.T
    rest = left - beside @ V
    in_rest, room = max(len(S) * m.P * (m.d - m.n), 1), m.C_p - 1
    asked = stats.binom(m.n - m.views, m.s / m.k)
    counts = np.minimum(np.arange(m.n - m.views + 1), m.room)
    mean, square = (float(asked.pmf(np.arange(len(counts))) @ counts**power) for power in (1, 2))
    N, Ns = len(S), max(int(S.single.sum()), 1)
    return {
        "length of a semantic": (1, 1, gram.diagonal()),
        "inner product of two semantics": (0, 0, gram[unequal]),
        "own views, multi-view data": (*m.own, S.strengths[own & ~single]),
        "strong view, single-view data": (*m.own, S.strengths[strong & single]),
        "weak view, single-view data": (m.rho * m.own[0], m.rho * m.own[1], S.strengths[own & ~strong]),
        "other classes, multi-view data": (*m.off, S.strengths[other & ~single]),
        "other classes, single-view data": (m.Gamma / 2, m.Gamma, S.strengths[other & single]),
        "patches of a semantic that is there": (m.C_p, m.C_p, held[there]),
        "patches of one that is not": (0, 0, held[~there]),
        "sum over patches / strength": (1, 1, (z.sum(1) / S.strengths)[there]),
        "one patch's share of a strength": (0.5 / (0.5 + 1.5 * room), 1.5 / (1.5 + 0.5 * room),
                                            (z / S.strengths[:, None].clamp_min(1e-9))[z > 0]),
        "other classes' semantics in a sample": (0, m.room, other.sum(1)),
        "second semantic in a patch": (-WIDER * m.sigma_p, m.gamma + WIDER * m.sigma_p, beside),
        "squared norm of a patch's noise": around(m.noise**2, m.noise**2 * math.sqrt(2 / in_rest),
                                                  (rest**2).sum() * m.d / in_rest),
        "share of a class": share(1 / m.k, N, S.y.bincount(minlength=m.k) / N),
        "share of single-view data": share(m.mu, N, S.single.double().mean()),
        "share of view 0 among strong views": share(1 / m.views, Ns, (S.strong == 0).sum() / Ns),
        "other classes' semantics, mean": around(mean, math.sqrt((square - mean**2) / N), other.sum(1).double().mean()),
    }


def around(value: float, sd: float, seen: Tensor) -> tuple[float, float, Tensor]:
    """A condition on a mean: within 6 of its standard deviations."""
    return value - WIDE * sd, value + WIDE * sd, seen.reshape(-1)


def share(p: float, N: int, seen: Tensor) -> tuple[float, float, Tensor]:
    """A condition on a share of N samples with probability p."""
    return around(p, math.sqrt(p * (1 - p) / N), seen)


def share_a_patch(S: Sample, m: MultiView, V: Float[Tensor, "n d"]) -> Sample:
    """The same samples, but one patch of view 0 of each also shows view 1 of the class: no longer disjoint. views >= 2."""
    first = S.y * m.views
    patch = (S.patch_semantic == first[:, None]).int().argmax(1)
    X, rows = S.X.clone(), torch.arange(len(S))
    X[rows, patch] += S.z[rows, patch, None] * V[first + 1]
    return replace(S, X=X)


def check(seed: int, N: int = 500, mu: float = 0.5, overlap: bool = False, **model) -> dict:
    """All `conditions` on N samples: low, high, smallest, largest and violation, each [number of conditions].

    violation: how far the values leave [low, high], in units of the larger of |low| and |high| (1 if both are 0); inf where
    a condition was met by no sample at all. overlap: break disjointness first.
    """
    m = MultiView(mu=mu, **model)
    V, S = m.semantics(seed), m.sample(N, seed, "definition")
    rows = []
    for low, high, values in conditions(share_a_patch(S, m, V) if overlap else S, m, V).values():
        least, most = (float(values.min()), float(values.max())) if values.numel() else (math.nan, math.nan)
        out = max(low - least, most - high, 0.0) / (max(abs(low), abs(high)) or 1.0) if values.numel() else math.inf
        rows.append((low, high, least, most, out))
    return dict(zip(("low", "high", "smallest", "largest", "violation"), np.array(rows).T, strict=True))


def misread(S: Sample, m: MultiView, view: int = 0) -> Tensor:
    """Whether a reader of `view` of every class, who sees strengths exactly and picks the largest, errs [N]; ties err."""
    read = S.strengths[:, view::m.views]
    own = read.gather(1, S.y[:, None])
    return (read >= own).sum(1) > 1


def reader(seed: int, ratios: tuple = (0.02 / 0.3,), s: float = 1.0, P: int = 16, N: int = 1000) -> dict:
    """Errors of `misread` out of N single-view samples, for each rho / Gamma in `ratios` (Gamma stays): wrong [len(ratios)].

    The samples are the same ones for every ratio, but for their weak view.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TheoryWarning)  # rho >= Gamma on purpose
        models = [MultiView(rho=r * MultiView.Gamma, s=s, P=P, d=20, noise=0.0) for r in ratios]
        return {"wrong": np.array([int(misread(m.sample(N, seed, "reader", mu=1.0), m).sum()) for m in models])}


def reader_law(ratio: float, s: float = 1.0, P: int = 16) -> float:
    """The probability of that error (derived): view 0 is the weak one, and a semantic read for another class exceeds it.

    Another class's semantic exceeds a weak view of strength x with g(x) = Pr(U[Gamma/2, Gamma] > x). Of the j present,
    with j ~ min(Binomial(n - views, s/k), room), those that are view 0 of their class are read.
    """
    m = MultiView(s=s, P=P)
    others = m.n - m.views
    x = ratio * m.Gamma * np.linspace(*m.own, 401)
    miss = 1 - np.clip(2 - 2 * x / m.Gamma, 0, 1)  # 1 - g
    asked, safe = stats.binom(others, m.s / m.k).pmf(np.arange(others + 1)), 0.0
    for j, chance in enumerate(asked):
        present = min(j, m.room)
        seen = np.arange(present + 1)
        law = stats.hypergeom(others, m.k - 1, present).pmf(seen)
        safe += chance * (law @ miss[None, :] ** seen[:, None]).mean()
    return (m.views - 1) / m.views * (1 - safe)
