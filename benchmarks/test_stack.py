"""Many seeds that share their data: one product for all, or one network at a time, or vmap."""
import torch

from mrpbook.objectives import NormalisedTeacher, RescaledTeacher

from . import ways, ways_jax
from .compare import Case, Ready, Way
from .problems import Problem

OBJECTIVES = {"rescaled": RescaledTeacher(theta=0.75, tau=1.3), "normalised": NormalisedTeacher(theta=0.75)}
SIZES = {"tiny": (12, 4, 6, 5, 3), "bench": (100, 16, 64, 200, 64), "full": (250, 16, 64, 200, 64)}  # N, P, d, K, seeds
ROUNDS = {"tiny": 2, "bench": 4, "full": 7}


def torch_vmap(problem: Problem) -> Ready:
    stack = problem.w.view(problem.seeds, problem.K, problem.d)
    gradients = torch.func.vmap(torch.func.grad(ways.closed_loss(problem)), in_dims=(0, None))
    return Ready(lambda: gradients(stack, problem.X), problem.work, problem.is_gradient, problem.seeds)


def one_by_one(problem: Problem) -> Ready:
    """The blocked gradient of each seed in turn."""
    stack = problem.w.view(problem.seeds, problem.K, problem.d)
    direction = ways.Descent(problem.objective, problem.X, problem.K, ways.ACT)
    return Ready(lambda: torch.stack([direction(w).clone() for w in stack]), problem.work, problem.is_direction, problem.seeds)


def stack_ways(problem: Problem, size: str) -> list[Way]:
    slow = [] if size == "bench" else [Way("closed form, whole batch", lambda: ways.closed_form(problem))]
    return [
        Way("torch.func.vmap(grad)", lambda: torch_vmap(problem)),
        Way("jax.vmap(jax.grad), jitted", lambda: ways_jax.by_vmap(problem), compiles=True),
        *slow,
        Way("blocked, seed by seed", lambda: one_by_one(problem)),
        *ways.ours(problem),
        *ways.yardsticks(problem),
    ]


def cases(size):
    for name, objective in OBJECTIVES.items():
        if name == "normalised" or size != "bench":
            problem = Problem(objective, *SIZES[size])
            yield Case(f"stack, {name} teacher, {problem.size}", stack_ways(problem, size), ROUNDS[size], calls=2)


def test_one_gradient_of_a_stack(turn, timed):
    timed(turn)
