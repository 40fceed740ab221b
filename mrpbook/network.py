"""Smoothed ReLU, encoder responses, initial kernels."""
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .blocks import blocks
from .memory import check_fits
from .rng import generator
from .validation import check_integer, check_real


@dataclass(frozen=True)
class SmoothedReLU:
    """sigma(z) = 0 for z <= 0, z^q / (q varrho^(q-1)) up to varrho, z - (1 - 1/q) varrho beyond.

    Source: recalled from Allen-Zhu & Li; q = 4 and varrho = 0.3 are ours. q >= 2 integer, varrho > 0.
    """

    q: int = 4
    varrho: float = 0.3

    def __post_init__(self):
        check_integer("q", self.q, 2)
        check_real("varrho", self.varrho, 0, open_low=True)

    def __call__(self, a: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        u = a.clamp(0, self.varrho)
        return u**self.q / (self.q * self.varrho ** (self.q - 1)) + (a - self.varrho).relu()  # slope 0 at 0

    def derivative(self, a: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """sigma'(a) = (clamp(a, 0, varrho) / varrho)^(q-1)."""
        return (a.clamp(0, self.varrho) / self.varrho) ** (self.q - 1)


def activations(w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"]) -> Float[Tensor, "N P K"]:
    """a_p = <w_r, x_p> for every sample, patch and kernel."""
    return X @ w.T


def responses(w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU | None = None) -> Float[Tensor, "N K"]:
    """The encoder h_r(X) = sum_p sigma(<w_r, x_p>) (recalled form), [N, K].

    In cache-sized blocks where no gradient is asked for. MemoryError if the responses do not fit.
    """
    act = act or SmoothedReLU()
    follow = torch.is_grad_enabled() and (w.requires_grad or X.requires_grad)
    numbers = len(w) * len(X) * (4 * X.shape[1] if follow else 2)
    check_fits(f"responses of K = {len(w)} kernels to N = {len(X)} samples", numbers * X.element_size(), "N or K")
    if follow:
        return act(activations(w, X)).sum(1)
    return blocks(X, len(w), act.q, keep=False).answer(w / act.varrho).mul_(act.varrho)


def initial_kernels(K: int, d: int, seed: int, sigma_0: float = 0.05, purpose: str = "kernels") -> Float[Tensor, "K d"]:
    """w_r ~ N(0, sigma_0^2 I), [K, d], keyed by (seed, purpose). The form is recalled, sigma_0 = 0.05 is ours.

    Kernel r does not depend on K, so a pool of 200 contains the pool of 60.
    """
    check_integer("K", K, 1)
    check_integer("d", d, 1)
    check_real("sigma_0", sigma_0, 0, open_low=True)
    draws = generator(seed, purpose).standard_normal((K, d)) * sigma_0
    return torch.from_numpy(draws).to(torch.float32)
