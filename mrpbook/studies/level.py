"""One draw at one mask and one patch size: kernels for parts, or for classes?"""
import math
from functools import lru_cache

import numpy as np
import torch

from ..finetune import fit_head
from ..objectives import NormalisedTeacher, PlainDecoder
from ..pretrain import pretrain, pretrain_along_arcs
from ..regions import moments
from ..semantics import holding
from ..window import patch_strengths, window
from .capture import setting

RATE = {1: 0.5, 2: 1.0, 4: 2.0}  # larger patches are stronger and learned sooner: as many steps for each C_p
OWN, FIXED = 4.0, 300.0  # the two clocks: times the cell's own t, and common time
TESTS = 1000


def picture(seed: int, C_p: int, noise: float, K: int, N: int):
    """`capture.setting` for the same picture cut into P = 4 C_p patches: merging patches adds their noise."""
    return setting(seed, noise * math.sqrt(4 / C_p), K, N, C_p=C_p, P=4 * C_p)


@lru_cache(maxsize=2)
def downstream(seed: int, C_p: int, noise: float, labels: int):
    """Labelled samples and single-view tests."""
    m = picture(seed, C_p, noise, 1, 1)[0]
    return m.sample(labels, seed, "labels", mu=0.0), m.sample(TESTS, seed, "test single", mu=1.0)


def held(w, V, m, act) -> tuple:
    """(captured, single, pairs) kernels: pairs hold more than one semantic, all of one class."""
    h = holding(w, V, m, act)
    return h.captured.sum(), h.single.sum(), (h.one_class & ~h.single).sum()


def cell(seed: int, theta: float = 0.75, C_p: int = 4, noise: float = 0.3, K: int = 48, N: int = 150, labels: int = 60,
         scaled: bool = True) -> dict:
    """The normalised teacher on pictures of P = 4 C_p patches, in common time.

    scaled: initial kernels are C_p / 4 times as large, so that lambda z begins alike whatever the patch size.
    t: the first time at which half of the kernels are captured (or time 400 x rate). `counts` [2 (at OWN x t, at FIXED), 3] as
    `held` gives them, and `correct` [3]: right answers to TESTS single-view samples by heads on frozen kernels: untrained, at
    OWN x t, at FIXED.
    """
    m, act, V, S, w0 = picture(seed, C_p, noise, K, N)
    w0 = w0 * C_p / 4 if scaled else w0
    objective, lr = NormalisedTeacher(theta), RATE[C_p] * (1 if scaled else C_p / 8)
    half = pretrain(objective, S.X, w0, act, lr=lr, steps=400, snapshots=2,
                    stop=lambda w: bool(holding(w, V, m, act).captured.float().mean() >= 0.5))
    t = now = float(half.times[-1])
    clocks, w = {}, half.last
    for name, end in sorted([("own", OWN * t), ("fixed", max(FIXED, t))], key=lambda clock: clock[1]):
        rate = lr if name == "own" else 2.0
        steps = round((end - now) / rate)
        if steps:
            w = pretrain(objective, S.X, w, act, lr=rate, steps=steps, snapshots=steps).last
        clocks[name], now = w, end
    L, test = downstream(seed, C_p, noise, labels)
    heads = [fit_head(bank, L.X, L.y, m.k, act) for bank in (w0, clocks["own"], clocks["fixed"])]
    return {"t": t, "counts": torch.tensor([held(clocks[name], V, m, act) for name in ("own", "fixed")]),
            "correct": torch.stack([head.correct(test.X, test.y).sum() for head in heads])}


def predicted(theta: float = 0.75, C_p: int = 4, noise: float = 0.3, seed: int = 0) -> dict:
    """`wait`: time from capture to fusion of a kernel whose overlap with the second view begins at 0 (`window.window`,
    heuristic; inf without a mask). `R`, `chi`: the moments of `regions.moments`. From 200 samples, all classes pooled."""
    m, act, _, S, _ = picture(seed, C_p, noise, 1, 200)
    near = moments(S, act.q)
    one, other = (np.concatenate([patch_strengths(S, 2 * i + view) for i in range(m.k)]) for view in (0, 1))
    return {"wait": window(one, other, 0.0, 1.0, (1 - theta) / theta, act, m.sigma_p), "R": near.R, "chi": near.chi}


def plain(seed: int, theta: float = 0.75, C_p: int = 4, noise: float = 0.3, K: int = 60, N: int = 150, steps: int = 60) -> dict:
    """The plain decoder on the same pictures, along each kernel's own path: `counts` [3] as `held` gives them, each kernel read
    5 steps after it first captured."""
    m, act, V, S, w0 = picture(seed, C_p, noise, K, N)
    path = pretrain_along_arcs(PlainDecoder(theta), S.X, w0, act, steps=steps)
    captured = holding(path.kernels, V, m, act).captured
    at = torch.where(captured.any(0), captured.int().argmax(0) + 5, steps).clamp(max=steps)
    return {"counts": torch.tensor(held(path.kernels[at, torch.arange(K)], V, m, act))}


def one_number(seed: int, C_p: int, kappa: float, alike: float, N: int = 40, K: int = 4, time: float = 40.0) -> dict:
    """Equal strengths, no noise: parts of C_p patches under kappa, A = C_p and kernels C_p times as large at the start, against
    parts of one patch under `alike`, A = 1.

    `difference`: the largest difference of lambda z between the two, along the way; `moved`: the largest change of lambda z.
    Float64; kernels in the coordinates of the semantics.
    """
    m, act, V, S, w0 = setting(seed, 0.0, K, N)
    start = (w0 @ V.T).double()
    paths = []
    for size, hidden in ((C_p, kappa), (1, alike)):
        X = torch.diag_embed((S.strengths > 0).double() / size).repeat(1, size, 1)  # each semantic on patches of its own
        objective = NormalisedTeacher(1 / (1 + hidden), A=float(size))
        path = pretrain(objective, X, start * size, act, lr=0.25, steps=round(time / 0.25), snapshots=8)
        paths.append(path.kernels / size)
    return {"difference": (paths[0] - paths[1]).abs().max(), "moved": (paths[1] - start).abs().max()}
