"""One draw of pretraining: capture and fusion."""
import torch

from ..data import MultiView
from ..network import SmoothedReLU, initial_kernels
from ..objectives import NormalisedTeacher, PlainDecoder, RescaledTeacher
from ..pretrain import pretrain, pretrain_along_arcs, pretrain_each
from ..semantics import captured_semantics, first_time, holding

OBJECTIVES = {"normalised": NormalisedTeacher, "rescaled": RescaledTeacher, "plain": PlainDecoder}


def setting(seed: int, noise: float, K: int, N: int = 300, mu: float = 0.1, **model):
    """(model, act, V, samples, initial kernels) of one draw: everything keyed by the seed."""
    m = MultiView(noise=noise, **model)
    return m, SmoothedReLU(), m.semantics(seed), m.sample(N, seed, "pretrain", mu=mu), initial_kernels(K, m.d, seed)


def shares(held) -> dict:
    """Per state: share of kernels captured, of semantics captured, and of captured kernels single and one-class."""
    count = held.captured.sum(-1)
    safe = count.clamp_min(1)
    return {"captured": held.captured.float().mean(-1), "semantics": held.semantics.float().mean(-1), "count": count,
            "single": held.single.sum(-1) / safe, "one_class": held.one_class.sum(-1) / safe}


def race(seed: int, noise: float = 0.1, theta: float = 0.9, K: int = 200, time: int = 300, patience: int = 1200,
         limit: int = 400, to_T: bool = False, lr: float = 2.0) -> dict:
    """Pretraining with the normalised teacher in common time (lr x steps), and what its kernels hold on the way.

    All times are multiples of 10, and lr divides 10: at rate 2 the paths are those of rate 1 in half the steps (tested).
    Returns `shares` at common `times` 0, 10, ..., time and `kernels`, the network at the end [K, d]; T, the first such time, up
    to `limit`, at which all semantics are captured (inf if none), and counts at T (at the last time if there is no T): count_T
    (captured), single_T, one_class_T. With to_T the run ends at T, and shares and kernels are left out. With patience > 0,
    kernels not captured by the end are followed on their own for that much longer, and each kernel is read where it first
    captured: `at_capture` [K, d], `winner` [K] (-1: never), `count_end` (how many captured) and `predicted` (of those, winner =
    largest initial overlap). `kernel_steps`: kernels times steps computed.
    """
    m, act, V, S, w0 = setting(seed, noise, K)
    objective = NormalisedTeacher(theta)

    def descend(w, length, until_T):
        stop = (lambda w: bool(holding(w, V, m, act).semantics.all())) if until_T else None
        path = pretrain(objective, S.X, w, act, lr=lr, steps=int(length / lr), snapshots=int(10 / lr), stop=stop)
        held = holding(path.kernels, V, m, act)
        return path, held, first_time(held.semantics.all(-1), path.times)

    path, held, T = descend(w0, limit if to_T else time, to_T)
    at_T, times = held, path.times
    if T == torch.inf and not to_T and limit > time:
        longer, at_T, T = descend(path.last, limit - time, True)
        times, T = longer.times + time, T + time
    row = int((times == T).nonzero()[0]) if T < torch.inf else -1
    kernel_steps = round(K * float(times[-1]) / lr)
    out = {"T": T, "count_T": at_T.captured[row].sum(), "single_T": at_T.single[row].sum(),
           "one_class_T": at_T.one_class[row].sum()}
    if not to_T:
        out |= shares(held) | {"times": path.times, "kernels": path.last}
    if patience:
        at_capture = path.kernels[held.captured.int().argmax(0), torch.arange(K)]
        rest = (~held.captured.any(0)).nonzero()[:, 0]
        at_capture[rest], taken = pretrain_each(objective, S.X, path.last[rest], act, lr=lr, steps=int(patience / lr),
                                                check_every=12, settled=lambda w: holding(w, V, m, act).captured)
        kernel_steps += int(taken.sum())
        end = holding(at_capture, V, m, act)
        winner = torch.where(end.captured, end.winner, -1)
        out |= {"at_capture": at_capture, "winner": winner, "count_end": end.captured.sum(),
                "predicted": (end.captured & (winner == (w0 @ V.T).argmax(1))).sum()}
    return out | {"kernel_steps": kernel_steps}


def default_cells(seeds, noise: float, full: int, **options) -> list[dict]:
    """Arguments of `race` in the default setting: the first `full` draws to time 300, the others to T only.

    What is judged at T and at capture needs no more; what is judged of the network at time 300 needs the former.
    """
    return [dict(seed=s, noise=noise, **options) | ({} if i < full else {"to_T": True}) for i, s in enumerate(seeds)]


def arcs(seed: int, noise: float = 0.1, theta: float = 0.75, K: int = 100, objective: str = "rescaled", steps: int = 200,
         grid: int = 60, C_p: int = 4, **parameters) -> dict:
    """A kernel-wise objective along equal arc length, and the same paths at common times.

    Returns shares along the arc (`arc_*` [steps + 1]: rows are not network states) and at `grid` common times spaced
    evenly in the logarithm between the first and the last capture (`common_*` [grid], `times`); `capture_spread`: ratio
    of the 95 % to the 5 % quantile of capture times; `gap`: median of (fusion time - capture time) / capture time.
    """
    m, act, V, S, w0 = setting(seed, noise, K, C_p=C_p)
    path = pretrain_along_arcs(OBJECTIVES[objective](theta, **parameters), S.X, w0, act, steps=steps)
    along = holding(path.kernels, V, m, act)
    captured = _first_along(along.captured, path.times)
    fused = _first_along(along.captured & ~along.single, path.times)
    finite = captured[captured.isfinite()]
    out = {f"arc_{name}": value for name, value in shares(along).items()}
    if len(finite) < 2:
        return out | {"capture_spread": torch.nan, "gap": torch.nan}
    times = torch.logspace(float(finite.min().log10()), float(finite.max().log10()), grid, dtype=torch.float64)
    common = holding(path.at_common_time(times).kernels, V, m, act)
    both = captured.isfinite() & fused.isfinite()
    return out | {f"common_{name}": value for name, value in shares(common).items()} | {
        "times": times, "capture_spread": finite.quantile(0.95) / finite.quantile(0.05),
        "gap": ((fused - captured) / captured)[both].median() if both.any() else torch.inf,
        "reached": path.reached(times)}


def _first_along(event, times):
    """Common time at which an event [S, K] first holds on each kernel's own path; inf where it never does."""
    first = times.gather(0, event.int().argmax(0)[None])[0]
    return torch.where(event.any(0), first, torch.inf)


def captured_in_subsets(winner, K: int, n: int):
    """Captured share of n semantics in each disjoint subset of K kernels of a pool [pool // K]."""
    winner = torch.as_tensor(winner)
    subsets = winner[: len(winner) // K * K].view(-1, K)
    return captured_semantics(subsets.clamp_min(0), subsets >= 0, n).float().mean(-1)


def head_start(seed: int, winner, edges=(0.4, 0.6, 0.7, 0.8, 0.9, 1.0)) -> dict:
    """Did the largest initial overlap win, by how close the second was to it at the start.

    winner: [K] as `race` returns it for this seed. Bin j holds the captured kernels whose second-largest initial overlap
    is a share in (edges[j], edges[j + 1]] of the largest: `kernels` in it, and how many of them were `won` by the largest.
    """
    winner = torch.as_tensor(winner)
    m, *_, w0 = setting(seed, 0.0, len(winner), N=1)  # semantics and initial kernels do not depend on noise
    top, index = (w0 @ m.semantics(seed).T).topk(2, dim=1)
    bins = torch.bucketize(top[:, 1] / top[:, 0], torch.tensor(edges)) - 1
    held = (winner >= 0) & (bins >= 0) & (bins < len(edges) - 1)
    won = held & (winner == index[:, 0])
    return {name: torch.bincount(bins[mask], minlength=len(edges) - 1) for name, mask in (("kernels", held), ("won", won))}


def fusion_times(single, count, times, share: float = 0.05):
    """First time at which at least `share` of the captured kernels are no longer single, per draw, cut at the last time.

    single, count: [draws, T], times: [T], as `shares` returns them for every draw; returns [draws].
    """
    single, count, times = map(torch.as_tensor, (single, count, times))
    fused = (count > 0) & (single <= 1 - share)
    return torch.where(fused.any(1), times[fused.int().argmax(1)], times[-1])


def when_all_captured(cells, name: str):
    """`arc_<name>` of every cell of `arcs` at the first arc length at which all its kernels are captured (nan: never)."""
    done = [torch.as_tensor(cell["arc_captured"]) == 1 for cell in cells]
    return torch.tensor([float(cell[f"arc_{name}"][int(d.int().argmax())]) if d.any() else torch.nan
                         for cell, d in zip(cells, done, strict=True)])
