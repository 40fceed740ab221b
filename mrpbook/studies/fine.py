"""One draw of labels fine and coarse: what each network captures, and what can be read from it."""
import numpy as np
import torch

from .. import coverage
from ..finetune import finetune, fit_head
from ..hierarchy.labels import Grained, merged, shuffled
from ..network import SmoothedReLU, initial_kernels, responses
from ..objectives import NormalisedTeacher
from ..pretrain import pretrain
from ..semantics import holding
from ..supervised import Classifier, fixed_head, margins, train
from .downstream import RATE
from .labels import HEADS

TESTS = 1000  # easy and hard samples each
THETA = 0.9
LABELS = 64  # of a head on frozen kernels, all on easy samples
TRAINED = ("coarse", "fine", "shuffled", "crossed", "Adam")  # by labels of the training set
NETS = ("untrained", *TRAINED, "MRP")


def labels_of(name: str, m: Grained, y, seed: int):
    """What a network of `TRAINED` is taught, (labels, classes). crossed: one subclass of every superclass shares a label."""
    of = m.k // m.superclasses
    return {"coarse": (m.coarse(y), m.superclasses), "Adam": (m.coarse(y), m.superclasses), "fine": (y, m.k),
            "shuffled": (shuffled(m, y, seed), m.k), "crossed": (y % of, of)}[name]


def learned(name: str, m: Grained, S, w0, act: SmoothedReLU, seed: int, steps: int = 600, loss: float = 0.01,
            time: int = 300) -> Classifier | None:
    """The network called `name` from the kernels w0: fixed head, equally many kernels for each label; descent at rate 16 or
    Adam at 0.001, to a training loss of 0.01. MRP: the normalised teacher to a common time, its head empty. None: untrained."""
    if name == "untrained":
        return None
    if name == "MRP":
        w = pretrain(NormalisedTeacher(THETA), S.X, w0, act, lr=2.0, steps=time // 2, snapshots=time // 2).last
        return Classifier(w, w.new_zeros(m.superclasses, len(w)), act, steps=time // 2)
    y, classes = labels_of(name, m, S.y, seed)
    rule = dict(lr=0.001, optimiser="adam") if name == "Adam" else dict(lr=RATE)
    return train(S.X, y, w0, fixed_head(classes, len(w0) // classes), act, loss=loss, steps=steps, **rule)


def hits(scores, m: Grained, T) -> torch.Tensor:
    """Whether the superclass of each test sample has the largest score; subclasses' chances are added up."""
    return margins(merged(scores, m.superclasses), m.coarse(T.y)) > 0


def tests_of(m: Grained, seed: int, N: int = TESTS):
    """Easy and hard test samples of one draw."""
    return m.sample(N, seed, "test easy", mu=0.0), m.sample(N, seed, "test hard", mu=1.0)


def reached(w, V, m: Grained, act: SmoothedReLU) -> torch.Tensor:
    """Semantics that some kernel holds, be it beside a stronger one, [n]: its overlap reaches that of capture. (Captured, at
    `Holding`, is a semantic that is some kernel's largest.)"""
    return (w @ V.T).amax(0) * m.patch_strength >= act.varrho


def draw(seed: int, noise: float = 0.1, nets: tuple = NETS, N: int = 320, K: int = 96, tune: tuple = (), **options) -> dict:
    """Networks from the same kernels and the same N easy samples, and what they make of 1000 easy and 1000 hard ones.

    Returns for each of `nets`: captured `common` and `fine` semantics, `held` [nets, 2 (common, fine)] (those that some kernel
    has `reached`), `lost` [nets, superclasses] (fine semantics of each that none has), `best` [nets, n] (largest overlap in
    units of the one at capture), `loss` and `steps`; correct answers [.., 2 (easy, hard)] to the coarse question: `own` head (0
    where there is none), `heads` [nets, 2 (free, limited), 2] fitted to 64 new coarse labels on frozen kernels, `tuned`
    [len(tune), 2] after fine-tuning on the coarse labels of the training set.
    """
    m, act = Grained(noise=noise), SmoothedReLU()
    V, S, w0, tests = m.semantics(seed), m.sample(N, seed, "train", mu=0.0), initial_kernels(K, m.d, seed), tests_of(m, seed)
    L = m.sample(LABELS, seed, f"labels {LABELS}", mu=0.0)
    kept: dict[str, list] = {name: [] for name in ("common", "fine", "held", "lost", "best", "loss", "steps", "own", "heads",
                                                   "tuned")}
    for name in nets:
        net = learned(name, m, S, w0, act, seed, **options)
        w = w0 if net is None else net.w
        held, some = holding(w, V, m, act), reached(w, V, m, act)
        kept["common"].append(int(held.semantics[:m.superclasses].sum()))
        kept["fine"].append(int(held.semantics[m.superclasses:].sum()))
        kept["held"].append([int(some[:m.superclasses].sum()), int(some[m.superclasses:].sum())])
        kept["lost"].append((~some[m.superclasses:]).view(m.superclasses, -1).sum(1).tolist())
        kept["best"].append((held.overlaps.amax(0) * m.patch_strength / act.varrho).numpy())
        kept["loss"].append(np.nan if net is None else net.loss)
        kept["steps"].append(0 if net is None else net.steps)
        answers = [responses(w, T.X, act) for T in tests]
        u = torch.zeros(m.superclasses, K) if net is None else net.u
        kept["own"].append([int(hits(h @ u.T, m, T).sum()) for h, T in zip(answers, tests, strict=True)])
        us = [fit_head(w, L.X, m.coarse(L.y), m.superclasses, act, **head).u for head in HEADS.values()]
        kept["heads"].append([[int(hits(h @ u.T, m, T).sum()) for h, T in zip(answers, tests, strict=True)] for u in us])
        if name in tune:
            tuned = finetune(w, S.X, m.coarse(S.y), m.superclasses, act)
            kept["tuned"].append([int(hits(tuned.scores(T.X), m, T).sum()) for T in tests])
    return {name: np.array(values) for name, values in kept.items()}


def pictured(seed: int, noise: float = 0.1, nets: tuple = ("coarse", "fine", "MRP"), N: int = 320, K: int = 96, **options
             ) -> dict:
    """Overlaps of each network's kernels in units of the one at capture, `overlaps` [nets, K, n]."""
    m, act = Grained(noise=noise), SmoothedReLU()
    V, S, w0 = m.semantics(seed), m.sample(N, seed, "train", mu=0.0), initial_kernels(K, m.d, seed)
    found = [learned(name, m, S, w0, act, seed, **options).w @ V.T for name in nets]
    return {"overlaps": torch.stack(found) * m.patch_strength / act.varrho}


def coupon(seed: int, noise: float = 0.1, Ns: tuple = (4, 8, 16, 32, 64), N: int = 320, K: int = 96, time: int = 300) -> dict:
    """A limited head on pretrained kernels and the first N coarse labels of easy samples: correct answers `correct` [len(Ns), 2
    (easy, hard)], how many of these tests are of a superclass, and of a subclass, with a label, `labelled` [len(Ns), 2, 2], and
    how many hard ones are of such a subclass whose fine semantic the kernels have captured, `known` [len(Ns)]."""
    m, act, known = Grained(noise=noise), SmoothedReLU(), []
    w = learned("MRP", m, m.sample(N, seed, "train", mu=0.0), initial_kernels(K, m.d, seed), act, seed, time=time).w
    tests, labels = tests_of(m, seed), m.sample(max(Ns), seed, "labels", mu=0.0)
    answers, correct, labelled = [responses(w, T.X, act) for T in tests], [], []
    held = holding(w, m.semantics(seed), m, act).semantics[m.superclasses:]
    for n in Ns:
        L = labels.select(slice(0, n))
        u = fit_head(w, L.X, m.coarse(L.y), m.superclasses, act, **HEADS["limited"]).u
        correct.append([int(hits(h @ u.T, m, T).sum()) for h, T in zip(answers, tests, strict=True)])
        labelled.append([[int(torch.isin(f(T.y), f(L.y)).sum()) for T in tests] for f in (m.coarse, lambda y: y)])
        known.append(int((torch.isin(tests[1].y, L.y) & held[tests[1].y]).sum()))
    return {"correct": np.array(correct), "labelled": np.array(labelled), "known": np.array(known)}


def rare(seed: int, noise: float = 0.3, nets: tuple = ("untrained", "coarse", "fine", "Adam", "MRP"), ratio: float = 30.0,
         N: int = 640, K: int = 96, labels: int = 320, **options) -> dict:
    """The same with subclasses of geometric frequencies within each superclass, read out on equally frequent ones.

    Ranks run from the most frequent subclass of a superclass to the rarest, `counts` [ranks] samples of each. Returns
    `captured` and `held` [nets, ranks] (by some kernel as its largest, by some kernel; of as many fine semantics as
    superclasses), correct answers on hard tests `hard` [nets, 3 (own head, free, limited head on `labels` easy coarse labels),
    ranks] out of `cases` [ranks].
    """
    m, act = Grained(noise=noise), SmoothedReLU()
    of = m.k // m.superclasses
    counts = coverage.geometric(of, ratio, N // m.superclasses)
    V, w0 = m.semantics(seed), initial_kernels(K, m.d, seed)
    S = coverage.imbalanced(m, counts * m.superclasses, seed, "train", mu=0.0)
    T, L = m.sample(2 * TESTS, seed, "test hard", mu=1.0), m.sample(labels, seed, "labels", mu=0.0)
    rank, captured, some, hard = T.y % of, [], [], []
    for name in nets:
        net = learned(name, m, S, w0, act, seed, **options)
        w = w0 if net is None else net.w
        captured.append(holding(w, V, m, act).semantics[m.superclasses:].view(m.superclasses, of).sum(0).tolist())
        some.append(reached(w, V, m, act)[m.superclasses:].view(m.superclasses, of).sum(0).tolist())
        us = [torch.zeros(m.superclasses, K) if net is None else net.u]
        us += [fit_head(w, L.X, m.coarse(L.y), m.superclasses, act, **head).u for head in HEADS.values()]
        h = responses(w, T.X, act)
        hard.append([torch.bincount(rank[hits(h @ u.T, m, T)], minlength=of).tolist() for u in us])
    return {"counts": np.array(counts), "captured": np.array(captured), "held": np.array(some),
            "hard": np.array(hard), "cases": torch.bincount(rank, minlength=of).numpy()}
