"""A small vision transformer: encoder and light decoder.

An *encoder*, for everything that trains or probes one, is a module with the attributes `width` and `cells` that turns
pictures [N, C, H, W] in [0, 1] into outputs [N, cells, width], one for each place of the picture. Its features are the
mean over the places.
"""
import contextlib
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ..rng import generator
from ..validation import check_integer
from .patches import chosen, grid, to_patches


@contextlib.contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Inside, what torch draws on the CPU depends on (seed, purpose) alone; outside, its state is as if nothing happened."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, purpose).integers(2**63)))
        yield


def standardised(pictures: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """[0, 1] -> [-2, 2]: about mean 0 and variance 1 for photographs, with no number that depends on the data (ours)."""
    return 4 * pictures - 2


def positions(rows: int, columns: int, width: int) -> Float[Tensor, "P width"]:
    """Sines and cosines of row and column, half of the width each, wavelengths 2 pi to 2 pi 10000 in a geometric series.

    Source: Vaswani et al. 2017, in two dimensions as by He et al. 2022. Raises ValueError unless 4 divides the width.
    """
    if check_integer("width", width, 4) % 4:
        raise ValueError(f"width = {width}: expected a multiple of 4, for sines and cosines of row and column")
    frequencies = 10000.0 ** (-torch.arange(width // 4) / (width // 4))
    row, column = (torch.outer(torch.arange(n), frequencies) for n in (rows, columns))
    row, column = (torch.cat([angle.sin(), angle.cos()], 1) for angle in (row, column))
    return torch.cat([row[:, None].expand(-1, columns, -1), column[None].expand(rows, -1, -1)], 2).flatten(0, 1)


def placed(tokens: Float[Tensor, "N V width"], visible: Int[Tensor, "N V"], token: Float[Tensor, "width"], P: int
           ) -> Float[Tensor, "N P width"]:
    """All P places of each picture: its tokens at their places, `token` at the others."""
    everywhere = token.to(tokens.dtype).expand(len(tokens), P, -1)
    return everywhere.scatter(1, visible[..., None].expand(-1, -1, tokens.shape[2]), tokens)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): the pre-norm transformer block.

    What nn.TransformerEncoderLayer(norm_first=True) computes, whose forward and backward pass takes 7 to 12 % longer on a CPU,
    without a bias of queries, keys and values: the norm before has one, and that of the keys would change no output, so that
    AdamW would blow up the rounding error of its gradient.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def extra_repr(self) -> str:
        return f"heads={self.heads}"

    def forward(self, x: Float[Tensor, "N P width"]) -> Float[Tensor, "N P width"]:
        N, P, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(N, P, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(N, P, width)
        x = x + self.out(attended)
        return x + self.mlp(self.norm2(x))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):  # as He et al. 2022
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class ViT(nn.Module):
    """Dosovitskiy et al. 2021 without class token: patches, fixed positions, `depth` pre-norm blocks, a last norm.

    shape: (C, H, W) of the pictures; patch: side of a patch, a divisor of H and W; width: a multiple of 4 and of `heads`.
    The weights depend on `seed` alone. Raises ValueError for numbers outside these ranges.
    """

    def __init__(self, shape: tuple[int, int, int] = (3, 32, 32), patch: int = 4, width: int = 192, depth: int = 6,
                 heads: int = 3, seed: int = 0):
        super().__init__()
        self.shape, self.patch, self.width = tuple(shape), patch, width
        self.rows, self.columns = grid(self.shape, patch)
        check_integer("depth", depth, 1)
        if width % check_integer("heads", heads, 1):
            raise ValueError(f"heads = {heads}: expected a divisor of width = {width}")
        self.register_buffer("positions", positions(self.rows, self.columns, width), persistent=False)
        with seeded(seed, "encoder weights"):
            self.embed = nn.Linear(shape[0] * patch**2, width)
            self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
            self.norm = nn.LayerNorm(width)
            self.apply(_initialise)

    def extra_repr(self) -> str:
        return f"shape={self.shape}, patch={self.patch}"

    @property
    def cells(self) -> int:
        """P, the number of patches."""
        return self.rows * self.columns

    def tokens(self, pictures: Float[Tensor, "N C H W"], visible: Int[Tensor, "N V"] | None = None,
               token: Float[Tensor, "width"] | None = None) -> Float[Tensor, "N T width"]:
        """What enters the first block: embedded patches with their positions. See `forward`."""
        if pictures.shape[1:] != self.shape:
            raise ValueError(f"pictures {tuple(pictures.shape)}: expected [N, {', '.join(map(str, self.shape))}]")
        patches, places = to_patches(standardised(pictures), self.patch), self.positions
        if visible is None:
            return self.embed(patches) + places
        seen = self.embed(chosen(patches, visible))
        if token is None:
            return seen + places[visible]
        return placed(seen, visible, token, self.cells) + places

    def forward(self, pictures: Float[Tensor, "N C H W"], visible: Int[Tensor, "N V"] | None = None,
                token: Float[Tensor, "width"] | None = None) -> Float[Tensor, "N T width"]:
        """Outputs of all patches [N, P, width]; with `visible` [N, V], of those alone [N, V, width]: nothing is computed from
        the others or for them. With `token` [width] too, it stands in place of the others, and the outputs are again of all P.
        """
        return self.norm(self.layers(pictures, visible, token)[-1])

    def layers(self, pictures: Float[Tensor, "N C H W"], visible: Int[Tensor, "N V"] | None = None,
               token: Float[Tensor, "width"] | None = None) -> list[Float[Tensor, "N T width"]]:
        """The output of every block, from the first to the last, before the last norm."""
        x, outputs = self.tokens(pictures, visible, token), []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs


class Decoder(nn.Module):
    """From outputs of the visible patches to predictions for the hidden ones: a smaller transformer (He et al. 2022).

    encoder: whose outputs it reads; out: numbers to predict per patch; width (a multiple of 4 and of heads), depth >= 1,
    heads: its own, ValueError otherwise.
    """

    def __init__(self, encoder: ViT, out: int, width: int = 96, depth: int = 1, heads: int = 3, seed: int = 0):
        super().__init__()
        check_integer("out", out, 1)
        check_integer("depth", depth, 1)
        if width % check_integer("heads", heads, 1):
            raise ValueError(f"heads = {heads}: expected a divisor of width = {width}")
        self.register_buffer("positions", positions(encoder.rows, encoder.columns, width), persistent=False)
        with seeded(seed, "decoder weights"):
            self.embed = nn.Linear(encoder.width, width)
            self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, out)
            self.token = nn.Parameter(0.02 * torch.randn(width))
            self.apply(_initialise)

    def forward(self, encoded: Float[Tensor, "N T width"], visible: Int[Tensor, "N V"], hidden: Int[Tensor, "N Q"]
                ) -> Float[Tensor, "N Q out"]:
        """encoded: outputs of the visible patches [N, V, width], or of all [N, P, width]. Returns predictions [N, Q, out]."""
        x, P = self.embed(encoded), len(self.positions)
        if x.shape[1] < P:
            x = placed(x, visible, self.token, P)
        return self.head(chosen(self.norm(self.blocks(x + self.positions)), hidden))
