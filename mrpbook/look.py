"""The look that stills and films share."""

import base64
import html
import io
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure as Canvas
from matplotlib.text import Text

PAPER, INK, QUIET = "#fcfcfa", "#222222", "#5c5c5c"
SMALLEST = 9  # points
WIDE, NARROW = 6.9, 3.6  # inches of 96 pixels: the text column of the site, and of a phone 390 pixels wide
STYLE = sns.axes_style("ticks") | {
    **{"font.family": "DejaVu Sans", "font.size": 9.5, "axes.labelsize": 9.5, "axes.titlesize": 9.5},
    **dict.fromkeys(["figure.facecolor", "axes.facecolor", "savefig.facecolor"], PAPER),
    **dict.fromkeys(["text.color", "axes.labelcolor"], INK),
    **dict.fromkeys(["xtick.color", "ytick.color", "hatch.color"], QUIET),
    **dict.fromkeys(["xtick.labelsize", "ytick.labelsize"], SMALLEST),
    **dict.fromkeys(["xtick.major.width", "ytick.major.width", "axes.linewidth", "hatch.linewidth"], 0.8),
    **dict.fromkeys(["xtick.major.size", "ytick.major.size"], 3),
    **dict.fromkeys(["xtick.minor.size", "ytick.minor.size"], 0),
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#b5b5b0"},
    **{"svg.fonttype": "path", "svg.hashsalt": "mrpbook"},  # no fonts needed; same data, same bytes
}
# role: colour, line style, marker; lightness rises in steps, so that roles differ in grey too
ROLES = {
    "mrp": ("#16349a", "-", "o"),
    "supervised": ("#c2441a", (0, (5, 1.5)), "s"),
    "untrained": ("#80807a", (0, (1.2, 1.2)), "D"),
    "finetuned": ("#259bd4", (0, (6, 1.5, 1.2, 1.5)), "^"),
    "ensemble": ("#8f2f86", (0, (3, 1.2, 1, 1.2, 1, 1.2)), "v"),
    "law": ("#1a1a1a", (0, (3, 1)), "None"),
    "measured": ("#16349a", "", "o"),  # points with bars, no line
    "context": ("#cfcfc8", "-", ""),  # thin, without a name
}
# zero is nearly paper
STRENGTH = sns.blend_palette(["#f4f4f0", "#a9b8e0", ROLES["mrp"][0], "#0a1236"], as_cmap=True)


def mix(colour, weight: float, other: str) -> tuple:
    """`weight` of one colour and the rest of another."""
    one, two = np.array(mpl.colors.to_rgb(colour)), np.array(mpl.colors.to_rgb(other))
    return tuple(weight * one + (1 - weight) * two)


def checked(name, values) -> list[np.ndarray]:
    """A triple as three float vectors; ValueError when shapes differ or low > high."""
    triple = [np.asarray(v, dtype=float) for v in values]
    shapes = [v.shape for v in triple]
    if len(triple) != 3 or len(set(shapes)) != 1 or triple[0].ndim != 1:
        raise ValueError(f"{name!r} has shapes {shapes}; needed: estimate, low, high, each [n]")
    if (triple[1] > triple[2]).any():
        raise ValueError(f"{name!r} has low > high at {np.flatnonzero(triple[1] > triple[2])[:5].tolist()}")
    return triple


def looks_of(names, roles) -> dict:
    """(colour, style, marker) per name: by role, by the name if it is a role, or "ordered" along a scale."""
    names = list(dict.fromkeys(names))
    if roles == "ordered":
        colours = sns.color_palette("viridis", int(1.25 * len(names)) + 1).as_hex()
        styles = [ROLES[role][1:] for role in ("mrp", "supervised", "finetuned", "ensemble", "untrained")]
        return {name: (colours[i], *styles[i % 5]) for i, name in enumerate(names)}
    found = {name: (roles or {}).get(name, name.lower().replace("-", "")) for name in names}
    if wrong := [role for role in found.values() if role not in ROLES]:
        raise ValueError(f"roles: {wrong} unknown; allowed: {list(ROLES)} per name, or roles='ordered'")
    return {name: ROLES[role] for name, role in found.items()}


def note(ax, text, at, shift=(0, 0), where="axes fraction", **options) -> None:
    """Text at a point, moved by `shift` points."""
    ax.annotate(text, at, shift, where, textcoords="offset points", **{"va": "center", **options})


def end_labels(ax, labels) -> None:
    """Names (y, text, colour) beside the right ends of lines, pushed apart so that none covers another."""
    narrow = ax.get_gridspec().ncols > 1 or ax.figure.get_figwidth() < WIDE
    labels = [(y, textwrap.fill(text, 14 if narrow else 40), colour) for y, text, colour in labels]
    labels.sort(key=lambda label: label[0])
    lines = 1 + max((text.count("\n") for _, text, _ in labels), default=0)
    to_axes = ax.transData + ax.transAxes.inverted()
    points = 0.62 * 72 * ax.figure.get_figheight() / ax.get_gridspec().nrows
    gap = np.arange(len(labels)) * 13 * lines / points
    free = np.array([to_axes.transform((ax.get_xlim()[1], y))[1] for y, _, _ in labels]) - gap
    at = (np.maximum.accumulate(free) + np.minimum.accumulate(free[::-1])[::-1]) / 2 + gap
    for y, (_, text, colour) in zip(at, labels, strict=True):
        note(ax, text, (1, y), (5, 0), color=mix(colour, 0.7, INK))


def grid(ax, matrix, edges=(), **options):
    """A matrix as cells, on a scale from 0 to 1 unless `options` say so; lines at class `edges`."""
    image = ax.imshow(matrix, **{"cmap": STRENGTH, "vmin": 0, "vmax": 1, "interpolation": "none"} | options)
    ax.set_aspect("auto")
    for edge in edges:
        ax.axvline(edge - 0.5, color="#b5b5b0", lw=0.7)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(mpl.ticker.MaxNLocator(4, integer=True))
    return image


def require(**texts: str) -> None:
    """Raises ValueError for the first text that is missing or blank."""
    for name, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{name} = {text!r}: every figure needs it, as a sentence")


def saved(canvas: Canvas, **options) -> bytes:
    """The bytes of a drawn canvas; refuses text too small to read."""
    file = io.BytesIO()
    canvas.savefig(file, **options)
    texts = [t for t in canvas.findobj(Text) if t.get_visible() and t.get_text()]  # ticks have it once drawn
    if small := sorted({t.get_text() for t in texts if t.get_size() < SMALLEST}):
        raise ValueError(f"text = {small}: smaller than {SMALLEST} points, too small to read")
    return file.getvalue()


def framed(body: str, message: str, uncertainty: str) -> str:
    """HTML figure: the message above `body`, the uncertainty below, on paper of its own for dark pages."""
    box = f"background:{PAPER};color:{INK};margin:0;padding:.7rem .8rem;border-radius:4px;max-width:43.5rem"
    text = "text-align:left;line-height:1.35;padding:0;margin:"
    bold = f"{text}0 0 .5rem;font-weight:600;font-size:1rem;color:{INK}"
    head = f'<figcaption style="{bold}">{html.escape(message)}</figcaption>'
    foot = f'<div style="{text}.3rem 0 0;font-size:.85rem;color:{QUIET}">{html.escape(uncertainty)}</div>'
    return f'<figure class="mrp-figure" style="{box}">{head}\n{body}\n{foot}</figure>'


class Figure(NamedTuple):
    """A finished figure; `wide` and `narrow` are SVG."""

    wide: bytes
    narrow: bytes
    message: str
    uncertainty: str
    alt: str

    def _repr_html_(self) -> str:
        kind = "data:image/svg+xml;base64,"
        wide, narrow = (kind + base64.b64encode(svg).decode() for svg in (self.wide, self.narrow))
        style = f"max-width:100%;height:auto;padding:0;background:{PAPER}"
        image = f'<img class="dark-light" src="{wide}" alt="{html.escape(self.alt)}" style="{style}">'
        source = f'<source media="(max-width: 600px)" srcset="{narrow}">'
        return framed(f"<picture>{source}{image}</picture>", self.message, self.uncertainty)

    def __repr__(self) -> str:
        return f"{self.message} [{self.alt}]"

    def save(self, path) -> None:
        """Writes the wide picture, an SVG without its message, to `path`."""
        Path(path).write_bytes(self.wide)


def picture(draw, message: str, uncertainty: str, alt: str) -> Figure:
    """A still at both widths; draw(inches) returns a canvas. ValueError: a text is missing or too small."""
    require(message=message, uncertainty=uncertainty, alt=alt)
    images = []
    with mpl.rc_context(STYLE):
        for inches in (WIDE, NARROW):
            svg = saved(draw(inches), format="svg", metadata={"Date": None, "Creator": None})
            # a hundredth of a point is enough for a path, and a quarter smaller
            images.append(re.sub(rb' d="[^"]*"', lambda path: re.sub(rb"(\.\d\d)\d+", rb"\1", path[0]), svg))
    return Figure(*images, message, uncertainty, alt)
