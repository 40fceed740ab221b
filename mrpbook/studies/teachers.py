"""One draw of what teaches: every objective from the same samples and kernels, read at common times."""
from functools import lru_cache

import torch

from ..finetune import fit_head
from ..network import activations, responses
from ..objectives import NormalisedTeacher, PlainDecoder, RescaledTeacher
from ..pretrain import ArcTrajectory, pretrain, pretrain_along_arcs
from ..semantics import captured_semantics, first_time, holding
from ..supervised import margins
from ..teachers import EMATeacher, PixelDecoder, follow
from .capture import setting, shares

TESTS, LABELS = 1000, 300  # single-view test samples; labels of a head
RATE = 0.1  # of the averaged teacher, in common time: it remembers about 10 units
QUARTER = 0.25
ARCS = {"rescaled": 120, "plain": 120, "EMA, c = 1": 120, "EMA, c = 1/theta": 60}  # steps of 5 % of a kernel's length
DESCENT = {"normalised": (2.0, 800.0, 10.0), "pixel": (4.0, 2400.0, 40.0)}  # rate, end, and between states: common time
AFTER = {name: torch.logspace(-0.5, 1.0 if name in DESCENT else 2.5, 16, dtype=torch.float64) for name in [*DESCENT, *ARCS]}


def run(objective: str, theta: float, X, w0, act) -> ArcTrajectory:
    """The kernels' paths: plain descent for those of `DESCENT`, each along its own path for those of `ARCS`."""
    if objective in DESCENT:
        lr, end, between = DESCENT[objective]
        made = NormalisedTeacher(theta) if objective == "normalised" else PixelDecoder(theta, lr=lr)
        path = pretrain(made, X, w0, act, lr=lr, steps=round(end / lr), snapshots=round(between / lr))
        return ArcTrajectory(path.times.double()[:, None].repeat(1, len(w0)), path.kernels)
    if objective.startswith("EMA"):
        return follow(EMATeacher(theta, objective.split(" = ")[1], RATE), X, w0, act, steps=ARCS[objective])
    made = RescaledTeacher(theta, tau=1.3) if objective == "rescaled" else PlainDecoder(theta)
    return pretrain_along_arcs(made, X, w0, act, steps=ARCS[objective])


@lru_cache(maxsize=2)
def answers(seed: int, noise: float):
    """Labelled samples, single-view tests of one draw."""
    m = setting(seed, noise, 1, 1)[0]
    return m.sample(LABELS, seed, "labels", mu=0.0), m.sample(TESTS, seed, "test single", mu=1.0)


def single_view(w, seed: int, noise: float, k: int, act) -> torch.Tensor:
    """Right answers out of TESTS on single-view samples by a head on frozen kernels."""
    labelled, test = answers(seed, noise)
    u = fit_head(w, labelled.X, labelled.y, k, act).u
    return (margins(responses(w, test.X, act) @ u.T, test.y) > 0).sum()


def cell(seed: int, objective: str = "normalised", theta: float = 0.75, noise: float = 0.3, K: int = 60, N: int = 150,
         head: bool = False) -> dict:
    """One objective (a name in `DESCENT` or `ARCS`); theta = 1: nothing is masked.

    Along the paths, each kernel at its own time (`own_*`): captured, how many kernels ever capture; held [n], which semantics
    they hold where each first captures; grew, how many ever have a largest overlap of twice the first; far, the largest change
    of a weight. In common time, a kernel whose path has ended standing at its end: t, the first time at which a quarter of the
    semantics is held (inf: never), `shares` at t x AFTER [16] (nan without t), and the best at any time that was looked at:
    `best` semantics held (a count), and `best_single` and `best_one_class` of `best_count` captured kernels, where the share of
    single ones is largest while a tenth of the kernels are captured. With head, `correct` [2]: right answers of TESTS of a head
    on frozen kernels, untrained and at the time that is best for semantics.
    """
    m, act, V, S, w0 = setting(seed, noise, K, N)
    path = run(objective, theta, S.X, w0, act)
    along = holding(path.kernels, V, m, act)
    ever, first, kernel = along.captured.any(0), along.captured.int().argmax(0), torch.arange(K)
    top = along.overlaps.amax(-1)
    out = {"own_captured": ever.sum(), "own_held": captured_semantics(along.winner[first, kernel], ever, m.n),
           "own_grew": (top.amax(0) > 2 * top[0]).sum(), "own_far": (path.kernels - w0).abs().max()}
    looked = path.times[:, 0]
    if objective in ARCS:
        when = path.times[first, kernel][ever & path.times[first, kernel].isfinite()]
        ends = (when.min(), when.max()) if len(when) else (1.0, 1.0)
        looked = torch.logspace(*(float(torch.as_tensor(e).log10()) for e in ends), 60, dtype=torch.float64)
    network = path.at_common_time(looked).kernels
    held = holding(network, V, m, act)
    counts, t = held.semantics.sum(-1), float(first_time(held.semantics.float().mean(-1) >= QUARTER, looked))
    each = shares(held)
    single = torch.where(each["count"] >= K / 10, each["single"], -1.0)
    row = int(single.argmax())
    out |= {"t": t, "best": counts.max(), "best_count": each["count"][row], "best_single": held.single[row].sum(),
            "best_one_class": held.one_class[row].sum()}
    if t < torch.inf:
        later = shares(holding(path.at_common_time(t * AFTER[objective]).kernels, V, m, act))
    else:
        later = {name: torch.full((len(AFTER[objective]),), torch.nan) for name in each}
    out |= later
    if head:
        at = network[int(counts.argmax())]
        out["correct"] = torch.stack([single_view(w, seed, noise, m.k, act) for w in (w0, at)])
    return out


def few(seed: int, kind: str = "together", theta: float = 0.9, noise: float = 0.1, K: int = 20, N: int = 100, steps: int = 400,
        lr: float = 0.01) -> dict:
    """As many kernels as semantics, and the pixel target under Adam: does competition see to it that none is left out?

    kind: together; alone (each kernel reconstructs its own picture); untrained decoder; normalised (teacher, no pixels, same
    optimiser). Returns `semantics`, how many of the n some captured kernel holds as its largest overlap; `reached`, how many
    any kernel has at capture level; `captured`, `single`, `one_class`: kernels; `correct` as in `cell`.
    """
    m, act, V, S, w0 = setting(seed, noise, K, N)
    made = NormalisedTeacher(theta) if kind == "normalised" else PixelDecoder(theta, alone=kind == "alone")
    w, D = w0.clone(), w0 / w0.norm(dim=1, keepdim=True)
    adam = torch.optim.Adam([w] if kind in ("normalised", "untrained decoder") else [w, D], lr=lr)
    for _ in range(steps):
        if kind == "normalised":
            w.grad = -made.descent(w, S.X, act)
        else:
            w.grad, D.grad = (-g for g in made.directions(w, D, S.X, act))
        adam.step()
    held = holding(w, V, m, act)
    return {"semantics": held.semantics.sum(), "reached": (held.overlaps.amax(0) * m.patch_strength >= act.varrho).sum(),
            "captured": held.captured.sum(), "single": held.single.sum(), "one_class": held.one_class.sum(),
            "correct": torch.stack([single_view(bank, seed, noise, m.k, act) for bank in (w0, w)])}


def copies(seed: int, decoder: str = "1/theta", theta: float = 0.75, noise: float = 0.3, K: int = 20, N: int = 60,
           rounds: int = 12, every: int = 20, lr: float = 1.0, sigma_0: float = 0.2) -> dict:
    """A teacher that is replaced by a copy of the student every so many steps, and stands still in between.

    `rise`: the largest rise of a kernel's mean sum_p sigma^2 from one copy to the next, as a share of it (0 if none rises);
    `end`: the median over kernels of that mean at the end, over that at the start.
    """
    _, act, _, S, w = setting(seed, noise, K, N)
    w = w.double() * sigma_0 / 0.05
    size = [(act(activations(w, S.X.double())) ** 2).sum(1).mean(0)]
    for _ in range(rounds):
        still = EMATeacher(theta, decoder, rate=1e-30)  # a fresh one starts at the student
        w = pretrain(still, S.X.double(), w, act, lr=lr, steps=every, snapshots=every).last
        size.append((act(activations(w, S.X.double())) ** 2).sum(1).mean(0))
    size = torch.stack(size)
    return {"rise": (size[1:] / size[:-1] - 1).max().clamp_min(0), "end": (size[-1] / size[0]).median()}
