"""The fate of single kernels, by the equation of two views for each class (derived, ours; see `regions`)."""
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp
from torch import Tensor

from .validation import check_real

SLOWEST = 1e-3  # pull, relative to the largest, below which the clock no longer speeds up


@dataclass(frozen=True)
class Forecast:
    """What the reduced equation says of K kernels, each [K]; nan for kernels that do not grow.

    grows; winner: the class first at the level (-1: none), start and end: smaller over larger of its overlaps at the start and
    then; second: the largest other overlap then, of any class, over the largest; lead: ln of runner-up's time over winner's.
    """

    grows: np.ndarray
    winner: np.ndarray
    start: np.ndarray
    end: np.ndarray
    second: np.ndarray
    lead: np.ndarray


def forecast(overlaps: Float[np.ndarray, "K n"] | Float[Tensor, "K n"], pull: Float[np.ndarray, "c 2 2"], q: int, level: float,
             length: float = 20.0, points: int = 501) -> Forecast:
    """Each class of each kernel by the equation of two views, from its initial overlaps to `level` (derived, ours).

    pull: `Moments.pull` per class, or one for all (c = 1). Views of different classes do not see each other: the class first
    at the level wins. An overlap <= 0 stays. solve_ivp in relative arc length |d lambda| = |lambda| ds up to s = `length`, with
    the time recovered: a pair that has not reached the level by then does not grow. level > 0.
    """
    check_real("level", level, 0, open_low=True)
    K, n = overlaps.shape
    lam = np.clip(np.asarray(overlaps, float), 0, None).reshape(K, n // 2, 2)
    some, order = lam.any(2), np.argsort(-lam, 2)  # the larger first: an overlap of 0 is then an angle of exactly 0
    M = np.broadcast_to(pull / np.abs(pull).max(), (K, n // 2, 2, 2))
    diagonal = np.take_along_axis(np.stack([M[..., 0, 0], M[..., 1, 1]], 2), order, 2)[some]
    cross, lam = M[..., :1, 1][some], np.take_along_axis(lam, order, 2)[some]

    def force(angle):  # along the pair and across it, at unit size, and the speed of the clock
        u = np.stack([np.cos(angle), np.sin(angle)], -1)
        power = u ** (q - 1)
        F = power * (diagonal * power * u + cross * (power * u)[..., ::-1])
        along, across = (F * u).sum(-1), F[..., 1] * u[..., 0] - F[..., 0] * u[..., 1]
        return along, across, np.sqrt(along**2 + across**2 + SLOWEST**2)

    def field(_, y):
        along, across, speed = force(y[1::2])
        return np.stack([along / speed, across / speed], 1).ravel()

    y0 = np.stack([np.log(np.linalg.norm(lam, axis=1)), np.arctan2(lam[:, 1], lam[:, 0])], 1).ravel()
    s = np.linspace(0, length, points)
    # pairs do not see each other, so the Jacobian is a narrow band; it is stiff where growth is slow and the ratio is not
    y = solve_ivp(field, (0, length), y0, "LSODA", s, rtol=1e-4, atol=1e-6, lband=1, uband=1).y.T
    size, angle = y[:, ::2], y[:, 1::2].clip(0, np.pi / 2)
    pace = np.exp(-(2 * q - 2) * size) / force(angle)[2]
    time = np.concatenate([np.zeros((1, len(lam))), np.cumsum((pace[1:] + pace[:-1]) / 2 * s[1], axis=0)])
    return _read(np.exp(size)[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1), time, some, level)


def _read(lam, time, some, level):
    """The state of every kernel when its first class reaches the level."""
    top = lam.max(-1)
    at = (top >= level).argmax(0)
    pairs = np.arange(len(at))
    arrival = np.full(some.shape, np.inf)
    arrival[some] = np.where(top.max(0) >= level, time[at, pairs], np.inf)
    index = np.full(some.shape, -1)
    index[some] = pairs
    K = len(some)
    out = {name: np.full(K, np.nan) for name in ("start", "end", "second", "lead")}
    winner = np.where(np.isfinite(arrival).any(1), arrival.argmin(1), -1)
    for r in np.flatnonzero(winner >= 0):
        best = index[r, winner[r]]
        when, now = arrival[r, winner[r]], lam[at[best], best]
        others = [lam[min(np.searchsorted(time[:, i], when), len(time) - 1), i].max() for i in index[r] if i not in (-1, best)]
        out["start"][r] = lam[0, best].min() / lam[0, best].max()
        out["end"][r] = now.min() / now.max()
        out["second"][r] = max([now.min(), *others]) / now.max()
        out["lead"][r] = np.log(np.delete(arrival[r], winner[r]).min(initial=np.inf) / when)
    return Forecast(winner >= 0, winner, **out)
