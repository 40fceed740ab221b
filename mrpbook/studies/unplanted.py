"""The theory's own network on pictures as they are."""
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..finetune import fit_head
from ..images import probes
from ..images.patches import Whitening, to_patches, whitening
from ..images.planted import tails
from ..network import SmoothedReLU, initial_kernels
from ..objectives import NormalisedTeacher
from ..pretrain import pretrain
from ..rng import generator
from ..supervised import Classifier, margins, train
from . import pictures

PATCH = 4
LENGTH = 0.5  # root mean square of a whitened patch; the theory's patches have about 0.3 to 0.6
TRAINED = ("untrained", "MRP", "random directions")
RATES = {"descent": (1.0, 1.0), "adam": (0.01, 0.01)}  # of kernels and head, set on pilots
SMALL = {"descent": (1.0, 100.0), "adam": (0.01, 0.01)}  # of untrained kernels, whose answers are small
KERNELS = ("untrained", "MRP", "MRP, dealt anew", "random directions", "patches")


@lru_cache(maxsize=2)
def whitened(source: str = "digits", patch: int = PATCH) -> tuple[Whitening, float]:
    """The whitening of patches of the training pictures, and what scales these to LENGTH."""
    known = to_patches(pictures.tensors(source)[0], patch)
    whiten = whitening(known)
    return whiten, LENGTH / float(whiten(known).square().sum(2).mean().sqrt())


def view(shown: Float[Tensor, "N C H W"], source: str = "digits", patch: int = PATCH) -> Float[Tensor, "N P d"]:
    """Whitened patches of pictures, as the network sees them."""
    whiten, scale = whitened(source, patch)
    return scale * whiten(to_patches(shown, patch))


def patterns(w: Float[Tensor, "K d"], source: str = "digits", patch: int = PATCH) -> Float[Tensor, "K d"]:
    """What kernels look for, in pixels: the patch, less the mean one, that whitening turns into w, up to its length."""
    return torch.linalg.solve(whitened(source, patch)[0].matrix.double(), w.double().T).T.to(w.dtype)


@lru_cache(maxsize=2)
def kernels(seed: int, source: str = "digits", patch: int = PATCH, K: int = 200, theta: float = 0.5, time: int = 400,
            lr: float = 1.0) -> dict[str, Float[Tensor, "K d"]]:
    """KERNELS of one seed. "untrained": where all others start or whose number they share. "MRP": after pretraining with the
    normalised teacher on all training pictures. The others ask what of it counts. "MRP, dealt anew": the same, with each patch
    in a random picture, so that patches of a picture have nothing in common but the picture's number of them. "random
    directions" and "patches" (training patches drawn at random) have the lengths of "MRP".
    """
    X = view(pictures.tensors(source)[0], source, patch)
    act, w0, rng = SmoothedReLU(), initial_kernels(K, X.shape[2], seed), generator(seed, "unplanted")
    single = X.flatten(0, 1)
    dealt = single[torch.from_numpy(rng.permutation(len(single)))].view_as(X)
    options = dict(lr=lr, steps=int(time / lr), snapshots=int(time / lr))
    w, other = (pretrain(NormalisedTeacher(theta), x, w0, act, **options).last for x in (X, dealt))
    lengths = w.norm(dim=1, keepdim=True)
    seen = single[single.norm(dim=1) > 0.1 * LENGTH]  # not those without a stroke
    drawn = seen[torch.from_numpy(rng.permutation(len(seen))[:K])]
    return dict(zip(KERNELS, (w0, w, other, *(lengths * x / x.norm(dim=1, keepdim=True) for x in (w0, drawn))), strict=True))


def cell(seed: int, per_class: Sequence[int], source: str = "digits", patch: int = PATCH, **options) -> dict:
    """Test accuracies, one column for each number of labels per class; options: of `kernels`.

    `head` [len(KERNELS), columns]: a head on frozen kernels. `descent` and `adam` [len(TRAINED), columns]: kernels and head
    trained together, from each of TRAINED. `pixels` [columns]: logistic regression on the same whitened patches, no kernels at
    all. And of the kernels of MRP and the untrained ones [2]: `twins`, `directions`; `tails`, the kurtosis of what they see.
    """
    banks = kernels(seed, source, patch, **options)
    X = view(pictures.tensors(source)[0], source, patch)
    X = X - X.mean((0, 1))
    columns = [_learned(banks, seed, n, source, patch) for n in per_class]
    return {name: np.stack([c[name] for c in columns], -1) for name in columns[0]} | {
        f.__name__: [f(banks["MRP"]), f(banks["untrained"])] for f in (twins, directions)} | {
        "tails": [tails(X @ banks[name].T) for name in ("MRP", "untrained")]}


def _learned(banks, seed, per_class, source, patch):
    act, (_, x, y, tests, truth) = SmoothedReLU(), pictures.labelled(seed, per_class, source)
    shown, tests, k = view(x, source, patch), view(tests, source, patch), int(truth.max()) + 1

    def right(c: Classifier) -> float:
        return float((margins(c.scores(tests), truth) > 0).double().mean())

    def together(name: str, optimiser: str) -> float:
        w, (lr, lr_head) = banks[name], (SMALL if name == "untrained" else RATES)[optimiser]
        return right(train(shown, y, w, w.new_zeros(k, len(w)), act, lr=lr, lr_head=lr_head, steps=1500, optimiser=optimiser))

    return {"head": [right(fit_head(w, shown, y, k, act)) for w in banks.values()],
            "pixels": probes.logistic(shown.flatten(1), y, tests.flatten(1), truth, seed).accuracy,
            } | {o: [together(name, o) for name in TRAINED] for o in RATES}


def twins(w: Float[Tensor, "K d"]) -> float:
    """The share of kernels with another one within 18 degrees (cosine 0.95)."""
    unit = w / w.norm(dim=1, keepdim=True)
    return float(((unit @ unit.T).fill_diagonal_(-1).amax(1) > 0.95).double().mean())


def directions(w: Float[Tensor, "K d"]) -> float:
    """How many orthogonal directions the kernels fill: exp of the entropy of the spectrum of their unit vectors, 1 to d."""
    share = torch.linalg.svdvals((w / w.norm(dim=1, keepdim=True)).double()).square() / len(w)
    return float(torch.special.entr(share).sum().exp())
