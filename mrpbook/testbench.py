"""The same report for a reader's objective as for the built-in ones: same draws, plain descent, a head on frozen kernels.

    def my_loss(w, X, act, masks): ...   # one number; w [K, d], X [N, P, d], masks [2, N, P]
    report = try_out({"mine": Loss(my_loss)}, seeds=range(1000, 1016))
"""
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from . import sweep
from .data import MultiView
from .intervals import Interval, mean_interval, proportion_interval
from .objectives import NormalisedTeacher, Objective, PlainDecoder, RescaledTeacher
from .protocols import DataModel, Loss, check_model, check_objective
from .studies.trial import MU, search, trial
from .validation import check_integer

__all__ = ["DataModel", "Loss", "Report", "try_out"]

UNTRAINED = "untrained"
SHARES = {  # quantity: what it is; each a pair of counts per draw
    "semantics": "semantics captured", "single": "single at T", "one_class": "one class at the end",
    "multi_view": "error, multi-view", "single_view": "error, single-view",
}
MEANS = {  # each a number per draw
    "window": "window, fusion / T", "T": "T, in steps", "cosine": "cosine with a semantic", "silent": "silent kernels",
}
COARSE = 0.1  # a share that changes by more at twice the rate is marked


@dataclass(frozen=True)
class Report:
    """What every objective did on the same draws. Renders as a table; `figure` and `course` draw.

    cells: per objective and draw, what `trial` returned; searches: what `search` returned; coupled: whether one kernel was
    seen to change another's direction; steps: per run.
    """

    seeds: list
    cells: dict
    searches: dict
    coupled: dict
    steps: int

    def outcome(self, name: str) -> str:
        """'ran', or what went wrong, and in how many draws."""
        if self.searches.get(name, {}).get("outcome", "ran") != "ran":
            return str(self.searches[name]["outcome"])
        bad = [str(c["outcome"]) for c in self.cells[name] if c["outcome"] != "ran"]
        return f"{bad[0]} in {len(bad)} of {len(self.seeds)} draws" if bad else "ran"

    def counts(self, name: str, quantity: str) -> dict:
        """successes and totals [n], as the ledger takes them: of the draws that ran, a quantity of SHARES."""
        pairs = np.array([c[quantity] for c in self.ran(name)]).reshape(-1, 2)
        return {"successes": pairs[:, 0], "totals": pairs[:, 1]}

    def values(self, name: str, quantity: str) -> np.ndarray:
        """One number per draw, [draws]: nan where it did not run or is not defined. window: fusion time / T, at the least."""
        if quantity not in SHARES | MEANS:
            raise ValueError(f"quantity = {quantity!r}: expected one of {', '.join(SHARES | MEANS)}")
        return np.array([_value(c, quantity) if c["outcome"] == "ran" else math.nan for c in self.cells[name]])

    def interval(self, name: str, quantity: str, level: float = 0.05) -> Interval:
        """Estimate and interval over the draws that ran at confidence 1 - level; nan where none defines the quantity."""
        values = self.values(name, quantity)
        if np.isnan(values).all():
            return Interval(*[math.nan] * 3, "not defined in any draw")
        if quantity in SHARES:
            return proportion_interval(**self.counts(name, quantity), level=level)
        return mean_interval(values[~np.isnan(values)], level)

    def difference(self, name: str, other: str, quantity: str, level: float = 0.05) -> Interval:
        """Paired mean difference, `name` minus `other`, over the draws that define both."""
        gap = self.values(name, quantity) - self.values(other, quantity)
        return mean_interval(gap[~np.isnan(gap)], level)

    def table(self) -> pd.DataFrame:
        """estimate, low, high and n (draws) of every quantity of every objective that ran."""
        rows = {(name, text): (*self.interval(name, key)[:3], int((~np.isnan(self.values(name, key))).sum()))
                for name in self.cells if self.ran(name) for key, text in (SHARES | MEANS).items()}
        return pd.DataFrame(rows, index=["estimate", "low", "high", "n"]).T.rename_axis(["objective", "quantity"])

    def rate(self, name: str) -> float:
        """The learning rate of an objective, to be stated in a variant of it."""
        return float(self.searches[name]["rate"])

    def rates(self) -> pd.DataFrame:
        """Every rate tried on the pilot draw: share of semantics held at most, and when nine tenths of that were held."""
        parts = {name: pd.DataFrame({"rate": s["tried"], "held at most": s["most"], "at, share of the run": s["at"]})
                 for name, s in self.searches.items() if "tried" in s}
        return pd.concat(parts, names=["objective", "trial"])

    def figure(self):
        """Every quantity that is a share, for every objective, with its interval."""
        from . import testbench_figures as draw

        return draw.dots(self)

    def course(self):
        """Shares along the run, an objective a panel, time in units of its own median T."""
        from . import testbench_figures as draw

        return draw.course(self)

    def ran(self, name: str) -> list[dict]:
        """What `trial` returned for the draws that ran."""
        return [c for c in self.cells[name] if c["outcome"] == "ran"]

    def _open(self, name) -> bool:
        """Whether some run ended before its window did."""
        return any(np.isinf(c["fusion"]) and c["T"] > 0 for c in self.ran(name))

    def _column(self, name) -> dict:
        if not self.ran(name):
            return {"outcome": self.outcome(name)}
        cells = {(SHARES | MEANS)[key]: _text(self.interval(name, key), key) for key in SHARES | MEANS}
        if self._open(name):
            cells[MEANS["window"]] = "at least " + cells[MEANS["window"]]
        if name != UNTRAINED:
            s = self.searches[name]
            change = float(s["coarse"])
            text = "-" if math.isnan(change) else "diverges" if math.isinf(change) else f"{change:.2f}"
            cells["kernels"] = "coupled" if self.coupled[name] else "independent"
            cells["learning rate"] = f"{float(s['rate']):.3g}" + ("" if s["settled"] else " (not settled)")
            cells["change at twice the rate"] = text + (" (coarse)" if change > COARSE else "")
        return cells | {"draws": len(self.ran(name)), "outcome": self.outcome(name)}

    def _frame(self) -> pd.DataFrame:
        return pd.DataFrame({name: self._column(name) for name in self.cells}, dtype=object).fillna("-")

    def __repr__(self) -> str:
        return f"{self._frame().to_string()}\n{self._caption()}"

    def _repr_html_(self) -> str:
        two_lines = self._frame().map(lambda text: str(text).replace(" [", "<br>["))
        style = two_lines.style.set_caption(self._caption()).set_table_attributes('class="dataframe"')
        return style.set_table_styles([{"selector": "th, td", "props": "white-space: nowrap"}]).set_uuid("report").to_html()

    def _caption(self):
        return (f"The same {len(self.seeds)} draws for all, {self.steps} steps; 95 % intervals. T: step at which the largest "
                "number of semantics is first held. Fusion: 5 % of the captured kernels hold more than one.")


def _text(found, quantity) -> str:
    if math.isnan(found.estimate):
        return "-"
    if quantity in SHARES:
        return f"{found.estimate:.1%} [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    return "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*found[:3], d=0 if quantity == "T" else 2)


def _value(cell, quantity) -> float:
    if quantity in SHARES:
        hit, of = cell[quantity]
        return hit / of if of else math.nan
    if quantity != "window":
        return float(cell[quantity])
    return min(float(cell["fusion"]), float(cell["steps"][-1])) / float(cell["T"]) if cell["T"] > 0 else math.nan


def try_out(objectives: dict[str, Loss | Objective | Callable], *, seeds: Sequence[int], model: DataModel | None = None,
            beside: dict[str, Objective] | None = None, K: int = 100, N: int = 300, steps: int = 150, labels: int = 300,
            pilot: int = 0, store: Path | None = None, jobs: int | None = None) -> Report:
    """Pretrain by every objective on the draws `seeds`, fit a head on the frozen kernels, and report.

    objectives: {name: Loss, Objective, or a function that Loss takes}; beside: built-in ones to run along, by default the
    normalised teacher; untrained kernels always are. model: what is sampled, by default that of the chapters (MultiView, noise
    0.3). K kernels, N samples (a share 0.1 single-view), `steps` steps of plain descent at a rate found on the draw `pilot` by
    the same search for all, or stated in the Loss; a head on `labels` samples. jobs: processes (default: see `sweep.run`).

    Finished draws of objectives and samplers of this package are kept in the folder `store`; a reader's code is always run, so
    that no edit of it can show an old result. An objective that diverges or raises costs its own column only. Ctrl-C ends the
    run: objectives that are done are reported.

    ValueError, before anything is computed: a loss, objective or sampler that is not what `Loss`, `Objective`, `DataModel` say,
    a wrong statement of independence, pilot in seeds, no seeds, a name that occurs twice.
    """
    seeds, model = [check_integer("seeds", s, 0) for s in seeds], model or MultiView(noise=0.3)
    beside = {"normalised teacher": NormalisedTeacher()} if beside is None else beside
    if len(set(seeds)) != len(seeds) or not seeds or pilot in seeds:
        raise ValueError(f"seeds = {seeds}: expected different ones, without pilot = {pilot}")
    if twice := set(objectives) & {*beside, UNTRAINED}:
        raise ValueError(f"objectives: {', '.join(twice)} also runs beside them: expected another name")
    check_model(model, pilot)
    everyone = beside | {name: _adapted(name, o) for name, o in objectives.items()}
    X = model.sample(N, pilot, "pretrain", mu=MU).X
    coupled = {name: check_objective(name, o, X, K, pilot) for name, o in everyone.items()}
    shared = dict(model=model, steps=steps, K=K, N=N)
    own = {name: type(o) not in (NormalisedTeacher, RescaledTeacher, PlainDecoder) for name, o in everyone.items()}

    def run(study, readers, cells):
        kept = store if type(model) is MultiView and not readers else None
        try:
            return sweep.run(study, cells, store=kept, jobs=jobs)
        except Exception as error:  # a process that died takes along what it computed, not what is finished
            if not readers:
                raise
            return [{"outcome": f"{type(error).__name__}: {error}"}] * len(cells)

    searches, cells = {}, {}
    for readers in (False, True):
        names = [name for name in everyone if own[name] == readers]
        asked = [dict(objective=everyone[n], rate=getattr(everyone[n], "rate", None), seed=pilot, **shared) for n in names]
        searches |= dict(zip(names, run(search, readers, asked), strict=True))
    try:
        cells[UNTRAINED] = run(trial, False, [dict(seed=s, model=model, K=K, labels=labels) for s in seeds])
        for name, objective in everyone.items():
            rate = float(searches[name]["rate"]) if searches[name]["outcome"] == "ran" else None
            asked = [dict(seed=s, objective=objective, rate=rate, labels=labels, **shared) for s in (seeds if rate else [])]
            cells[name] = run(trial, own[name], asked) or [searches[name]] * len(seeds)
    except KeyboardInterrupt:
        if not set(cells) - {UNTRAINED}:
            raise
        print(f"stopped: {', '.join(cells)} done, the others left out")
    order = [name for name in (*everyone, UNTRAINED) if name in cells]
    return Report(seeds, {name: cells[name] for name in order}, searches, coupled, steps)


def _adapted(name, objective):
    if isinstance(objective, Objective) or not callable(objective):
        return objective
    try:
        return Loss(objective)
    except ValueError as error:
        raise ValueError(f"objective {name!r}: {error}") from None
