"""Segments in order on colour photographs, with a small encoder.

The recipe of `pictures.COLOUR` takes over a second a step here; this one is as wide and deep as that for digits.
"""
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..images import probes, sources
from ..images.batches import Batches
from ..images.training import Plan, train
from ..images.vit import ViT
from . import pictures, segments

# rate: on pilot seed 0, 300 steps, squares and a masked autoencoder both end lower with 5e-3 than with 2e-3
SMALL = replace(pictures.COLOUR, width=48, depth=2, decoder=24, size=64, lr=5e-3)


def encoder(seed: int, source: str) -> ViT:
    """An untrained encoder of SMALL, for 64 patches of a photograph of 32 x 32 pixels."""
    r, shape = SMALL, tuple(pictures.tensors(source)[0].shape[1:])
    return ViT(shape, r.patch, r.width, r.depth, r.heads, seed=seed)


def cost(kind: str, source: str) -> dict:
    """`segments.cost` of this recipe."""
    given = segments.shown(pictures.tensors(source)[0][:SMALL.size], kind, SMALL, 0, SMALL.patch)
    return segments.price(segments.around(encoder(0, source), kind, SMALL, 0), given)


def cell(seed: int, kind: str | None, source: str, steps: int = 1000, per_class: Sequence[int] = (10, 100),
         tuned: int = 100, tuning: int = 200, **numbers) -> dict:
    """Pretraining on all training pictures without labels by one of `segments.KINDS` (None: not at all), then labels.

    Test accuracies: `frozen` [len(per_class)], logistic regressions on the frozen encoder's features; `tuned`, all weights
    trained on `tuned` labels of each class for `tuning` steps, with the head first. And the `loss` of the last twentieth of
    pretraining (0 without any). For every kind of a seed the same initial weights of the encoder, order of pictures, labels and
    labelled batches. numbers: of `segments.layout`.
    """
    r, (x, tests), (known, truth) = SMALL, pictures.tensors(source), pictures.data(source)
    start, loss = encoder(seed, source), 0.0
    if kind is not None:
        model = segments.around(start, kind, r, seed)
        losses = train(model, segments.shown(x, kind, r, seed, r.patch, **numbers), Plan(steps, r.lr))
        loss = float(losses[-max(1, steps // 20):].mean())
    heads = {n: probes.probe(start, some.tensor(), some.labels, tests, truth.labels, seed)
             for n in sorted({*per_class, tuned}) for some in [sources.labelled(known, n, seed)]}
    some = sources.labelled(known, tuned, seed)
    given = Batches(some.tensor(), min(r.tuning_size, len(some)), seed, labels=some.labels, crop=r.crop, flip=r.flip)
    net, _ = probes.finetune(start, given, len(some.names), Plan(tuning, r.gentle_lr), heads[tuned])
    return {"frozen": np.array([heads[n].accuracy for n in per_class]),
            "tuned": probes.accuracy(net.predict(tests), truth.labels), "loss": loss}
