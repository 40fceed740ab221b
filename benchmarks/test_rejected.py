"""What was tried and not kept, and settings that were chosen: `make bench-full` only."""
import os
import time
from unittest.mock import patch

import torch
from joblib import Parallel, delayed

from mrpbook import gradients
from mrpbook.blocks import Blocks, CompiledBlocks
from mrpbook.core import available, core
from mrpbook.objectives import NormalisedTeacher, RescaledTeacher

from . import ways
from .compare import Case, Missing, Ready, Way
from .problems import ACT, Problem
from .test_stack import one_by_one

KiB = 1024
RESCALED, NORMALISED = RescaledTeacher(theta=0.75, tau=1.3), NormalisedTeacher(theta=0.75)


def with_blocks_of(problem, kind, size, compiled):
    with patch.object(kind, "BYTES", int(size)):
        return ways.blocked(problem, compiled)


def with_width(problem, width):
    with patch.object(gradients, "WIDTH", width):
        return ways.blocked(problem, True)


def convolution(problem: Problem) -> Ready:
    """Autograd of the closed-form loss with patches as positions of a convolution of width 1 and kernels as its channels."""
    objective, theta, positions = problem.objective, problem.objective.theta, problem.X.transpose(1, 2).contiguous()

    def loss(w, _):
        a = torch.nn.functional.conv1d(positions, w[:, :, None])
        s = ACT(a)
        H = objective.target(a.detach().transpose(1, 2), ACT)
        h, v = s.sum(2), (s**2).sum(2)
        return ((H - objective.c * theta * h) ** 2 + objective.c**2 * theta * (1 - theta) * v).sum() / (2 * problem.N)

    return Ready(ways.gradient_of(loss, problem), problem.work, problem.is_gradient, problem.seeds)


def compiled_closed_form(problem: Problem) -> Ready:
    ways.need_compiler()
    descent = torch.compile(lambda w, X: problem.objective.descent(w, X, ACT), dynamic=False)
    return Ready(lambda: descent(problem.w, problem.X), problem.work, problem.is_direction, problem.seeds)


def compiled_core(problem: Problem) -> Ready:
    """Blocks of 50 samples of the rescaled teacher, torch.compile on what is between the two products."""
    ways.need_compiler()
    objective, rows, size = problem.objective, problem.rows, 50 * problem.P
    alpha, beta = objective.weights(problem.P)
    a, out = rows.new_empty(min(size, len(rows)), problem.K), torch.empty_like(problem.w)

    @torch.compile(dynamic=False)
    def between(a):
        a = a.view(-1, problem.P, problem.K)
        s = ACT(a)
        bracket = (ACT(objective.tau * a).sum(1) - alpha * s.sum(1))[:, None] - beta * s
        return (bracket * ACT.derivative(a)).view(-1, problem.K)

    def call():
        out.zero_()
        for x in rows.split(size):
            out.addmm_(between(torch.mm(x, problem.w.T, out=a[:len(x)])).T, x)
        return out * (objective.c * objective.theta / problem.N)

    return Ready(call, problem.work, problem.is_direction, problem.seeds)


def recomputing(problem: Problem) -> Ready:
    """The normalised teacher with activations computed twice, so three products; we keep them, N P K numbers, and need two."""
    if not available():
        raise Missing("Numba is not installed")
    objective, P, loops, varrho = problem.objective, problem.P, core(ACT.q), ACT.varrho
    alpha, beta = objective.weights(P)
    samples = min(problem.N, max(1, CompiledBlocks.BYTES // (4 * P * problem.K)))
    a, h = torch.empty(samples * P, problem.K), torch.empty(problem.N, problem.K)
    blocks = list(zip(problem.rows.split(samples * P), h.split(samples), strict=True))

    def call():
        w, out = problem.w / varrho, torch.zeros_like(problem.w)
        for x, answers in blocks:
            loops.answer(torch.mm(x, w.T, out=a[:len(x)]).numpy(), P, answers.numpy())
        h.mul_(objective.scale((h**2).mean(0) * varrho**2) - alpha)
        for x, pulls in blocks:
            loops.pull(torch.mm(x, w.T, out=a[:len(x)]).numpy(), P, pulls.numpy(), pulls.numpy().dtype.type(beta))
            out.addmm_(a[:len(x)].T, x)
        return out * (varrho * objective.c * objective.theta / problem.N)

    return Ready(call, problem.work, problem.is_direction, problem.seeds)


def double(problem: Problem) -> Ready:
    X, w = problem.X.double(), problem.w.double()
    direction = gradients.Descent(problem.objective, X, problem.K, ACT)
    return Ready(lambda: direction(w), problem.work, problem.is_direction, problem.seeds)


def batched_products(problem: Problem) -> Ready:
    """torch.bmm over seeds, as data of their own would need: the products alone."""
    rows = problem.rows.expand(problem.seeds, -1, -1).contiguous()
    stack = problem.w.view(problem.seeds, problem.K, problem.d)
    a, out = rows.new_empty(problem.seeds, rows.shape[1], problem.K), torch.empty_like(stack)

    def call():
        torch.bmm(rows, stack.mT, out=a)
        return torch.bmm(a.mT, rows, out=out)

    def check(found):
        x = problem.rows.double()
        ways.same(found, problem.w.double() @ (x.T @ x))

    return Ready(call, problem.work, check, problem.seeds)


def many(problem, times):
    torch.set_num_threads(1)
    direction = ways.blocked(problem).call
    for _ in range(times):
        last = direction()
    return last


def two_processes(problem: Problem, times: int) -> Ready:
    work = Parallel(n_jobs=2)
    return Ready(lambda: work(delayed(many)(problem, times // 2) for _ in range(2)), times * problem.work,
                 lambda found: [problem.is_direction(one) for one in found], times)


def threads(problem: Problem, times: int, count: int) -> Ready:
    direction = ways.blocked(problem).call

    def call():
        torch.set_num_threads(count)
        try:
            for _ in range(times):
                last = direction()
            return last
        finally:
            torch.set_num_threads(1)

    return Ready(call, times * problem.work, problem.is_direction, times)


def cases(size):
    if size == "bench":
        return
    tiny = size == "tiny"
    rounds = 2 if tiny else 7
    problem = Problem(RESCALED, *((12, 4, 6, 5) if tiny else (1000, 16, 64, 200)))
    wide = Problem(RESCALED, *((12, 4, 6, 12) if tiny else (200, 16, 256, 2000)))
    stack = Problem(NORMALISED, *((12, 4, 6, 5, 3) if tiny else (100, 16, 64, 200, 64)))
    normalised = Problem(NORMALISED, problem.N, problem.P, problem.d, problem.K)
    peak = Way("a large product", ways.large_product, "peak")

    for name, kind in (("eager", Blocks), ("compiled", CompiledBlocks)):
        base = kind.BYTES // KiB
        found = [
            Way("whole batch" if factor == 1000 else f"blocks of {factor * base:g} KiB",
                lambda kind=kind, size=factor * base * KiB: with_blocks_of(problem, kind, size, kind is CompiledBlocks),
                "base" if factor == 1 else "")
            for factor in (1 / 16, 1 / 4, 1 / 2, 1, 2, 4, 1000)]
        yield Case(f"rejected: blocks, {name}, {problem.size}", [*found, peak], rounds)
    found = [Way(f"{width} kernels at a time", lambda width=width: with_width(wide, width),
                 "base" if width == gradients.WIDTH else "")
             for width in (128, 256, 512, 1024, 2048)]
    yield Case(f"rejected: width, {wide.size}", [*found, peak], rounds)

    yield Case(f"rejected: formulations, {problem.size}", [
        Way("autograd, patches as positions of a convolution", lambda: convolution(problem)),
        *([] if tiny else [
            Way("torch.compile, closed form", lambda: compiled_closed_form(problem), compiles=True),
            Way("torch.compile between the products, in blocks", lambda: compiled_core(problem), compiles=True)]),
        Way("blocked, compiled, float64", lambda: double(problem)),
        *ways.ours(problem), peak], rounds)
    yield Case(f"rejected: computing activations again, {normalised.size}", [
        Way("normalised teacher, activations computed again", lambda: recomputing(normalised)),
        *ways.ours(normalised), peak], rounds)
    yield Case(f"rejected: seeds, {stack.size}", [
        Way("blocked, seed by seed", lambda: one_by_one(stack)),
        Way("torch.bmm over seeds, the products alone", lambda: batched_products(stack)),
        *ways.ours(stack), *ways.yardsticks(stack)], rounds, calls=2)
    if not tiny and (os.cpu_count() or 1) > 1:
        yield Case(f"rejected: threads, wall time of 100 gradients, {normalised.size}", [
            Way("one process, two BLAS threads", lambda: threads(normalised, 100, 2)),
            Way("one process, one thread", lambda: threads(normalised, 100, 1)),
            Way("two processes, one thread each", lambda: two_processes(normalised, 100), "base")],
                   rounds, calls=1, clock=time.perf_counter)


def test_one_rejected_way(turn, timed):
    timed(turn)
