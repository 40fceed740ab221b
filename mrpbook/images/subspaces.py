"""Invariances in subspaces of one feature space: VICReg terms under one mask per augmentation.

After MAST (Huang et al. 2023, arXiv 2303.03679), of which the abstract and the first paragraphs were at hand. A learnable mask
per augmentation over the feature dimensions is found there, VICReg as its base in a third party's card; the terms of VICReg are
recalled; the sigmoid, the pairs, standardised features, the form of the penalty and of the weights by uncertainty are ours.
"""
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn import functional

from ..rng import generator
from ..validation import check_integer, check_real
from .vit import seeded

SMALL = 1e-4  # below the root of the variance, as recalled from VICReg


@dataclass(frozen=True)
class Weights:
    """What the terms weigh, all >= 0: lam (pairs agree), mu (variance), nu (covariance), beta (mean of the masks).

    25, 25 and 1 are recalled as VICReg's; nu = 2 and beta = 10 are ours, set on pilot seeds.

    tau: None, or > 0 for weights by uncertainty: a pair counts exp(-s), s >= 0 told by a head from the changed picture, and
    pays tau s (the heteroscedastic form; the paper's is unknown).
    """

    lam: float = 25.0
    mu: float = 25.0
    nu: float = 2.0
    beta: float = 10.0
    tau: float | None = None

    def __post_init__(self):
        for name in ("lam", "mu", "nu", "beta"):
            check_real(name, getattr(self, name), 0)
        if self.tau is not None:
            check_real("tau", self.tau, 0, open_low=True)


class Masks(nn.Module):
    """K masks over d features, m = sigmoid(4 theta), theta ~ N(0, spread^2); or `fixed` [K, d], which do not learn."""

    def __init__(self, K: int, d: int, seed: int, spread: float = 0.5, fixed: Float[Tensor, "K d"] | None = None):
        super().__init__()
        theta = torch.from_numpy(generator(seed, "subspaces: masks").standard_normal((K, d))).float() * spread
        self.theta = nn.Parameter(theta, requires_grad=fixed is None)
        self.register_buffer("fixed", fixed)

    def forward(self) -> Float[Tensor, "K d"]:
        return torch.sigmoid(4 * self.theta) if self.fixed is None else self.fixed


class Encoder(nn.Module):
    """A perceptron of these sizes whose features have mean 0 and variance 1 over a batch (in use: over the last batches).

    So the scale of a feature cannot make up for a small mask, and a mask means what it says (ours; VICReg leaves scales free).
    `uncertain(x)` [N, K] >= 0: one head per augmentation on the last hidden layer.
    """

    def __init__(self, sizes: tuple[int, ...], K: int, seed: int):
        super().__init__()
        with seeded(seed, "subspaces: encoder"):
            layers = [part for i, o in pairwise(sizes) for part in (nn.Linear(i, o), nn.LeakyReLU(0.2))]
            self.head = nn.Linear(sizes[-2], K)
        self.body, self.last = nn.Sequential(*layers[:-2]), layers[-2]
        self.scale = nn.BatchNorm1d(sizes[-1], affine=False)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, -2.0)  # weights near 1 at first

    def forward(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N d"]:
        return self.scale(self.last(self.body(x)))

    def uncertain(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N K"]:
        return functional.softplus(self.head(self.body(x)))


def distance(z: Float[Tensor, "*K N d"], other: Float[Tensor, "*K N d"]) -> Float[Tensor, "*K N"]:
    """s_i = ||z_i - z'_i||^2 / d."""
    return (z - other).square().mean(-1)


def hinge(z: Float[Tensor, "*K N d"]) -> Float[Tensor, "*K"]:
    """v(Z) = mean_j max(0, 1 - sqrt(var_j + 1e-4))."""
    return (1 - (z.var(-2) + SMALL).sqrt()).relu().mean(-1)


def covariance(z: Float[Tensor, "*K N d"]) -> Float[Tensor, "*K"]:
    """c(Z) = sum_{i != j} Cov_ij^2 / d."""
    z = z - z.mean(-2, keepdim=True)
    C = z.mT @ z / (z.shape[-2] - 1)
    return (C.square().sum((-2, -1)) - C.diagonal(dim1=-2, dim2=-1).square().sum(-1)) / z.shape[-1]


def loss(encoder: Encoder, masks: Float[Tensor, "K d"], x: Float[Tensor, "N D"], changed: list[Tensor], weights: Weights
         ) -> Float[Tensor, ""]:
    """(1/K) sum_k { lam mean_i w_ik s_ik + mu/2 [v(Z_0) + v(Z_k)] + nu [c(Z_0) + c(Z_k)] } + beta mean(M), all of the masked
    features Z_0 = m_k * f(x) and Z_k = m_k * f(x_k).

    changed: x_1 ... x_K, the same pictures after augmentation k alone. With K = 1, a mask of ones and everything changed at
    once this is VICReg with mu/2 for mu, on standardised features. w_ik = 1 without weights.tau. Raises ValueError if there are
    not as many changed batches as masks.
    """
    if len(changed) != len(masks):
        raise ValueError(f"changed: {len(changed)} batches for {len(masks)} masks: expected one for each")
    h = encoder(torch.cat([x, *changed])).unflatten(0, (-1, len(x)))
    z, other = masks[:, None] * h[0], masks[:, None] * h[1:]
    s = distance(z, other)
    if weights.tau is not None:
        doubt = torch.stack([encoder.uncertain(view)[:, k] for k, view in enumerate(changed)])
        s = (-doubt).exp() * s + weights.tau * doubt
    v, c = hinge(z) + hinge(other), covariance(z) + covariance(other)
    return weights.lam * s.mean() + weights.mu / 2 * v.mean() + weights.nu * c.mean() + weights.beta * masks.mean()


def train(encoder: Encoder, masks: Masks, pairs: Callable[[int], tuple[Tensor, list[Tensor]]], weights: Weights, steps: int,
          lr: float = 3e-3, speed: float = 3.0) -> list[float]:
    """Adam with a cosine schedule; masks learn at `speed` times the rate. pairs(step) gives x and the changed batches.

    The losses of all steps; encoder and masks are changed, and left in the mode for use. Raises ArithmeticError if the loss is
    no number.
    """
    check_integer("steps", steps, 0)
    groups = [dict(params=list(encoder.parameters())), dict(params=list(masks.parameters()), lr=speed * lr)]
    adam = torch.optim.Adam(groups, lr, fused=True)
    falls, losses = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(steps, 1)), []
    encoder.train()
    for step in range(steps):
        found = loss(encoder, masks(), *pairs(step), weights)
        adam.zero_grad()
        found.backward()
        adam.step()
        falls.step()
        losses.append(found.item())
        if losses[-1] != losses[-1]:
            raise ArithmeticError(f"the loss is no number at step {step}")
    encoder.eval()
    return losses


def shares(h: Float[Tensor, "N d"], changed: list[Tensor]) -> Float[Tensor, "K d"]:
    """rho_kj = mean_i (h_ij - h^k_ij)^2 / (2 var_j): the share of feature j that augmentation k changes, 0 (none of it) to 1
    (as if drawn anew). changed: features of the same pictures after augmentation k, [N, d] each."""
    return torch.stack([(h - other).square().mean(0) / 2 for other in changed]) / h.var(0).clamp_min(1e-9)


def best_masks(rho: Float[Tensor, "K d"], weights: Weights) -> Float[Tensor, "K d"]:
    """What every mask should be for given features of variance 1: it minimises lam 2 rho m^2 + mu (1 - m) + beta m in [0, 1]
    (the loss without its covariance term, derived): m = (mu - beta) / (4 lam rho), cut to [0, 1]."""
    return ((weights.mu - weights.beta) / (4 * weights.lam * rho.clamp_min(1e-9))).clamp(0, 1)


def overlap(masks: Float[Tensor, "K d"]) -> Float[Tensor, "K K"]:
    """How much masks close the same features: sum_j min(1 - m, 1 - m') / sum_j max(1 - m, 1 - m'), 0 to 1; 1 if both close
    nothing."""
    closed = 1 - masks
    least, most = (f(closed[:, None], closed[None]).sum(-1) for f in (torch.minimum, torch.maximum))
    return torch.where(most > 1e-6, least / most.clamp_min(1e-6), 1.0)


def fitted(h: Float[Tensor, "N a"], y: Float[Tensor, "N b"], first: int) -> Float64[Tensor, "n b"]:
    """Least squares of y on h, with a constant and a trace of ridge, fitted on the first rows: its values on the others."""
    a, y = torch.cat([h, torch.ones(len(h), 1)], 1).double(), y.double()
    w = torch.linalg.solve(a[:first].T @ a[:first] + 1e-6 * torch.eye(a.shape[1]), a[:first].T @ y[:first])
    return a[first:] @ w


def linear_r2(h: Float[Tensor, "N a"], y: Float[Tensor, "N b"], first: int) -> float:
    """R^2 of y from h by `fitted`, on the rows after the first; mean over y's numbers. About 0 for h without columns."""
    return explained(fitted(h, y, first), y[first:])


def explained(found: Float64[Tensor, "n b"], y: Float[Tensor, "n b"]) -> float:
    """R^2 of y from these values for it, mean over its numbers."""
    left = (found - y).square().mean(0)
    return float((1 - left / y.double().var(0, correction=0)).mean())


def moved(pictures: Float[Tensor, "N C H W"], shift: Float[Tensor, "N 2"], angle: Float[Tensor, "N"], gain: Float[Tensor, "N"]
          ) -> Float[Tensor, "N C H W"]:
    """Pictures turned about their middle by `angle` (radians), shifted by `shift` pixels (right, down) and dimmed by the factor
    `gain`; bilinear, black outside."""
    size = torch.tensor([pictures.shape[3], pictures.shape[2]]) / 2
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)  # where each pixel is fetched from
    back = -(turn @ (shift / size)[..., None])
    grid = functional.affine_grid(torch.cat([turn, back], 2), list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, align_corners=False) * gain[:, None, None, None]
