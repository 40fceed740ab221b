"""The same gradients, several times as fast.

Done for the whole batch each elementwise pass of a gradient goes through main memory. Done in blocks that stay in the
cache, and for a few hundred kernels at a time, little but the two matrix products remains.
"""
import itertools

from jaxtyping import Float
from torch import Tensor

from .blocks import blocks
from .network import SmoothedReLU
from .objectives import NormalisedTeacher, Objective, PlainDecoder, RescaledTeacher

WIDTH = 1024  # kernels at a time, so that their sum of pulls [WIDTH, d] stays in the cache; fewer make the products slower


class Descent:
    """direction = Descent(objective, X, K, act); direction(w) equals objective.descent(w, X, act).

    For the masked objectives of this package the closed form runs in blocks, compiled where Numba runs unless `compiled` is
    False, and fused on a GPU where triton is installed; any other Objective is called as it is. The returned tensor is reused
    by the next call.
    """

    def __init__(self, objective: Objective, X: Float[Tensor, "N P d"], K: int, act: SmoothedReLU,
                 compiled: bool | None = None):
        self.objective, self.X, self.act = objective, X, act
        # not subclasses: their target differs
        self.fast = type(objective) in (NormalisedTeacher, RescaledTeacher, PlainDecoder)
        self.fused = _fused(objective, X, K, act) if X.is_cuda and self.fast else None
        if self.fast and self.fused is None:
            parts = -(-K // WIDTH)
            edges = [i * K // parts for i in range(parts + 1)]
            self.parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
            keep = isinstance(objective, NormalisedTeacher)
            widths = {p.stop - p.start for p in self.parts}  # nearly equal parts: at most two
            self.blocks = {width: blocks(X, width, act.q, keep, compiled) for width in widths}
            self.weights = objective.weights(X.shape[1])
            self.out = X.new_empty(K, X.shape[2])

    def __call__(self, w: Float[Tensor, "K d"]) -> Float[Tensor, "K d"]:
        if not self.fast:
            return self.objective.descent(w, self.X, self.act)
        if self.fused is not None:
            return self.fused(w)
        for part in self.parts:  # kernels are independent
            self.out[part] = self._pull(self.blocks[part.stop - part.start], w[part] / self.act.varrho)
        return self.out.mul_(self.act.varrho * self.objective.c * self.objective.theta / len(self.X))

    def _pull(self, b, w):
        alpha, beta = self.weights
        if not b.keep:
            return b.answer_and_pull(w, alpha, beta, getattr(self.objective, "tau", 1.0))
        # the normalised target needs the mean square response over all the data before any pull
        h = b.answer(w)
        return b.pull(h * (self.objective.scale((h**2).mean(0) * self.act.varrho**2) - alpha), beta)


def _fused(objective, X, K, act):
    """The gradient of `fused`, or None where triton is missing or the data are not what it takes."""
    try:
        from .fused import FusedDescent

        return FusedDescent(objective, X, K, act)
    except (ImportError, ValueError):
        return None
