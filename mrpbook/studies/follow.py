"""Kernels followed one by one, each to an event on its own path, in common time."""
import math
from functools import lru_cache

import torch
from numpy.polynomial import Chebyshev

from ..gradients import Descent


@lru_cache
def _weights(stages: int):
    """Coefficients of the Runge-Kutta-Chebyshev method of second order (Sommeijer, Shampine and Verwer 1998, section 2)."""
    w0 = 1 + 2 / 13 / stages**2
    value, slope, bend = ([Chebyshev.basis(j).deriv(order)(w0) if order else Chebyshev.basis(j)(w0) for j in range(stages + 1)]
                          for order in (0, 1, 2))
    w1 = slope[stages] / bend[stages]
    b = [bend[2] / slope[2] ** 2, 1 / w0] + [bend[j] / slope[j] ** 2 for j in range(2, stages + 1)]
    rows = []
    for j in range(2, stages + 1):
        new = 2 * b[j] * w1 / b[j - 1]
        rows.append((2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], new, -(1 - b[j - 1] * value[j - 1]) * new))
    return b[1] * w1, rows


def step(pull, w, first, dt, stages: int):
    """One step of dt [K, 1] from w [K, d], where pull(w) = first, in `stages` >= 2 pulls, `first` included.

    Second order. Stable while dt times the largest curvature is below about 2/3 (stages^2 - 1): a kernel at rest in one
    direction and slow in the others may take long steps, as plain descent may not.
    """
    start, rows = _weights(stages)
    before, now = w, w + start * dt * first
    for mu, nu, new, old in rows:
        before, now = now, (1 - mu - nu) * w + mu * now + nu * before + dt * (new * pull(now) + old * first)
    return now


def until(event, size, objective, X, V, w0, act, *, stages: int, length: float, longest: float = torch.inf, enough: float = 1.0,
          at_least=0.0, steps: int = 20_000):
    """When event(overlaps [K, n]) [K] first reaches 0 for each kernel on its own path, [K] (inf: not followed that far).

    A step moves a kernel by at most `length` times size(overlaps) [K] > 0, and takes at most `longest` units of time; the
    crossing is interpolated. Kernels are followed until a share `enough` of them has come to
    its event before the time of any other, and to the times `at_least` [K]. Legitimate where kernels are independent and
    without memory, as `objective.independent` says. Returns also the kernels [K, d] and times [K] at which each was left.
    """
    w, K = w0.clone(), len(w0)
    t, found = torch.zeros(K, dtype=torch.float64), torch.full((K,), torch.inf, dtype=torch.float64)
    at_least = torch.as_tensor(at_least, dtype=torch.float64).expand(K)
    margin = event(w @ V.T).double()
    found[margin >= 0] = 0.0
    direction, wanted = None, math.ceil(enough * K)
    for _ in range(steps):
        soonest = found.kthvalue(wanted).values if wanted else found.new_zeros(())
        active = (found.isinf() & (t < torch.maximum(soonest, at_least))).nonzero()[:, 0]
        if len(active) == 0:
            break
        if direction is None or direction.K != len(active):
            direction = Descent(objective, X, len(active), act)
        here = w[active]
        first = direction(here).clone()
        # in float64: directions of small kernels are so short that their squares underflow in float32
        speed = first.double().norm(dim=1).clamp_min(1e-300)
        dt = (length * size(here @ V.T).double() / speed).clamp_max(longest)
        w[active] = step(direction, here, first, dt[:, None].to(here.dtype), stages)
        after = event(w[active] @ V.T).double()
        crossed = after >= 0
        found[active[crossed]] = (t[active] + margin[active] / (margin[active] - after) * dt)[crossed]
        t[active], margin[active] = t[active] + dt, after
    return found, w, t
