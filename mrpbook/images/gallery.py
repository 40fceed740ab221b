"""Rows of small pictures under headings, as a figure."""
from collections.abc import Collection, Mapping

import numpy as np
from matplotlib.figure import Figure as Canvas

from ..look import WIDE, Figure, note, picture


def gallery(rows: Mapping[str, tuple], *, message: str, uncertainty: str, alt: str, columns: int = 8,
            signed: Collection[str] = ()) -> Figure:
    """Grey pictures in rows. rows: {heading: (pictures [n, H, W], n captions or None)}; on a phone half as many in a line.

    Black is 0 and white is 1; what lies beyond is cut off. Under the headings in `signed` grey is 0, and black and white are
    the largest size in each picture. Raises ValueError for pictures that are no [n, H, W], another number of captions, more
    pictures in a row than columns, or a missing text.
    """
    data = {}
    for heading, (pictures, captions) in rows.items():
        pictures = np.asarray(pictures, dtype=float)
        if pictures.ndim != 3 or not 1 <= len(pictures) <= columns or len(captions or pictures) != len(pictures):
            raise ValueError(f"rows[{heading!r}]: pictures of shape {pictures.shape} and captions {captions}: expected "
                             f"[n, H, W] with n from 1 to {columns}, and n captions or None")
        if heading in signed:
            pictures = 0.5 + 0.5 * pictures / np.abs(pictures).max((1, 2), keepdims=True).clip(1e-12)
        data[heading] = pictures.clip(0, 1), captions or [""] * len(pictures)

    def draw(inches):
        across = columns if inches == WIDE else columns // 2
        side, gap = inches / across, 0.06
        lines = [(heading if start == 0 else "", pictures[start:start + across], captions[start:start + across])
                 for heading, (pictures, captions) in data.items() for start in range(0, len(pictures), across)]
        heights = [side + 0.26 * bool(heading) + 0.17 * any(captions) for heading, _, captions in lines]
        canvas, top = Canvas(figsize=(inches, sum(heights))), sum(heights)
        for (heading, pictures, captions), height in zip(lines, heights, strict=True):
            below = top - 0.26 * bool(heading) - side
            if heading:
                canvas.text(gap / inches, (top - 0.13) / sum(heights), heading, va="center", weight="bold")
            for i, pixels in enumerate(pictures):
                ax = canvas.add_axes(((i * side + gap / 2) / inches, (below + gap / 2) / sum(heights), (side - gap) / inches,
                                      (side - gap) / sum(heights)))
                ax.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="none")
                ax.set_axis_off()
                note(ax, captions[i], (0.5, 0), (0, -7), ha="center", size=9)
            top -= height
        return canvas

    return picture(draw, message, uncertainty, alt)
