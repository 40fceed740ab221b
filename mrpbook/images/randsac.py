"""Random segments with autoregressive coding: predict each segment from those before it.

After Hua et al. 2023 (RandSAC), their main text; s(i) is the rank of patch i's segment, 0 for the first. What the text leaves
open is ours, and said where it is.
"""
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ..validation import check_integer
from .patches import chosen, from_patches, to_patches
from .vit import Block, ViT, _initialise, positions, seeded


def until(query: Int[Tensor, "N Q"], key: Int[Tensor, "N S"]) -> Bool[Tensor, "N 1 Q S"]:
    """Who sees whom within the encoder and within the decoder: query i sees key j where s(j) <= s(i)."""
    return key[:, None, None] <= query[:, None, :, None]


def before(query: Int[Tensor, "N Q"], key: Int[Tensor, "N S"]) -> Bool[Tensor, "N 1 Q S"]:
    """Who sees whom from decoder to encoder: query i sees key j where s(j) < s(i)."""
    return key[:, None, None] < query[:, None, :, None]


def attend(block: Block, x: Float[Tensor, "N P width"], allowed: Bool[Tensor, "N 1 P P"]) -> Float[Tensor, "N P width"]:
    """The first half of a Block, attention, to allowed tokens alone; the second half is x + block.mlp(block.norm2(x))."""
    N, P, width = x.shape
    q, k, v = block.qkv(block.norm1(x)).view(N, P, 3, block.heads, -1).permute(2, 0, 3, 1, 4)
    attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    return x + block.out(attended.transpose(1, 2).reshape(N, P, width))


class Layer(nn.Module):
    """Attention among queries, attention to a memory, mlp: a Block with cross-attention in the middle (the usual order)."""

    def __init__(self, width: int, heads: int, memory: int):
        super().__init__()
        self.block, self.norm = Block(width, heads), nn.LayerNorm(width)
        self.q, self.kv = nn.Linear(width, width, bias=False), nn.Linear(memory, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "N Q width"], memory: Float[Tensor, "N S m"], own: Bool[Tensor, "N 1 Q Q"],
                cross: Bool[Tensor, "N 1 Q S"]) -> Float[Tensor, "N Q width"]:
        N, Q, width = x.shape
        x = attend(self.block, x, own)
        q = self.q(self.norm(x)).view(N, Q, self.block.heads, -1).transpose(1, 2)
        k, v = self.kv(memory).view(N, memory.shape[1], 2, self.block.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=cross)
        x = x + self.out(attended.transpose(1, 2).reshape(N, Q, width))
        return x + self.block.mlp(self.block.norm2(x))


class SegmentDecoder(nn.Module):
    """Queries that are places and nothing else, and layers that read one memory each; see `vit.Decoder` for the numbers."""

    def __init__(self, encoder: ViT, out: int, width: int = 96, depth: int = 2, heads: int = 3, seed: int = 0):
        super().__init__()
        check_integer("depth", depth, 1)
        if width % check_integer("heads", heads, 1):
            raise ValueError(f"heads = {heads}: expected a divisor of width = {width}")
        self.register_buffer("positions", positions(encoder.rows, encoder.columns, width), persistent=False)
        with seeded(seed, "segment decoder weights"):
            self.layers = nn.ModuleList(Layer(width, heads, encoder.width) for _ in range(depth))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, out)
            self.apply(_initialise)

    def forward(self, memories: Float[Tensor, "L N S m"], queries: Int[Tensor, "N Q"], own: Bool[Tensor, "N 1 Q Q"],
                cross: Bool[Tensor, "N 1 Q S"]) -> Float[Tensor, "N Q out"]:
        x = self.positions[queries]
        for layer, memory in zip(self.layers, memories, strict=True):
            x = layer(x, memory, own, cross)
        return self.head(self.norm(x))


class RandSAC(nn.Module):
    """(pictures, ranks) -> mean squared error of all segments but the first, each predicted from those before it.

    The encoder sees all segments but the last; its attention follows `until`, so does that among the queries of the decoder,
    and the queries see the encoder by `before`. Memory of decoder layer l: sum_k W[l, k] H_k, with H_k the output of encoder
    block k after the encoder's last norm (where their norms stand is not known), and W learned from 0 but 1 for the last
    block (ours). Afterwards `encoder` is used alone, on whole pictures, without masks.

    encoder: the module itself is trained. skip: False keeps W as it starts, so that every layer reads the encoder's output.
    normalise: targets as in `mae.MAE`, each patch less its mean over its standard deviation; ValueError for patches of one
    number, which have none. decoder_*: see SegmentDecoder; ValueError for numbers outside their ranges.
    """

    def __init__(self, encoder: ViT, *, skip: bool = True, normalise: bool = True, decoder_width: int = 96,
                 decoder_depth: int = 2, decoder_heads: int = 3, seed: int = 0):
        super().__init__()
        out = encoder.shape[0] * encoder.patch**2
        if normalise and out == 1:
            raise ValueError("normalise = True: a patch of one number has no deviation; expected False")
        self.encoder, self.normalise = encoder, normalise
        self.decoder = SegmentDecoder(encoder, out, decoder_width, decoder_depth, decoder_heads, seed)
        mix = torch.zeros(decoder_depth, len(encoder.blocks))
        mix[:, -1] = 1
        self.mix = nn.Parameter(mix, requires_grad=skip)

    def extra_repr(self) -> str:
        return f"normalise={self.normalise}, skip={self.mix.requires_grad}"

    def forward(self, pictures: Float[Tensor, "N C H W"], ranks: Int[Tensor, "N P"]) -> Float[Tensor, ""]:
        """Mean over the numbers of all patches of rank > 0, those of all pictures counted alike. See `predict` for errors."""
        predicted, queries = self.predict(pictures, ranks)
        error = (predicted.float() - chosen(self.targets(pictures), queries)).square().mean(2)
        counts = ranks.gather(1, queries) > 0
        return (error * counts).sum() / counts.sum()

    def predict(self, pictures: Float[Tensor, "N C H W"], ranks: Int[Tensor, "N P"], sees: Callable = before
                ) -> tuple[Float[Tensor, "N Q out"], Int[Tensor, "N Q"]]:
        """Predictions, and the numbers of the patches that they are for, by rising rank: of segments 2 to K.

        Where first segments differ in size, Q is what the smallest leaves; predictions for rank 0 are then among them, mean
        nothing and count nowhere. sees: who sees whom from decoder to encoder; `until` leaks, which tests show. Raises
        ValueError unless every picture has rank 0 and another.
        """
        order, fed, first = self._sorted(ranks)
        seen, queries = order[:, :fed], order[:, first:]
        s, q = ranks.gather(1, seen), ranks.gather(1, queries)
        # a query of rank 0 is seen by none but itself; it may see anything, so that its softmax is one
        own = until(q, q) & (q > 0)[:, None, None] | torch.eye(q.shape[1], dtype=torch.bool, device=q.device)
        cross = sees(q, s) | (q == 0)[:, None, :, None]
        return self.decoder(self.memories(pictures, seen, s), queries, own, cross), queries

    def memories(self, pictures: Float[Tensor, "N C H W"], seen: Int[Tensor, "N S"], ranks: Int[Tensor, "N S"]
                 ) -> Float[Tensor, "L N S width"]:
        """What each decoder layer reads: mixed outputs of the encoder's blocks, for the patches `seen` of these ranks."""
        x, outputs, allowed = self.encoder.tokens(pictures, seen), [], until(ranks, ranks)
        for block in self.encoder.blocks:
            x = attend(block, x, allowed)
            x = x + block.mlp(block.norm2(x))
            outputs.append(x)
        if not self.mix.requires_grad:
            return self.encoder.norm(x).expand(len(self.mix), -1, -1, -1)
        return torch.einsum("lk,knsw->lnsw", self.mix, self.encoder.norm(torch.stack(outputs)))

    def targets(self, pictures: Float[Tensor, "N C H W"]) -> Float[Tensor, "N P d"]:
        """Pixels of each patch, normalised if so asked."""
        patches = to_patches(pictures, self.encoder.patch)
        mean, scale = self._scale(patches)
        return (patches - mean) / scale

    @torch.no_grad()
    def reconstruct(self, pictures: Float[Tensor, "N C H W"], ranks: Int[Tensor, "N P"]) -> Float[Tensor, "N C H W"]:
        """First segments as they are, each other one predicted from the *true* segments before it; with `normalise` patches
        are given their true mean and deviation, as in `MAE.reconstruct`: for the eye."""
        patches = to_patches(pictures, self.encoder.patch)
        predicted, queries = self.predict(pictures, ranks)
        mean, scale = (chosen(x, queries) for x in self._scale(patches))
        shown = torch.where((ranks.gather(1, queries) > 0)[..., None], predicted * scale + mean, chosen(patches, queries))
        patches = patches.scatter(1, queries[..., None].expand_as(shown), shown)
        return from_patches(patches, self.encoder.shape, self.encoder.patch)

    def _scale(self, patches):
        if not self.normalise:
            return torch.zeros_like(patches[..., :1]), torch.ones_like(patches[..., :1])
        return patches.mean(2, keepdim=True), (patches.var(2, keepdim=True) + 1e-6).sqrt()

    def _sorted(self, ranks):
        """Patches by rank; how many the encoder is given (all but the smallest last segment); where queries begin."""
        order = ranks.argsort(dim=1, stable=True)
        last = ranks.amax(1, keepdim=True)
        if (ranks.amin(1) != 0).any() or (last == 0).any():
            raise ValueError("ranks: expected 0 for the first segment of every picture, and at least one more segment")
        return order, ranks.shape[1] - int((ranks == last).sum(1).min()), int((ranks == 0).sum(1).min())


def felt(model: RandSAC, pictures: Float[Tensor, "N C H W"], ranks: Int[Tensor, "N P"], sees: Callable = before
         ) -> Bool[Tensor, "N P P"]:
    """Whether the prediction for patch i (row) has a gradient in the pixels of patch j (column): if the masks are right,
    exactly where s(j) < s(i). Rows of rank 0, which is not predicted, are False. sees: see `RandSAC.predict`."""
    x = pictures.clone().requires_grad_()
    predicted, queries = model.predict(x, ranks, sees)
    found = torch.zeros(*ranks.shape, ranks.shape[1], dtype=torch.bool)
    for q in range(queries.shape[1]):
        (slope,) = torch.autograd.grad(predicted[:, q].sum(), x, retain_graph=True)
        found[torch.arange(len(x)), queries[:, q]] = (to_patches(slope, model.encoder.patch) != 0).any(2)
    return found & (ranks > 0)[:, :, None]
