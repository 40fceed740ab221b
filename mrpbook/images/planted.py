"""Planted textures: pictures whose semantics are known."""
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from scipy.fft import idctn
from torch import Tensor

from ..data import Sample
from ..rng import generator
from ..validation import check_choice, check_integer
from . import sources
from .patches import from_patches, grid, to_patches

PHOTOGRAPHS = ("crops of china.jpg and flower.jpg, two photographs of 640 x 427 pixels that ship with scikit-learn, made grey; "
               "retrieved from Flickr in 2011 by Robert Layton")
PHOTOGRAPHS_LICENCE = ("CC BY 2.0. scikit-learn's README credits both to danielbuechele, its link for flower.jpg names "
                       "vultilion")
GREY = (0.299, 0.587, 0.114)  # of red, green, blue: ITU-R BT.601
KINDS = ("as they are", "patches dealt anew", "random phases", "Gaussian patches")


@dataclass(frozen=True)
class Backgrounds:
    """Grey pictures in [0, 1] before anything is planted [N, 1, H, W]; source and licence: sentences to print beside them."""

    pictures: Float[Tensor, "N 1 H W"]
    source: str
    licence: str


def textures(n: int, patch: int, seed: int) -> Float[Tensor, "n d"]:
    """n cosine gratings of mean 0 and root mean square 1, orthogonal to each other [n, d = patch^2] (ours).

    Functions of the two-dimensional cosine transform of a patch, of 1 to patch - 3 half-waves along either axis; the seed
    chooses which, and their signs. Raises ValueError for more textures than there are, (patch - 3)^2.
    """
    check_integer("n", n, 1)
    side = check_integer("patch", patch, 4) - 3
    if n > side**2:
        raise ValueError(f"n = {n}: expected at most {side**2} textures for patch = {patch}")
    rng = generator(seed, "textures")
    chosen, signs = rng.permutation(side**2)[:n], rng.choice((-1.0, 1.0), n)
    waves = np.zeros((n, patch, patch))
    waves[np.arange(n), 1 + chosen // side, 1 + chosen % side] = patch * signs  # the transform keeps the sum of squares
    return torch.from_numpy(idctn(waves, axes=(1, 2), norm="ortho").reshape(n, -1).astype(np.float32))


def backgrounds(source, N: int, seed: int, purpose: str, part: str = "train", *, size: int = 32, kind: str = "as they are",
                patch: int = 8) -> Backgrounds:
    """N grey pictures of size x size pixels, drawn by (seed, purpose); parts "train" and "test" share no picture and no pixel.

    source: "photographs", random crops, mirrored with probability 1/2, of the left ("train") and right ("test") halves of the
    two photographs that ship with scikit-learn; or whatever `sources.load` takes, where pictures are drawn at random, each
    once before any comes twice. kind, patch: see `replaced`. Raises ValueError for another part or kind, a size larger than the
    photographs or not a multiple of the patch where the kind needs that, and what `sources.load` raises.
    """
    check_choice("part", part, ("train", "test"))
    check_integer("N", N, 1)
    rng = generator(seed, f"backgrounds:{purpose}")
    if source == "photographs":
        pictures, said = _crops(rng, N, part, size), (PHOTOGRAPHS, PHOTOGRAPHS_LICENCE)
    else:
        images = _loaded(source, part, size)
        rounds = [rng.permutation(len(images)) for _ in range(-(-N // len(images)))]
        pictures = images.select(torch.from_numpy(np.concatenate(rounds)[:N])).tensor()
        said = images.source, images.licence
    return Backgrounds(replaced(pictures, kind, patch, seed, purpose), *said)


def replaced(pictures: Float[Tensor, "N 1 H W"], kind: str, patch: int, seed: int, purpose: str = "train"
             ) -> Float[Tensor, "N 1 H W"]:
    """The pictures with some of their statistics taken away (ours); values may leave [0, 1].

    "as they are". "patches dealt anew": every patch goes to a random place of a random picture, so that the patches of a
    picture have nothing in common, and each is what it was. "random phases": each picture keeps its amplitude spectrum, so
    its patches are still alike, without edges. "Gaussian patches": independent, with the mean and covariance of the true ones.
    Raises ValueError for another kind.
    """
    check_choice("kind", kind, KINDS)
    if kind == "as they are":
        return pictures
    rng, shape = generator(seed, f"{kind}:{purpose}"), tuple(pictures.shape[1:])
    if kind == "random phases":
        turn = np.fft.fft2(rng.standard_normal(pictures.shape))  # of a real picture: opposite frequencies turn oppositely
        turn[..., 0, 0] = 1
        spectrum = np.fft.fft2(pictures.numpy().astype(float)) * (turn / np.abs(turn))
        return torch.from_numpy(np.fft.ifft2(spectrum).real.astype(np.float32))
    patches = to_patches(pictures, patch)
    flat = patches.flatten(0, 1)
    if kind == "patches dealt anew":
        dealt = flat[torch.from_numpy(rng.permutation(len(flat)))]
    else:
        values, vectors = torch.linalg.eigh(torch.cov(flat.T.double(), correction=0))
        dealt = torch.from_numpy(rng.standard_normal(tuple(flat.shape))) * values.clamp_min(0).sqrt() @ vectors.T
        dealt = (dealt + flat.double().mean(0)).to(flat.dtype)
    return from_patches(dealt.view_as(patches), shape, patch)


def plant(pictures: Float[Tensor, "N 1 H W"], truth: Sample, T: Float[Tensor, "n d"], patch: int = 8, jitter: int = 0,
          seed: int = 0) -> Float[Tensor, "N 1 H W"]:
    """Add to every patch what it is to hold: z times its texture. Nothing is cut off where the sum leaves [0, 1].

    truth: which patch holds which semantic, `patch_semantic` [N, P], at which strength, `z` [N, P]. T: textures at strength 1.
    jitter: each is moved by up to so many pixels along either axis, round the rim of the picture, so that it leaves the grid of
    patches (0 in the theory). Raises ValueError unless truth and textures fit the pictures.
    """
    check_integer("jitter", jitter, 0)
    N, shape = len(pictures), tuple(pictures.shape[1:])
    rows, columns = grid(shape, patch)
    if tuple(truth.patch_semantic.shape) != (N, rows * columns) or T.shape[1] != patch**2:
        raise ValueError(f"truth of {tuple(truth.patch_semantic.shape)} patches, textures {tuple(T.shape)}: expected "
                         f"{(N, rows * columns)} and [n, {patch**2}] for pictures {tuple(pictures.shape)} and patch = {patch}")
    held = torch.where(truth.patch_semantic >= 0, truth.z, 0)[..., None] * T[truth.patch_semantic.clamp_min(0)]
    if not jitter:
        return pictures + from_patches(held, shape, patch)
    moves = torch.from_numpy(generator(seed, "jitter").integers(-jitter, jitter + 1, (2, rows * columns, N, 1, 1)))
    out, n, inside = pictures.clone(), torch.arange(N)[:, None, None], torch.arange(patch)
    for p in range(rows * columns):
        row = (p // columns * patch + moves[0, p] + inside[:, None]) % shape[1]
        column = (p % columns * patch + moves[1, p] + inside) % shape[2]
        out[n, 0, row, column] += held[:, p].view(N, patch, patch)
    return out


def tails(answers: Float[Tensor, "*lead n"]) -> float:
    """Kurtosis E a^4 / (E a^2)^2, mean over the last axis; 3 for a Gaussian of mean 0."""
    a = answers.flatten(0, -2).double()
    return float(((a**4).mean(0) / (a**2).mean(0) ** 2).mean())


def likeness(answers: Float[Tensor, "N P n"]) -> float:
    """Correlation of squared answers in two patches of one picture, mean over n; 0 if patches are independent.

    Patches count as drawn from one law, wherever they lie. Raises ValueError for P < 2.
    """
    P = check_integer("P", answers.shape[1], 2)
    e = answers.double() ** 2
    e = e - e.mean((0, 1))
    pairs = (e.sum(1) ** 2 - (e**2).sum(1)).mean(0) / (P * (P - 1))
    return float((pairs / (e**2).mean((0, 1))).mean())


def _crops(rng, N, part, size):
    halves = _photographs(part)
    if check_integer("size", size, 1) > (least := min(halves[0].shape)):
        raise ValueError(f"size = {size}: expected at most {least}, to fit into half a photograph")
    crops = np.empty((N, 1, size, size), np.float32)
    for crop in crops:
        half = halves[rng.integers(len(halves))]
        top, left = (rng.integers(length - size + 1) for length in half.shape)
        cut = half[top:top + size, left:left + size]
        crop[0] = cut[:, ::-1] if rng.random() < 0.5 else cut
    return torch.from_numpy(crops)


@lru_cache(maxsize=2)
def _photographs(part):
    """Left (train) or right (test) halves of the photographs, grey, in [0, 1]."""
    from sklearn.datasets import load_sample_images
    columns = slice(None, 320) if part == "train" else slice(320, None)
    return [(photo @ np.array(GREY) / 255)[:, columns] for photo in load_sample_images().images]


@lru_cache(maxsize=2)
def _loaded(source, part, size):
    return sources.load(source, part, size=size, channels=1)
