"""Data in which some semantics are rare or missing, and what is then captured.

Frequencies enter the normalised teacher in two ways (derived; two semantics that never co-occur, power regime, no noise). With
m_j^2 = mean S_j^2, proportional to the frequency f_j, a kernel of small overlaps moves as
    d lambda_j / dt = A m_j^2 lambda_j^(2q-1) / (varrho^(q-1) sqrt(sum_i m_i^2 lambda_i^2q)).
The common factor drops out of d lambda_j / d lambda_i: lambda_j^-(2q-2) / m_j^2 - lambda_i^-(2q-2) / m_i^2 stays what it was,
so the larger m_j^2 lambda_j^(2q-2) wins, with any teacher that scales a kernel as a whole. Alone, the speed is `window.rate`,
proportional to sqrt(f_j).
"""
import math
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import ndtr
from torch import Tensor

from .data import MultiView, Sample
from .validation import check_integer, check_real

_GRID = np.linspace(-8, 8, 2001)
_DENSITY = np.exp(-(_GRID**2) / 2) / math.sqrt(2 * math.pi)


def without(S: Sample, V: Float[Tensor, "n d"], missing) -> Sample:
    """The same samples with some semantics cut out: their patches keep noise (and traces, if gamma > 0) only.

    missing: indices of semantics in [0, n); ValueError for others. Labels stay, so a class may lose one view or all.
    """
    gone = torch.zeros(len(V) + 1, dtype=torch.bool)  # the last entry: patches that hold nothing
    for j in missing:
        if check_integer("missing", j, 0) >= len(V):
            raise ValueError(f"missing = {j}: expected semantics below n = {len(V)}")
        gone[j] = True
    cut = gone[S.patch_semantic]
    z = torch.where(cut, S.z, torch.zeros_like(S.z))
    return replace(S, X=S.X - z[..., None] * V[S.patch_semantic.clamp_min(0)], z=S.z - z,
                   strengths=S.strengths.masked_fill(gone[:-1], 0.0), patch_semantic=S.patch_semantic.masked_fill(cut, -1))


def geometric(k: int, ratio: float, N: int) -> tuple[int, ...]:
    """Samples per class, about N in all, at least one each: the first class is `ratio` times as frequent as the last."""
    f = check_real("ratio", ratio, 1) ** (-np.arange(check_integer("k", k, 2)) / (k - 1))
    return tuple(int(count) for count in np.maximum(np.rint(N * f / f.sum()), 1))


def imbalanced(m: MultiView, counts, seed: int, purpose: str = "pretrain", *, mu: float | None = None) -> Sample:
    """counts[i] samples of class i, [k] integers >= 0, drawn from `m` by (seed, purpose), in random order.

    Only the frequencies of labels change: other classes' semantics join a sample as often as before. ValueError for counts that
    do not fit, or that the pool of samples they are picked from cannot serve.
    """
    counts = np.array([check_integer(f"counts[{i}]", count, 0) for i, count in enumerate(counts)])
    if len(counts) != m.k or not counts.any():
        raise ValueError(f"counts = {counts.tolist()}: expected one for each of k = {m.k} classes, not all 0")
    pool = int(m.k * (counts.max() + 6 * math.sqrt(counts.max()) + 6))  # six standard deviations
    S = m.sample(pool, seed, purpose, mu=mu)
    keep = np.concatenate([np.flatnonzero(S.y.numpy() == i)[:count] for i, count in enumerate(counts)])
    if len(keep) < counts.sum():
        raise ValueError(f"counts = {counts.tolist()}: a pool of {pool} samples is short of some class at seed = {seed}")
    return S.select(torch.from_numpy(np.sort(keep)))


def mean_square(m: MultiView, q: int, *, mu: float = 0.1, N: int = 4000, seed: int = 0) -> float:
    """Mean of S_j^2 over samples of the semantic's own class, S_j = sum_p z_p^q, from N samples (other classes' are left out:
    they are a fourth as strong, so their share in S^2 is of the order of 1e-4). Times frequency: `window.rate`'s m^2."""
    S = m.sample(N, seed, "strengths", mu=mu)
    powers = torch.zeros(N, m.n + 1).scatter_add_(1, S.patch_semantic % (m.n + 1), S.z**q)[:, :m.n]
    return float((powers.view(N, m.k, m.views)[torch.arange(N), S.y] ** 2).mean())


def scores(overlaps, frequency, q: int, exponent: float | None = None) -> np.ndarray:
    """lambda_j f_j^exponent [..., n], whose largest wins; exponent: 1/(2q-2) unless given (derived, see the module)."""
    exponent = 1 / (2 * check_integer("q", q, 2) - 2) if exponent is None else exponent
    return np.asarray(overlaps, float) * np.asarray(frequency, float) ** exponent


def basins(frequency, q: int, least=0.0) -> np.ndarray:
    """Chance that a kernel ends on each semantic and starts with an overlap of at least `least` sigma_0 with it, [n].

    frequency: [n], relative; least: [n] or one number. Initial overlaps are independent N(0, sigma_0^2), and the largest of
    `scores` wins (derived for two semantics, heuristic for more). Frequency 0: never. ValueError for frequencies < 0, or all 0.
    """
    f = np.asarray(frequency, float)
    if f.ndim != 1 or not np.isfinite(f).all() or (f < 0).any() or not f.any():
        raise ValueError(f"frequency = {frequency!r}: expected [n] numbers >= 0, not all 0")
    a, least, p = scores(np.ones(len(f)), f, q), np.broadcast_to(least, f.shape), np.zeros(len(f))
    for j in np.flatnonzero(a):
        below = np.prod([ndtr(a[j] * _GRID / a[i]) for i in np.flatnonzero(a) if i != j], axis=0)
        p[j] = np.trapezoid(_DENSITY * below * (_GRID >= least[j]), _GRID)
    return p


def least_overlap(time: float, rate, q: int) -> np.ndarray:
    """The initial overlap from which a lone semantic is captured by `time`, ((q-2) rate time)^(-1/(q-2)), q > 2 (derived;
    drops the overlap at capture). rate: `window.rate` of each semantic, 0 where it never occurs (then inf)."""
    grown = (check_integer("q", q, 3) - 2) * np.asarray(rate, float) * check_real("time", time, 0, open_low=True)
    with np.errstate(divide="ignore"):
        return grown ** (-1 / (q - 2))


def errors(p, K: int, m: MultiView) -> tuple[np.ndarray, np.ndarray]:
    """(single-view, multi-view) error of each class, [k] each: the error law with unequal chances of capture.

    p: [n], chance that a kernel holds semantic j (the rest holds nothing). Rules as for `theory.error_law` (heuristic),
    counting exact: semantic j is missed with probability (1 - p_j)^K, a class with (1 - sum of its p_j)^K. Equal chances 1/n
    give `theory.error_law` with `theory.rescue`.
    """
    p = np.asarray(p, float)
    if p.shape != (m.n,) or (p < 0).any() or p.sum() > 1 + 1e-6:
        raise ValueError(f"p = {p!r}: expected n = {m.n} chances >= 0 that sum to at most 1")
    check_integer("K", K, 1)
    p = p.reshape(m.k, m.views)
    x, x2 = (1 - p) ** K, np.clip(1 - p.sum(1), 0, 1) ** K
    others, join = m.n - m.views, m.s / m.k
    law = [math.comb(others, j) * join**j * (1 - join) ** (others - j) for j in range(others + 1)]
    silent = sum(weight * x.mean() ** min(j, m.room) for j, weight in enumerate(law))
    known = (1 - x2).sum()
    lucky = silent / known if known else 0.0
    return (x - (x - x2[:, None]) * lucky).mean(1), x2
