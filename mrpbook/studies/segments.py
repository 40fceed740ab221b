"""One draw of pretraining by segments in order, beside a masked autoencoder: same encoder, steps and batches.

The weights of an encoder go to `pictures.learn` and `pictures.frozen`, as those of `pictures.pretrain` do.
"""
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..images import randsac, speed
from ..images.batches import Batches
from ..images.mae import MAE
from ..images.patches import chosen, grid, hidden_count
from ..images.segments import Layout, RankedBatches
from ..images.training import Plan, train
from ..images.vit import ViT
from ..rng import generator
from ..validation import check_choice
from . import pictures

KINDS = ("raster", "random", "square", "blob", "square in square", "blob in blob", "shuffled square", "shuffled blob", "two",
         "MAE")
RATIO = 0.75  # share of hidden patches, of "two" and "MAE"
AFTER = 10**6  # a step that no run reaches: its orders are new


def layout(kind: str, rows: int, columns: int, side: int | None = None, count: int = 5) -> Layout | None:
    """The layout of one of KINDS; None for "MAE". Numbers are ours, after those of Hua et al. 2023 for 8 x 8 patches.

    side: of squares, default 2; in a hierarchy a quarter of the rows, so that there are 16 of them in 4 squares. count: of
    blobs; a hierarchy groups them by half as many, rounded down (theirs: 7 by 3, 11 by 5), but 2 at least. "two" shows as
    many patches as a masked autoencoder of ratio RATIO. Raises ValueError for another kind.
    """
    check_choice("kind", kind, KINDS)
    if kind == "MAE":
        return None
    shape, numbers = {
        "raster": ("raster", {}), "random": ("square", dict(size=1)), "square": ("square", dict(size=side or 2)),
        "blob": ("blob", dict(size=count)), "square in square": ("square", dict(size=side or rows // 4, within=rows // 2)),
        "blob in blob": ("blob", dict(size=count, within=max(2, count // 2))),
        "two": ("two", dict(size=rows * columns - hidden_count(rows * columns, RATIO))),
    }[kind.removeprefix("shuffled ")]
    return Layout(shape, rows, columns, shuffled=kind.startswith("shuffled"), **numbers)


def objective(seed: int, kind: str, source: str = "digits", patch: int | None = None, skip: bool = True, depth: int = 2
              ) -> nn.Module:
    """What `pretrain` minimises, with its untrained encoder; targets are normalised unless a patch is one number.

    "MAE" has the decoder of chapter 8, one block; all others have one of `depth` layers and of the same width.
    """
    return around(pictures.encoder(seed, source, patch), kind, pictures.recipe(source), seed, skip, depth)


def around(encoder: ViT, kind: str, r: pictures.Recipe, seed: int, skip: bool = True, depth: int = 2) -> nn.Module:
    """`objective` for a given encoder."""
    check_choice("kind", kind, KINDS)
    options = dict(normalise=encoder.embed.in_features > 1, decoder_width=r.decoder, decoder_heads=r.heads, seed=seed)
    return MAE(encoder, **options) if kind == "MAE" else randsac.RandSAC(encoder, skip=skip, decoder_depth=depth, **options)


def batches(seed: int, kind: str, source: str = "digits", patch: int | None = None, **numbers) -> Batches:
    """What `pretrain` learns from: pictures with ranks, or with masks for "MAE". numbers: of `layout`."""
    r = pictures.recipe(source)
    return shown(pictures.tensors(source)[0], kind, r, seed, patch or r.patch, **numbers)


def shown(x: Tensor, kind: str, r: pictures.Recipe, seed: int, patch: int, **numbers) -> Batches:
    """`batches` of given pictures [N, C, H, W]."""
    rows, columns = grid(tuple(x.shape[1:]), patch)
    given, common = layout(kind, rows, columns, **numbers), dict(crop=r.crop, flip=r.flip)
    if given is None:
        return Batches(x, r.size, seed, masks=(rows * columns, RATIO), **common)
    return RankedBatches(x, r.size, seed, layout=given, **common)


def pretrain(seed: int, kind: str, source: str = "digits", patch: int | None = None, steps: int | None = None,
             skip: bool = True, depth: int = 2, side: int | None = None, count: int = 5) -> dict:
    """Pretraining on all training pictures, without labels; all but what `kind` says as in `pictures.pretrain`, whose encoder
    "MAE" gives bit for bit (with patches of more than one number).

    Returns `weights` of the encoder, all others as `decoder` (see `outside`), the mean `loss` of each of 50 equal pieces of
    the run, and what `cost` returns.
    """
    r, model = pictures.recipe(source), objective(seed, kind, source, patch, skip, depth)
    given = batches(seed, kind, source, patch, side=side, count=count)
    price = cost(kind, source, patch, depth, side, count)
    losses = train(model, given, Plan(steps or r.steps, r.lr))
    return {"weights": pictures.flat(model.encoder), "decoder": pictures.flat(outside(model)),
            "loss": [float(part.mean()) for part in losses.tensor_split(50)]} | price


def outside(model: nn.Module) -> nn.Module:
    """All weights of an objective but the encoder's: of the decoder, of the skips."""
    return nn.ParameterList([p for name, p in model.named_parameters() if not name.startswith("encoder.")])


def trained(seed: int, kind: str, weights: np.ndarray, decoder: np.ndarray, source: str = "digits", patch: int | None = None,
            skip: bool = True, depth: int = 2) -> nn.Module:
    """The objective with the weights that `pretrain` returned."""
    model = objective(seed, kind, source, patch, skip, depth)
    pictures.loaded(model.encoder, weights)
    pictures.loaded(outside(model), decoder)
    return model.eval()


def cost(kind: str, source: str = "digits", patch: int | None = None, depth: int = 2, side: int | None = None, count: int = 5,
         steps: Sequence[int] = (0, 1)) -> dict:
    """What one step takes for one picture, mean over these batches: `mflop`, million floating-point operations of all matrix
    products, forward and backward; `tokens`, the sum over blocks of encoder and decoder of the tokens that enter each.

    Both leave out norms, softmax and activations. Sizes of blobs differ, so theirs differ from step to step.
    """
    model = objective(0, kind, source, patch, depth=depth)
    return price(model, batches(0, kind, source, patch, side=side, count=count), steps)


def price(model: nn.Module, given: Batches, steps: Sequence[int] = (0, 1)) -> dict:
    """`cost` of a given objective on given batches."""
    entered, work, layers = [], [], list(getattr(model.decoder, "layers", []))
    blocks = [*model.encoder.blocks, *([x.block for x in layers] or model.decoder.blocks)]
    hooks = [block.norm1.register_forward_pre_hook(lambda _, x: entered.append(x[0].shape[1])) for block in blocks]
    for step in steps:
        work.append(1e3 * speed.work(model, given(step)) / given.size)
    for hook in hooks:
        hook.remove()
    return {"mflop": float(np.mean(work)), "tokens": sum(entered) / len(work)}


@torch.no_grad()
def by_rank(seed: int, kind: str, weights: np.ndarray, decoder: np.ndarray, source: str = "digits", patch: int | None = None,
            **numbers) -> dict:
    """Mean squared error of each segment but the first, given those before it, on the test pictures: `error` [K - 1].

    numbers: of `layout`. What to guess without looking, the mean of a normalised patch, has error 1 - 1/d, less for patches of
    one colour (d numbers in a patch).
    """
    model, x = trained(seed, kind, weights, decoder, source, patch), pictures.tensors(source)[1]
    ranks = batches(seed, kind, source, patch, **numbers).layout(len(x), seed, AFTER)
    predicted, queries = model.predict(x, ranks)
    error, s = (predicted - chosen(model.targets(x), queries)).square().mean(2), ranks.gather(1, queries)
    return {"error": [float(error[s == k].mean()) for k in range(1, int(s.max()) + 1)]}


def leaks(seed: int, kind: str, wrong: bool = False, count: int = 4, source: str = "digits") -> dict:
    """Of an untrained network with random skip weights: `leaks`, pairs of patches (i, j) in which the prediction of i has a
    gradient in the pixels of j although s(j) >= s(i), or none although s(j) < s(i), of `pairs` in `count` pictures; and for
    the first picture `felt` [P, P] in the order of its segments.

    wrong: queries see their own segment, s(j) <= s(i), in the cross-attention.
    """
    model = objective(seed, kind, source)
    with torch.no_grad():
        model.mix.copy_(torch.from_numpy(generator(seed, "random skips").normal(size=model.mix.shape)))
    ranks = batches(seed, kind, source).layout(count, seed)
    sees = randsac.until if wrong else randsac.before
    found = randsac.felt(model, pictures.tensors(source)[0][:count], ranks, sees)
    order, asked = ranks[0].argsort(stable=True), (ranks > 0)[:, :, None].expand_as(found)
    wrongs = asked & (found != (ranks[:, None] < ranks[:, :, None]))
    return {"leaks": int(wrongs.sum()), "pairs": int(asked.sum()), "felt": found[0][order][:, order].numpy()}


@torch.no_grad()
def family(seed: int, source: str = "digits") -> dict:
    """Two segments beside a masked autoencoder with the same encoder and masks: largest differences of the encoders' outputs
    (`encoder`) and of the losses if both use the decoder of the masked autoencoder (`loss`), or each its own (`decoder`)."""
    ours, mae = objective(seed, "two", source), objective(seed, "MAE", source)
    x, visible, hidden = batches(seed, "MAE", source)(0)
    same, ranks = batches(seed, "two", source)(0)
    memory = ours.memories(same, visible, ranks.gather(1, visible))[-1]
    theirs = mae(x, visible, hidden)
    lent = functional.mse_loss(mae.decoder(memory, visible, hidden), chosen(ours.targets(same), hidden))
    return {"encoder": float((memory - mae.encoder(x, visible)).abs().max()), "loss": float((lent - theirs).abs()),
            "decoder": float((ours(same, ranks) - theirs).abs())}
