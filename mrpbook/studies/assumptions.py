"""One draw with one assumption moved: capture beside its forecast, and single-view accuracy.

Prediction (derived, noise-free): kernel r ends on the semantic j of largest m_j^(1/(q-1)) lambda_rj(0), and has captured it by
time t if lambda_rj(0) >= (level_j^-(q-2) + (q-2) B_j t)^(-1/(q-2)), B_j = A m_j / varrho^(q-1) (`window.capture_time`).
"""
import warnings

import numpy as np
import torch

from .. import window
from ..data import TheoryWarning
from ..finetune import fit_head
from ..network import SmoothedReLU, initial_kernels
from ..objectives import NormalisedTeacher
from ..pretrain import pretrain
from ..semantics import captured_semantics, first_time, holding
from ..supervised import fixed_head, margins, train
from ..variants import Variant, basins, captured_share, head_starts

SIGMA_0 = 0.05  # of `initial_kernels`


def variant(**model) -> Variant:
    """A `Variant`, without the warning where rho >= Gamma: here the theory's order is broken on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TheoryWarning)
        return Variant(**model)


def mean_squares(S, n: int, q: int) -> np.ndarray:
    """m_j^2 = mean over samples of S_j^2, S_j = sum_p z_p^q, [n]."""
    sums = torch.zeros(len(S), n + 1).scatter_add(1, S.patch_semantic % (n + 1), S.z**q)  # -1, no semantic, goes to column n
    return (sums[:, :n].double() ** 2).mean(0).numpy()


def moved(seed: int, theta: float = 0.9, K: int = 60, N: int = 300, mu: float = 0.1, time: float = 300, lr: float = 5.0,
          **model) -> dict:
    """Pretraining with the normalised teacher (A = 1, q = 4) on `variant(**model)`, and the forecast of what it captures.

    Read when half of the kernels are captured (common time `half`, a multiple of 2 lr; inf: never, then at the end) and at the
    end, `time`: counts of kernels captured, single, one-class (`count_half`, `single_half`, ...; `count`, `single`, ...). At
    the end: semantics captured (`semantics`, of n), `winner` [K] (-1: none); on the way: `counts`, `singles` at `times`.
    `squares`: m_j^2, and `need`: the initial overlap that capture by the end takes, [n] each. Forecasts for the end: `law`,
    `law_kernels`, expected shares of semantics and of kernels from the strengths in the samples alone; `forecast`,
    `forecast_kernels`, the shares for these initial kernels; `won`: captured kernels that hold what was forecast.
    """
    m, act = variant(**model), SmoothedReLU()
    V, S, w0 = m.readers(seed), m.sample(N, seed, "pretrain", mu=mu), initial_kernels(K, m.d, seed, sigma_0=SIGMA_0)
    path = pretrain(NormalisedTeacher(theta), S.X, w0, act, lr=lr, steps=round(time / lr), snapshots=2)
    held = holding(path.kernels, V, m, act)
    count, single, one_class = (x.sum(1) for x in (held.captured, held.single, held.one_class))
    half = first_time(count >= K / 2, path.times)
    row = int((path.times == half).nonzero()[0]) if half < torch.inf else -1
    winner = torch.where(held.captured[-1], held.winner[-1], -1)
    out = {"times": path.times, "counts": count, "singles": single, "half": half, "n": m.n, "winner": winner,
           "semantics": held.semantics[-1].sum()}
    for name, at in (("_half", row), ("", -1)):
        out |= {f"count{name}": count[at], f"single{name}": single[at], f"one_class{name}": one_class[at]}
    square, q = mean_squares(S, m.n, act.q), act.q
    level = act.varrho / m.patch_strength / m.factors
    need = (level ** (2 - q) + (q - 2) * window.rate(1.0, 1.0, act) * np.sqrt(square) * time) ** (-1 / (q - 2))
    p, start = basins(square, q, need / SIGMA_0), (w0 @ m.semantics(seed).T).double()
    guess = (start * torch.from_numpy(head_starts(square, q))).argmax(1)
    in_time = start.gather(1, guess[:, None])[:, 0] >= torch.from_numpy(need)[guess]
    return out | {"squares": square, "need": need, "law": captured_share(p, K), "law_kernels": p.sum(),
                  "forecast": captured_semantics(guess, in_time, m.n).float().mean(),
                  "forecast_kernels": in_time.float().mean(), "won": (winner == guess).sum()}


def read_out(seed: int, mu_train: float = 0.0, rhos: tuple = (0.02,), labels: int = 300, m_per_class: int = 6,
             rate: float = 16.0, K: int = 60, tests: int = 400, **model) -> dict:
    """Single-view accuracy: the supervised network, and heads on K untrained and pretrained kernels, on the same labels.

    mu_train: share of single-view samples among the labels; rhos: strengths of the weak view in the test samples. Returns
    correct answers of `tests`, [len(rhos)] each: `supervised`, `untrained`, `mrp` (normalised teacher, theta = 0.9, 300
    samples, time 300; with K = 0 these two are left out) and `reader`, who reads the true strengths of the views that the
    supervised network learned and says the class of the largest; how many classes learned `both` views or `none`; `reached`.
    """
    m, act = variant(**model), SmoothedReLU()
    V, L = m.readers(seed), m.sample(labels, seed, "labels", mu=mu_train)
    net = train(L.X, L.y, initial_kernels(m.k * m_per_class, m.d, seed, purpose="supervised 0"), fixed_head(m.k, m_per_class),
                act, lr=rate, steps=1500)
    own = (net.w @ V.T).view(m.k, m_per_class, m.k, m.views).amax(1).diagonal().movedim(-1, 0)  # [k, views]
    learned = own * m.patch_strength >= act.varrho
    classifiers = {"supervised": net}
    if K:
        w0, X = initial_kernels(K, m.d, seed), m.sample(300, seed, "pretrain", mu=0.1).X
        w = pretrain(NormalisedTeacher(0.9), X, w0, act, lr=5.0, steps=60, snapshots=60).last
        classifiers |= {name: fit_head(bank, L.X, L.y, m.k, act) for name, bank in (("untrained", w0), ("mrp", w))}
    out = {name: torch.zeros(len(rhos), dtype=torch.int64) for name in (*classifiers, "reader")}
    for i, rho in enumerate(rhos):
        T = variant(**model | {"rho": rho}).sample(tests, seed, "test single", mu=1.0)
        for name, classifier in classifiers.items():
            out[name][i] = classifier.correct(T.X, T.y).sum()
        seen = (T.strengths.view(tests, m.k, m.views) * learned).amax(2)
        out["reader"][i] = (margins(seen, T.y) > 0).sum()
    return out | {"both": learned.all(1).sum(), "none": (~learned.any(1)).sum(), "reached": net.reached}


def ladder(seed: int, k: int, per_class: int = 10, **options) -> dict:
    """`moved` with k classes, K = 4 k kernels (two per semantic), d = 4 k, `per_class` samples a class.

    A semantic occurs in 1/k of the samples, so kernels move more slowly by k^-1/2: time and rate grow by k^1/2, from 300 and 5
    at k = 10.
    """
    slow = (k / 10) ** 0.5
    return moved(seed, K=4 * k, N=per_class * k, k=k, d=4 * k, time=300 * slow, lr=5 * slow, **options)
