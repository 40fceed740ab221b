"""What the cells of the atlas show."""
import numpy as np

from .. import regions
from ..sweep import stack
from .atlas import predicted

FINE = 200  # places along each axis at which the prediction is drawn
LOW, HIGH = 0.004, 0.4  # tau - 1 at the two ends of the map
THETAS = (0.25, 0.95)


def teacher_places(columns: int, rows: int):
    """(tau [columns], theta [rows], x, y): places, even in ln(tau - 1) and theta, and where on the map they lie, 0 to 1."""
    x, y = ((np.arange(m) + 0.5) / m for m in (columns, rows))
    return 1 + LOW * (HIGH / LOW) ** x, THETAS[0] + (THETAS[1] - THETAS[0]) * y, x, y


def teacher_panel(cells, columns: int, rows: int) -> dict:
    """A panel of `maps.region_map` over teacher and mask; cells in the order theta, tau, draw."""
    *_, x, y = teacher_places(columns, rows)
    tau, theta, fx, fy = teacher_places(FINE, FINE)
    near, far = predicted()
    beta = [[regions.load(t, s, 1 / t, near.R, 4) for s in tau] for t in theta]
    told = [[regions.REGIONS.index(regions.region(b, near.chi, 4)) for b in row] for row in beta]
    edge = regions.boundaries(theta, near, far, 4)
    lines = {text: (np.log((edge[name] - 1) / LOW) / np.log(HIGH / LOW), fy)
             for text, name in (("beyond it pairs run away", "pair runaway"), ("beyond it views do", "single runaway"))}
    return {"x": x, "y": y, "predicted": told, "shown": stack(cells, "measured").reshape(rows, columns, -1), "lines": lines,
            "xlabel": "teacher's surplus, tau - 1", "ylabel": "kept share of patches, theta",
            "xticks": {np.log(v / LOW) / np.log(HIGH / LOW): f"{v:g}" for v in (0.01, 0.03, 0.1, 0.3)},
            "yticks": {(v - THETAS[0]) / (THETAS[1] - THETAS[0]): f"{v:g}" for v in (0.3, 0.5, 0.7, 0.9)}}


def part_panel(cells, C_ps, qs) -> dict:
    """A panel of `maps.region_map` over part size and exponent, plain decoder; cells in the order q, C_p, draw."""
    def told(C_p, q):
        near = predicted(C_p, q)[0]
        return regions.REGIONS.index(regions.region(near.R, near.chi, q))  # c = tau = 1: beta = R_q

    x, y = ((np.arange(len(v)) + 0.5) / len(v) for v in (C_ps, qs))
    return {"x": x, "y": y, "predicted": np.array([[told(C_p, q) for C_p in C_ps] for q in qs]),
            "shown": stack(cells, "measured").reshape(len(qs), len(C_ps), -1),
            "xlabel": "patches that a part fills, C_p", "ylabel": "exponent q",
            "xticks": dict(zip(x, map(str, C_ps), strict=True)), "yticks": dict(zip(y, map(str, qs), strict=True))}


def right_regions(cells, away: float = 0.05) -> dict:
    """successes and totals [cells, those further than `away` from every edge]: the region shown is the predicted one."""
    far = [c for c in cells if c["gap"] >= away]
    return {"successes": np.array([int(c["measured"] == c["region"]) for c in far]), "totals": np.ones(len(far), dtype=int)}


def right_fates(cells, who: str) -> dict:
    """successes and totals [cells]: kernels that grow, and fuse, as told by `who`.

    'draw' and 'population': the equation of two views with moments of the draw's samples, or of the distribution. 'one view':
    a kernel grows iff beta < 1, and never fuses.
    """
    right = []
    for c in cells:
        grows = np.full(len(c["grew"]), c["beta"] < 1) if who == "one view" else c[f"{who}_grows"]
        fuses = np.zeros_like(grows) if who == "one view" else c[f"{who}_fuses"]
        right.append(int(((np.asarray(c["grew"]) == grows) & (np.asarray(c["fused_each"]) == fuses)).sum()))
    return {"successes": np.array(right), "totals": np.array([len(c["grew"]) for c in cells])}


def moved_as_told(cells, thresholds=None, away: float = 0.2) -> dict:
    """successes and totals [cells]: kernels whose ratio of overlaps rose iff it began above r*, or above `thresholds` [cells].

    Only kernels whose ratio began at least `away` from that and from 1 (in the logarithm); cells without one are left out.
    """
    counts = []
    for c, r in zip(cells, [c["r_star"] for c in cells] if thresholds is None else thresholds, strict=True):
        start, end = (np.asarray(c[name], float) for name in ("start", "end"))
        asked = np.isfinite(start) & (regions.margin(start, r) >= away)
        counts.append((int(((end > start) == (start > r))[asked].sum()), int(asked.sum())))
    counts = np.array([c for c in counts if c[1]])
    return {"successes": counts[:, 0], "totals": counts[:, 1]}


def runs_away(cells, thetas, taus, all_of_them: bool = False, away: float = 0.1) -> dict:
    """successes and totals [cells]: single kernels pushed outwards at 1000 times their size iff tau is above the threshold.

    Only cells with |ln((tau - 1) / (threshold - 1))| >= away; all_of_them: told instead that all that grows runs away.
    """
    counts = []
    for c, theta, tau in zip(cells, thetas, taus, strict=True):
        edge = float(regions.boundaries(theta, *predicted(), 4)["single runaway"])
        single = np.asarray(c["grew"]) & ~np.asarray(c["fused_each"])
        if single.any() and abs(np.log((tau - 1) / (edge - 1))) >= away:
            told = np.asarray(c["runaway_each"])[single] == (all_of_them or tau > edge)
            counts.append((int(told.sum()), int(single.sum())))
    counts = np.array(counts)
    return {"successes": counts[:, 0], "totals": counts[:, 1]}


def ratios_rise(cells, below: float = 0.8) -> dict:
    """successes and totals [cells]: kernels whose ratio, below `below` at the start, is larger when read."""
    counts = []
    for c in cells:
        start, end = (np.asarray(c[name], float) for name in ("start", "end"))
        asked = np.isfinite(start) & (start < below)
        counts.append((int((end > start)[asked].sum()), int(asked.sum())))
    counts = np.array([c for c in counts if c[1]])
    return {"successes": counts[:, 0], "totals": counts[:, 1]}
