"""Occlusion, class-activation maps, sufficient regions.

A picture is cut into R regions of whole patches, and a classifier answers every one of the 2^R - 1 pictures that keep some of
them: with R = 4 that is exact and costs less than sixteen pictures. A *set* of regions is a number from 1 to 2^R - 1, whose
bit r tells whether region r is kept; 2^R - 1 is the whole picture.
"""
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..validation import check_integer
from .patches import from_patches, to_patches
from .probes import Classifier

MOST_REGIONS = 8  # 255 pictures for each
AT_ONCE = 128  # pictures: small enough for the processor's cache


def quarters(rows: int, columns: int) -> Int[Tensor, "P"]:
    """The region (0 top left, 1 top right, 2 bottom left, 3 bottom right) of each patch; ValueError unless both are even."""
    for name, value in {"rows": rows, "columns": columns}.items():
        if check_integer(name, value, 2) % 2:
            raise ValueError(f"{name} = {value}: expected an even number, for quarters of equal size")
    row, column = torch.arange(rows) >= rows // 2, torch.arange(columns) >= columns // 2
    return (2 * row[:, None].long() + column.long()).flatten()


def kept(regions: Int[Tensor, "P"]) -> Bool[Tensor, "S P"]:
    """Which patches each set 1, ..., S = 2^R - 1 of regions keeps; ValueError for less than 2 regions or more than
    MOST_REGIONS."""
    R = int(regions.max()) + 1
    if not 2 <= R <= MOST_REGIONS:
        raise ValueError(f"regions: {R} of them; expected 2 to {MOST_REGIONS}")
    sets = torch.arange(1, 2**R)
    return (sets[:, None] >> regions & 1).bool()


def painted(pictures: Float[Tensor, "N C H W"], keep: Bool[Tensor, "N P"], fill: Float[Tensor, "N C H W"], patch: int
            ) -> Float[Tensor, "N C H W"]:
    """The pictures with the patches that are not kept taken from `fill`: the mean picture, other pictures, ..."""
    mixed = torch.where(keep[..., None], to_patches(pictures, patch), to_patches(fill, patch))
    return from_patches(mixed, tuple(pictures.shape[1:]), patch)


@torch.no_grad()
def answer(model: Classifier, pictures: Float[Tensor, "N C H W"], keep: Bool[Tensor, "N P"],
           fill: Float[Tensor, "N C H W"] | None = None) -> Float[Tensor, "N k"]:
    """Logits for pictures of which only some patches are kept.

    fill: what the others show instead. None: they are dropped, that is, the encoder is given the kept ones alone and the
    features are the mean over these, as in masked pretraining; this needs a `vit.ViT`. Raises ValueError if nothing is kept
    of a picture, or, without `fill`, not the same number of patches of each.
    """
    counts = keep.sum(1)
    if counts.min() < 1 or (fill is None and counts.min() < counts.max()):
        raise ValueError(f"keep: {int(counts.min())} to {int(counts.max())} patches of a picture; expected at least 1, and one "
                         "number for all where the others are dropped")
    model.eval()
    if fill is not None:
        shown = painted(pictures, keep, fill, model.encoder.patch)
        return torch.cat([model.logits(some) for some in shown.split(AT_ONCE)]).float()
    visible = keep.nonzero()[:, 1].view(len(keep), -1)
    parts = zip(pictures.split(AT_ONCE), visible.split(AT_ONCE), strict=True)
    return torch.cat([model.head(model.encoder(*part).mean(1)) for part in parts]).float()


def answers(model: Classifier, pictures: Float[Tensor, "N C H W"], keep: Bool[Tensor, "S P"],
            fill: Float[Tensor, "N C H W"] | None = None) -> Float[Tensor, "N S k"]:
    """`answer` for every picture and each of S choices of patches."""
    return torch.stack([answer(model, pictures, row.expand(len(pictures), -1), fill) for row in keep], 1)


def margin(logits: Float[Tensor, "*n k"], labels: Int[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Logit of the true class minus the largest of the others: positive where the answer is right."""
    true = logits.gather(-1, labels[..., None])[..., 0]
    others = logits.scatter(-1, labels[..., None], -torch.inf)
    return true - others.amax(-1)


def removal(margins: Float[Tensor, "N S"]) -> Int[Tensor, "N R"]:
    """The sets left when the most important region is removed, R times: the whole, then R - 1 regions, ..., then one.

    margins: of every set, true class against the best other, see `kept` and `margin`. The most important region is the one
    whose removal lowers the margin most, found anew after each removal.
    """
    N, S = margins.shape
    bits = 1 << torch.arange(S.bit_length())
    left = torch.full((N,), S)
    path = [left]
    for _ in bits[1:]:
        rest = left[:, None] - (left[:, None] & bits)  # each region taken out; the same set where it is out already
        after = margins.gather(1, (rest - 1).clamp(min=0)).masked_fill(rest == left[:, None], torch.inf)
        left = rest.gather(1, after.argmin(1, keepdim=True))[:, 0]
        path.append(left)
    return torch.stack(path, 1)


def disjoint(sufficient: Bool[Tensor, "N S"]) -> Int[Tensor, "N"]:
    """The largest number of sufficient sets of regions no two of which share a region: 0 to R, exact.

    sufficient: for each set, whether it alone is answered rightly. By recursion over parts B of a set A (ours):
        most(A) = max over B of sufficient(B) + most(A without B).
    """
    N, S = sufficient.shape
    most = torch.zeros(N, S + 1, dtype=torch.int64)
    for whole in range(1, S + 1):
        part = whole
        while part:  # every part of the set, by counting down in its bits
            found = sufficient[:, part - 1].long() + most[:, whole - part]
            most[:, whole] = torch.maximum(most[:, whole], found)
            part = (part - 1) & whole
    return most[:, S]


def occlusion(model: Classifier, pictures: Float[Tensor, "N C H W"], labels: Int[Tensor, "N"],
              fill: Float[Tensor, "N C H W"] | None = None) -> Float[Tensor, "N P"]:
    """Importance of each patch: by how much the margin of the label falls when that patch is replaced (`fill`) or dropped."""
    P = model.encoder.cells
    keep = torch.cat([torch.ones(1, P, dtype=torch.bool), ~torch.eye(P, dtype=torch.bool)])
    found = margin(answers(model, pictures, keep, fill), labels[:, None].expand(-1, P + 1))
    return found[:, :1] - found[:, 1:]


@torch.no_grad()
def grad_cam(model: Classifier, pictures: Float[Tensor, "N C H W"], labels: Int[Tensor, "N"]) -> Float[Tensor, "N P"]:
    """Grad-CAM (Selvaraju et al. 2017, recalled) on the encoder's output map, >= 0, of the label's logit less the mean logit.

    The gradient of a linear head on the mean over places is the same at all places: the map is max(0, <output, weights>), the
    class-activation map of Zhou et al. 2016. Less the mean logit (ours): adding a number to all logits changes no answer.
    """
    weights = model.head.weight - model.head.weight.mean(0)
    return torch.einsum("npw,nw->np", model.encoder(pictures), weights[labels]).relu() / model.encoder.cells


@torch.no_grad()
def eigen_cam(encoder: nn.Module, pictures: Float[Tensor, "N C H W"]) -> Float[Tensor, "N P"]:
    """Eigen-CAM (Muhammad and Yeasin 2020, recalled) on the encoder's output map: its first principal component. No label.

    Outputs are centred over the places of a picture, as in the common implementation (grad-cam). The sign of a component is
    not defined; here that side is positive which has the largest value (ours). In [0, 1]: negative values are 0, the largest 1;
    all 0 if the outputs are alike at all places.
    """
    outputs = encoder(pictures)
    centred = outputs - outputs.mean(1, keepdim=True)
    U, values, _ = torch.linalg.svd(centred, full_matrices=False)
    found = U[..., 0] * values[:, :1]
    extreme = found.gather(1, found.abs().argmax(1, keepdim=True))
    alike = extreme.abs() <= 1e-5 * outputs.abs().amax((1, 2))[:, None]  # nothing but rounding
    return torch.where(alike, 0, found / extreme.where(~alike, 1)).relu()


def top(importance: Float[Tensor, "N P"], count: int) -> Bool[Tensor, "N P"]:
    """The `count` most important patches of each picture, the first of equal ones first; ValueError outside 1 to P - 1."""
    if not 1 <= check_integer("count", count, 1) < importance.shape[1]:
        raise ValueError(f"count = {count}: expected 1 to {importance.shape[1] - 1}")
    order = importance.argsort(dim=1, descending=True, stable=True)[:, :count]
    return torch.zeros_like(importance, dtype=torch.bool).scatter(1, order, True)
