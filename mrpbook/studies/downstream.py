"""One draw downstream: supervised, untrained, pretrained."""
import warnings
from functools import lru_cache

import numpy as np
import torch

from ..data import MultiView, TheoryWarning
from ..finetune import finetune, fit_head
from ..intervals import mean_interval
from ..network import initial_kernels, responses
from ..semantics import holding
from ..supervised import fixed_head, margins, train
from .capture import setting

TESTS = 1000  # single-view and multi-view test samples each
RATE = 16.0  # of supervised kernels: the paths are those of rate 8, in half the steps


@lru_cache(maxsize=4)  # neighbouring cells of a sweep share a draw
def test_sets(m: MultiView, seed: int):
    """Single-view and multi-view test samples of one draw."""
    return m.sample(TESTS, seed, "test single", mu=1.0), m.sample(TESTS, seed, "test multi", mu=0.0)


@lru_cache(maxsize=4)
def wrong_order(m: MultiView, seed: int):
    """Single-view test samples whose weak view outweighs other classes: rho = 0.5, above Gamma."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TheoryWarning)  # outside the theory's order on purpose
        return m.but(rho=0.5).sample(TESTS, seed, "test single", mu=1.0)


def right(scores, tests) -> torch.Tensor:
    """Correct answers out of TESTS, (single-view, multi-view); scores: one [TESTS, k] for each test set."""
    return torch.stack([(margins(F, t.y) > 0).sum() for F, t in zip(scores, tests, strict=True)])


def relative(scores, tests) -> torch.Tensor:
    """Margins on single-view data in units of the network's own median margin on multi-view data, [TESTS].

    1 is as sure as on a typical multi-view sample, below 0 is wrong. The scale of the head, which differs between networks
    by orders of magnitude, drops out (ours).
    """
    single, multi = (margins(F, t.y) for F, t in zip(scores, tests, strict=True))
    return single / multi.median()


def supervised(seed: int, noise: float = 0.1, N: int = 300, mu_train: float = 0.0, m_per_class: int = 6, loss: float = 0.01,
               nets: int = 1) -> dict:
    """The fixed-head network from scratch on N labelled samples; with nets > 1 also their ensemble (mean of probabilities).

    Returns, for the first network, `correct` answers [2], `relative` margins [TESTS], whether each class `learned` each view
    [k, views], `overlaps` [k m, n], correct single-view answers on data with rho >= Gamma (rho = 0.5), the loss and steps;
    `ensemble` [2], and `copies` [2], the ensemble of the first network and four copies of it. At mu_train = 0 the samples are
    those that `heads` gets for labels = (N,).
    """
    m, act, V, _, _ = setting(seed, noise, 1)
    S, tests, other = m.sample(N, seed, "labels", mu=mu_train), test_sets(m, seed), wrong_order(m, seed)
    trained = [train(S.X, S.y, initial_kernels(m.k * m_per_class, m.d, seed, purpose=f"supervised {j}"),
                     fixed_head(m.k, m_per_class), act, lr=RATE, loss=loss, steps=1500) for j in range(nets)]
    first, answers = trained[0], [[c.scores(t.X) for t in tests] for c in trained]
    votes = [[torch.softmax(F, 1) for F in each] for each in answers]
    own = (first.w @ V.T).view(m.k, m_per_class, m.n).amax(1)
    learned = torch.stack([own[i, i * m.views:(i + 1) * m.views] for i in range(m.k)]) * m.patch_strength >= act.varrho
    return {"correct": right(answers[0], tests), "relative": relative(answers[0], tests), "learned": learned,
            "correct_wrong_order": first.correct(other.X, other.y).sum(), "loss": first.loss,
            "steps": first.steps, "reached": first.reached, "overlaps": first.w @ V.T,
            "ensemble": right([sum(each) / nets for each in zip(*votes, strict=True)], tests),
            "copies": right([sum(each) / 5 for each in zip(*[votes[0]] * 5, strict=True)], tests)}


def overcomplete(seed: int, noise: float = 0.1, K: int = 200, labels: int = 300, optimiser: str = "descent",
                 rates: tuple = (2.0, 200.0)) -> dict:
    """Kernels and head of the overcomplete network trained from scratch on the labels, by descent or Adam (rate 0.01).

    rates: of kernels and head, for descent; from the same kernels and labels as `heads`. Returns `correct` [2],
    `relative` margins [TESTS], `overlaps` [K, n], how many `semantics` and kernels are `captured`, loss, reached.
    """
    m, act, V, _, w0 = setting(seed, noise, K)
    L, tests = m.sample(labels, seed, "labels", mu=0.0), test_sets(m, seed)
    lr, lr_head = (0.01, 0.01) if optimiser == "adam" else rates
    c = train(L.X, L.y, w0, torch.zeros(m.k, K), act, loss=0.01, steps=1500, optimiser=optimiser, lr=lr, lr_head=lr_head)
    scores, held = [c.scores(t.X) for t in tests], holding(c.w, V, m, act)
    return {"correct": right(scores, tests), "relative": relative(scores, tests), "overlaps": held.overlaps,
            "semantics": held.semantics.sum(), "captured": held.captured.sum(), "loss": c.loss, "reached": c.reached}


def heads(seed: int, kernels: np.ndarray, noise: float = 0.1, Ks: tuple = (60, 200), labels: tuple = (300,),
          fine: bool = False) -> dict:
    """Heads on untrained and on pretrained kernels, and fine-tuning of the largest pretrained bank.

    kernels: one draw's network [K, d], from `capture.race` with the same seed and noise. Returns `correct` answers
    [2 (untrained, pretrained), len(labels), len(Ks), 2 (single, multi)] and `relative` margins [2, TESTS] (largest K, most
    labels); with fine also `fine` [2], `fine_relative` [TESTS], `fine_semantics` (captured after), `fine_loss`.
    """
    m, act, V, _, w0 = setting(seed, noise, len(kernels))
    w, tests = torch.as_tensor(kernels), test_sets(m, seed)
    labelled = [m.sample(count, seed, "labels", mu=0.0) for count in labels]
    out, sure = torch.zeros(2, len(labels), len(Ks), 2, dtype=torch.int64), []
    for row, bank in enumerate((w0, w)):
        answers = [responses(bank, t.X, act) for t in tests]  # once: a head on K kernels reads the first K columns
        for i, L in enumerate(labelled):
            for j, K in enumerate(Ks):
                u = fit_head(bank[:K], L.X, L.y, m.k, act).u
                scores = [h[:, :K] @ u.T for h in answers]
                out[row, i, j] = right(scores, tests)
        sure.append(relative(scores, tests))
    result = {"correct": out, "relative": torch.stack(sure)}
    if fine:
        tuned = finetune(w, L.X, L.y, m.k, act)
        scores = [tuned.scores(t.X) for t in tests]
        result |= {"fine": right(scores, tests), "fine_relative": relative(scores, tests),
                   "fine_semantics": holding(tuned.w, V, m, act).semantics.sum(), "fine_loss": tuned.loss}
    return result


def error_law(seed: int, kernels: np.ndarray, noise: float = 0.3, Ks: tuple = (10, 14, 20, 28, 40, 60), labels: int = 300,
              subsets: int = 20) -> dict:
    """Errors of a plain head on K captured kernels, as means over up to `subsets` disjoint subsets of one pool.

    kernels: `at_capture` of `capture.race`, each kernel where it first captured (not a network state). Returns `single`
    and `multi` errors [len(Ks)] out of `cases` test samples each [len(Ks)], the shares of semantics `missed` and of classes
    `missed_class` [len(Ks)], and `rescued` [len(Ks), 2]: among single-view samples whose strong view alone is missed,
    (right, cases).
    """
    m, act, V, _, _ = setting(seed, noise, 1)
    w, L, (one, both) = torch.as_tensor(kernels), m.sample(labels, seed, "labels", mu=0.0), test_sets(m, seed)
    answers_one, answers_both = (responses(w, t.X, act) for t in (one, both))  # once for the pool, not for each subset
    out = {name: torch.zeros(len(Ks)) for name in ("single", "multi", "missed", "missed_class")}
    rescued, cases = torch.zeros(len(Ks), 2), torch.zeros(len(Ks), dtype=torch.int64)
    for j, K in enumerate(Ks):
        parts = torch.arange(len(w) // K * K).split(K)[:subsets]
        cases[j] = len(parts) * TESTS
        for part in parts:
            # the law speaks of a head of limited norm
            u = fit_head(w[part], L.X, L.y, m.k, act, ridge=0.1, standardise=False).u
            hit = margins(answers_one[:, part] @ u.T, one.y) > 0
            found = holding(w[part], V, m, act).semantics
            some = found.view(m.k, m.views).any(1)
            alone = ~found[one.y * m.views + one.strong] & some[one.y]
            rescued[j] += torch.stack([(hit & alone).sum(), alone.sum()])
            fails = margins(answers_both[:, part] @ u.T, both.y) <= 0
            for name, value in (("single", ~hit), ("multi", fails), ("missed", ~found), ("missed_class", ~some)):
                out[name][j] += value.float().mean() / len(parts)
    return out | {"rescued": rescued, "cases": cases}


def winners(accuracy: np.ndarray, level: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Who is best in each cell of a map: (index of the method or -1, its advantage over the second best), both [cells].

    accuracy: [draws, methods, cells]. -1, undecided: the interval of the paired difference to the second best, at confidence
    1 - level, includes 0.
    """
    accuracy = np.asarray(accuracy, dtype=float)
    if accuracy.ndim != 3 or min(accuracy.shape[:2]) < 2:
        raise ValueError(f"accuracy has shape {accuracy.shape}; needed: [draws, methods, cells], two or more of the first two")
    order = np.argsort(accuracy.mean(0), axis=0)
    best, second = (np.take_along_axis(accuracy, order[[place]][None], 1)[:, 0] for place in (-1, -2))
    gaps = [mean_interval(gap, level) for gap in (best - second).T]
    return np.array([top if gap.low > 0 else -1 for top, gap in zip(order[-1], gaps, strict=True)]), (best - second).mean(0)
