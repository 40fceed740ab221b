"""Masks: closed forms against enumeration, the pull on one kernel, and what rises along the way."""
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .. import reference
from ..network import SmoothedReLU, activations
from ..objectives import MaskedObjective, NormalisedTeacher, PlainDecoder, RescaledTeacher
from ..pretrain import pretrain, pretrain_along_arcs
from ..rng import generator
from ..theory import coactivation
from .capture import setting


@dataclass(frozen=True)
class FreeDecoder(RescaledTeacher):
    """The rescaled teacher with any factor c in front of the masked answer, to try the closed form away from c = 1/theta."""

    factor: float = 1.0

    @property
    def c(self) -> float:
        return self.factor


def case(seed: int) -> dict:
    """A random setting for the identities, in float64: kernels w [4, 5], samples X [3, P, 5] and P, c, tau, theta.

    P in 4..8, theta = j / P with 1 <= j < P (so that a fixed count can keep that share), c in [0.5, 2], tau in [0.7, 1.6];
    activations reach all three parts of sigma.
    """
    rng = generator(seed, "mask identities")
    P = int(rng.integers(4, 9))
    return {"w": rng.standard_normal((4, 5)), "X": 0.4 * rng.standard_normal((3, P, 5)), "P": P,
            "theta": int(rng.integers(1, P)) / P, "c": float(rng.uniform(0.5, 2)), "tau": float(rng.uniform(0.7, 1.6))}


def enumerated(s: dict, law: str = "bernoulli", **changes) -> np.ndarray:
    """Minus the gradient of the loss averaged over every mask, target held fixed, in plain NumPy [4, 5]."""
    s = s | changes
    H = reference.rescaled_target(s["w"], s["X"], s["tau"])
    return reference.masked_direction(s["w"], s["X"], H, s["theta"], s["c"], law)


def direction(objective: MaskedObjective, s: dict) -> np.ndarray:
    """The package's closed form on a `case` [4, 5]."""
    return objective.descent(torch.from_numpy(s["w"]), torch.from_numpy(s["X"]), SmoothedReLU()).numpy()


def random_ratio(s: dict, seed: int, **changes) -> np.ndarray:
    """The average when the number of kept patches is drawn first, from random chances, and then which they are."""
    chances = generator(seed, "mask ratios").dirichlet(np.ones(s["P"]))
    return sum(chance * enumerated(s, "fixed count", theta=(j + 1) / s["P"], **changes) for j, chance in enumerate(chances))


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """|a - b| / |b|."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def off_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """1 - cosine of the angle between a and b, from |a/|a| - b/|b||^2 / 2, which keeps its digits for small angles."""
    return float(((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2).sum() / 2)


def identities(seed: int) -> dict:
    """What the claims about masks are judged by, on one random `case`: relative errors, or 1 - cosine."""
    s = case(seed)
    every, fixed = enumerated(s), enumerated(s, "fixed count")
    free = FreeDecoder(s["theta"], tau=s["tau"], factor=s["c"])
    counted = replace(free, mask="fixed count")
    # without the mask's variance c theta sum_p [H - c theta h] sigma' x_p is left: no mask, and a decoder of factor c theta
    blind = direction(FreeDecoder(1.0, tau=s["tau"], factor=s["c"] * s["theta"]), s)
    own, other = {"c": 1.0, "tau": 1.0}, {"c": 1.0, "tau": 1.3}
    w = torch.from_numpy(s["w"]).requires_grad_()
    phi, = torch.autograd.grad(coactivation(w, torch.from_numpy(s["X"]), SmoothedReLU()).sum(), w)
    phi, spread = phi.numpy(), s["theta"] * (1 - s["theta"])
    return {
        "closed_form": relative_error(direction(free, s), every),
        "variance_forgotten": relative_error(blind, every),
        "fixed_count": relative_error(direction(counted, s), fixed),
        "fixed_as_independent": relative_error(direction(free, s), fixed),
        "ratio": max(off_cosine(random_ratio(s, seed, **own), enumerated(s, **own)),
                     off_cosine(enumerated(s, theta=0.5, **own), enumerated(s, **own))),
        "ratio_rescaled": off_cosine(random_ratio(s, seed, **other), enumerated(s, **other)),
        "coactivation": relative_error(enumerated(s, **own), spread * phi),
        "coactivation_unbiased": off_cosine(enumerated(s, c=1 / s["theta"], tau=1.0), phi),
    }


def pull_terms(objective: MaskedObjective, w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], V: Float[Tensor, "n d"],
               act: SmoothedReLU) -> dict[str, Float[Tensor, "K n"]]:
    """The descent direction along each semantic in its three terms, and what they are multiplied by, each [K, n].

    teacher: H, answer: -alpha h, mask: -beta sigma(a_p), each times sigma'(a_p) <x_p, v>, summed over patches, averaged over
    samples and times c theta; weight: 1 in their place. The three add up to `objective.descent` @ V.T (derived; alpha and
    beta are those of `objective.weights`).
    """
    a = activations(w, X)
    sigma, slope, (alpha, beta) = act(a), act.derivative(a), objective.weights(X.shape[1])
    brackets = {"teacher": objective.target(a, act)[:, None], "answer": -alpha * sigma.sum(1)[:, None],
                "mask": -beta * sigma, "weight": torch.ones_like(sigma)}
    return {name: objective.c * objective.theta / len(X) * torch.einsum("npk,npj->kj", bracket * slope, X @ V.T)
            for name, bracket in brackets.items()}


def pull(seed: int, thetas: tuple = (0.95, 0.75, 0.5), overlaps: tuple = (0.5, 5.0, 46), other: float = 0.1) -> dict:
    """The mean bracket that pulls a kernel towards three semantics while its overlap with the first grows. No noise.

    w = lambda v_1 + other (v_2 + v_3): v_1 and v_2 are the views of class 0, v_3 a view of class 1; lambda takes `overlaps`
    (first, last, number) values. Normalised teacher, 300 samples. `gap` [thetas, lambda, 3] is the bracket's mean over the
    patches that hold a semantic, each with the weight with which it pulls. `rest` [thetas] is the lambda at which the pull on
    v_1 ends, `at_rest` [thetas, 4 (teacher, answer, mask, gap), 3] the terms there and their sum (nan: not in `overlaps`).
    """
    _, act, V, S, _ = setting(seed, 0.0, 1)
    lam = torch.linspace(overlaps[0], overlaps[1], overlaps[2])
    w = torch.stack([lam, torch.full_like(lam, other), torch.full_like(lam, other)], 1) @ V[:3]
    gaps, rest, at_rest = [], torch.full((len(thetas),), torch.nan), torch.full((len(thetas), 4, 3), torch.nan)
    for i, theta in enumerate(thetas):
        terms = pull_terms(NormalisedTeacher(theta), w, S.X, V[:3], act)
        brackets = torch.stack([terms[name] / terms["weight"] for name in ("teacher", "answer", "mask")])
        brackets = torch.cat([brackets, brackets.sum(0, keepdim=True)])
        gap = brackets[-1]
        gaps.append(gap)
        ends = (gap[:, 0] <= 0).nonzero()[:, 0]
        if len(ends) and ends[0] > 0:
            j = ends[0]  # between two overlaps the gap is nearly straight
            share = gap[j - 1, 0] / (gap[j - 1, 0] - gap[j, 0])
            rest[i], at_rest[i] = torch.lerp(lam[j - 1], lam[j], share), torch.lerp(brackets[:, j - 1], brackets[:, j], share)
    return {"overlap": lam, "gap": torch.stack(gaps), "rest": rest, "at_rest": at_rest}


def along(seed: int, theta: float = 0.75, K: int = 10, steps: int = 160, every: int = 8, noise: float = 0.1) -> dict:
    """What rises while kernels follow c = 1, tau = 1 along their own paths, in equal relative steps; read `every` steps.

    loss and energy (co-activation), summed over kernels, as shares of their values at the end [steps / every + 1]; fell: of
    all kernels and readings, how often a kernel's energy was lower than before. For comparison `normalised` [2]: the loss of
    the normalised teacher (theta = 0.9) at the start of plain descent and after 300 steps of learning rate 1, per kernel.
    """
    _, act, _, S, w0 = setting(seed, noise, K)
    plain, default = PlainDecoder(theta), NormalisedTeacher()
    path = pretrain_along_arcs(plain, S.X, w0, act, steps=steps).kernels[::every]
    energy = torch.stack([coactivation(w, S.X, act) for w in path])
    loss = torch.stack([plain.loss(w, S.X, act) for w in path])
    ends = pretrain(default, S.X, w0, act, steps=300, snapshots=300).kernels
    return {"energy": energy.sum(1) / energy[-1].sum(), "loss": loss / loss[-1], "fell": (energy.diff(dim=0) < 0).sum(),
            "normalised": torch.stack([default.loss(w, S.X, act) / K for w in ends])}
