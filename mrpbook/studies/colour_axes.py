"""Pretraining on colour pictures, varied.

As `studies.colour`: small numbers, one row for each seed, for `mrpbook.kept`.
"""
from collections.abc import Callable, Sequence

import numpy as np

from . import pictures, planted, plenty, seen
from .colour import Draws, right


def axes(draws: Draws, few: int, short: int, ratios: Sequence[float], patch: int) -> dict:
    """Test accuracies with `few` labels per class after `short` steps of pretraining.

    "head first" [draws]: fine-tuned. Of frozen encoders: "ratio" [draws, ratios], by the share of hidden patches; "patch"
    [draws], patches of this side, and "patch untrained".
    """
    def frozen(weights, **options):
        return right(draws.cells(pictures.frozen, weights, per_class=few, **options))

    usual = draws.pretrained(short)  # what pretraining hides if nothing is said: 0.75
    varied = [usual if r == 0.75 else draws.pretrained(short, ratio=r) for r in ratios]
    return {"head first": right(draws.cells(pictures.learn, usual, head_first=True, per_class=few, steps=draws.tuning)),
            "ratio": np.stack([frozen(w) for w in varied], 1),
            "patch": frozen(draws.pretrained(short, patch=patch), patch=patch), "patch untrained": frozen(None, patch=patch)}


def tuned(draws: Draws, few: int, short: int, ratios: Sequence[float], patch: int) -> dict:
    """Test accuracies after fine-tuning with the head first, `few` labels per class, after `short` steps of pretraining:
    "ratio" [draws, ratios], by the share of hidden patches; "patch" [draws], patches of this side, and "patch scratch", learned
    from scratch with such patches."""
    def learned(weights, **options):
        return right(draws.cells(pictures.learn, weights, per_class=few, steps=draws.tuning, **options))

    by_ratio = [learned(draws.pretrained(short, ratio=r), head_first=True) for r in ratios]
    large = draws.pretrained(short, patch=patch)
    return {"ratio": np.stack(by_ratio, 1), "patch": learned(large, head_first=True, patch=patch),
            "patch scratch": learned(None, patch=patch)}


def patient(draws: Draws, sizes: Sequence[int], times: int) -> dict:
    """Test accuracies of networks "from scratch" with `times` as many steps [draws, sizes], by labels per class."""
    steps = times * draws.tuning
    return {"from scratch": np.stack([right(draws.cells(pictures.learn, per_class=n, steps=steps)) for n in sizes], 1)}


def all_labels(draws: Draws, per_class: int, times: int) -> dict:
    """Test accuracies [draws] with all labels of each class: "from scratch", and "longer", with `times` the steps; "MRP, head
    first" and "untrained, head first", and of these encoders while they were "frozen" and "frozen untrained"."""
    def gentle(weights):  # accuracies after fine-tuning, and before
        cells = draws.cells(plenty.head_first, weights, per_class=per_class, steps=draws.tuning)
        return right(cells), np.array([c["frozen"].mean() for c in cells])

    tuned, frozen = gentle(draws.weights)
    start, untrained = gentle(None)
    scratch, longer = (right(draws.cells(pictures.learn, per_class=per_class, steps=n * draws.tuning)) for n in (1, times))
    return {"from scratch": scratch, "longer": longer, "MRP, head first": tuned, "untrained, head first": start,
            "frozen": frozen, "frozen untrained": untrained}


def classes(draws: Draws, few: int, steps: int, shown: Sequence[str]) -> dict:
    """Accuracies of frozen encoders [draws, 2], a column for each half of the classes, by what pretraining was `shown`."""
    return {what: np.array([c["accuracy"] for c in draws.cells(seen.halves, what=what, per_class=few, steps=steps)])
            for what in shown}


def textures(run: Callable, source: str, seeds: Sequence[int]) -> dict:
    """Textures planted in these pictures, made grey (see `studies.planted`).

    Correct answers to planted.TESTS pictures [draws, (single-view, multi-view)]: "supervised", and "told", with 30 % of the
    training pictures single-view; "scratch", the network of 200 kernels by descent; "untrained" and "frozen", a head on
    kernels; "tuned". [draws]: "one view", the share of classes that learn one view from labels; of kernels pretrained with a
    tenth of the patches hidden "captured", the share of textures, and "single", the share of captured kernels with one; "bare
    captured", the share of textures after pretraining with half hidden on pictures without textures.
    """
    def cells(study, banks=None, **options):
        asked = [dict(seed=s, source=source) | options for s in seeds]
        if banks is not None:
            asked = [c | {"kernels": bank["kernels"]} for c, bank in zip(asked, banks, strict=True)]
        return run(study, asked)

    def stack(found, name):
        return np.stack([np.asarray(c[name]) for c in found])

    half, tenth, bare = (cells(planted.masked, theta=t, **o) for t, o in ((0.5, {}), (0.9, {}), (0.5, {"bare": True})))
    nets, tuned = cells(planted.supervised), cells(planted.downstream, half)
    scratch, told = cells(planted.downstream, rates=(1.0, 100.0), steps=1500), cells(planted.supervised, mu_train=0.3)
    alone = stack(nets, "learned").sum(2) == 1
    return {"supervised": stack(nets, "correct"), "told": stack(told, "correct"), "scratch": stack(scratch, "fine"),
            "untrained": stack(scratch, "head"), "frozen": stack(tuned, "head"), "tuned": stack(tuned, "fine"),
            "one view": alone.mean(1), "captured": stack(tenth, "semantics")[:, -1], "single": stack(tenth, "single")[:, -1],
            "bare captured": stack(bare, "semantics")[:, -1]}
