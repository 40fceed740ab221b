"""The same gradients, several times as fast.

Done for the whole batch each elementwise pass of a gradient goes through main memory. Done in blocks that stay in the
cache, and for a few hundred kernels at a time, little but the two matrix products remains.
"""
from jaxtyping import Float
from torch import Tensor

from .blocks import blocks
from .network import SmoothedReLU
from .objectives import NormalisedTeacher, Objective, PlainDecoder, RescaledTeacher
from .validation import check_same

WIDTH = 1024  # kernels at a time, so that their sum of pulls [WIDTH, d] stays in the cache; fewer make the products slower


class Descent:
    """direction = Descent(objective, X, K, act); direction(w) equals objective.descent(w, X, act).

    For the masked objectives of this package the closed form runs in blocks, compiled where Numba runs unless `compiled` is
    False, and fused on a GPU where triton is installed; any other Objective is called as it is. The returned tensor is reused
    by the next call. ValueError for kernels w of another shape than [K, d].
    """

    def __init__(self, objective: Objective, X: Float[Tensor, "N P d"], K: int, act: SmoothedReLU,
                 compiled: bool | None = None):
        self.objective, self.X, self.K, self.act = objective, X, K, act
        # not subclasses: their target differs
        self.fast = type(objective) in (NormalisedTeacher, RescaledTeacher, PlainDecoder)
        self.fused = _fused(objective, X, K, act) if X.is_cuda and self.fast else None
        if self.fast and self.fused is None:
            # parts of one width, so of one workspace: the last may overlap the one before
            width = -(-K // max(1, -(-K // WIDTH)))
            self.parts = [slice(min(i, K - width), min(i, K - width) + width) for i in range(0, K, max(1, width))]
            self.blocks = blocks(X, width, act.q, isinstance(objective, NormalisedTeacher), compiled)
            self.weights = objective.weights(X.shape[1])
            self.out = X.new_empty(K, X.shape[2])

    def __call__(self, w: Float[Tensor, "K d"]) -> Float[Tensor, "K d"]:
        check_same("shape of w", tuple(w.shape), "K and X", (self.K, self.X.shape[2]))
        if not self.fast:
            return self.objective.descent(w, self.X, self.act)
        if self.fused is not None:
            return self.fused(w)
        for part in self.parts:  # kernels are independent
            self.out[part] = self._pull(self.blocks, w[part] / self.act.varrho)
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
