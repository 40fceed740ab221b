"""One look for all figures; message, uncertainty and alt text are required arguments.

Each function returns a `Figure` that a notebook shows as HTML: the message as text, the picture - drawn for a
page and again for a phone, where panels stack - and a line on what bands and bars mean. Arrays: NumPy, torch.
A triple is (estimate, low, high), three vectors. Bad input raises ValueError; so does a missing text.
"""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure as Canvas

from .intervals import mean_interval
from .look import (
    INK,
    PAPER,
    QUIET,
    ROLES,
    SMALLEST,
    STRENGTH,
    WIDE,
    Figure,
    checked,
    end_labels,
    grid,
    looks_of,
    mix,
    note,
    picture,
)


def spans(values, low=-np.inf, high=np.inf):
    """Triple of each column of values [draws, columns]: its mean and 95 % interval (Student's t), clipped to [low, high].

    A column of equal values, of two draws or more, is drawn without width; a claim about it is judged by
    `intervals.mean_interval`, which does not take equal values for certainty.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 2:
        raise ValueError(f"values: shape {values.shape}; allowed: [draws, columns]")
    means, equal = values.mean(0), (np.ptp(values, axis=0) == 0) & (len(values) > 1)
    bounds = [(m, m) if same else mean_interval(v, 0.05)[1:3] for v, m, same in zip(values.T, means, equal, strict=True)]
    return np.column_stack([means, np.array(bounds).reshape(-1, 2)]).T.clip(low, high)


def _of(value, title):
    return value[title] if isinstance(value, Mapping) else value


def _axes(inches, titles, height, ylabel="", lift=0, columns=2, **options):
    """A canvas and {title: axes}: columns on a page, one on a phone. Y labels lie flat, above the axis."""
    columns = min(columns, len(titles)) if inches == WIDE else 1
    rows = -(-len(titles) // columns)
    canvas = Canvas(figsize=(inches, rows * height + 0.1), layout="constrained")
    axes = canvas.subplots(rows, columns, squeeze=False, **options).ravel()
    for ax in axes[len(titles) :]:
        ax.remove()
    for ax, title in zip(axes, titles, strict=False):
        label = _of(ylabel, title)
        note(ax, label, (0, 1), (0, 6 + lift), color=QUIET, va="bottom")
        ax.set_title(title, loc="left", weight="bold", pad=6 + lift + 15 * bool(label))
    return canvas, dict(zip(titles, axes, strict=False))


def _references(ax, references) -> list:
    """Draws ("x" or "y", value or (low, high), text): x texts stand above, y texts return as end labels."""
    names, height = [], 2
    for axis, value, text in references:
        low, high = np.broadcast_to(value, 2)
        if low < high:
            (ax.axvspan if axis == "x" else ax.axhspan)(low, high, color="#ece7d3", lw=0, zorder=0)
        else:
            (ax.axvline if axis == "x" else ax.axhline)(low, color=QUIET, lw=1, ls=(0, (1, 2)), zorder=1)
        if axis == "x":
            note(ax, text, (low, 1), (0, height), ax.get_xaxis_transform(), color=QUIET, va="bottom")
            height += 12
        else:
            names.append(((low + high) / 2, text, QUIET))
    return names


def curves(x, series, *, xlabel, ylabel, message, uncertainty, alt, roles=None, logx=False, logy=False,
           references=()) -> Figure:  # fmt: skip
    """Lines with bands. series: {name: triple [n]} or {title: {name: triple}}; x: [n].

    x, labels, references: also {title: ...}. roles: {name: role} for names that are no roles themselves, or
    "ordered" (steps along a scale). references: ("x" or "y", value or (low, high), text).
    """
    panels = series if all(isinstance(panel, Mapping) for panel in series.values()) else {"": series}
    data = {title: {name: checked(name, v) for name, v in panel.items()} for title, panel in panels.items()}
    looks = looks_of([name for panel in panels.values() for name in panel], roles)
    lift = 12 * max(sum(axis == "x" for axis, _, _ in _of(references, title)) for title in panels)

    def draw(inches):
        canvas, axes = _axes(inches, list(panels), 3.1, ylabel, lift, sharey=True)
        labels = {title: _references(ax, _of(references, title)) for title, ax in axes.items()}
        for title, ax in axes.items():
            at = np.asarray(_of(x, title), dtype=float)
            scales = {"xscale": "log" if logx else "linear", "yscale": "log" if logy else "linear"}
            ax.set(xlabel=_of(xlabel, title), **scales)
            if logx and np.floor(np.log10(at.max())) >= np.ceil(np.log10(at.min())):
                ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())  # a power of ten is named, so they need not be
            for name, (mean, low, high) in data[title].items():
                colour, style, marker = looks[name]
                if style:
                    ax.fill_between(at, low, high, color=colour, alpha=0.18, lw=0)
                    ax.plot(at, mean, color=colour, ls=style, lw=1.9 if marker else 0.8)
                else:
                    ax.vlines(at, low, high, color=colour, lw=1.8, zorder=4)
                if marker:
                    marks = slice(-1 if style else 0, None)
                    look = {"ls": "", "marker": marker, "color": colour, "mec": PAPER, "ms": 6.5, "zorder": 5}
                    ax.plot(at[marks], mean[marks], clip_on=False, **look)
                    labels[title].append((mean[-1], name, colour))
        for title, ax in axes.items():
            end_labels(ax, labels[title])
        return canvas

    return picture(draw, message, uncertainty, alt)


def law(x, measured, predicted, *, xlabel, ylabel, message, uncertainty, alt, sd_band=None, logx=False):
    """Points with bars over a theory curve. measured: triple [n]; predicted: [n]; sd_band: (low, high).

    All of these may be {title: ...}. `uncertainty` says what bars and band are.
    """
    series = {}
    for title, points in (measured if isinstance(measured, Mapping) else {"": measured}).items():
        theory = _of(predicted, title)
        band = (theory, theory) if sd_band is None else _of(sd_band, title)
        series[title] = {"theory": (theory, *band), "measured": points}
    texts = dict(xlabel=xlabel, ylabel=ylabel, message=message, uncertainty=uncertainty, alt=alt)
    return curves(x, series, roles={"theory": "law"}, logx=logx, **texts)


def dots(groups, series, *, xlabel, message, uncertainty, alt, roles=None, references=(), value="{:.2f}",
         limits=None) -> Figure:  # fmt: skip
    """Estimates with intervals, a named row each under a heading per group; the number stands at the right.

    groups: n headings; series: {name: triple [n]}; references: ("x", value, text); limits: (low, high) of x.
    """
    data, looks = {name: checked(name, v) for name, v in series.items()}, looks_of(series, roles)

    def draw(inches):
        step = len(data) + 1.4
        canvas, axes = _axes(inches, [""], 0.25 * step * len(groups) + 0.75)
        ax, beside = axes[""], axes[""].get_yaxis_transform()
        rows = [(g * step + 1 + i, name, g) for g in range(len(groups)) for i, name in enumerate(data)]
        for y, name, group in rows:
            colour, _, marker = looks[name]
            mean, low, high = (v[group] for v in data[name])
            ax.hlines(y, low, high, color=colour, lw=5, alpha=0.35)
            ax.plot(mean, y, ls="", marker=marker, color=colour, ms=7, mec=PAPER, clip_on=False, zorder=4)
            note(ax, value.format(mean), (1, y), (10, 0), beside, color=mix(colour, 0.7, INK))
        for group, heading in enumerate(groups):  # on paper of its own: reference lines pass behind
            box = {"fc": PAPER, "ec": "none", "pad": 1.5}
            note(ax, heading, (0, group * step), (0, 0), beside, weight="bold", bbox=box)
        ax.set(xlabel=xlabel, xlim=limits, ylim=(len(groups) * step - 0.8, -0.7))
        ax.set_yticks([y for y, _, _ in rows], [name for _, name, _ in rows])
        for tick, (_, name, _) in zip(ax.get_yticklabels(), rows, strict=True):
            tick.set_color(mix(looks[name][0], 0.7, INK))
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        _references(ax, references)
        return canvas

    return picture(draw, message, uncertainty, alt)


def heatmaps(panels, *, rows, columns, message, uncertainty, alt, scale, order=None, classes=None, names=None) -> Figure:
    """Matrices on one colour scale, such as kernels x semantics. panels: {title: [r, c]}, finite.

    rows, columns: axis labels; scale: what a colour means; order: [r], or {title: [r]}; classes: [c], lines
    where it changes. names: {title: (of its rows, of its columns)} in place of their numbers, for panels without an order.
    uncertainty: a sentence, or why there is none. Negative entries: a scale with two ends.
    """
    data = {title: np.asarray(matrix, dtype=float) for title, matrix in panels.items()}
    for title, matrix in data.items():
        if matrix.ndim != 2 or not np.isfinite(matrix).all():
            raise ValueError(f"panels[{title!r}] has shape {matrix.shape}; needed: a finite matrix")
    for title, named in (names or {}).items():
        if order is not None or tuple(map(len, named)) != data[title].shape:
            raise ValueError(f"names[{title!r}] = {named!r}: expected one per row and column {data[title].shape}, no order")
    top = max(np.abs(matrix).max() for matrix in data.values())
    low, colours = 0, STRENGTH
    if min(matrix.min() for matrix in data.values()) < -0.1 * top:
        low, colours = -top, sns.color_palette("vlag", as_cmap=True)
    edges = [] if classes is None else np.flatnonzero(np.diff(np.asarray(classes))) + 1

    def draw(inches):
        canvas, axes = _axes(inches, list(data), 3.6 if inches == WIDE else 2.8, rows, columns=3)
        for title, ax in axes.items():
            by = slice(None) if order is None else np.asarray(_of(order, title))
            image = grid(ax, data[title][by], edges, cmap=colours, vmin=low, vmax=top)
            ax.set(xlabel=columns)
            if names and title in names:
                for axis, labels in zip((ax.yaxis, ax.xaxis), names[title], strict=True):
                    axis.set_ticks(range(len(labels)), labels)
        place = {"ax": list(axes.values()), "location": "bottom", "shrink": 0.5, "aspect": 30}
        bar = canvas.colorbar(image, label=scale, **place)
        bar.outline.set_visible(False)
        bar.locator = mpl.ticker.MaxNLocator(4)
        return canvas

    return picture(draw, message, uncertainty, alt)


def winner_map(x, y, who, advantage, names, *, xlabel, ylabel, message, uncertainty, alt, roles=None,
               value="{:+.2f}") -> Figure:  # fmt: skip
    """Who wins over a grid. x: [c], c <= 6; y: [r]; who: [r, c], index into names or -1; advantage: [r, c].

    Both may be {title: matrix}. A cell has the winner's colour (pale: small advantage), marker and advantage.
    """
    looks = looks_of(names, roles)
    panels = {t: np.asarray(m) for t, m in (who if isinstance(who, Mapping) else {"": who}).items()}
    gains = {t: np.asarray(_of(advantage, t), dtype=float) for t in panels}
    for title, m in panels.items():
        if not m.shape == gains[title].shape == (len(y), len(x)) or m.min() < -1 or m.max() >= len(names):
            need = f"{len(y)} x {len(x)} integers from -1 to {len(names) - 1}, advantage of that shape"
            raise ValueError(f"who[{title!r}] = {m.tolist()}; needed: {need}")
    top = max(gain[panels[title] >= 0].max(initial=1e-9) for title, gain in gains.items())

    def draw(inches):
        canvas, axes = _axes(inches, list(panels), 0.36 * len(y) + 1.1, ylabel)
        for title, ax in axes.items():
            for (r, c), winner in np.ndenumerate(panels[title]):
                cell = dict(fc=PAPER, hatch="////", lw=0)
                if winner >= 0:
                    colour, _, marker = looks[names[winner]]
                    gain = gains[title][r, c]
                    cell = dict(fc=mix(colour, 0.12 + 0.5 * max(gain, 0) / top, PAPER), ec=PAPER, lw=1.5)
                    ax.plot(c - 0.33, r, marker=marker, color=colour, mec=PAPER, ms=6)
                    ax.text(c + 0.12, r, value.format(gain), ha="center", va="center", size=SMALLEST)
                ax.add_patch(mpl.patches.Rectangle((c - 0.5, r - 0.5), 1, 1, **cell))
            ax.set(xlabel=xlabel, xlim=(-0.5, len(x) - 0.5), ylim=(-0.5, len(y) - 0.5), frame_on=False)
            ax.set_xticks(range(len(x)), [f"{v:g}" for v in x])
            ax.set_yticks(range(len(y)), [f"{v:g}" for v in y])
        line = mpl.lines.Line2D
        keys = [line([], [], ls="", color=looks[n][0], marker=looks[n][2], label=n) for n in names]
        keys.append(mpl.patches.Patch(fc=PAPER, hatch="////", ec=QUIET, lw=0.5, label="undecided"))
        place = {"loc": "outside upper left", "ncols": 4 if inches == WIDE else 2, "frameon": False}
        canvas.legend(handles=keys, fontsize=SMALLEST, **place)
        return canvas

    return picture(draw, message, uncertainty, alt)


def patches(samples, classes, labels, kinds, *, message, uncertainty, alt) -> Figure:
    """What a sample holds. samples: [n, P, n_semantics], strength of each semantic in each patch.

    classes: [n_semantics]; labels: [n]; kinds: [n], words. Bars of the label's own semantics are in colour.
    """
    order = np.argsort(np.asarray(classes), kind="stable")
    samples, classes = np.asarray(samples, dtype=float)[:, :, order], np.asarray(classes)[order]

    def draw(inches):
        columns = 2 if inches == WIDE and len(samples) > 1 else 1
        rows = -(-len(samples) // columns)
        canvas = Canvas(figsize=(inches, 3.1 * rows), layout="constrained")
        parts = canvas.subfigures(rows, columns, squeeze=False).ravel()
        for part, sample, label, kind in zip(parts, samples, labels, kinds, strict=False):
            bars, cells = part.subplots(2, 1, sharex=True, height_ratios=[1, 1.6])
            colours = [ROLES["supervised" if c == label else "context"][0] for c in classes]
            bars.bar(range(len(classes)), sample.sum(0), color=colours, width=0.8)
            bars.set_ylim(0, 1.05 * samples.sum(1).max())
            bars.set_title(f"{kind}, class {label}", loc="left", weight="bold", pad=20)
            note(bars, "strength, summed over patches", (0, 1), (0, 6), color=QUIET, va="bottom")
            edges = np.flatnonzero(np.diff(classes)) + 1
            grid(cells, sample, edges, vmax=samples.max())
            cells.set(xlabel="semantic", ylabel="patch")
        return canvas

    return picture(draw, message, uncertainty, alt)
