"""ReLU and GELU where a smoothed ReLU is expected."""
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import gelu

from .network import SmoothedReLU
from .validation import check_choice


@dataclass(frozen=True)
class Rectifier(SmoothedReLU):
    """kind 'relu': max(a, 0); 'gelu': varrho gelu(a / varrho), so that it bends where the smoothed ReLU does. q is not used.

    Both answer 0 to a hidden patch, which is all that the closed forms of `objectives` ask of an activation.
    """

    kind: str = "relu"

    def __post_init__(self):
        super().__post_init__()
        check_choice("kind", self.kind, ("relu", "gelu"))

    def __call__(self, a: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return a.relu() if self.kind == "relu" else self.varrho * gelu(a / self.varrho)

    def derivative(self, a: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Slope: 0 or 1 (0 at 0), and Phi(x) + x phi(x) at x = a / varrho with the normal law's Phi and density phi."""
        if self.kind == "relu":
            return (a > 0).to(a.dtype)
        x = a / self.varrho
        return torch.special.ndtr(x) + x * torch.exp(-(x**2) / 2) / (2 * torch.pi) ** 0.5
