"""One draw pretrained where semantics are missing or rare."""
import numpy as np
import torch

from ..coverage import geometric, imbalanced, without
from ..finetune import finetune, fit_head
from ..network import responses
from ..pretrain import pretrain, pretrain_along_arcs, pretrain_each
from ..semantics import holding
from ..supervised import margins
from .capture import OBJECTIVES, setting
from .downstream import test_sets
from .labels import HEADS

THETA = {"normalised": 0.9, "rescaled": 0.75}


def groups(tests, missing, views: int) -> torch.Tensor:
    """Which tests belong to (single-view, its strong view seen), (single-view, missing), (multi-view, some view seen),
    (multi-view, all missing), [4, tests]; `missing` are semantics that pretraining did not show."""
    single, multi = tests
    gone = torch.tensor(sorted(missing), dtype=torch.int64)
    out = torch.isin(single.y * views + single.strong, gone)
    none = torch.isin(multi.y[:, None] * views + torch.arange(views), gone).all(1)
    return torch.stack([~out, out, ~none, none])


def partial(seed: int, missing: tuple = (), noise: float = 0.1, K: int = 100, labels: int = 100, time: int = 300,
            fine: bool = True) -> dict:
    """Pretraining without some semantics, then labels and tests that show all of them.

    Returns `correct` [methods, 4] and `cases` [4] for the groups of `groups`; methods: untrained kernels with the free head,
    pretrained with the free head, pretrained with the limited head, fine-tuned (if `fine`). `semantics`: captured before, of
    all; `after`: captured after fine-tuning. `silence` [2]: single-view tests of seen views that fine-tuned kernels get wrong,
    and how many of those they give to a class of which pretraining showed no view. `steps` of fine-tuning.
    """
    m, act, V, S, w0 = setting(seed, noise, K)
    path = pretrain(OBJECTIVES["normalised"](THETA["normalised"]), without(S, V, missing).X, w0, act, lr=2.0,
                    steps=time // 2, snapshots=time // 2)
    w, tests, L = path.last, test_sets(m, seed), m.sample(labels, seed, "labels", mu=0.0)
    group = groups(tests, missing, m.views)

    def count(scores):
        hit = [margins(F, t.y) > 0 for F, t in zip(scores, tests, strict=True)]
        return torch.stack([(hit[i // 2] & g).sum() for i, g in enumerate(group)])

    correct = []
    for bank, options in ((w0, HEADS["free"]), *((w, options) for options in HEADS.values())):
        head = fit_head(bank, L.X, L.y, m.k, act, **options)
        correct.append(count([responses(bank, t.X, act) @ head.u.T for t in tests]))
    out = {"cases": group.sum(1), "semantics": holding(w, V, m, act).semantics.sum()}
    if fine:
        c = finetune(w, L.X, L.y, m.k, act)
        scores = [c.scores(t.X) for t in tests]
        correct.append(count(scores))
        whole = torch.tensor([i for i in range(m.k) if {*range(i * m.views, (i + 1) * m.views)} <= {*missing}])
        wrong = group[0] & (margins(scores[0], tests[0].y) <= 0)
        out |= {"after": holding(c.w, V, m, act).semantics.sum(), "steps": c.steps,
                "silence": torch.stack([wrong.sum(), (wrong & torch.isin(scores[0].argmax(1), whole)).sum()])}
    return out | {"correct": torch.stack(correct)}


def rare(seed: int, ratio: float = 30.0, noise: float = 0.1, K: int = 100, N: int = 300, Ks: tuple = (20, 50), time: int = 300,
         every: int = 20, patience: int = 3000, labels: int = 300) -> dict:
    """Pretraining on classes of geometric frequencies, and heads on balanced labels.

    Returns `counts` [k] of samples per class; `initial` overlaps [K, n]; `winner` [K] where each kernel first captured (-1: not
    within `patience` beyond `time`); `holders` [T, n]: kernels captured by each semantic at `times` 0, every, ..., time; and
    `single`, `multi` [len(Ks), k]: errors by class of a limited head on banks of K captured kernels, means over disjoint banks.
    """
    m, act, V, _, w0 = setting(seed, noise, K, N=1)
    counts, objective = geometric(m.k, ratio, N), OBJECTIVES["normalised"](THETA["normalised"])
    S = imbalanced(m, counts, seed, mu=0.1)
    path = pretrain(objective, S.X, w0, act, lr=2.0, steps=time // 2, snapshots=every // 2)
    held = holding(path.kernels, V, m, act)
    holders = torch.stack([torch.bincount(j[c], minlength=m.n) for j, c in zip(held.winner, held.captured, strict=True)])
    w = path.kernels[held.captured.int().argmax(0), torch.arange(K)]  # where each first captured
    late = (~held.captured.any(0)).nonzero()[:, 0]
    w[late], _ = pretrain_each(objective, S.X, path.last[late], act, lr=2.0, steps=patience // 2, check_every=12,
                               settled=lambda w: holding(w, V, m, act).captured)
    end = holding(w, V, m, act)
    out = {"counts": counts, "initial": w0 @ V.T, "winner": torch.where(end.captured, end.winner, -1), "times": path.times,
           "holders": holders, "single": torch.zeros(len(Ks), m.k), "multi": torch.zeros(len(Ks), m.k)}
    L, tests = m.sample(labels, seed, "labels", mu=0.0), test_sets(m, seed)
    answers = [responses(w, t.X, act) for t in tests]
    for j, size in enumerate(Ks):
        parts = torch.arange(K // size * size).split(size)
        for part in parts:
            u = fit_head(w[part], L.X, L.y, m.k, act, **HEADS["limited"]).u
            for name, h, t in zip(("single", "multi"), answers, tests, strict=True):
                wrong = (margins(h[:, part] @ u.T, t.y) <= 0).double()
                total = torch.zeros(m.k, dtype=torch.float64).index_add_(0, t.y, wrong)
                out[name][j] += (total / torch.bincount(t.y, minlength=m.k) / len(parts)).float()
    return out


def planted(seed: int, objective: str = "normalised", ratio: float = 30.0, noise: float = 0.1, N: int = 300, start: float = 0.1,
            steps: int = 120) -> dict:
    """Capture times of n kernels that start on one semantic each, start * v_j, on classes of geometric frequencies.

    Every kernel follows its own path in equal relative steps, whose common time is recovered. Returns `frequency` [n], common
    `times` of capture [n] (inf: not within `steps`), `square` [n]: mean S_j^2 in the data, and `slope` of log time against log
    frequency.
    """
    m, act, V, _, _ = setting(seed, noise, 1, N=1)
    counts = geometric(m.k, ratio, N)
    S = imbalanced(m, counts, seed, mu=0.1)
    path = pretrain_along_arcs(OBJECTIVES[objective](THETA[objective]), S.X, start * V, act, steps=steps, length=0.05)
    held = holding(path.kernels, V, m, act).captured
    times = torch.where(held.any(0), path.times.gather(0, held.int().argmax(0)[None])[0], torch.inf)
    frequency = np.repeat(np.array(counts) / sum(counts), m.views)
    square = torch.stack([(((S.patch_semantic == j) * S.z) ** act.q).sum(1).square().mean() for j in range(m.n)])
    slope = np.polyfit(np.log(frequency), times.log().numpy(), 1)[0] if held.any(0).all() else np.nan
    return {"frequency": frequency, "times": times, "square": square, "slope": slope}
