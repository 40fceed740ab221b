"""Whole draws of chapter 3, in one process."""
from unittest.mock import patch

from mrpbook.gradients import Descent
from mrpbook.studies import capture

from . import ways
from .compare import Case, Ready, Way

SEED = 1000  # the first of the chapter
ARGUMENTS = {"to time 300, kernels left over one by one": {}, "until all semantics are captured": {"to_T": True}}


def counted(function):
    """(what function returns, gradients computed, GFLOP of their matrix products)."""
    steps, work, plain = 0, 0.0, Descent.__call__

    def counting(self, w):
        nonlocal steps, work
        steps += 1
        work += 4e-9 * self.X.numel() * len(w)
        return plain(self, w)

    with patch.object(Descent, "__call__", counting):
        return function(), steps, work


def draw(**arguments) -> Ready:
    def call():
        return capture.race(SEED, **arguments)

    first, steps, work = counted(call)

    def check(found):
        assert float(found["T"]) == float(first["T"]) and int(found["count_T"]) == int(first["count_T"])

    return Ready(call, work, check, steps)


def cases(size):
    small = {"K": 20, "time": 20, "limit": 20, "patience": 20} if size == "tiny" else {}
    for noise in (0.1, 0.3)[:1 if size == "tiny" else 2]:
        found = [Way(name, lambda a=a, noise=noise: draw(noise=noise, **a, **small), "" if a else "base")
                 for name, a in ARGUMENTS.items()]
        yield Case(f"one draw of chapter 3, noise {noise}", [*found, Way("a large product", ways.large_product, "peak")],
                   rounds={"tiny": 2, "bench": 3, "full": 7}[size], calls=1)


def test_one_draw(turn, timed):
    timed(turn)
