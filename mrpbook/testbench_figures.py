"""The figures of the test bench; their messages are computed from the report."""
import math

import numpy as np

from . import plots
from .testbench import SHARES, UNTRAINED

MINE = ("supervised", "finetuned", "ensemble")  # looks of a reader's objectives, so long as these suffice


class _Number(str):
    """A format in which a share of nothing is a dash."""

    def format(self, number):
        return "-" if math.isnan(number) else super().format(number)


def looks(report):
    """Roles by name: built-in objectives as MRP, the control as untrained, the others in turn; a scale if there are more."""
    trained = [name for name in report.cells if name != UNTRAINED]
    if len(trained) > 1 + len(MINE):
        return "ordered"
    return {UNTRAINED: "untrained"} | dict(zip(trained, ("mrp", *MINE), strict=False))


def dots(report):
    """Shares with intervals, an objective a row."""
    ran = [name for name in report.cells if report.ran(name)]
    found = {name: np.array([report.interval(name, key)[:3] for key in SHARES]).T for name in ran}
    errors = ", ".join(f"{name} {found[name][0, -1]:.1%}" for name in ran)
    left = [f"{name}: {report.outcome(name)}" for name in report.cells if name not in ran]
    number = _Number("{:.2f}")
    lines = [f"{text}: " + ", ".join(f"{name} {number.format(found[name][0, i])}" for name in ran)
             for i, text in enumerate(SHARES.values())]
    return plots.dots(
        list(SHARES.values()), found, roles=looks(report), xlabel="share", limits=(-0.02, 1.02), value=number,
        message=f"A head on the frozen kernels errs on this share of single-view data: {errors}",
        uncertainty=f"The same {len(report.seeds)} draws for all; bars: 95 % intervals. " + ". ".join([*left, ""]).strip(),
        alt="Estimates with intervals in rows. " + ". ".join(lines) + ".")


def course(report):
    """Medians over draws of the shares along the run, with bands, in units of the objective's own median T."""
    names = {"held": "semantics held", "captured_single": "single", "captured_one_class": "one class"}
    series, x, fallen = {}, {}, {}
    for name in report.cells:
        cells = [c for c in report.ran(name) if len(c["steps"]) > 1 and c["T"] > 0]  # something was captured
        if not cells:
            continue
        T = np.median([c["T"] for c in cells])
        bands = {key: np.quantile([c[key] for c in cells], [0.5, 0.05, 0.95], axis=0) for key in names}
        none = (bands["held"][0] == 0) & np.array([[key != "held"] for key in names])  # shares of nothing are not drawn
        series[name] = {names[key]: np.where(gap, np.nan, bands[key]) for key, gap in zip(names, none, strict=True)}
        x[name], fallen[name] = cells[0]["steps"] / T, bands["captured_single"][0, -1]
    if not series:
        raise ValueError("no objective captured anything: there is no course to draw. report shows why")
    ends = ", ".join(f"{name} {share:.0%}" for name, share in fallen.items())
    return plots.curves(
        x, series, xlabel="time / own median T", ylabel="share (single, one class: of the captured)",
        roles={"semantics held": "untrained", "single": "mrp", "one class": "finetuned"},
        message=f"Captured kernels that hold one semantic at the end: {ends}",
        uncertainty=(f"Medians of {len(report.seeds)} draws; bands: 5 to 95 % of draws. At time 1 the largest number of "
                     "semantics is first held."),
        alt=f"A panel per objective: shares of semantics held and of single and one-class kernels. At the end single: {ends}.")
