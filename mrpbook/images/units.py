"""Masks that hide squares of patches."""
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from ..validation import check_integer
from .batches import Batches
from .patches import grid


def squares(rows: int, columns: int, side: int) -> Int[Tensor, "U n"]:
    """Numbers of the patches of each square of side x side patches, in rising order, squares row by row; n = side^2.

    Raises ValueError unless side divides rows and columns.
    """
    check_integer("side", side, 1)
    if rows % side or columns % side:
        raise ValueError(f"side = {side}: expected a divisor of {rows} rows and {columns} columns of patches")
    places = torch.arange(rows * columns).view(rows // side, side, columns // side, side)
    return places.transpose(1, 2).reshape(-1, side**2)


@dataclass(frozen=True)
class UnitBatches(Batches):
    """Batches whose masks hide whole squares of `side` x `side` patches of side `patch`, drawn like single patches.

    masks: (number of such squares, the share of them to hide); with side 1 all is as in Batches. Raises ValueError besides
    for sides that do not divide the pictures, and for another number of squares.
    """

    patch: int = 1
    side: int = 1

    def __post_init__(self):
        super().__post_init__()
        count = len(self.squares)
        if self.masks is None or self.masks[0] != count:
            raise ValueError(f"masks = {self.masks}: expected ({count}, ratio), for {count} squares of side = {self.side} "
                             f"patches of patch = {self.patch}")

    @property
    def squares(self) -> Int[Tensor, "U n"]:
        """See `squares`."""
        return squares(*grid(tuple(self.pictures.shape[1:]), self.patch), self.side)

    def identity(self) -> dict:
        """What a checkpoint is compared with."""
        return super().identity() | {"patch": int(self.patch), "side": int(self.side)}

    def __call__(self, step: int, part: int = 0, parts: int = 1) -> tuple[Tensor, ...]:
        """As `Batches`, with the numbers of patches instead of those of squares, in rising order."""
        *rest, seen, hidden = super().__call__(step, part, parts)
        places = self.squares.to(seen.device)
        return *rest, *(places[units].flatten(1).sort(1).values for units in (seen, hidden))
