"""Batches keyed by (seed, step): order, labels, masks, crops."""
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional

from ..rng import generator
from ..validation import check_integer
from .patches import hidden_count, random_masks


@dataclass(frozen=True)
class Batches:
    """Batch number `step`: `size` pictures, with their labels or with masks if there are such.

    pictures: [N, C, H, W], uint8 or float in [0, 1]; they stay on their device. Pictures come in random order, each once
    before any comes twice. labels: int64 [N]. masks: (P, ratio), see patches.random_masks. crop: pictures are moved by up to
    so many pixels each way, what comes in is black (0); flip: left-right with probability 1/2. Raises ValueError for a size
    outside 1..N or other numbers out of range.
    """

    pictures: Tensor
    size: int
    seed: int = 0
    labels: Int[Tensor, "N"] | None = None
    masks: tuple[int, float] | None = None
    crop: int = 0
    flip: bool = False

    def __post_init__(self):
        if self.pictures.ndim != 4 or not (self.pictures.dtype == torch.uint8 or self.pictures.is_floating_point()):
            raise ValueError(f"pictures {tuple(self.pictures.shape)} of {self.pictures.dtype}: expected [N, C, H, W], uint8 "
                             "or float")
        if not 1 <= check_integer("size", self.size, 1) <= len(self.pictures):
            raise ValueError(f"size = {self.size}: expected 1 to {len(self.pictures)}, the number of pictures")
        if self.labels is not None and len(self.labels) != len(self.pictures):
            raise ValueError(f"labels: {len(self.labels)} for {len(self.pictures)} pictures")
        if self.masks is not None:
            hidden_count(*self.masks)
        check_integer("crop", self.crop, 0)

    def identity(self) -> dict:
        """What a checkpoint is compared with: plain numbers, of pictures and labels a checksum."""
        sums = {name: 0 if x is None else zlib.crc32(x.cpu().contiguous().numpy())
                for name, x in {"pictures": self.pictures, "labels": self.labels}.items()}
        numbers = {"size": self.size, "seed": self.seed, "crop": self.crop, "flip": self.flip}
        return sums | {name: int(x) for name, x in numbers.items()} | {"masks": [float(x) for x in self.masks or ()]}

    def index(self, step: int) -> np.ndarray:
        """Numbers of the pictures of a batch: the next `size` of an endless chain of permutations."""
        N, start = len(self.pictures), step * self.size
        rounds = range(start // N, (start + self.size - 1) // N + 1)
        chain = np.concatenate([generator(self.seed, "order", r).permutation(N) for r in rounds])
        return chain[start - rounds[0] * N:][: self.size]

    def __call__(self, step: int, part: int = 0, parts: int = 1) -> tuple[Tensor, ...]:
        """(pictures [n, C, H, W] float32, then labels [n] if there are, then visible and hidden if there are masks).

        n = size / parts: the `part`-th of `parts` equal shares of the batch; ValueError if there are no equal shares.
        """
        if self.size % parts:
            raise ValueError(f"size = {self.size}: expected a multiple of the {parts} processes")
        share = slice(part * self.size // parts, (part + 1) * self.size // parts)
        index = torch.from_numpy(self.index(step)[share]).to(self.pictures.device)
        batch = [self._moved(self.pictures[index], step, share)]
        if self.labels is not None:
            batch.append(self.labels.to(index.device)[index])
        if self.masks is not None:
            batch += [x[share].to(index.device) for x in random_masks(self.size, *self.masks, self.seed, step)]
        return tuple(batch)

    def _moved(self, x, step, share):
        N, C, H, W = x.shape
        if self.crop or self.flip:
            g = generator(self.seed, "crop and flip", step)
            top, left = torch.from_numpy(g.integers(0, 2 * self.crop + 1, (2, self.size, 1))[:, share])
            flipped = torch.from_numpy(g.random((self.size, 1))[share] < 0.5) & self.flip
            columns = torch.arange(W)
            rows = (top + torch.arange(H)).to(x.device)
            columns = (left + torch.where(flipped, W - 1 - columns, columns)).to(x.device)
            padded = functional.pad(x, (self.crop,) * 4)
            n, c = torch.arange(N, device=x.device)[:, None, None, None], torch.arange(C, device=x.device)[None, :, None, None]
            x = padded[n, c, rows[:, None, :, None], columns[:, None, None, :]]
        return x.float() / 255 if x.dtype == torch.uint8 else x.float()
