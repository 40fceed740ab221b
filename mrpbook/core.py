"""Elementwise core of the gradient, compiled.

Between the two matrix products of a gradient every activation is read once or twice and overwritten. Numba compiles that
into one loop per sample whose numbers stay in the nearest cache. Activations are in units of varrho, as in `gradients`.
"""
import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

try:
    import numba
except ImportError:  # everything still runs, in `blocks.Blocks`
    numba = None


def available() -> bool:
    """Whether Numba is installed and switched on."""
    return numba is not None and not numba.config.DISABLE_JIT


class Core(NamedTuple):
    """Loops for one q over activations a [samples * P, K], C-contiguous NumPy arrays of one float type.

    answer(a, P, h): h[s] = sum_p sigma(a_p).
    pull(a, P, per_sample, beta): a_p <- (per_sample[s] - beta sigma(a_p)) sigma'(a_p).
    answer_and_pull(a, P, alpha, beta, tau): the same with per_sample = sum_p sigma(tau a_p) - alpha sum_p sigma(a_p).
    """

    answer: Callable
    pull: Callable
    answer_and_pull: Callable


@lru_cache
def core(q: int) -> Core:
    """The loops for sigma(a) = u^q / q + (max(a, 0) - u), sigma'(a) = u^(q-1), u = clamp(a, 0, 1).

    The first call of each in an installation compiles, for a second or two; the result is kept on disk (see `prepare`).
    """
    def compiled(loop):
        # contract: a * b + c in one instruction, and nothing else of fast-math. unwrap: checks of types may surround a loop
        settings = dict(nogil=True, fastmath={"contract"}, error_model="numpy")
        try:
            return numba.njit(cache=True, **settings)(inspect.unwrap(loop))
        except RuntimeError:  # no folder can be written: every process compiles for itself
            return numba.njit(**settings)(inspect.unwrap(loop))

    slope = q - 1

    @compiled
    def answer(a, P, h):
        zero, one, share = a.dtype.type(0), a.dtype.type(1), a.dtype.type(1 / q)
        h[:] = 0
        for i in range(len(a)):
            total, row = h[i // P], a[i]
            for r in range(len(row)):
                z = max(row[r], zero)
                u = min(z, one)
                total[r] += share * u**q + (z - u)

    @compiled
    def pull(a, P, per_sample, beta):
        zero, one, share = a.dtype.type(0), a.dtype.type(1), a.dtype.type(1 / q)
        for i in range(len(a)):
            level, row = per_sample[i // P], a[i]
            for r in range(len(row)):
                z = max(row[r], zero)
                u = min(z, one)
                row[r] = (level[r] - beta * (share * u**q + (z - u))) * u**slope

    @compiled
    def answer_and_pull(a, P, alpha, beta, tau):
        zero, one, share = a.dtype.type(0), a.dtype.type(1), a.dtype.type(1 / q)
        level = np.empty_like(a[0])
        for first in range(0, len(a), P):
            level[:] = 0
            for i in range(first, first + P):
                row = a[i]
                for r in range(len(row)):
                    z = max(row[r], zero)
                    u = min(z, one)
                    y = tau * z
                    v = min(y, one)
                    level[r] += (share * v**q + (y - v)) - alpha * (share * u**q + (z - u))
            for i in range(first, first + P):
                row = a[i]
                for r in range(len(row)):
                    z = max(row[r], zero)
                    u = min(z, one)
                    row[r] = (level[r] - beta * (share * u**q + (z - u))) * u**slope

    return Core(answer, pull, answer_and_pull)


def prepare(q: int = 4) -> None:
    """Compile the loops for q now, so that nothing that is timed or waited for has to. Without Numba: nothing."""
    for number in (np.float32, np.float64) if available() else ():
        a, one = np.zeros((1, 1), number), number(1)
        core(q).answer(a, 1, a.copy())
        core(q).pull(a, 1, a.copy(), one)
        core(q).answer_and_pull(a, 1, one, one, one)
