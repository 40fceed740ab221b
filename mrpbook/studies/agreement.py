"""Networks that differ by their seed alone: what they have in common, and what they gain together."""
from itertools import combinations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from ..images import agreement, probes, sources
from ..images.batches import Batches
from ..images.training import Plan
from . import pictures

RATE = 1e-2  # so that 100 steps fit 50 labels from scratch too (pilots)
MEASURES = {"CKA": agreement.cka, "rotation": agreement.procrustes, "units": agreement.matched}


def member(seed: int, draw: int, per_class: int, weights: np.ndarray | None = None, head_first: bool = False,
           source: str = "digits", tuning: int = 100, size: int = 25) -> dict:
    """One of several networks that are given the same labels: those of `draw`. Encoder and order of batches: of `seed`.

    weights: of the encoder (see `pictures.pretrain`), None for supervised learning from scratch. Trained for `tuning` steps of
    `size` pictures. head_first: see `pictures.learn`. Returns for the test pictures `probabilities` [n, k] and `features`
    [n, width], and the last `loss`.
    """
    r, tests, encoder = pictures.recipe(source), pictures.tensors(source)[1], _encoder(seed, weights, source)
    some = sources.labelled(pictures.data(source)[0], per_class, draw)
    batches = Batches(some.tensor(), min(size, len(some)), seed, labels=some.labels, crop=r.crop, flip=r.flip)
    plan, start = Plan(tuning, RATE), None
    if head_first:
        plan, start = Plan(tuning, r.gentle_lr), head(encoder, some)
    net, losses = probes.finetune(encoder, batches, len(some.names), plan, start)
    found = probes.features(net.encoder, tests)
    with torch.no_grad():
        sure = net.head(found).softmax(1)
    return {"features": found.numpy(), "probabilities": sure.numpy(), "loss": float(losses[-10:].mean())}


def frozen(seed: int, draw: int, per_class: int, weights: np.ndarray | None = None, source: str = "digits") -> dict:
    """The same with a frozen encoder, None: untrained, and logistic regression on its features."""
    encoder = _encoder(seed, weights, source)
    fit = head(encoder, sources.labelled(pictures.data(source)[0], per_class, draw))
    found = probes.features(encoder, pictures.tensors(source)[1])
    sure = (found.double() @ fit.matrix.T + fit.bias).softmax(1)
    return {"features": found.numpy(), "probabilities": sure.numpy()}


def _encoder(seed, weights, source):
    encoder = pictures.encoder(seed, source)
    return encoder if weights is None else pictures.loaded(encoder, weights)


def head(encoder: nn.Module, some: sources.Images) -> probes.Probe:
    """As `probes.logistic`, but one penalty, set on pilots: the search for it takes longer than fine-tuning does. The probe's
    predictions and accuracy are those of the labelled pictures themselves."""
    x, labels = probes.features(encoder, some.tensor()).double().numpy(), some.labels.numpy()
    scaler = StandardScaler().fit(x)
    fit = LogisticRegression(C=1.0, max_iter=1000).fit(scaler.transform(x), labels)
    matrix = fit.coef_ / scaler.scale_
    bias = fit.intercept_ - matrix @ scaler.mean_
    answers = torch.from_numpy(fit.predict(scaler.transform(x)))
    return probes.Probe(probes.accuracy(answers, some.labels), answers, 1.0, torch.from_numpy(matrix), torch.from_numpy(bias))


def alike(features: np.ndarray, labels: np.ndarray | None = None) -> list[float]:
    """Mean over all pairs of networks of each of MEASURES; features [networks, n, width]; labels: see `agreement.cka`."""
    x, y = torch.from_numpy(np.asarray(features)), None if labels is None else torch.as_tensor(labels)
    return [float(np.mean([measure(a, b, y) for a, b in combinations(x, 2)])) for measure in MEASURES.values()]


def together(probabilities: np.ndarray, labels: np.ndarray) -> dict:
    """Networks with the same test pictures, probabilities [networks, n, k]: their mean accuracy `single`, that of their mean
    probability `ensemble`, and kappa of equal answers and of errors, means over all pairs (see `images.agreement`)."""
    p, y = torch.from_numpy(np.asarray(probabilities)), torch.as_tensor(labels)
    answers, pairs = p.argmax(2), list(combinations(range(len(p)), 2))
    return {"single": float((answers == y).double().mean()), "ensemble": probes.accuracy(agreement.ensemble(p), y),
            "answers": float(np.mean([agreement.answers(answers[a], answers[b], y, p.shape[2]).kappa for a, b in pairs])),
            "errors": float(np.mean([agreement.errors(answers[a], answers[b], y).kappa for a, b in pairs]))}
