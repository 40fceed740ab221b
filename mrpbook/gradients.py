"""The same gradients, in cache-sized blocks.

One gradient is two matrix products and a dozen elementwise passes over [N, P, K] activations. Done for the whole batch
each pass goes through main memory; done in place, in blocks that stay in the cache, little but the products remains.
"""
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from .network import SmoothedReLU
from .objectives import NormalisedTeacher, Objective, PlainDecoder, RescaledTeacher

BLOCK_BYTES = 768 * 1024  # of one [block * P, K] array; measured on a 512 KiB cache: flat from 512 to 1024 KiB


class Blocks:
    """Workspace for data X [N, P, d] and K kernels.

    keep: hold sigma and sigma' of the whole batch (2 N P K numbers), for objectives that need a statistic of all
    responses before the first pull.
    """

    def __init__(self, X: Float[Tensor, "N P d"], K: int, act: SmoothedReLU, keep: bool):
        self.N, self.P, self.d = X.shape
        self.K, self.act = K, act
        self.rows = X.reshape(self.N * self.P, self.d).contiguous()
        self.block = min(self.N, max(1, BLOCK_BYTES // (X.element_size() * self.P * K)))
        size = self.block * self.P
        self.a, self.u, self.teacher = (X.new_empty(size, K) for _ in range(3))
        self.sigma, self.slope = (X.new_empty(self.N * self.P if keep else size, K) for _ in range(2))
        self.keep = keep
        self.h = X.new_empty(self.N, K)

    def spans(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """Blocks as (samples, rows of the workspace, rows of X)."""
        for i in range(0, self.N, self.block):
            j = min(i + self.block, self.N)
            rows = slice(i * self.P, j * self.P)
            yield slice(i, j), rows if self.keep else slice(0, (j - i) * self.P), self.rows[rows]

    def activate(self, a: Tensor, sigma: Tensor, slope: Tensor) -> Tensor:
        """From a / varrho write sigma(a) / varrho and sigma'(a), all [rows, K]; returns the sum over patches of the
        former. In units of varrho the powers need no factor, which saves a pass. Overwrites a.
        """
        u = torch.clamp(a, 0, 1, out=self.u[:len(a)])
        torch.pow(u, self.act.q - 1, out=slope)
        torch.addcmul(a.sub_(u).clamp_min_(0), slope, u, value=1 / self.act.q, out=sigma)
        return sigma.view(-1, self.P, self.K).sum(1)

    def forward(self, w: Tensor, samples: slice, rows: slice, x: Tensor, tau: float | None = None) -> Tensor | None:
        """For one block and kernels w / varrho: h / varrho into self.h, sigma and sigma' into the workspace; with tau,
        returns sum_p sigma(tau a_p) / varrho.
        """
        a = torch.mm(x, w.T, out=self.a[:len(x)])
        target = None
        if tau is not None:
            target = self.activate(torch.mul(a, tau, out=self.teacher[:len(x)]), self.sigma[rows], self.slope[rows])
        self.h[samples] = self.activate(a, self.sigma[rows], self.slope[rows])
        return target

    def pull(self, per_sample: Tensor, beta: float, rows: slice, x: Tensor, out: Tensor) -> None:
        """out += sum over the block of [per_sample - beta sigma(a_p)] sigma'(a_p) x_p. Overwrites the block's sigma."""
        bracket = self.sigma[rows].view(-1, self.P, self.K)
        torch.add(per_sample[:, None], bracket, alpha=-beta, out=bracket)
        out.addmm_(self.sigma[rows].mul_(self.slope[rows]).T, x)


class Descent:
    """direction = Descent(objective, X, K, act); direction(w) equals objective.descent(w, X, act).

    For the masked objectives of this package the closed form runs in blocks; any other Objective is called as it is.
    The returned tensor is reused by the next call.
    """

    def __init__(self, objective: Objective, X: Float[Tensor, "N P d"], K: int, act: SmoothedReLU):
        self.objective, self.X, self.act = objective, X, act
        # not subclasses: their target differs
        self.fast = type(objective) in (NormalisedTeacher, RescaledTeacher, PlainDecoder)
        if self.fast:
            self.two_pass = isinstance(objective, NormalisedTeacher)
            self.blocks = Blocks(X, K, act, keep=self.two_pass)
            self.alpha, self.beta = objective.weights(X.shape[1])
            self.out = X.new_empty(K, X.shape[2])

    def __call__(self, w: Float[Tensor, "K d"]) -> Float[Tensor, "K d"]:
        if not self.fast:
            return self.objective.descent(w, self.X, self.act)
        varrho = self.act.varrho
        self.out.zero_()
        self._two_passes(w / varrho) if self.two_pass else self._one_pass(w / varrho)
        return self.out.mul_(varrho * self.objective.c * self.objective.theta / self.blocks.N)

    def _one_pass(self, w):
        b, tau = self.blocks, getattr(self.objective, "tau", None)
        for samples, rows, x in b.spans():
            target = b.forward(w, samples, rows, x, tau)
            h = b.h[samples]
            b.pull((h if target is None else target) - self.alpha * h, self.beta, rows, x, self.out)

    def _two_passes(self, w):
        # the normalised target needs the mean square response over all the data before any pull
        b = self.blocks
        for span in b.spans():
            b.forward(w, *span)
        per_sample = b.h * (self.objective.scale((b.h**2).mean(0) * self.act.varrho**2) - self.alpha)
        for samples, rows, x in b.spans():
            b.pull(per_sample[samples], self.beta, rows, x, self.out)
