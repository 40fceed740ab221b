"""Pictures as patches, random masks, whitening."""
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..rng import generator
from ..validation import check_integer, check_real


def grid(shape: tuple[int, int, int], patch: int) -> tuple[int, int]:
    """Rows and columns of patches in pictures of `shape` (C, H, W); ValueError unless `patch` divides H and W."""
    check_integer("patch", patch, 1)
    C, H, W = shape
    if H % patch or W % patch:
        raise ValueError(f"patch = {patch}: expected a divisor of the height {H} and the width {W} of the pictures")
    return H // patch, W // patch


def to_patches(pictures: Float[Tensor, "N C H W"], patch: int) -> Float[Tensor, "N P d"]:
    """Patches of side `patch` that do not overlap, row by row; d = C patch^2, channel after channel.

    Raises ValueError unless `patch` divides H and W.
    """
    N, C, H, W = pictures.shape
    rows, columns = grid((C, H, W), patch)
    split = pictures.reshape(N, C, rows, patch, columns, patch)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(N, rows * columns, C * patch**2)


def from_patches(patches: Float[Tensor, "N P d"], shape: tuple[int, int, int], patch: int) -> Float[Tensor, "N C H W"]:
    """The pictures of shape (C, H, W) that `to_patches` cut up. Raises ValueError for patches of other number or size."""
    rows, columns = grid(shape, patch)
    C, H, W = shape
    if patches.shape[1:] != (rows * columns, C * patch**2):
        raise ValueError(f"patches {tuple(patches.shape)}: expected [N, {rows * columns}, {C * patch**2}] for pictures of "
                         f"shape {tuple(shape)} and patch = {patch}")
    split = patches.reshape(len(patches), rows, columns, C, patch, patch)
    return split.permute(0, 3, 1, 4, 2, 5).reshape(len(patches), C, H, W)


def hidden_count(P: int, ratio: float) -> int:
    """round(ratio P), the number of patches to hide; ValueError unless it leaves at least one hidden and one visible."""
    check_real("ratio", ratio, 0, 1)
    count = round(ratio * check_integer("P", P, 2))
    if not 1 <= count < P:
        raise ValueError(f"ratio = {ratio:g}: would hide {count} of P = {P} patches; expected 1 to {P - 1}")
    return count


def random_masks(N: int, P: int, ratio: float, seed: int, step: int = 0) -> tuple[Int[Tensor, "N V"], Int[Tensor, "N Q"]]:
    """Numbers of the visible and of the hidden patches of N pictures, in rising order: exactly Q = round(ratio P) hidden in
    each, every choice of Q patches equally likely (as He et al. 2022: uniform, without replacement).

    The numbers depend on (seed, step) alone. Raises ValueError if no patch, or every patch, would be hidden.
    """
    hide = hidden_count(P, ratio)
    order = generator(seed, "mask", step).random((check_integer("N", N, 1), P)).argsort(1)
    order[:, :hide].sort(1)
    order[:, hide:].sort(1)
    order = torch.from_numpy(order)
    return order[:, hide:], order[:, :hide]


def chosen(patches: Float[Tensor, "N P d"], index: Int[Tensor, "N S"]) -> Float[Tensor, "N S d"]:
    """The patches of each picture that its row of `index` names."""
    return patches.gather(1, index[..., None].expand(-1, -1, patches.shape[2]))


def covered(pictures: Float[Tensor, "N C H W"], hidden: Int[Tensor, "N Q"], patch: int) -> Float[Tensor, "N C H W"]:
    """The pictures with their hidden patches black (0): what an encoder of visible patches is given, for the eye."""
    patches = to_patches(pictures, patch)
    black = patches.scatter(1, hidden[..., None].expand(-1, -1, patches.shape[2]), 0)
    return from_patches(black, tuple(pictures.shape[1:]), patch)


@dataclass(frozen=True)
class Whitening:
    """x -> (x - mean) matrix, for patches of dimension d: mean [d], matrix [d, d] (symmetric)."""

    mean: Float[Tensor, "d"]
    matrix: Float[Tensor, "d d"]

    def __call__(self, patches: Float[Tensor, "N P d"]) -> Float[Tensor, "N P d"]:
        return (patches - self.mean) @ self.matrix


def whitening(patches: Float[Tensor, "N P d"], ridge: float = 0.01) -> Whitening:
    """ZCA whitening, (Cov + ridge m I)^(-1/2) with m the mean variance of a pixel (standard; that the ridge is a share of m,
    and its default, are ours).

    Without the ridge (0) the covariance of the whitened patches is the identity; with it, directions of less than
    ridge m variance - mostly noise, in pictures - are not blown up. Computed in float64. Raises ValueError for ridge < 0, for
    patches that are all alike, or for ridge = 0 and a direction without variance.
    """
    check_real("ridge", ridge, 0)
    x = patches.reshape(-1, patches.shape[2]).double()
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    size = values.mean()
    if size <= 0:
        raise ValueError(f"patches {tuple(patches.shape)}: all alike, there is no variance to whiten")
    if ridge == 0 and values[0] <= 1e-12 * size:
        raise ValueError("ridge = 0: some direction of the patches has no variance; expected a number > 0, such as 0.01")
    matrix = vectors / (values.clamp_min(0) + ridge * size).sqrt() @ vectors.T
    return Whitening(mean.to(patches.dtype), matrix.to(patches.dtype))
