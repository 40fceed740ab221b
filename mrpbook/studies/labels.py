"""One draw: test error against the number of labels."""
import numpy as np
import torch

from ..finetune import finetune, fit_head
from ..network import initial_kernels, responses
from ..supervised import fixed_head, train
from .capture import setting
from .downstream import RATE, right, test_sets

HEADS = {"free": {}, "limited": dict(ridge=0.1, standardise=False)}  # the two heads of chapter 05
PER_CLASS = 6  # kernels


def curve(seed: int, kernels: np.ndarray, noise: float = 0.1, Ns: tuple = (10, 20, 50, 100, 300), fine: tuple = (),
          scratch: tuple = ()) -> dict:
    """Heads on untrained and pretrained kernels, fine-tuning and supervised learning on the first N of one set of labels.

    kernels: one draw's network [K, d], from `capture.race` with the same seed and noise. Labels are multi-view, of random
    classes, nested: the first N of the largest number asked for. Returns correct answers: `heads` [2 (untrained, pretrained),
    2 (free, limited head), len(Ns), 2 (single, multi)], `fine` [len(fine), 2], `supervised` [len(scratch), 2] (fixed head), and
    `shuffled` [2], the free head on pretrained kernels where max(Ns) labels are in random order. `labelled` [len(Ns), 2]: tests
    whose class has a label; `known` [len(scratch)]: single-view tests whose strong view the supervised network learned.
    """
    m, act, V, _, w0 = setting(seed, noise, len(kernels), N=1)
    w, tests = torch.as_tensor(kernels), test_sets(m, seed)
    labels = m.sample(max((*Ns, *fine, *scratch)), seed, "labels", mu=0.0)
    first = {N: labels.select(slice(0, N)) for N in {*Ns, *fine, *scratch}}
    heads = torch.zeros(2, len(HEADS), len(Ns), 2, dtype=torch.int64)
    for row, bank in enumerate((w0, w)):
        answers = [responses(bank, t.X, act) for t in tests]
        for j, N in enumerate(Ns):
            for i, options in enumerate(HEADS.values()):
                u = fit_head(bank, first[N].X, first[N].y, m.k, act, **options).u
                heads[row, i, j] = right([h @ u.T for h in answers], tests)
    L = first[max(Ns)]
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(L)))
    mixed = fit_head(w, L.X, L.y[order], m.k, act).u
    out = {"heads": heads, "shuffled": right([h @ mixed.T for h in answers], tests),
           "labelled": torch.stack([with_label(first[N].y, tests) for N in Ns])}
    if fine:
        tuned = [finetune(w, first[N].X, first[N].y, m.k, act) for N in fine]
        out["fine"] = torch.stack([right([c.scores(t.X) for t in tests], tests) for c in tuned])
    if scratch:
        nets = [from_scratch(seed, first[N], m, act) for N in scratch]
        known = [learned_views(c.w, V, m, act)[tests[0].y, tests[0].strong].sum() for c in nets]
        out |= {"supervised": torch.stack([right([c.scores(t.X) for t in tests], tests) for c in nets]),
                "known": torch.stack(known)}
    return out


def longer(seed: int, noise: float = 0.1, N: int = 40, steps: int = 1500) -> dict:
    """Supervised learning on N multi-view labels until loss 0.01, and for `steps` steps: `correct` [2, 2], `loss` [2]."""
    m, act, *_ = setting(seed, noise, 1, N=1)
    L, tests = m.sample(N, seed, "labels", mu=0.0), test_sets(m, seed)
    nets = [from_scratch(seed, L, m, act, loss=loss, steps=steps) for loss in (0.01, 1e-9)]
    return {"correct": torch.stack([right([c.scores(t.X) for t in tests], tests) for c in nets]),
            "loss": torch.tensor([c.loss for c in nets])}


def from_scratch(seed: int, L, m, act, loss: float = 0.01, steps: int = 1500):
    """The fixed-head network of chapter 05 on labelled samples L."""
    w0 = initial_kernels(m.k * PER_CLASS, m.d, seed, purpose="supervised 0")
    return train(L.X, L.y, w0, fixed_head(m.k, PER_CLASS), act, lr=RATE, loss=loss, steps=steps)


def learned_views(w, V, m, act) -> torch.Tensor:
    """Whether each class's own kernels of the fixed-head network hold each of its views, [k, views]."""
    own = (w @ V.T).view(m.k, -1, m.k, m.views).amax(1)
    return own[torch.arange(m.k), torch.arange(m.k)] * m.patch_strength >= act.varrho


def with_label(y, tests) -> torch.Tensor:
    """How many tests (single-view, multi-view) are of a class that occurs among the labels y, [2]."""
    return torch.stack([torch.isin(t.y, y).sum() for t in tests])
