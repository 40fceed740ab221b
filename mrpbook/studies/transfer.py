"""Pretraining on some pictures, labels of others: what pretraining has to cover."""
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from ..images import probes, sources
from ..images.batches import Batches
from ..images.convolution import Convolution, MaskedConvolution
from ..images.patches import chosen, random_masks
from ..images.sources import Images
from ..images.training import Plan, train
from ..rng import generator
from ..validation import check_choice, check_integer
from . import pictures

SHOWN = ("first half", "second half", "both halves", "few pictures", "shuffled pixels", "nothing")
FEW = 32  # pictures, half of them from each half
# set on pilot seeds: a convolution sees little of a picture past many tokens, so fewer are hidden than for a transformer
RATIO, RATE = 0.5, 5e-3
TUNING = 1e-2


def halves(seed: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The class numbers in two halves drawn by `seed`. Raises ValueError for less than 4 classes."""
    order = generator(seed, "transfer: classes").permutation(check_integer("classes", classes, 4))
    return np.sort(order[:classes // 2]), np.sort(order[classes // 2:])


def of(images: Images, classes: np.ndarray) -> Images:
    """The pictures of these classes, numbered anew from 0."""
    number = torch.full((len(images.names),), -1)
    number[torch.from_numpy(classes)] = torch.arange(len(classes))
    some = images.select(number[images.labels] >= 0)
    names = tuple(images.names[i] for i in classes)
    return Images(some.pictures, number[some.labels], names, some.source, some.licence)


@lru_cache(maxsize=2)
def tasks(seed: int, source: str) -> list[tuple[Images, Images]]:
    """Training and test pictures of the first half of the classes, and of the second."""
    both = pictures.data(source)
    return [tuple(of(part, half) for part in both) for half in halves(seed, len(both[0].names))]


def shown(what: str, seed: int, first: Images, second: Images) -> Tensor:
    """What pretraining is shown, [N, C, H, W] in [0, 1], without labels.

    N is the size of the smaller half, always. "both halves": N / 2 pictures of each. "few pictures": the first FEW of these.
    "shuffled pixels": these, the pixels of each in an order of its own: its grey levels as they were, but nothing to tell one
    pixel from another, save how dark the picture is. Raises ValueError for anything else.
    """
    check_choice("what", what, SHOWN[:-1])
    N = min(len(first), len(second))
    one, two = (half.select(torch.from_numpy(generator(seed, "transfer: pictures", i).permutation(len(half))[:N])).tensor()
                for i, half in enumerate((first, second)))
    if what in SHOWN[:2]:
        return (one, two)[SHOWN.index(what)]
    some = N if what != "few pictures" else FEW
    both = torch.cat([one[:some // 2], two[:some - some // 2]])
    if what == "shuffled pixels":
        pixels = both.flatten(2)
        order = torch.from_numpy(generator(seed, "transfer: pixels").random((N, 1, pixels.shape[2])).argsort(2))
        return pixels.gather(2, order.expand_as(pixels)).view_as(both)
    return both


def network(images: Images, seed: int, source: str) -> MaskedConvolution:
    """Masked reconstruction for an untrained convolutional encoder of such pictures."""
    patch, (_, H, W, C) = pictures.recipe(source).patch, images.pictures.shape
    return MaskedConvolution(Convolution((C, H, W), patch, 16 * patch, seed=seed), seed=seed)


def cell(seed: int, what: str, per_class: int = 5, source: str = "digits", kind: str = "convolution", steps: int = 300,
         tuning: int = 80, size: int = 16) -> dict:
    """Pretraining on `what` (see `shown`; "nothing": none), then each half of the classes learned from `per_class` labels.

    For every `what` of a seed the same classes, labels, initial weights, steps and labelled batches. Returns for both halves
    the masked `error` on test pictures (a mask for each), that of a `guess` of each patch's mean, and how many of `total` test
    pictures are `correct` in the end. kind: "convolution", or "transformer", that of `pictures.objective`.
    """
    check_choice("kind", kind, ("convolution", "transformer"))
    parts = tasks(seed, source)
    model = network(parts[0][0], seed, source) if kind == "convolution" else pictures.objective(seed, source)
    if what != "nothing":
        x = shown(what, seed, parts[0][0], parts[1][0])
        train(model, Batches(x, size, seed, masks=(model.encoder.cells, RATIO)), Plan(steps, RATE))
    correct = [learned(model.encoder, seed, per_class, *part, tuning, size) for part in parts]
    errors, guesses = zip(*(error(model, part[1], seed) for part in parts), strict=True)
    return {"error": errors, "guess": guesses, "correct": correct, "total": [len(part[1]) for part in parts]}


def whole(seed: int, per_class: int = 5, source: str = "digits", steps: int = 400, tuning: int = 100, size: int = 16) -> dict:
    """All classes: pretrained on all training pictures; from scratch; and with the weights that pretraining found, those of
    each tensor in random order. Labels, steps, batches are the same. Returns how many of `total` tests are `correct` [3].
    """
    parts = pictures.data(source)
    model, scratch, jumbled = (network(parts[0], seed, source) for _ in range(3))
    train(model, Batches(parts[0].tensor(), size, seed, masks=(model.encoder.cells, RATIO)), Plan(steps, RATE))
    with torch.no_grad():
        for i, (found, weights) in enumerate(zip(model.encoder.parameters(), jumbled.encoder.parameters(), strict=True)):
            order = generator(seed, "transfer: jumbled", i).permutation(found.numel())
            weights.copy_(found.flatten()[torch.from_numpy(order)].view_as(found))
    correct = [learned(part.encoder, seed, per_class, *parts, tuning, size) for part in (model, scratch, jumbled)]
    return {"correct": correct, "total": len(parts[1])}


@torch.no_grad()
def error(model: nn.Module, images: Images, seed: int) -> tuple[float, float]:
    """Mean squared error in the hidden patches of these pictures, one mask for each, drawn by `seed`; and that of predicting 0,
    the mean of each patch."""
    x, (visible, hidden) = images.tensor(), random_masks(len(images), model.encoder.cells, RATIO, seed)
    return float(model(x, visible, hidden)), float(chosen(model.targets(x), hidden).square().mean())


def learned(encoder: nn.Module, seed: int, per_class: int, train_part: Images, test_part: Images, steps: int, size: int) -> int:
    """Test pictures that are answered correctly after fine-tuning on `per_class` labels of each class."""
    some = sources.labelled(train_part, per_class, seed)
    batches = Batches(some.tensor(), min(size, len(some)), seed, labels=some.labels)
    net, _ = probes.finetune(encoder, batches, len(some.names), Plan(steps, TUNING))
    return int((net.predict(test_part.tensor()) == test_part.labels).sum())
