"""One draw on real pictures: pretrain, fine-tune, probe."""
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from ..images import probes, sources
from ..images.batches import Batches
from ..images.mae import MAE, FeatureTargets, MaskedPrediction
from ..images.sources import Images
from ..images.training import Plan, train
from ..images.vit import ViT
from ..rng import generator
from ..validation import check_choice

TARGETS = {"pixels": MAE, "features": FeatureTargets}


@dataclass(frozen=True)
class Recipe:
    """Sizes and rates for one kind of pictures, set on pilot seeds; see `ViT`, `MAE`, `Batches`, `Plan`."""

    patch: int
    width: int
    depth: int
    heads: int
    decoder: int  # width
    steps: int  # of pretraining
    size: int  # pictures in a batch
    lr: float
    tuning: int  # steps with labels
    tuning_size: int
    tuning_lr: float
    gentle_lr: float  # where the head is fitted first
    crop: int
    flip: bool


# digits stand in the middle of their pictures: moving them costs more than it teaches
DIGITS = Recipe(patch=2, width=48, depth=2, heads=3, decoder=24, steps=2000, size=64, lr=5e-3, tuning=200, tuning_size=32,
                tuning_lr=3e-3, gentle_lr=5e-4, crop=0, flip=False)
COLOUR = Recipe(patch=4, width=96, depth=4, heads=3, decoder=48, steps=6000, size=256, lr=2e-3, tuning=600, tuning_size=64,
                tuning_lr=1e-3, gentle_lr=2e-4, crop=4, flip=True)


def recipe(source: str) -> Recipe:
    """The recipe for scikit-learn's digits, or for colour pictures of about 32 x 32 pixels."""
    return DIGITS if source == "digits" else COLOUR


@lru_cache(maxsize=2)
def data(source: str = "digits") -> tuple[Images, Images]:
    """Training and test pictures (see `sources.load`)."""
    return sources.load(source, "train"), sources.load(source, "test")


@lru_cache(maxsize=2)
def tensors(source: str = "digits") -> tuple[Tensor, Tensor]:
    """The same as numbers in [0, 1], [N, C, H, W] each."""
    train_part, test_part = data(source)
    return train_part.tensor(), test_part.tensor()


def encoder(seed: int, source: str = "digits", patch: int | None = None) -> ViT:
    """An untrained encoder."""
    r, shape = recipe(source), tensors(source)[0].shape[1:]
    return ViT(shape, patch or r.patch, r.width, r.depth, r.heads, seed=seed)


def flat(module: nn.Module) -> np.ndarray:
    """All weights in a row, float32 [M], as cells store them."""
    return nn.utils.parameters_to_vector(module.parameters()).detach().cpu().numpy()


def loaded(module: nn.Module, weights: np.ndarray) -> nn.Module:
    """The module, with these weights (see `flat`)."""
    nn.utils.vector_to_parameters(torch.from_numpy(np.array(weights)), module.parameters())
    return module


def classifier(weights: np.ndarray, source: str = "digits", patch: int | None = None) -> probes.Classifier:
    """The network that `learn` returned."""
    return loaded(probes.Classifier(encoder(0, source, patch), len(data(source)[0].names)), weights)


def objective(seed: int, source: str = "digits", target: str = "pixels", patch: int | None = None) -> MaskedPrediction:
    """What `pretrain` minimises, with its untrained encoder. Raises ValueError for a target outside TARGETS."""
    check_choice("target", target, tuple(TARGETS))
    r = recipe(source)
    return TARGETS[target](encoder(seed, source, patch), decoder_width=r.decoder, decoder_heads=r.heads, seed=seed)


def pretrain(seed: int, source: str = "digits", target: str = "pixels", ratio: float = 0.75, patch: int | None = None,
             steps: int | None = None) -> dict:
    """Masked pretraining on all training pictures, without labels; returns `weights` of the encoder, those of the `decoder`,
    and the mean `loss` of each of 50 equal pieces of the run.

    target: "pixels" (MAE, patches normalised) or "features" (of a slow copy).
    """
    r, model = recipe(source), objective(seed, source, target, patch)
    batches = Batches(tensors(source)[0], r.size, seed, masks=(model.encoder.cells, ratio), crop=r.crop, flip=r.flip)
    losses = train(model, batches, Plan(steps or r.steps, r.lr))
    return {"weights": flat(model.encoder), "decoder": flat(model.decoder),
            "loss": [float(part.mean()) for part in losses.tensor_split(50)]}


def learn(seed: int, per_class: int, weights: np.ndarray | None = None, source: str = "digits", patch: int | None = None,
          steps: int | None = None, lr: float | None = None, head_first: bool = False) -> dict:
    """Fine-tuning of an encoder with these weights, or with None supervised learning from scratch (the weights that
    pretraining of this seed started from): the same labels, steps and batches.

    head_first: the head starts as the probe that `frozen` fits, and all weights follow at a lower rate; else it starts at 0.

    Returns `weights` of the classifier, its `predicted` labels of the test pictures, and whether they are `correct`.
    """
    r, x, y, test, truth = labelled(seed, per_class, source)
    start = encoder(seed, source, patch) if weights is None else loaded(encoder(seed, source, patch), weights)
    batches = Batches(x, min(r.tuning_size, len(x)), seed, labels=y, crop=r.crop, flip=r.flip)
    plan = Plan(steps or r.tuning, lr or (r.gentle_lr if head_first else r.tuning_lr))
    head = probes.probe(start, x, y, test, truth, seed) if head_first else None
    net, _ = probes.finetune(start, batches, int(truth.max()) + 1, plan, head)
    return answers(net.predict(test), truth) | {"weights": flat(net)}


def frozen(seed: int, per_class: int, weights: np.ndarray | None = None, source: str = "digits", patch: int | None = None
           ) -> dict:
    """Logistic regression on a frozen encoder's features, or with None on those of the untrained one; see `learn`."""
    _, x, y, test, truth = labelled(seed, per_class, source)
    start = encoder(seed, source, patch)
    found = probes.probe(start if weights is None else loaded(start, weights), x, y, test, truth, seed)
    return answers(found.predicted, truth)


def pixels(seed: int, per_class: int, source: str = "digits") -> dict:
    """The same logistic regression on raw pixels: no network at all."""
    _, x, y, test, truth = labelled(seed, per_class, source)
    return answers(probes.logistic(x.flatten(1), y, test.flatten(1), truth, seed).predicted, truth)


def permuted(seed: int, weights: np.ndarray, source: str = "digits") -> np.ndarray:
    """The weights of an encoder in random order within each matrix and vector: their sizes without what they mean."""
    shuffled, g = loaded(encoder(0, source), weights), generator(seed, "permuted weights")
    with torch.no_grad():
        for part in shuffled.parameters():
            part.copy_(part.flatten()[torch.from_numpy(g.permutation(part.numel()))].view_as(part))
    return flat(shuffled)


def labelled(seed: int, per_class: int, source: str) -> tuple[Recipe, Tensor, Tensor, Tensor, Tensor]:
    """Recipe, the pictures whose labels a learner gets, these labels, test pictures, their labels."""
    train_part, test_part = data(source)
    some = sources.labelled(train_part, per_class, seed)
    return recipe(source), some.tensor(), some.labels, tensors(source)[1], test_part.labels


def answers(predicted: Tensor, truth: Tensor) -> dict:
    """Predicted labels [n], and whether they are correct [n]."""
    return {"predicted": predicted.to(torch.uint8).numpy(), "correct": (predicted == truth).numpy()}
