"""One draw at one point of the map: what grows, what fuses, what runs away, and what was predicted."""
import functools

import torch

from .. import regions
from ..forecast import forecast
from ..network import SmoothedReLU
from ..objectives import PlainDecoder, RescaledTeacher
from ..pretrain import pretrain_along_arcs
from ..semantics import SINGLE
from .capture import setting

FAR = 1000.0  # times its size when it is read: where a kernel is asked whether it is still pushed outwards
SLOW = 1e4  # times slower than the fastest pair: a probe's growth is rounding of a pull that is zero
ARC = 6.0  # relative arc length of a path
EVEN = 0.97  # ratio of the two overlaps of an even pair


@functools.lru_cache(maxsize=256)
def predicted(C_p: int = 4, q: int = 4, mu: float = 0.1, seed: int = 0) -> tuple[regions.Moments, regions.Moments]:
    """(near, far): moments of the data model with P = 4 C_p patches with power q and 1, from 20000 samples."""
    model = setting(seed, 0.0, 1, N=1, C_p=C_p, P=4 * C_p)[0]
    return regions.population(model, q, seed, mu=mu), regions.population(model, 1, seed, mu=mu)


def cell(seed: int, theta: float = 0.75, tau: float | None = 1.05, C_p: int = 4, q: int = 4, noise: float = 0.0, K: int = 32,
         N: int = 300, sigma_0: float = 0.02, length: float | None = None, mu: float = 0.1) -> dict:
    """Kernels followed along their own paths in the full data model (P = 4 C_p patches), beside the two-view prediction.

    tau: of the rescaled teacher; None: the plain decoder (c = tau = 1). Beside K kernels as drawn there are probes: a kernel on
    each view alone (n) and two on each class, with its views at the ratios 0.97 and 1 / 0.97. A kernel has grown when its
    largest overlap has doubled and reached half of the capture level; it is read where first captured, or else at its end.

    Returns `region` and `measured` (indices in `regions.REGIONS`), beta, its gap to the nearest edge, r_star. Counts, of the
    kernels as drawn: kernels, grown, captured, fused (grown, second / first >= 0.3), same (fused with the other view of the
    class), runaway (grown, and still pushed outwards at 1000 times its size), and of the probes: lone (grown views of n), even
    (grown pairs of n), parted (classes of k whose two pairs have parted). Per kernel [K]: grew, fused_each, runaway_each;
    start and end, the ratio of the smaller to the larger overlap within the class of its largest overlap (nan unless it grew
    and both began positive), and margin, the distance of start from r* (`regions.margin`): the theorem says end > start iff
    start > r*. The reduced equation with the moments of the distribution, `population_*`, and of this draw's samples, `draw_*`:
    grows, fuses, second.
    """
    m, _, V, S, w0 = setting(seed, noise, K, N, mu, C_p=C_p, P=4 * C_p)
    act, w0 = SmoothedReLU(q), w0 * (sigma_0 / 0.05)
    objective = PlainDecoder(theta) if tau is None else RescaledTeacher(theta, tau=tau)
    given = dict(theta=theta, tau=1.0 if tau is None else tau, c=objective.c)
    near, own = predicted(C_p, q, mu)[0], regions.moments(S, q)
    beta = regions.load(**given, R_q=near.R, q=q)
    # where a view alone shrinks, pairs grow from little, and long steps would carry them across zero
    length = length or (0.05 if beta < 1 else 0.025)
    lam, level, X = w0 @ V.T, act.varrho / m.patch_strength, S.X
    if noise == 0:  # kernels move within the span of the semantics, and overlaps <= 0 not at all: the same paths, cheaper
        X, V, w0 = X @ V.T, torch.eye(m.n), lam.clamp_min(0)
    w0 = torch.cat([w0, probes(m.k, 2 * sigma_0) @ V])
    kernels, captured, time = _until_captured(objective, X, V, w0, act, level, round(ARC / length), length)
    first, held = (w0 @ V.T).amax(1), kernels @ V.T
    top, index = held.topk(2, dim=1)
    grown = (top[:, 0] >= level / 2) & (top[:, 0] > 2 * first)
    grown[K:] &= time[K:] < SLOW * time[K + m.n:].min()
    fused = grown & (top[:, 1] >= SINGLE * top[:, 0])
    outward = grown & ((objective.descent(FAR * kernels, X, act) * kernels).sum(1) > 0)
    counts = {"kernels": K, "grown": grown[:K].sum(), "captured": captured[:K].sum(), "fused": fused[:K].sum(),
              "same": (fused & (index[:, 0] // 2 == index[:, 1] // 2))[:K].sum(), "runaway": outward[:K].sum(),
              "lone": grown[K:K + m.n].sum(), "even": grown[K + m.n:].sum(), "parted": _parted(held[K + m.n:])}
    out = {"beta": beta, "gap": regions.gap(beta, near.chi, q), "r_star": regions.separatrix(beta, near.chi, q),
           "measured": measured(counts, m.k, q),
           "region": regions.REGIONS.index(regions.region(beta, near.chi, q)), "grew": grown[:K], "fused_each": fused[:K],
           "runaway_each": outward[:K]} | counts
    start, end = (_within(overlaps, index[:K, 0] // 2).where(grown[:K], torch.nan) for overlaps in (lam, held[:K]))
    out |= {"start": start, "end": end, "margin": regions.margin(start.numpy(), out["r_star"])}
    for name, source in (("draw", own), ("population", near)):
        f = forecast(lam, source.pull(**given, power=q), q, level)
        out |= {f"{name}_grows": f.grows, f"{name}_fuses": f.grows & (f.second >= SINGLE), f"{name}_second": f.second}
    return out


def probes(k: int, size: float):
    """Overlaps of the probes [4 k, 2 k]: each view alone, then the pairs of all classes at 0.97, then at 1 / 0.97."""
    pairs = [torch.kron(torch.eye(k), torch.tensor([pair])) for pair in ([1.0, EVEN], [EVEN, 1.0])]
    return size * torch.cat([torch.eye(2 * k), *pairs])


def measured(counts: dict, k: int, q: int) -> int:
    """The region that the probes of one cell show, by majority: do even pairs grow? do lone views? do even pairs part?

    Returns the index in `regions.REGIONS`. Even pairs that stay together do not say from which ratio on pairs do; at q = 2 that
    is every ratio.
    """
    if counts["even"] <= k:
        return 0
    if counts["lone"] <= k:
        return 1
    return 3 if counts["parted"] > k / 2 else 1 if q == 2 else 2


def _until_captured(objective, X, V, w0, act, level, steps, length, every=10):
    """Kernels where they are first captured or else at the end of `steps` steps, whether they are captured, and the time.

    Kernels are independent, so each may leave early: a captured one, which is read at once, and one that is so short that the
    steps left, each of which lengthens it by a factor 1 + length at most, cannot bring it to half of the capture level. Its
    time is inf.
    """
    w, time, captured = w0.clone(), torch.zeros(len(w0), dtype=torch.float64), torch.zeros(len(w0), dtype=torch.bool)
    for start in range(0, steps, every):
        hopeless = w.norm(dim=1) * (1 + length) ** (steps - start) < level / 2
        time[hopeless] = torch.inf
        active = (~(captured | hopeless)).nonzero()[:, 0]
        if len(active) == 0:
            break
        path = pretrain_along_arcs(objective, X, w[active], act, steps=min(every, steps - start), length=length)
        there = (path.kernels @ V.T).amax(-1) >= level
        at, kernel = torch.where(there.any(0), there.int().argmax(0), len(there) - 1), torch.arange(len(active))
        w[active], captured[active] = path.kernels[at, kernel], there.any(0)
        time[active] += path.times[at, kernel]
    return w, captured, time


def _within(overlaps, of_class):
    """Smaller over larger overlap with the two views of one class per kernel [K]; nan where one is not positive."""
    pair = overlaps.view(len(overlaps), -1, 2)[torch.arange(len(overlaps)), of_class]
    return torch.where(pair.amin(1) > 0, pair.amin(1) / pair.amax(1), torch.nan)


def _parted(held):
    """Number of classes whose two even pairs, overlaps [2 k, 2 k], are further apart in ln(view 1 / view 2) than at first."""
    k = len(held) // 2
    view = held.view(2, k, k, 2)[:, torch.arange(k), torch.arange(k)].clamp_min(1e-12)  # [order, class, view]
    logs = (view[..., 0] / view[..., 1]).log()
    return ((logs[0] - logs[1]) > -2 * torch.tensor(EVEN).log()).sum()
