"""One gradient, in every way."""
from mrpbook.objectives import NormalisedTeacher, RescaledTeacher

from . import ways, ways_jax
from .compare import Case
from .problems import Problem

OBJECTIVES = {"rescaled": RescaledTeacher(theta=0.75, tau=1.3), "normalised": NormalisedTeacher(theta=0.75)}
SIZES = {  # N, P, d, K; with 2,000 kernels `make bench` takes fewer samples, for time
    "tiny": [(12, 4, 6, 5)],
    "bench": [(1000, 16, 64, 200), (100, 16, 256, 2000)],
    "full": [(1000, 16, 64, 200), (1000, 16, 256, 2000)],
}
ROUNDS = {"tiny": 2, "bench": 5, "full": 9}


def cases(size):
    for shape in SIZES[size]:
        for name, objective in OBJECTIVES.items():
            problem = Problem(objective, *shape)
            all_ways = ways.gradient_ways(problem)
            all_ways[3:3] = ways_jax.gradient_ways(problem)
            yield Case(f"gradient, {name} teacher, {problem.size}", all_ways, ROUNDS[size], calls=3 if shape[3] < 1000 else 2)


def test_one_gradient(turn, timed):
    timed(turn)
