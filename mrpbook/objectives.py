"""What pretraining minimises, with masks averaged exactly.

A kernel answers h = sum_p sigma(a_p) to a sample and c sum_p eps_p sigma(a_p) to its masked copy (eps_p = 1: patch kept,
with probability theta). It is trained to match a target H that is held fixed, so every objective here has
    L = 1/(2N) sum_n sum_r E_eps (H - c sum_p eps_p sigma(a_p))^2
      = 1/(2N) sum_n sum_r [(H - c theta h)^2 + c^2 theta (1 - theta) v],
with v = sum_p sigma(a_p)^2 for independent masks and P/(P-1) (sum_p sigma(a_p)^2 - h^2/P) for a fixed number of kept
patches. Both closed forms are derived (ours) and checked against enumeration of all masks.
"""
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from .network import SmoothedReLU, activations
from .validation import check_choice, check_real


@runtime_checkable
class Objective(Protocol):
    """What `pretrain` needs: a descent direction, and whether kernels are independent and without memory."""

    independent: bool

    def descent(self, w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU) -> Float[Tensor, "K d"]:
        """The direction in which descent moves the kernels, [K, d]."""
        ...


@dataclass(frozen=True)
class MaskedObjective:
    """What the masked objectives share: theta (keep probability, in (0, 1]), the mask law, the fixed decoder c.

    mask: 'bernoulli' (each patch kept independently) or 'fixed count' (exactly theta * P patches kept).
    """

    theta: float = 0.9
    mask: str = "bernoulli"
    independent = True  # kernel r's direction depends on kernel r only, and on no past

    def __post_init__(self):
        check_real("theta", self.theta, 0, 1, open_low=True)
        check_choice("mask", self.mask, ("bernoulli", "fixed count"))

    @property
    def c(self) -> float:
        """The decoder's factor; 1/theta makes the masked answer right on average (recalled form)."""
        return 1 / self.theta

    @property
    def kappa(self) -> float:
        """kappa = (1 - theta) / theta."""
        return (1 - self.theta) / self.theta

    def target(self, a: Float[Tensor, "N P K"], act: SmoothedReLU) -> Float[Tensor, "N K"]:
        """The teacher's answer H to the unmasked sample; no gradient passes through it."""
        raise TypeError("MaskedObjective has no target: use NormalisedTeacher, RescaledTeacher or PlainDecoder")

    def kept(self, P: int) -> int:
        """Number of patches kept by a fixed-count mask, theta * P; ValueError if that is not a whole number >= 1."""
        m = self.theta * P
        if abs(m - round(m)) > 1e-9 or round(m) < 1:
            raise ValueError(f"theta = {self.theta:g}: with P = {P} a fixed-count mask would keep {m:g} patches; allowed "
                             f"are j/{P} for j = 1..{P}")
        return round(m)

    def weights(self, P: int) -> tuple[float, float]:
        """(alpha, beta) of the bracket H - alpha h - beta sigma(a_p) in the descent direction (derived).

        Independent masks: (c theta, c (1 - theta)). Fixed count: c (1 - theta) P/(P-1) [sigma(a_p) - h/P] replaces
        c (1 - theta) sigma(a_p).
        """
        alpha, beta = self.c * self.theta, self.c * (1 - self.theta)
        if self.mask == "fixed count":
            self.kept(P)
            beta = beta * P / (P - 1) if P > 1 else 0.0
            alpha -= beta / P
        return alpha, beta

    def loss(self, w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU) -> Float[Tensor, ""]:
        """The loss above with the mask averaged in closed form (derived). Its autograd gradient is minus `descent`."""
        a = activations(w, X)
        sigma, P = act(a), X.shape[1]
        h = sigma.sum(1)
        v = (sigma**2).sum(1)
        if self.mask == "fixed count":
            self.kept(P)
            v = P / (P - 1) * (v - h**2 / P) if P > 1 else 0 * v
        H = self.target(a.detach(), act)
        c, theta = self.c, self.theta
        return ((H - c * theta * h) ** 2 + c**2 * theta * (1 - theta) * v).sum() / (2 * len(X))

    def descent(self, w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU) -> Float[Tensor, "K d"]:
        """c theta / N sum_n sum_p [H - alpha h - beta sigma(a_p)] sigma'(a_p) x_p, the semi-gradient (derived).

        alpha and beta are those of `weights`. Whole batch at once: the readable form. `gradients.Descent` computes the
        same in cache-sized blocks.
        """
        a = activations(w, X)
        sigma = act(a)
        alpha, beta = self.weights(X.shape[1])
        bracket = (self.target(a, act) - alpha * sigma.sum(1))[:, None] - beta * sigma
        return self.c * self.theta / len(X) * torch.einsum("npk,npd->kd", bracket * act.derivative(a), X)


@dataclass(frozen=True)
class NormalisedTeacher(MaskedObjective):
    """Target H_r = A h_r / sqrt(mean over the data of h_r^2), decoder c = 1/theta. The default.

    A reading of 'reconstruct the teacher's features' in the manner of methods that normalise their targets; the
    paper's exact target scaling is not known to us. A > 0. A kernel that answers nothing has target 0.

    H has a fixed size and the direction of h, so mean (H - c theta h) dH = 0: holding the target fixed changes nothing, and
    descent is true gradient descent on 1/2 (A - rms h)^2 + 1/2 kappa mean v per kernel (derived, ours; not so for the others).
    """

    A: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_real("A", self.A, 0, open_low=True)

    def scale(self, mean_square: Float[Tensor, "K"]) -> Float[Tensor, "K"]:
        """A / sqrt(mean_square), 0 where the kernel is silent."""
        return torch.where(mean_square > 0, self.A / mean_square.clamp_min(1e-38).sqrt(), torch.zeros_like(mean_square))

    def target(self, a: Float[Tensor, "N P K"], act: SmoothedReLU) -> Float[Tensor, "N K"]:
        h = act(a).sum(1)
        return h * self.scale((h**2).mean(0))


@dataclass(frozen=True)
class RescaledTeacher(MaskedObjective):
    """Target H_r = sum_p sigma(tau a_p): a copy of the student with weights times tau (recalled form). tau > 0."""

    tau: float = 1.3

    def __post_init__(self):
        super().__post_init__()
        check_real("tau", self.tau, 0, open_low=True)

    def target(self, a: Float[Tensor, "N P K"], act: SmoothedReLU) -> Float[Tensor, "N K"]:
        return act(self.tau * a).sum(1)


@dataclass(frozen=True)
class PlainDecoder(MaskedObjective):
    """Target H_r = h_r, the student itself, and decoder c = 1: the gap to close is what the mask hides (ours)."""

    @property
    def c(self) -> float:
        return 1.0

    def target(self, a: Float[Tensor, "N P K"], act: SmoothedReLU) -> Float[Tensor, "N K"]:
        return act(a).sum(1)
