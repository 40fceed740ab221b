"""How the time of one gradient grows, beside its operation count."""
from mrpbook.objectives import NormalisedTeacher
from mrpbook.theory import all_captured_probability

from . import ways
from .compare import Case, Way
from .problems import Problem

BASE = {"N": 250, "P": 16, "d": 64, "K": 200}
AXES = {
    "N": (125, 250, 500, 1000, 2000),
    "P": (4, 8, 16, 32, 64),
    "d": (16, 32, 64, 128, 256, 512),
    "K": (25, 50, 100, 200, 400, 800, 1600),
    "seeds": (1, 4, 16, 64),
    "k": (5, 10, 20, 40, 80),
}
PROBABILITY = 0.95


def kernels_needed(n: int) -> int:
    """The fewest kernels that leave none of n semantics out with probability 0.95, by the capture law."""
    low, high = n, 20 * n
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if all_captured_probability(middle, n) >= PROBABILITY else (middle + 1, high)
    return low


def point(axis: str, value: int) -> Problem:
    """One axis moves, the others stay at BASE. Along k: n = 2k semantics, d = 3n as in chapter 3 (20 semantics, d = 60), and as
    many kernels as the capture law asks for, about n ln(20 n). Along seeds: networks of 200 kernels that share the data."""
    sizes = dict(BASE)
    if axis == "k":
        sizes |= {"d": 6 * value, "K": kernels_needed(2 * value)}
    elif axis == "seeds":
        sizes |= {"N": 100, "seeds": value}
    else:
        sizes[axis] = value
    return Problem(NormalisedTeacher(theta=0.9), **sizes)


def cases(size):
    for axis, values in AXES.items():
        points = {value: point(axis, value) for value in (values[:2] if size == "tiny" else values)}
        one = next(iter(points.values()))
        fixed = "d=6k, K by the capture law" if axis == "k" else " ".join(
            f"{name}={getattr(one, name)}" for name in BASE if name != axis)
        fixed = f"N={one.N} P={one.P} {fixed}" if axis == "k" else fixed
        found = [Way(f"{axis} = {value}" + (f", K = {p.K}" if axis == "k" else ""), lambda p=p: ways.blocked(p),
                     "base" if p is one else "") for value, p in points.items()]
        yield Case(f"scaling with {axis}, {fixed}", [*found, Way("a large product", ways.large_product, "peak")],
                   rounds={"tiny": 2, "bench": 5, "full": 9}[size])


def test_one_gradient_of_another_size(turn, timed):
    timed(turn)
