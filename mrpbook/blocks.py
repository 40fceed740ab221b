"""A gradient's passes over cache-sized blocks.

One gradient is two matrix products and, between them, elementwise passes over the activations a = <w, x_p>. Everything here is
in units of varrho, kernels too: then the powers in sigma need no factor.
"""
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from .core import available, core
from .memory import check_fits
from .validation import check_same


class Blocks:
    """Workspace for data X [N, P, d], K kernels and sigma of power q; elementwise passes are Torch's own, in place.

    keep: hold sigma and sigma' of the whole batch (2 N P K numbers), so that all answers are known before the first `pull`;
    without it one block is held at a time.
    """

    ARRAYS = 2  # of kept rows
    BYTES = 1536 * 1024  # of one [block * P, K] array; measured beside 512 KiB of cache: flat from 768 to 3072 KiB

    def __init__(self, X: Float[Tensor, "N P d"], K: int, q: int, keep: bool):
        self.N, self.P, self.d = X.shape
        self.K, self.q, self.keep = K, q, keep
        size = self.BYTES if X.device.type == "cpu" else 2**28  # elsewhere few launches count, not the cache
        self.block = max(1, min(self.N, size // (X.element_size() * self.P * max(1, K))))
        if X.device.type == "cpu":
            held = (self.ARRAYS * self.P + 3) * self.N if keep else self.ARRAYS * self.block * self.P + self.N
            check_fits(f"a gradient for N = {self.N}, P = {self.P}, K = {K}", held * K * X.element_size(), "N or K")
        self.rows = X.reshape(self.N * self.P, self.d).contiguous()
        self.h, self.out = X.new_empty(self.N, K), X.new_empty(K, self.d)
        self.allocate(self.block * self.P, (self.N if keep else self.block) * self.P)

    def allocate(self, rows: int, kept: int) -> None:
        """Buffers of `rows` rows for one block, of `kept` for what the pull needs."""
        self.a, self.u, self.teacher = (self.h.new_empty(rows, self.K) for _ in range(3))
        self.sigma, self.slope = (self.h.new_empty(kept, self.K) for _ in range(2))

    def spans(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """Blocks as (samples, rows of what is kept, rows of X)."""
        for i in range(0, self.N, self.block):
            j = min(i + self.block, self.N)
            rows = slice(i * self.P, j * self.P)
            yield slice(i, j), rows if self.keep else slice(0, (j - i) * self.P), self.rows[rows]

    def answer(self, w: Float[Tensor, "K d"]) -> Float[Tensor, "N K"]:
        """h = sum_p sigma(a_p); what `pull` needs is kept. ValueError for kernels of another number or dimension."""
        check_same("shape of w", tuple(w.shape), "K and X", (self.K, self.d))
        for samples, rows, x in self.spans():
            self.h[samples] = self._activate(torch.mm(x, w.T, out=self.a[:len(x)]), rows)
        return self.h

    def pull(self, per_sample: Float[Tensor, "N K"], beta: float) -> Float[Tensor, "K d"]:
        """sum_n sum_p [per_sample_n - beta sigma(a_p)] sigma'(a_p) x_p at the kernels of the last `answer`; once."""
        self.out.zero_()
        for samples, rows, x in self.spans():
            self._pull(per_sample[samples], beta, rows, x)
        return self.out

    def answer_and_pull(self, w: Float[Tensor, "K d"], alpha: float, beta: float, tau: float = 1.0) -> Float[Tensor, "K d"]:
        """The same with per_sample = sum_p sigma(tau a_p) - alpha sum_p sigma(a_p), one block after the other."""
        self.out.zero_()
        for _, rows, x in self.spans():
            a = torch.mm(x, w.T, out=self.a[:len(x)])
            scaled = torch.mul(a, tau, out=self.teacher[:len(x)]) if tau != 1 else None
            target = None if scaled is None else self._activate(scaled, rows)
            h = self._activate(a, rows)
            self._pull((h if target is None else target) - alpha * h, beta, rows, x)
        return self.out

    def _activate(self, a, rows):
        """Keep sigma(a) and sigma'(a), overwrite a; returns the sum over patches of the former."""
        u = torch.clamp(a, 0, 1, out=self.u[:len(a)])
        slope = torch.pow(u, self.q - 1, out=self.slope[rows])
        sigma = torch.addcmul(a.sub_(u).clamp_min_(0), slope, u, value=1 / self.q, out=self.sigma[rows])
        return sigma.view(-1, self.P, self.K).sum(1)

    def _pull(self, per_sample, beta, rows, x):
        bracket = self.sigma[rows].view(-1, self.P, self.K)
        torch.add(per_sample[:, None], bracket, alpha=-beta, out=bracket)
        self.out.addmm_(self.sigma[rows].mul_(self.slope[rows]).T, x)


class CompiledBlocks(Blocks):
    """The same with the elementwise passes of `core`, which keep and overwrite one array: the activations (N P K numbers)."""

    ARRAYS = 1
    BYTES = 2048 * 1024  # larger than above: the passes are few, and long products are faster

    def allocate(self, rows, kept):
        self.core, self.number = core(self.q), self.h.numpy().dtype.type
        self.a = self.h.new_empty(kept, self.K)

    def answer(self, w):
        check_same("shape of w", tuple(w.shape), "K and X", (self.K, self.d))
        for samples, rows, x in self.spans():
            self.core.answer(torch.mm(x, w.T, out=self.a[rows]).numpy(), self.P, self.h[samples].numpy())
        return self.h

    def answer_and_pull(self, w, alpha, beta, tau=1.0):
        self.out.zero_()
        for _, rows, x in self.spans():
            a = torch.mm(x, w.T, out=self.a[rows])
            self.core.answer_and_pull(a.numpy(), self.P, self.number(alpha), self.number(beta), self.number(tau))
            self.out.addmm_(a.T, x)
        return self.out

    def _pull(self, per_sample, beta, rows, x):
        a = self.a[rows]
        self.core.pull(a.numpy(), self.P, per_sample.contiguous().numpy(), self.number(beta))
        self.out.addmm_(a.T, x)


def blocks(X: Float[Tensor, "N P d"], K: int, q: int, keep: bool, compiled: bool | None = None) -> Blocks:
    """The faster workspace that runs here; compiled=True or False insists on one. Both give the same numbers to rounding.

    ValueError if compiled is True where Numba is missing or switched off, or the data are not float32 or float64 on a CPU.
    """
    possible = available() and X.device.type == "cpu" and X.dtype in (torch.float32, torch.float64)
    if compiled and not possible:
        raise ValueError("compiled = True: allowed where Numba is installed and switched on, for float32 or float64 on a CPU")
    return (CompiledBlocks if possible and compiled is not False else Blocks)(X, K, q, keep)
