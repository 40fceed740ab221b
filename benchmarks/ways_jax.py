"""One gradient in JAX, on one core."""
from functools import cache

from mrpbook.objectives import NormalisedTeacher, RescaledTeacher

from .compare import Missing, Ready, Way
from .problems import ACT, Problem

BLOCK = 50  # samples, for the loop


@cache
def jax():
    """The module; conftest.py has set its threads to one before. Missing where it is not installed."""
    try:
        import jax
    except ImportError:
        raise Missing("JAX is not installed: pip install -e '.[bench]'") from None
    return jax


def sigma(a):
    u = jax().numpy.clip(a, 0, ACT.varrho)
    return u**ACT.q / (ACT.q * ACT.varrho ** (ACT.q - 1)) + jax().numpy.maximum(a - ACT.varrho, 0)


def slope(a):
    return (jax().numpy.clip(a, 0, ACT.varrho) / ACT.varrho) ** (ACT.q - 1)


def target(objective, a, h):
    """H from the activations a [N, P, K] and h [N, K]."""
    if isinstance(objective, RescaledTeacher):
        return sigma(objective.tau * a).sum(1)
    return normalised(objective, h)


def normalised(objective, h):
    assert isinstance(objective, NormalisedTeacher), objective
    return objective.A * h / jax().numpy.sqrt((h**2).mean(0))


def gap(objective, H, h, v):
    c, theta = objective.c, objective.theta
    return ((H - c * theta * h) ** 2 + c**2 * theta * (1 - theta) * v).sum() / (2 * len(h))


def loss(objective):
    """The closed-form loss of mrpbook.objectives for independent masks, word for word."""

    def of(w, X):
        a = X @ w.T
        s = sigma(a)
        h = s.sum(1)
        return gap(objective, target(objective, *map(jax().lax.stop_gradient, (a, h))), h, (s**2).sum(1))

    return of


def loss_patch_by_patch(objective):
    """The same as a Python loop over patches, which XLA fuses better than sums along an axis and takes longer to compile."""

    def of(w, X):
        h = v = H = 0
        for p in range(X.shape[1]):
            a = X[:, p] @ w.T
            s = sigma(a)
            h, v = h + s, v + s**2
            if isinstance(objective, RescaledTeacher):
                H = H + sigma(objective.tau * jax().lax.stop_gradient(a))
        if isinstance(objective, NormalisedTeacher):
            H = normalised(objective, jax().lax.stop_gradient(h))
        return gap(objective, H, h, v)

    return of


def closed_form_in_blocks(objective):
    """The closed-form direction of the rescaled teacher, one block of samples after the other."""
    alpha, beta = objective.weights(1)

    def of(w, X):
        N, P, d = X.shape

        def add(total, x):
            rows = x.reshape(-1, d)
            a = (rows @ w.T).reshape(-1, P, len(w))
            s = sigma(a)
            bracket = (target(objective, a, None) - alpha * s.sum(1))[:, None] - beta * s
            return total + (bracket * slope(a)).reshape(-1, len(w)).T @ rows, None

        block = next(b for b in range(min(BLOCK, N), 0, -1) if N % b == 0)
        total = jax().lax.scan(add, jax().numpy.zeros_like(w), X.reshape(-1, block, P, d))[0]
        return objective.c * objective.theta / N * total

    return of


def ready(function, problem: Problem, check, w=None) -> Ready:
    X, w = (jax().numpy.asarray(array.numpy()) for array in (problem.X, problem.w if w is None else w))
    compiled = jax().jit(function)
    return Ready(lambda: compiled(w, X).block_until_ready(), problem.work, check, problem.seeds)


def by_autodiff(problem: Problem, form=loss) -> Ready:
    return ready(jax().grad(form(problem.objective)), problem, problem.is_gradient)


def by_vmap(problem: Problem) -> Ready:
    gradients = jax().vmap(jax().grad(loss(problem.objective)), in_axes=(0, None))
    return ready(gradients, problem, problem.is_gradient, problem.w.view(problem.seeds, problem.K, problem.d))


def in_blocks(problem: Problem) -> Ready:
    jax()
    return ready(closed_form_in_blocks(problem.objective), problem, problem.is_direction)


def gradient_ways(problem: Problem) -> list[Way]:
    ways = [Way("jax.jit(jax.grad), closed-form mask", lambda: by_autodiff(problem), compiles=True),
            Way("the same, patch by patch", lambda: by_autodiff(problem, loss_patch_by_patch), compiles=True)]
    if isinstance(problem.objective, RescaledTeacher):
        ways.append(Way("our blocks in JAX, lax.scan", lambda: in_blocks(problem), compiles=True))
    return ways
