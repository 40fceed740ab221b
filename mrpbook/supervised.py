"""Supervised learning: kernels and head by descent."""
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .blocks import blocks
from .network import SmoothedReLU, responses
from .validation import check_choice, check_integer, check_real


@dataclass(frozen=True)
class Classifier:
    """F_i(X) = sum_r u_ir h_r(X): kernels w [K, d], head u [k, K], no bias. loss: training cross-entropy where it
    stopped; steps: how many it took; reached: whether the wanted loss was reached.
    """

    w: Float[Tensor, "K d"]
    u: Float[Tensor, "k K"]
    act: SmoothedReLU
    loss: float = float("nan")
    steps: int = 0
    reached: bool = True

    def scores(self, X: Float[Tensor, "N P d"]) -> Float[Tensor, "N k"]:
        return responses(self.w, X, self.act) @ self.u.T

    def correct(self, X: Float[Tensor, "N P d"], y: Int[Tensor, "N"]) -> Bool[Tensor, "N"]:
        """Whether each sample is classified correctly [N]. A tie is an error: silence is not an answer."""
        return margins(self.scores(X), y) > 0


def margins(scores: Float[Tensor, "N k"], y: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
    """F_y - max over j != y of F_j, [N]."""
    own = scores.gather(1, y[:, None])[:, 0]
    return own - scores.scatter(1, y[:, None], -torch.inf).amax(1)


def fixed_head(k: int, m: int) -> Float[Tensor, "k K"]:
    """u_ir = 1 for the m kernels of class i, else 0: the network of Allen-Zhu & Li (recalled), K = k m."""
    return torch.eye(k).repeat_interleave(m, dim=1)


def train(X: Float[Tensor, "N P d"], y: Int[Tensor, "N"], w0: Float[Tensor, "K d"], u0: Float[Tensor, "k K"],
          act: SmoothedReLU | None = None, *, lr: float = 8.0, lr_head: float = 0.0, loss: float = 0.01,
          steps: int = 3000, optimiser: str = "descent", check_every: int = 10) -> Classifier:
    """Full-batch training of kernels and head on the cross-entropy until the training loss reaches `loss`.

    lr: rate of the kernels, lr_head: rate of the head (0 keeps it fixed), both >= 0; optimiser: 'descent' (plain) or
    'adam'. Starting from pretrained w0 this is fine-tuning. Source of the fixed-head setting: recalled from
    Allen-Zhu & Li; rates and stopping are ours. Raises ValueError for shapes or rates that do not fit.
    """
    act = act or SmoothedReLU()
    check_real("lr", lr, 0)
    check_real("lr_head", lr_head, 0)
    check_real("loss", loss, 0, open_low=True)
    check_integer("steps", steps, 1)
    check_integer("check_every", check_every, 1)
    check_choice("optimiser", optimiser, ("descent", "adam"))
    if u0.shape[1] != len(w0) or len(y) != len(X) or int(y.max()) >= len(u0):
        raise ValueError(f"u0 {tuple(u0.shape)}, w0 {tuple(w0.shape)}, X {tuple(X.shape)}, y up to {int(y.max())}: expected "
                         "u0 [k, K], w0 [K, d], X [N, P, d], y [N] below k")
    X, w, u = X.detach(), w0.detach().clone(), u0.detach().clone()
    network = Network(X, y, len(w0), act)
    rates = {"w": lr, "u": lr_head}
    adam = torch.optim.Adam([{"params": [w], "lr": lr}, {"params": [u], "lr": lr_head}]) if optimiser == "adam" else None
    for step in range(steps + 1):
        value, gw, gu = network.gradient(w, u, head=lr_head > 0)
        if (step % check_every == 0 or step == steps) and float(value) <= loss:
            return Classifier(w, u, act, float(value), step, True)
        if step == steps:
            break
        if adam is None:
            w.add_(gw, alpha=-rates["w"])
            if gu is not None:
                u.add_(gu, alpha=-rates["u"])
        else:
            w.grad, u.grad = gw, gu
            adam.step()
    return Classifier(w, u, act, float(value), steps, False)


class Network:
    """Loss and closed-form gradients of F = u h(X) on the mean cross-entropy, in blocks."""

    def __init__(self, X: Float[Tensor, "N P d"], y: Int[Tensor, "N"], K: int, act: SmoothedReLU):
        self.blocks, self.y, self.varrho = blocks(X, K, act.q, keep=True), y, act.varrho

    def gradient(self, w, u, head: bool):
        """(loss, d loss / d w [K, d], d loss / d u [k, K] or None)."""
        h = self.blocks.answer(w / self.varrho) * self.varrho
        log_p = torch.log_softmax(h @ u.T, 1)
        value = -log_p.gather(1, self.y[:, None]).mean()
        residual = log_p.exp()
        residual[torch.arange(len(h)), self.y] -= 1
        residual /= len(h)
        gw = self.blocks.pull(residual @ u, 0.0)
        return value, gw, residual.T @ h if head else None
