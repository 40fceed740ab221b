"""One gradient, timed in turns."""
import time

import torch

from ..gradients import Descent
from ..network import SmoothedReLU
from ..objectives import RescaledTeacher


def gradient(rounds: int = 8, N: int = 1000, P: int = 16, d: int = 64, K: int = 200, seed: int = 0) -> dict:
    """Processor seconds of one gradient of the rescaled teacher's loss, [rounds] for each way.

    `autograd`: one sampled mask per sample; `whole`: the closed form on the whole batch; `blocks`: the closed form in blocks,
    which is first asserted to equal `whole`. The ways take turns, so that a busy machine slows all or none; in each turn the
    fastest of three calls counts. One thread. Data are normal numbers: no way's time depends on them.
    """
    random = torch.Generator().manual_seed(seed)
    X = torch.randn(N, P, d, generator=random) / d**0.5
    w = torch.randn(K, d, generator=random) / d**0.5
    act, objective = SmoothedReLU(), RescaledTeacher(theta=0.75)
    direction = Descent(objective, X, K, act)
    expected = objective.descent(w, X, act)
    if (direction(w) - expected).abs().max() > 1e-5 * expected.abs().max():
        raise AssertionError("the gradient in blocks is not the closed form")

    def autograd():
        leaf = w.clone().requires_grad_()
        a = X @ leaf.T
        kept = (torch.rand(N, P, 1, generator=random) < objective.theta).float()
        H = objective.target(a.detach(), act)
        ((H - objective.c * (kept * act(a)).sum(1)) ** 2).sum().div(2 * N).backward()
        return leaf.grad

    ways = {"autograd": autograd, "whole": lambda: objective.descent(w, X, act), "blocks": lambda: direction(w)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        turns = [{name: min(_seconds(way) for _ in range(3)) for name, way in ways.items()} for _ in range(rounds + 1)]
    finally:
        torch.set_num_threads(threads)
    return {name: torch.tensor([turn[name] for turn in turns[1:]]) for name in ways}  # the first turn warms up


def _seconds(way) -> float:
    start = time.process_time()
    way()
    return time.process_time() - start


def shown(seconds: float) -> str:
    """A duration to two digits, in the largest unit of which there is at least one and a half: '3.1 days'."""
    units = {"years": 365 * 86400, "days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
    name, unit = next(((n, u) for n, u in units.items() if seconds >= 1.5 * u), ("seconds", 1))
    return f"{float(f'{seconds / unit:.2g}'):,g} {name}"
