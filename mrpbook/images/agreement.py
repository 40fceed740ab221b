"""What two networks have in common: features, units, answers, errors.

Features are [N, width] of the same N pictures (N = M = L below), for instance from `probes.features`; answers are labels [N].
No number here says by itself that two networks learned the same. Features of untrained networks are alike too, because both
read the same pictures: set every number beside that of untrained pairs. Good networks answer alike because both are right:
`answers` and `errors` set the share of equal answers beside what independent networks of these accuracies would have.
"""
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..validation import check_integer


def _centred(name, features, labels):
    """float64, the mean taken off, or with labels the mean of each class: what is left tells nothing of the class but noise."""
    x = features.detach().double().clone()
    if len(x) < 2:
        raise ValueError(f"{name} {tuple(x.shape)}: expected at least two pictures")
    groups = torch.zeros(len(x), dtype=torch.int64) if labels is None else labels
    if len(groups) != len(x):
        raise ValueError(f"labels: {len(groups)} for {len(x)} pictures")
    for label in groups.unique():
        x[groups == label] -= x[groups == label].mean(0)
    if x.abs().max() <= 1e-9 * features.abs().max():
        raise ValueError(f"{name} {tuple(x.shape)}: the same for all pictures" + (" of a class" if labels is not None else ""))
    return x


def _both(one, other, labels):
    x, y = _centred("one", one, labels), _centred("other", other, labels)
    if len(x) != len(y):
        raise ValueError(f"one and other: {len(x)} and {len(y)} pictures, expected the same pictures")
    return x, y


def cka(one: Float[Tensor, "N a"], other: Float[Tensor, "M b"], labels: Int[Tensor, "L"] | None = None) -> float:
    """Linear centred kernel alignment in [0, 1], |X'Y|^2 / (|X'X| |Y'Y|) for centred X, Y (Kornblith et al. 2019).

    1: equal up to rotation, size and shift. Directions count by the square of their variance: a few may decide. Features that
    have nothing in common come to about width / N, not to 0. labels: agreement beyond the classes, each class's mean taken off.
    Raises ValueError for different pictures, or features that are the same for all.
    """
    x, y = _both(one, other, labels)
    return float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


def procrustes(one: Float[Tensor, "N a"], other: Float[Tensor, "M b"], labels: Int[Tensor, "L"] | None = None) -> float:
    """1 - d^2 / 2 in [0, 1], d the distance of centred features of norm 1 after the best rotation: the sum of the singular
    values of X'Y over |X| |Y| (Schoenemann 1966; Williams et al. 2021 for networks). Directions count by their variance.
    labels, errors: as `cka`.
    """
    x, y = _both(one, other, labels)
    return float(torch.linalg.svdvals(x.T @ y).sum() / (x.norm() * y.norm()))


def matched(one: Float[Tensor, "N a"], other: Float[Tensor, "M b"], labels: Int[Tensor, "L"] | None = None) -> float:
    """Mean |correlation| of units, in [0, 1], under the best one-to-one match (Li et al. 2016): 1 if the units are the same
    up to order, size, sign and shift; a rotation destroys it. The best of many matches is above 0 for units that have nothing
    in common. A unit that never varies counts 0. With different widths each unit of the narrower has a partner.
    labels, errors: as `cka`.
    """
    x, y = _both(one, other, labels)
    x, y = (z / z.norm(dim=0).clamp_min(1e-12 * z.norm()) for z in (x, y))
    alike = (x.T @ y).abs().numpy()
    return float(alike[linear_sum_assignment(alike, maximize=True)].mean())


class Agreement(NamedTuple):
    """observed: share of pictures on which two networks agree; expected: if each erred independently of the other, at its own
    accuracy; kappa: (observed - expected) / (1 - expected), 0 as expected, 1 always agreed."""

    observed: float
    expected: float
    kappa: float


def _agreement(observed, expected):
    if expected > 1 - 1e-12:
        raise ValueError("one and other: both always right (or both always wrong), so they can only agree")
    return Agreement(observed, expected, (observed - expected) / (1 - expected))


def _accuracies(one, other, labels):
    if not len(one) == len(other) == len(labels) > 0:
        raise ValueError(f"one, other, labels: {len(one)}, {len(other)}, {len(labels)} pictures, expected the same pictures")
    return [(answer == labels).double() for answer in (one, other)]


def answers(one: Int[Tensor, "N"], other: Int[Tensor, "M"], labels: Int[Tensor, "L"], classes: int) -> Agreement:
    """Same answer. Expected: both right, or both wrong and by chance the same of the `classes` - 1 wrong answers, all alike:
    p q + (1 - p)(1 - q) / (classes - 1) at accuracies p, q. Raises ValueError for different pictures or nothing to explain.
    """
    right = _accuracies(one, other, labels)
    p, q = (float(r.mean()) for r in right)
    chance = (1 - p) * (1 - q) / (check_integer("classes", classes, 2) - 1)
    return _agreement(float((one == other).double().mean()), p * q + chance)


def errors(one: Int[Tensor, "N"], other: Int[Tensor, "M"], labels: Int[Tensor, "L"]) -> Agreement:
    """Right on the same pictures: error consistency (Geirhos, Meding and Wichmann 2020). Expected: p q + (1 - p)(1 - q).

    kappa > 0 also for networks that have learned different things, if some pictures are harder for everyone.
    """
    right = _accuracies(one, other, labels)
    p, q = (float(r.mean()) for r in right)
    return _agreement(float((right[0] == right[1]).double().mean()), p * q + (1 - p) * (1 - q))


def ensemble(probabilities: Float[Tensor, "S N k"]) -> Int[Tensor, "N"]:
    """Answers of S networks together: the largest mean probability."""
    return probabilities.double().mean(0).argmax(1)
