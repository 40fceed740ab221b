"""Hours of training on colour pictures, as small numbers.

Every function takes `Draws` and returns plain arrays for `mrpbook.kept`, one row for each seed unless it says otherwise. Cells
are finished one by one, so that a run that is stopped goes on where it was.
"""
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import torch

from ..images import agreement
from . import evidence, pictures

ARMS = ("from scratch", "MRP", "MRP, head first")
SO, MO = "from scratch, hidden", "MRP, hidden"


class Draws:
    """Networks of several seeds, all pretrained for `steps` and trained for `tuning` steps with labels.

    run: study, cells -> results. source: see `images.sources.load`.
    """

    def __init__(self, run: Callable, source: str, seeds: Sequence[int], steps: int, tuning: int):
        self.run, self.source, self.seeds, self.tuning = run, source, list(seeds), tuning
        self.weights = self.pretrained(steps)

    def cells(self, study: Callable, weights: Sequence[np.ndarray] | None = None, **options) -> list[dict]:
        """The study for each seed, with its weights."""
        asked = [dict(seed=s, source=self.source) | options for s in self.seeds]
        return self.run(study, asked if weights is None else [c | {"weights": w} for c, w in zip(asked, weights, strict=True)])

    def pretrained(self, steps: int, **options) -> list[np.ndarray]:
        """Weights of the encoders after so many steps of pretraining, with options of `pictures.pretrain`."""
        return [c["weights"] for c in self.cells(pictures.pretrain, steps=steps, **options)]

    def learned(self, arm: str, per_class: int) -> list[dict]:
        """`pictures.learn` for one of ARMS."""
        options = {"head_first": True} if arm == ARMS[2] else {}
        start = None if arm == ARMS[0] else self.weights
        return self.cells(pictures.learn, start, per_class=per_class, steps=self.tuning, **options)

    def jumbled(self) -> list[np.ndarray]:
        """The encoders' weights, in random order."""
        return [pictures.permuted(s, w, self.source) for s, w in zip(self.seeds, self.weights, strict=True)]


def right(cells: list[dict]) -> np.ndarray:
    """Test accuracy of each seed, [draws]."""
    return np.array([c["correct"].mean() for c in cells])


def labels(draws: Draws, per_class: Sequence[int], few: int, pixels: Sequence[int]) -> dict:
    """Test accuracies [draws, len(per_class)] from scratch and of MRP with the head first, of logistic regressions on frozen
    and untrained encoders, and (at the numbers of labels `pixels`) on raw pixels; and with `few` labels per class, [draws], of
    MRP fine-tuned like the networks from scratch, and "random order", head first from encoders with weights in random order."""
    def table(of, sizes):
        return np.stack([right(of(n)) for n in sizes], 1)

    found = {arm: table(lambda n, arm=arm: draws.learned(arm, n), per_class) for arm in (ARMS[0], ARMS[2])}
    found[ARMS[1]] = right(draws.learned(ARMS[1], few))
    found["frozen"] = table(lambda n: draws.cells(pictures.frozen, draws.weights, per_class=n), per_class)
    found["untrained"] = table(lambda n: draws.cells(pictures.frozen, per_class=n), per_class)
    found["pixels"] = table(lambda n: draws.cells(pictures.pixels, per_class=n), pixels)
    gentle = dict(per_class=few, steps=draws.tuning, head_first=True)
    found["random order"] = right(draws.cells(pictures.learn, draws.jumbled(), **gentle))
    return found


def together(draws: Draws, few: int, classes: int) -> dict:
    """What networks of different seeds, each with labels of its own, have in common: for each of ARMS and for logistic
    regressions on frozen and untrained encoders, kappa of equal answers of every pair (`images.agreement.answers`), and the
    accuracies of each network and of the vote of all, "<arm>, vote"."""
    truth, found = pictures.data(draws.source)[1].labels, {}
    given = {arm: draws.learned(arm, few) for arm in ARMS}
    given["frozen"] = draws.cells(pictures.frozen, draws.weights, per_class=few)
    given["untrained"] = draws.cells(pictures.frozen, per_class=few)
    for arm, cells in given.items():
        said = torch.stack([torch.from_numpy(c["predicted"].astype(np.int64)) for c in cells])
        votes = torch.nn.functional.one_hot(said, classes).sum(0).argmax(1)
        found[arm] = np.array([agreement.answers(a, b, truth, classes).kappa for a, b in combinations(said, 2)])
        found[f"{arm}, vote"] = float((votes == truth).double().mean())
    return found


def parts(draws: Draws, few: int, most: int) -> dict:
    """Pictures of which quarters are missing (see `evidence.parts`): by network and fill, "<network> <fill> <what>".

    what: "accuracy" [draws, 4] with 4 to 1 quarters; of the pictures known when whole "removed" and "shuffled" [draws, 4], the
    share still right with 0 to 3 quarters removed, and "two" and "default" [draws], the share with two disjoint sufficient
    parts for the true class, and for another; "common" [draws]: the share with two, of those that both networks trained with
    hidden patches know.
    """
    hidden = dict(per_class=few, steps=draws.tuning)
    nets = {arm: draws.learned(arm, few) for arm in ARMS[:2]}
    nets |= {SO: draws.cells(evidence.occluded, **hidden), MO: draws.cells(evidence.occluded, draws.weights, **hidden)}
    nets["untrained"] = draws.cells(evidence.untrained, per_class=few)
    weights, found = {name: [c["weights"] for c in cells] for name, cells in nets.items()}, {}
    for fill in evidence.FILLS:
        seen = {name: draws.cells(evidence.parts, w, fill=fill, most=most) for name, w in weights.items()}
        both = [a["right"][:, -1] & b["right"][:, -1] for a, b in zip(seen[SO], seen[MO], strict=True)]
        for name, cells in seen.items():
            table = [_counted(c, known) for c, known in zip(cells, both, strict=True)]
            found |= {f"{name} {fill} {what}": np.stack([row[what] for row in table]) for what in table[0]}
    return found


def _counted(cell: dict, common: np.ndarray) -> dict:
    whole = cell["right"][:, -1]
    return {"accuracy": evidence.accuracy(cell["right"]), "removed": cell["removed"][whole].mean(0),
            "shuffled": cell["shuffled"][whole].mean(0), "two": (cell["views"][whole] >= 2).mean(),
            "default": (cell["default"][whole] >= 2).mean(), "common": (cell["views"][common] >= 2).mean()}


def maps(draws: Draws, few: int, most: int, removed: int) -> dict:
    """Maps of importance (see `evidence.maps`) of the networks from scratch and after MRP: "<network> removed" [draws, 5], the
    share of known pictures that are still right without the `removed` patches that each of `evidence.MAPS` names;
    "<network> map" [3, P], the mean map of each kind, each picture's positive part summing to 1; "<network> spread" [draws, 3],
    the effective number of patches of each kind."""
    found = {}
    for arm in ARMS[:2]:
        nets = [c["weights"] for c in draws.learned(arm, few)]
        cells = draws.cells(evidence.maps, nets, most=most, removed=removed)
        found[f"{arm} removed"] = np.stack([c["removed"][:, c["right"]].mean(1) for c in cells])
        positive = np.maximum(np.stack([c["maps"] for c in cells]), 0)
        found[f"{arm} map"] = (positive / positive.sum(-1, keepdims=True).clip(1e-12)).mean((0, 2))
        found[f"{arm} spread"] = np.stack([evidence.spread(c["maps"]).mean(-1) for c in cells])
    return found
