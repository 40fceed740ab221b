"""Segments of patches and their random order: squares, blobs, hierarchies.

After Hua et al. 2023 (RandSAC). What their main text leaves open (the Gaussians of blobs, how blobs are grouped, how segments
are made incoherent) is ours, and said where it is.
"""
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..rng import generator
from ..validation import check_choice, check_integer
from .batches import Batches
from .patches import random_masks

SHAPES = ("raster", "square", "blob", "two")
STRETCH = (1.0, 3.0)  # standard deviations of a blob's rows and columns: their ratio alone matters


def places(rows: int, columns: int) -> Float[np.ndarray, "P 2"]:
    """Row and column of each patch, row by row."""
    return np.stack(np.mgrid[:rows, :columns], 2).reshape(-1, 2).astype(float)


def squares(points: Float[np.ndarray, "N S 2"], columns: int, side: int) -> Int[np.ndarray, "N S"]:
    """Number of the square of side x side patches that each point lies in, row by row."""
    row, column = (points // side).astype(int).transpose(2, 0, 1)
    return row * -(-columns // side) + column


def blobs(points: Float[np.ndarray, "N S 2"], count: int, g: np.random.Generator) -> Int[np.ndarray, "N S"]:
    """Number of the Gaussian nearest to each point, by Mahalanobis distance; `count` of them, other ones for each picture.

    Nearest Gaussian: Hua et al. 2023. Ours: means are `count` different points, so that no segment is empty (each has its own
    mean, at distance 0, if no two points coincide); standard deviations of rows and columns are uniform in STRETCH.
    """
    N, S, _ = points.shape
    own = g.random((N, S)).argsort(1)[:, :count]
    means = np.take_along_axis(points, own[..., None], 1)
    apart = (points[:, :, None] - means[:, None]) / g.uniform(*STRETCH, (N, 1, count, 2))
    nearest = (apart**2).sum(3).argmin(2)
    np.put_along_axis(nearest, own, np.arange(count)[None], 1)  # centres of segments may coincide
    return nearest


def centres(labels: Int[np.ndarray, "N P"], points: Float[np.ndarray, "N P 2"]) -> Float[np.ndarray, "N S 2"]:
    """Mean place of the patches of each segment; labels 0..S-1, none of them without patches."""
    member = labels[:, None] == np.arange(labels.max() + 1)[:, None]
    return member @ points / member.sum(2, keepdims=True)


@dataclass(frozen=True)
class Layout:
    """Which patches are a segment, and in which order segments come: (N, seed, step) -> ranks [N, P], 0 for the first segment.

    shape: "raster", one patch per segment, row by row, always in this order (the only one without chance); "square", of `size`
    x `size` patches (1: single patches in random order); "blob", `size` of them (see `blobs`); "two", a random `size` patches,
    then all others, drawn as the masks of a masked autoencoder. Segments come in random order, each picture in its own.
    within: a hierarchy, if not 0: squares of this side, or so many blobs, each a group of segments (those whose centre lies in
    the square; those nearest to the Gaussian, which for blobs is ours). Groups come in random order, their segments in random
    order before the next group begins.
    shuffled: the ranks are dealt anew among the patches of each picture: segments of the same sizes, in the same order, that
    are no regions (how Hua et al. 2023 shuffle is not known).
    Raises ValueError for numbers that do not fit: sides that do not divide, fewer than two segments, a group without meaning.
    """

    shape: str
    rows: int
    columns: int
    size: int = 1
    within: int = 0
    shuffled: bool = False

    def __post_init__(self):
        check_choice("shape", self.shape, SHAPES)
        P = check_integer("rows", self.rows, 1) * check_integer("columns", self.columns, 1)
        sides = [d for d in range(1, P) if self.rows % d == self.columns % d == 0 and d * d < P]
        sizes = {"raster": [1], "square": sides, "blob": [*range(2, P + 1)], "two": [*range(1, P)]}[self.shape]
        groups = {"square": [d for d in sides if d > self.size and d % self.size == 0] if self.size in sides else [],
                  "blob": [*range(2, self.size)]}.get(self.shape, [])
        for name, value, allowed in (("size", self.size, sizes), ("within", self.within, [0, *groups])):
            if value not in allowed:
                raise ValueError(f"{name} = {value!r}: expected one of {allowed} for shape = {self.shape!r} and {self.rows} x "
                                 f"{self.columns} patches")

    @property
    def segments(self) -> int:
        """K, how many there are in each picture."""
        P = self.rows * self.columns
        return {"raster": P, "square": P // self.size**2, "blob": self.size, "two": 2}[self.shape]

    def labels(self, N: int, seed: int, step: int = 0) -> Int[np.ndarray, "N P"]:
        """Number of the segment of each patch, in no particular order (not for "two")."""
        points = np.broadcast_to(places(self.rows, self.columns), (N, self.rows * self.columns, 2))
        if self.shape == "blob":
            return blobs(points, self.size, generator(seed, "blobs", step))
        return squares(points, self.columns, self.size)

    def __call__(self, N: int, seed: int, step: int = 0) -> Int[Tensor, "N P"]:
        P = self.rows * self.columns
        check_integer("N", N, 1)
        if self.shape == "two":
            ranks = np.ones((N, P), dtype=np.int64)
            visible, _ = random_masks(N, P, 1 - self.size / P, seed, step)
            np.put_along_axis(ranks, visible.numpy(), 0, 1)
        else:
            labels = self.labels(N, seed, step)
            ranks = np.take_along_axis(self._order(labels, seed, step), labels, 1)
        if self.shuffled:
            dealt = generator(seed, "shuffled segments", step).random((N, P)).argsort(1)
            ranks = np.take_along_axis(ranks, dealt, 1)
        return torch.from_numpy(ranks)

    def _order(self, labels, seed, step) -> Int[np.ndarray, "N S"]:
        """Rank of each segment."""
        N, S = len(labels), self.segments
        if self.shape == "raster":
            return np.broadcast_to(np.arange(S), (N, S))
        turn = generator(seed, "order of segments", step).random((N, S))  # within a group: the fractions
        if self.within:
            points = np.broadcast_to(places(self.rows, self.columns), (*labels.shape, 2))
            centre = centres(labels, points)
            if self.shape == "square":
                group, groups = squares(centre, self.columns, self.within), self.rows * self.columns // self.within**2
            else:
                group, groups = blobs(centre, self.within, generator(seed, "groups of blobs", step)), self.within
            order = generator(seed, "order of groups", step).random((N, groups)).argsort(1)
            turn = turn + np.take_along_axis(order, group, 1)
        return turn.argsort(1).argsort(1)


@dataclass(frozen=True)
class RankedBatches(Batches):
    """`Batches` that give (pictures, ranks) by a layout, in place of masks; other labels or masks raise ValueError."""

    layout: Layout | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.layout is None or self.labels is not None or self.masks is not None:
            raise ValueError("RankedBatches: expected a layout, no labels and no masks")

    def identity(self) -> dict:
        return super().identity() | {"layout": asdict(self.layout)}

    def __call__(self, step: int, part: int = 0, parts: int = 1) -> tuple[Tensor, ...]:
        (pictures,) = super().__call__(step, part, parts)
        share = slice(part * self.size // parts, (part + 1) * self.size // parts)
        return pictures, self.layout(self.size, self.seed, step)[share].to(pictures.device)
