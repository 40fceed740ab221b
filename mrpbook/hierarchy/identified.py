"""Two views of a shared cause, and what an encoder of one of them holds.

The setting of theorem 2 of Kong et al. 2023 without its graph: x_v = g'(c, s_v) is visible, x_m = g(c, s_m) hidden, g and g'
invertible, c, s_v, s_m independent normal vectors. An encoder sees x_v and has `width` numbers for a decoder that predicts x_m
by squared error. Two-way R^2 by kernel ridge regression tells whether these numbers are c up to an invertible map, as for
instance by von Kuegelgen et al. 2021 (recalled); the paper's main text has no such measure.
"""
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from sklearn.kernel_ridge import KernelRidge
from torch import Tensor, nn

from ..images.vit import seeded
from ..rng import generator
from ..validation import check_choice, check_integer

KINDS = ("mixed", "positive", "signs", "nothing shared")


@dataclass(frozen=True)
class Views:
    """Draws of both views and of what made them: c [N, d], own_v [N, d], visible [N, 2 d], hidden [N, 2 d] or [N, d]."""

    c: Float[Tensor, "N d"]
    own_v: Float[Tensor, "N d"]
    visible: Float[Tensor, "N V"]
    hidden: Float[Tensor, "N H"]


def mixing(x: Float[Tensor, "N d"], seed: int, purpose: str, layers: int = 2) -> Float[Tensor, "N d"]:
    """An invertible function of x: a random rotation, then `layers` times leaky ReLU (slope 0.2) and another rotation."""
    g = generator(seed, f"identified: mixing {purpose}")
    for layer in range(layers + 1):
        q = np.linalg.qr(g.standard_normal((x.shape[1], x.shape[1])))[0]
        x = (nn.functional.leaky_relu(x, 0.2) if layer else x) @ torch.from_numpy(q).to(x.dtype)
    return x


def views(seed: int, N: int, part: str, kind: str = "mixed", d: int = 2) -> Views:
    """N draws. The functions depend on `seed`, the draws on (seed, part).

    kind: "mixed": as above. "positive": x_m = 1 / (1 + exp(-c)), number by number, with no noise. "signs": the same times 1 or
    -1 by coin toss: |x_m| still tells c, so theorem 1 counts c as shared, but E[x_m | c] = 0, so that squared error has nothing
    to learn. "nothing shared": as "mixed", but x_m comes from another c. ValueError for anything else.
    """
    check_choice("kind", kind, KINDS)
    g = generator(seed, f"identified: draws {part}")
    c, other, own_v, own_m = (torch.from_numpy(g.standard_normal((check_integer("N", N, 1), d))).float() for _ in range(4))
    visible = seen(seed, c, own_v)
    hidden = {"positive": c.sigmoid(), "signs": c.sigmoid() * own_m.sign()}.get(kind)
    if hidden is None:
        hidden = mixing(torch.cat([other if kind == "nothing shared" else c, own_m], 1), seed, "hidden")
    return Views(c, own_v, visible, hidden)


def mean_hidden(seed: int, c: Float[Tensor, "N d"], count: int = 200) -> Float[Tensor, "N H"]:
    """E[x_m | c] of kind "mixed", over `count` draws of s_m, the same for all c."""
    g = generator(seed, "identified: mean")
    own = torch.from_numpy(g.standard_normal((count, c.shape[1]))).float()
    return torch.stack([mixing(torch.cat([c, s.expand(len(c), -1)], 1), seed, "hidden") for s in own]).mean(0)


def seen(seed: int, c: Float[Tensor, "N d"], own_v: Float[Tensor, "N d"]) -> Float[Tensor, "N V"]:
    """x_v = g'(c, s_v), the function of this seed."""
    return mixing(torch.cat([c, own_v], 1), seed, "visible")


def perceptron(sizes: tuple[int, ...], seed: int, purpose: str) -> nn.Sequential:
    """Linear layers of these sizes with leaky ReLU between them; weights by (seed, purpose)."""
    with seeded(seed, f"identified: {purpose}"):
        layers = [part for i, o in pairwise(sizes) for part in (nn.Linear(i, o), nn.LeakyReLU(0.2))]
    return nn.Sequential(*layers[:-1])


def encoder(seed: int, data: Views, width: int = 2, steps: int = 1500, size: int = 512, lr: float = 3e-3) -> nn.Module:
    """The encoder, after training with a decoder that predicts the hidden view by squared error; AdamW with torch's default
    decay, cosine schedule."""
    V, H = data.visible.shape[1], data.hidden.shape[1]
    first, second = perceptron((V, 64, 64, width), seed, "encoder"), perceptron((width, 64, 64, H), seed, "decoder")
    adam = torch.optim.AdamW([*first.parameters(), *second.parameters()], lr, fused=True)
    falls, g = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(steps, 1)), generator(seed, "identified: batches")
    for _ in range(steps):
        index = torch.from_numpy(g.integers(len(data.visible), size=size))
        loss = (second(first(data.visible[index])) - data.hidden[index]).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        falls.step()
    return first.eval()


def explained(x: Float[Tensor, "N a"], y: Float[Tensor, "N b"], train: int) -> float:
    """R^2 of y from x by kernel ridge regression (Gaussian kernel, both standardised), fitted on the first `train` rows,
    measured on the others: pooled over the numbers of y, at most 1, about 0 if x says nothing, negative if it is worse than the
    mean."""
    x, y = ((z - z[:train].mean(0)) / z[:train].std(0).clamp_min(1e-6) for z in (x.double(), y.double()))
    fit = KernelRidge(alpha=0.1, kernel="rbf", gamma=0.5 / x.shape[1]).fit(x[:train].numpy(), y[:train].numpy())
    left = torch.from_numpy(fit.predict(x[train:].numpy())).view_as(y[train:]) - y[train:]
    return float(1 - left.square().mean() / (y[train:] - y[train:].mean(0)).square().mean())
