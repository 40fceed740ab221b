"""One gradient in PyTorch: by autograd, compiled, in closed form, in blocks, and the matrix products alone."""
import os
import shutil
from dataclasses import replace

import torch

from mrpbook.blocks import CompiledBlocks
from mrpbook.core import available
from mrpbook.gradients import WIDTH, Descent

from .compare import Missing, Ready, Way
from .problems import ACT, Problem, same

PEAK = 1024  # side of the large product


def need_compiler() -> None:
    if not any(shutil.which(name) for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++") if name):
        raise Missing("there is no C++ compiler")


def gradient_of(loss, problem: Problem):
    """loss(w, X) -> its gradient by autograd, as a function without arguments."""
    X, w = problem.X, problem.w

    def call():
        leaf = w.clone().requires_grad_()
        return torch.autograd.grad(loss(leaf, X), leaf)[0]

    return call


def sampled_loss(objective, w, X, kept):
    """The masked loss for one mask per sample, kept [N, P, 1] of 0 and 1; the mean over masks is objective.loss."""
    a = X @ w.T
    target = objective.target(a.detach(), ACT)
    return ((target - objective.c * (kept * ACT(a)).sum(1)) ** 2).sum() / (2 * len(X))


def autograd_sampled(problem: Problem) -> Ready:
    objective, shape = problem.objective, (problem.N, problem.P, 1)

    def check(_):  # a mask that keeps everything: the loss with theta = 1
        unmasked = replace(problem, objective=replace(objective, theta=1.0))
        unmasked.is_gradient(gradient_of(lambda w, X: sampled_loss(unmasked.objective, w, X, torch.ones(shape)), problem)())

    def loss(w, X):
        return sampled_loss(objective, w, X, (torch.rand(shape) < objective.theta).float())

    return Ready(gradient_of(loss, problem), problem.work, check, problem.seeds)


def closed_loss(problem: Problem):
    return lambda w, X: problem.objective.loss(w, X, ACT)


def autograd_closed(problem: Problem) -> Ready:
    return Ready(gradient_of(closed_loss(problem), problem), problem.work, problem.is_gradient, problem.seeds)


def autograd_compiled(problem: Problem) -> Ready:
    need_compiler()
    loss = torch.compile(closed_loss(problem), dynamic=False)
    return Ready(gradient_of(loss, problem), problem.work, problem.is_gradient, problem.seeds)


def closed_form(problem: Problem) -> Ready:
    return Ready(lambda: problem.objective.descent(problem.w, problem.X, ACT), problem.work, problem.is_direction,
                 problem.seeds)


def blocked(problem: Problem, compiled: bool | None = None) -> Ready:
    """mrpbook.gradients.Descent: eager, compiled, or as it decides itself (None)."""
    if compiled and not available():
        raise Missing("Numba is not installed")
    direction = Descent(problem.objective, problem.X, len(problem.w), ACT, compiled)
    return Ready(lambda: direction(problem.w), problem.work, problem.is_direction, problem.seeds)


def products(problem: Problem) -> Ready:
    """X w^T and g^T X, with g given, into arrays that are there already."""
    rows, w = problem.rows, problem.w
    a, g, out = rows.new_empty(len(rows), len(w)), torch.randn(len(rows), len(w)), torch.empty_like(w)

    def call():
        torch.mm(rows, w.T, out=a)
        return torch.mm(g.T, rows, out=out)

    def check(found):
        same(found, g.double().T @ rows.double())
        same(a, rows.double() @ w.double().T)

    return Ready(call, problem.work, check, problem.seeds)


def products_in_blocks(problem: Problem) -> Ready:
    """The same products in the blocks of `blocked`: g is the array that holds the block's X w^T."""
    rows, parts = problem.rows, problem.w.tensor_split(-(-len(problem.w) // WIDTH))
    size = max(1, CompiledBlocks.BYTES // (4 * problem.P * len(parts[0]))) * problem.P
    buffers = [(rows.new_empty(min(size, len(rows)), len(part)), torch.empty_like(part)) for part in parts]

    def call():
        for part, (a, out) in zip(parts, buffers, strict=True):
            out.zero_()
            for x in rows.split(size):
                torch.mm(x, part.T, out=a[:len(x)])
                out.addmm_(a[:len(x)].T, x)
        return torch.cat([out for _, out in buffers])

    return Ready(call, problem.work, lambda found: same(found, problem.w.double() @ rows.double().T @ rows.double()),
                 problem.seeds)


def large_product() -> Ready:
    a, b, out = torch.randn(PEAK, PEAK), torch.randn(PEAK, PEAK), torch.empty(PEAK, PEAK)
    return Ready(lambda: torch.mm(a, b, out=out), 2e-9 * PEAK**3, lambda found: same(found[:8], a[:8].double() @ b.double()))


def ours(problem: Problem) -> list[Way]:
    return [Way("blocked, eager", lambda: blocked(problem, False), "ours"),
            Way("blocked, compiled", lambda: blocked(problem, True), "ours compiled", compiles=True)]


def yardsticks(problem: Problem) -> list[Way]:
    """The products of this problem alone, and a large product."""
    return [Way("the two products alone", lambda: products(problem), "floor"), Way("a large product", large_product, "peak")]


def gradient_ways(problem: Problem) -> list[Way]:
    return [
        Way("PyTorch autograd, sampled mask", lambda: autograd_sampled(problem)),
        Way("PyTorch autograd, closed-form mask", lambda: autograd_closed(problem)),
        Way("torch.compile, closed-form mask", lambda: autograd_compiled(problem), compiles=True),
        Way("closed form, whole batch", lambda: closed_form(problem)),
        *ours(problem),
        Way("the two products alone, in blocks", lambda: products_in_blocks(problem)),
        *yardsticks(problem),
    ]
