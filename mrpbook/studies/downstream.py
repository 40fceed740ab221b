"""One draw downstream: supervised, untrained, pretrained."""
import warnings

import numpy as np
import torch

from ..data import MultiView, TheoryWarning
from ..finetune import finetune, fit_head
from ..network import initial_kernels
from ..semantics import holding
from ..supervised import fixed_head, margins, train
from .capture import setting

TESTS = 1000  # single-view and multi-view test samples each


def test_sets(m: MultiView, seed: int):
    """Single-view and multi-view test samples of one draw."""
    return m.sample(TESTS, seed, "test single", mu=1.0), m.sample(TESTS, seed, "test multi", mu=0.0)


def accuracy(classifier, tests) -> torch.Tensor:
    """Correct answers out of TESTS, (single-view, multi-view)."""
    return torch.stack([classifier.correct(t.X, t.y).sum() for t in tests])


def supervised(seed: int, noise: float = 0.1, N: int = 1000, mu_train: float = 0.0, m_per_class: int = 6, loss: float = 0.01,
               nets: int = 1) -> dict:
    """The fixed-head network from scratch; with nets > 1 also their ensemble (mean of probabilities).

    Returns correct answers [2], margins on single-view data [TESTS], whether each class learned each view [k, views],
    correct single-view answers on data with rho >= Gamma (rho = 0.5), the loss and steps, `ensemble` [2].
    """
    m, act, V, _, _ = setting(seed, noise, 1)
    S, tests = m.sample(N, seed, "train", mu=mu_train), test_sets(m, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TheoryWarning)  # outside the theory's order on purpose
        wrong_order = m.but(rho=0.5).sample(TESTS, seed, "test single", mu=1.0)
    trained = [train(S.X, S.y, initial_kernels(m.k * m_per_class, m.d, seed, purpose=f"supervised {j}"),
                     fixed_head(m.k, m_per_class), act, loss=loss) for j in range(nets)]
    first = trained[0]
    votes = [sum(torch.softmax(c.scores(t.X), 1) for c in trained) for t in tests]
    own = (first.w @ V.T).view(m.k, m_per_class, m.n).amax(1)
    learned = torch.stack([own[i, i * m.views:(i + 1) * m.views] for i in range(m.k)]) * m.patch_strength >= act.varrho
    return {"correct": accuracy(first, tests), "margins": margins(first.scores(tests[0].X), tests[0].y),
            "margins_multi": margins(first.scores(tests[1].X), tests[1].y), "learned": learned,
            "correct_wrong_order": first.correct(wrong_order.X, wrong_order.y).sum(), "loss": first.loss,
            "steps": first.steps, "reached": first.reached, "overlaps": first.w @ V.T,
            "ensemble": torch.stack([(margins(v, t.y) > 0).sum() for v, t in zip(votes, tests, strict=True)])}


def overcomplete(seed: int, noise: float = 0.1, K: int = 200, labels: int = 300, optimiser: str = "descent") -> dict:
    """Kernels and head of the overcomplete network trained from scratch on the labels, by descent or Adam: correct [2]."""
    m, act, _, _, w0 = setting(seed, noise, K)
    L = m.sample(labels, seed, "labels", mu=0.0)
    rates = {"lr": 0.01, "lr_head": 0.01} if optimiser == "adam" else {"lr": 20.0, "lr_head": 20.0}
    c = train(L.X, L.y, w0, torch.zeros(m.k, K), act, loss=0.01, steps=1500, optimiser=optimiser, **rates)
    return {"correct": accuracy(c, test_sets(m, seed)), "loss": c.loss, "reached": c.reached}


def heads(seed: int, kernels: np.ndarray, noise: float = 0.1, Ks: tuple = (60, 200), labels: tuple = (300,),
          fine: bool = False) -> dict:
    """Heads on untrained and on pretrained kernels, and fine-tuning of the largest pretrained bank.

    kernels: one draw's network [K, d], from `capture.race` with the same seed and noise. Returns correct answers
    [2 (untrained, pretrained), len(labels), len(Ks), 2 (single, multi)] and margins on single-view data of the pretrained head
    (largest K, most labels) [TESTS]; with fine also `fine` [2], `fine_margins` [TESTS], `fine_semantics` (captured after).
    """
    m, act, V, _, w0 = setting(seed, noise, len(kernels))
    w, tests = torch.as_tensor(kernels), test_sets(m, seed)
    out = torch.zeros(2, len(labels), len(Ks), 2, dtype=torch.int64)
    for i, count in enumerate(labels):
        L = m.sample(count, seed, "labels", mu=0.0)
        for j, K in enumerate(Ks):
            for row, bank in enumerate((w0, w)):
                head = fit_head(bank[:K], L.X, L.y, m.k, act)
                out[row, i, j] = accuracy(head, tests)
    result = {"correct": out, "margins": margins(head.scores(tests[0].X), tests[0].y)}
    if fine:
        tuned = finetune(w, L.X, L.y, m.k, act)
        result |= {"fine": accuracy(tuned, tests), "fine_margins": margins(tuned.scores(tests[0].X), tests[0].y),
                   "fine_semantics": holding(tuned.w, V, m, act).semantics.sum(), "fine_loss": tuned.loss}
    return result


def error_law(seed: int, kernels: np.ndarray, noise: float = 0.3, Ks: tuple = (10, 14, 20, 28, 40, 60), labels: int = 300,
              subsets: int = 20) -> dict:
    """Errors of a plain head on K captured kernels, as means over up to `subsets` disjoint subsets of one pool.

    kernels: `at_capture` of `capture.race`, each kernel where it first captured (not a network state). Returns `single`
    and `multi` errors [len(Ks)], the shares of semantics `missed` and of classes `missed_class` [len(Ks)], and `rescued`
    [len(Ks), 2]: among single-view samples whose strong view alone is missed, (right, cases).
    """
    m, act, V, _, _ = setting(seed, noise, 1)
    w, L, (one, both) = torch.as_tensor(kernels), m.sample(labels, seed, "labels", mu=0.0), test_sets(m, seed)
    out = {name: torch.zeros(len(Ks)) for name in ("single", "multi", "missed", "missed_class")}
    rescued = torch.zeros(len(Ks), 2)
    for j, K in enumerate(Ks):
        parts = w[:len(w) // K * K].split(K)[:subsets]
        for part in parts:
            c = fit_head(part, L.X, L.y, m.k, act, ridge=0.1, standardise=False)  # the law speaks of a head of limited norm
            right, found = c.correct(one.X, one.y), holding(part, V, m, act).semantics
            some = found.view(m.k, m.views).any(1)
            cases = ~found[one.y * m.views + one.strong] & some[one.y]
            rescued[j] += torch.stack([(right & cases).sum(), cases.sum()])
            for name, value in (("single", ~right), ("multi", ~c.correct(both.X, both.y)), ("missed", ~found), ("missed_class", ~some)):
                out[name][j] += value.float().mean() / len(parts)
    return out | {"rescued": rescued}
