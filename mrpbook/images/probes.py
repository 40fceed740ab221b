"""Frozen head, fine-tuning, supervised learning from scratch.

All take any encoder (see `vit`), its features being the mean over the places. Supervised learning from scratch is
`finetune` of an untrained encoder: the same function, steps, labels and order of batches.
"""
import copy
import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from ..rng import generator
from ..validation import check_integer
from .batches import Batches
from .training import Plan, train

STRENGTHS = tuple(10.0**e for e in range(-4, 2))  # C of scikit-learn: 1 / (L2 penalty)


@torch.no_grad()
def features(encoder: nn.Module, pictures: Float[Tensor, "N C H W"], size: int = 512) -> Float[Tensor, "N width"]:
    """Mean of the encoder's outputs over the places, `size` pictures at a time; float32 on the device of the encoder."""
    device, was_training = next(encoder.parameters()).device, encoder.training
    encoder.eval()
    found = torch.cat([encoder(some.to(device)).mean(1) for some in pictures.split(size)])
    encoder.train(was_training)
    return found


@dataclass(frozen=True)
class Probe:
    """accuracy on the test pictures, in [0, 1]; predicted labels of the test pictures [n]; C: the strength chosen; matrix
    [k, M] and bias [k]: the logits of features f are matrix f + bias (of k = 2 classes: one row, the logit of the second)."""

    accuracy: float
    predicted: Int[Tensor, "n"]
    C: float
    matrix: Float[Tensor, "k M"]
    bias: Float[Tensor, "k"]


def probe(encoder: nn.Module, pictures: Float[Tensor, "N C H W"], labels: Int[Tensor, "N"],
          test_pictures: Float[Tensor, "n C H W"], test_labels: Int[Tensor, "n"], seed: int = 0) -> Probe:
    """`logistic` on frozen features. Raises ValueError for one class."""
    return logistic(features(encoder, pictures), labels, features(encoder, test_pictures), test_labels, seed)


def logistic(x: Float[Tensor, "N M"], labels: Int[Tensor, "N"], test: Float[Tensor, "n M"], test_labels: Int[Tensor, "n"],
             seed: int = 0) -> Probe:
    """Logistic regression, each feature standardised on the labelled pictures.

    The L2 penalty is the one of STRENGTHS with the best mean accuracy on held-out parts of the labelled pictures (each part
    once, up to 5 parts); with one picture in some class nothing can be held out, and C = 1. Raises ValueError for one class.
    """
    counts = labels.unique(return_counts=True)[1]
    if len(counts) < 2:
        raise ValueError(f"labels: only class {int(labels[0])}; expected at least two classes")
    x, test = (part.double().cpu().numpy() for part in (x, test))
    y, folds = labels.cpu().numpy(), min(5, int(counts.min()))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    with warnings.catch_warnings():
        # weak penalties where features separate the classes: weights grow for long, labels stay
        warnings.simplefilter("ignore", ConvergenceWarning)
        if folds > 1:
            parts = StratifiedKFold(folds, shuffle=True, random_state=int(generator(seed, "held out").integers(2**31)))
            model = GridSearchCV(model, {"logisticregression__C": STRENGTHS}, cv=parts).fit(x, y).best_estimator_
        else:
            model.fit(x, y)
    predicted = torch.from_numpy(model.predict(test))
    matrix = model[-1].coef_ / model[0].scale_
    bias = model[-1].intercept_ - matrix @ model[0].mean_
    return Probe(accuracy(predicted, test_labels), predicted, float(model[-1].C),
                 torch.from_numpy(matrix), torch.from_numpy(bias))


def accuracy(predicted: Int[Tensor, "N"], labels: Int[Tensor, "N"]) -> float:
    """Share of labels that are predicted, in [0, 1]."""
    return float((predicted == labels.to(predicted.device)).double().mean())


class Classifier(nn.Module):
    """Encoder, mean over the places, linear head that starts at 0 (so that no logit is preferred): pictures -> logits."""

    def __init__(self, encoder: nn.Module, classes: int):
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.width, check_integer("classes", classes, 2))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def logits(self, pictures: Float[Tensor, "N C H W"]) -> Float[Tensor, "N k"]:
        return self.head(self.encoder(pictures).mean(1))

    def forward(self, pictures: Float[Tensor, "N C H W"], labels: Int[Tensor, "N"]) -> Float[Tensor, ""]:
        """Mean cross-entropy, what `training.train` minimises."""
        return functional.cross_entropy(self.logits(pictures).float(), labels)

    @torch.no_grad()
    def predict(self, pictures: Float[Tensor, "N C H W"], size: int = 512) -> Int[Tensor, "N"]:
        """The labels of the largest logits, `size` pictures at a time, on the CPU."""
        self.eval()
        device = self.head.weight.device
        return torch.cat([self.logits(some.to(device)).argmax(1).cpu() for some in pictures.split(size)])


def finetune(encoder: nn.Module, batches: Batches, classes: int, plan: Plan, head: Probe | None = None, **options
             ) -> tuple[Classifier, Tensor]:
    """All weights of a copy of `encoder`, and a head, trained on labelled batches; the classifier and the loss of every step.

    head: what the head starts from, a probe of all `classes` >= 3 (first the head, then all weights: Kumar et al. 2022,
    recalled); without it, 0. options: checkpoint, every, progress of `training.train`. The order of batches is keyed by their
    seed: two encoders are compared with all else equal. Raises ValueError for batches without labels, or labels >= classes,
    or a probe of other classes.
    """
    if batches.labels is None or batches.masks is not None:
        raise ValueError("batches: expected labels and no masks")
    if not 0 <= int(batches.labels.min()) <= int(batches.labels.max()) < classes:
        raise ValueError(f"classes = {classes}: expected labels 0 to {classes - 1}, got up to {int(batches.labels.max())}")
    model = Classifier(copy.deepcopy(encoder), classes).to(batches.pictures.device)
    if head is not None:
        if head.matrix.shape != model.head.weight.shape:
            raise ValueError(f"head: matrix {tuple(head.matrix.shape)}; expected {tuple(model.head.weight.shape)}")
        with torch.no_grad():
            model.head.weight.copy_(head.matrix)
            model.head.bias.copy_(head.bias)
    losses = train(model, batches, plan, **options)
    return model, losses
