"""Maps of regions, before and after, strips."""
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure as Canvas

from .look import INK, PAPER, QUIET, ROLES, SMALLEST, WIDE, Figure, mix, note, picture

DASHES = [(0, (5, 2)), (0, (1.2, 1.2))]
HOLDS = sns.blend_palette([ROLES["supervised"][0], "#f0c9ae", "#cfe0f0", ROLES["mrp"][0]], as_cmap=True)  # 0: broken, 1: holds
COLOURS = [ROLES[role][0] for role in ("untrained", "supervised", "finetuned", "mrp")]


def region_map(panels: Mapping[str, dict], names, *, message, uncertainty, alt) -> Figure:
    """Dots of what each draw shows, on areas of what is predicted. names: up to four regions, in order.

    panels: {title: dict(x=[c] and y=[r], the places; predicted=[R, C], indices in names, on an even grid over the panel;
    shown=[r, c, draws], indices; xlabel, ylabel; xticks, yticks: {place: text}; lines: {text: (x, y)}, optional)}. Places
    are in panel units, 0 to 1 on both axes.
    """
    for title, panel in panels.items():
        shown, predicted = np.asarray(panel["shown"]), np.asarray(panel["predicted"])
        if shown.ndim != 3 or shown.shape[:2] != (len(panel["y"]), len(panel["x"])):
            raise ValueError(f"shown of {title!r} is {shown.shape}; needed: [{len(panel['y'])}, {len(panel['x'])}, draws]")
        if max(shown.max(), predicted.max()) >= min(len(names), len(COLOURS)):
            raise ValueError(f"{title!r} has region {max(shown.max(), predicted.max())}; allowed: below {len(names)}")

    def draw(inches):
        columns = len(panels) if inches == WIDE else 1
        rows = -(-len(panels) // columns)
        canvas = Canvas(figsize=(inches, 3.6 * rows + 0.5), layout="constrained")
        for ax, (title, panel) in zip(canvas.subplots(rows, columns, squeeze=False).ravel(), panels.items(), strict=True):
            _panel(ax, title, panel)
        patches = [mpl.patches.Patch(fc=mix(c, 0.25, PAPER), ec=c, label=n) for n, c in zip(names, COLOURS, strict=False)]
        lines = dict.fromkeys(text for panel in panels.values() for text in panel.get("lines", {}))
        patches += [mpl.lines.Line2D([], [], color=INK, lw=1.1, ls=d, label=t) for t, d in zip(lines, DASHES, strict=False)]
        place = {"loc": "outside upper left", "ncols": 3 if inches == WIDE else 2, "frameon": False}
        canvas.legend(handles=patches, fontsize=SMALLEST, **place)
        return canvas

    return picture(draw, message, uncertainty, alt)


def _panel(ax, title, panel):
    pale = mpl.colors.ListedColormap([mix(c, 0.25, PAPER) for c in COLOURS])
    ax.imshow(panel["predicted"], extent=(0, 1, 0, 1), origin="lower", aspect="auto", cmap=pale, vmin=-0.5, vmax=3.5,
              interpolation="none")
    shown = np.asarray(panel["shown"])
    draws = shown.shape[2]
    across = int(np.ceil(np.sqrt(draws)))
    step = [0.62 * min(np.diff(np.sort(panel[axis])), default=1) / across for axis in ("x", "y")]
    i, j = np.arange(draws) % across, np.arange(draws) // across
    for (r, c), _ in np.ndenumerate(shown[..., 0]):
        x = panel["x"][c] + (i - (across - 1) / 2) * step[0]
        y = panel["y"][r] + (j - (j.max() / 2)) * step[1]
        ax.scatter(x, y, s=13, c=[COLOURS[k] for k in shown[r, c]], edgecolors=PAPER, linewidths=0.4, zorder=4)
    for (x, y), dashes in zip(panel.get("lines", {}).values(), DASHES, strict=False):
        ax.plot(x, y, color=INK, lw=1.1, ls=dashes, zorder=3)
    ax.set_title(title, loc="left", weight="bold", pad=21)
    note(ax, panel["ylabel"], (0, 1), (0, 6), color=QUIET, va="bottom")
    ax.set(xlabel=panel["xlabel"], xlim=(0, 1), ylim=(0, 1))
    ax.set_xticks(list(panel["xticks"]), list(panel["xticks"].values()))
    ax.set_yticks(list(panel["yticks"]), list(panel["yticks"].values()))


def before_after(panels: Mapping[str, tuple], *, xlabel, ylabel, message, uncertainty, alt) -> Figure:
    """One dot per kernel, ratios in [0, 1]. panels: {title: (start [K], end [K], threshold)}.

    A dot above the diagonal has risen. The vertical line at `threshold` says from where on it should; colour says whether it
    did as told.
    """
    def draw(inches):
        columns = len(panels) if inches == WIDE else 1
        rows = -(-len(panels) // columns)
        canvas = Canvas(figsize=(inches, 2.7 * rows + 0.2), layout="constrained")
        for ax, (title, (start, end, threshold)) in zip(canvas.subplots(rows, columns, squeeze=False).ravel(), panels.items(),
                                                       strict=True):
            start, end = np.asarray(start, float), np.asarray(end, float)
            told = (end > start) == (start > threshold)
            for mask, role, marker, size in ((told, "mrp", "o", 12), (~told, "supervised", "X", 26)):
                look = {"marker": marker, "s": size, "color": ROLES[role][0], "alpha": 0.55, "lw": 0, "zorder": 3}
                ax.scatter(start[mask], end[mask], **look)
            ax.plot([0, 1], [0, 1], color=QUIET, lw=0.8)
            ax.axvline(threshold, color=INK, lw=1, ls=DASHES[0])
            note(ax, "r*", (threshold, 1), (3, -8), ax.get_xaxis_transform(), color=INK)
            ax.set_title(title, loc="left", weight="bold", pad=21)
            note(ax, ylabel, (0, 1), (0, 6), color=QUIET, va="bottom")
            ax.set(xlabel=xlabel, xlim=(0, 1), ylim=(0, 1.02))
        return canvas

    return picture(draw, message, uncertainty, alt)


def strips(panels: Mapping[str, np.ndarray], x, rows, *, xlabel, scale, message, uncertainty, alt, marks=None) -> Figure:
    """Named rows against x on one colour scale from 0 to 1. panels: {title: [rows, x]}; nan: nothing to say, hatched.

    marks: {title: (x, text)}, a line in that panel; titles may be missing.
    """
    data = {title: np.asarray(matrix, float) for title, matrix in panels.items()}
    if wrong := {title: m.shape for title, m in data.items() if m.shape != (len(rows), len(x))}:
        raise ValueError(f"panels have shapes {wrong}; needed: {(len(rows), len(x))}")
    x = np.asarray(x, float)
    edges = np.concatenate([[1.5 * x[0] - 0.5 * x[1]], (x[1:] + x[:-1]) / 2, [1.5 * x[-1] - 0.5 * x[-2]]])

    def draw(inches):
        columns = min(2, len(data)) if inches == WIDE else 1
        lines = -(-len(data) // columns)
        canvas = Canvas(figsize=(inches, lines * (0.24 * len(rows) + 0.75) + 0.7), layout="constrained")
        axes = canvas.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for ax, (title, matrix) in zip(axes, data.items(), strict=False):
            ax.set_facecolor(PAPER)
            silent = {"fc": PAPER, "ec": "#d8d8d2", "hatch": "////", "lw": 0}
            ax.add_patch(mpl.patches.Rectangle((0, 0), 1, 1, transform=ax.transAxes, **silent))
            image = ax.pcolormesh(edges, np.arange(len(rows) + 1), np.ma.masked_invalid(matrix), cmap=HOLDS, vmin=0, vmax=1,
                                  edgecolors="face", linewidth=0.4)
            ax.hlines(np.arange(1, len(rows)), edges[0], edges[-1], color=PAPER, lw=2)
            if title in (marks or {}):
                at, text = marks[title]
                ax.axvline(at, color=INK, lw=1.2, ls=DASHES[0])
                note(ax, text, (at, 1), (0, 2), ax.get_xaxis_transform(), va="bottom", ha="center")
            ax.set_title(title, loc="left", weight="bold", pad=14)
            ax.set(ylim=(len(rows), 0), xlim=(edges[0], edges[-1]))
            ax.set_yticks(np.arange(len(rows)) + 0.5, rows)
            ax.tick_params(axis="y", length=0)
        for ax in axes[max(0, len(data) - columns):len(data)]:
            ax.set_xlabel(xlabel)
        bar = canvas.colorbar(image, ax=list(axes), label=scale, location="bottom", shrink=0.5, aspect=30)
        bar.outline.set_visible(False)
        return canvas

    return picture(draw, message, uncertainty, alt)
