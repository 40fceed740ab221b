"""The theory's own network on pictures as they are."""
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..finetune import fit_head
from ..images import probes
from ..images.patches import Whitening, to_patches, whitening
from ..network import SmoothedReLU, activations, initial_kernels
from ..objectives import NormalisedTeacher
from ..pretrain import pretrain
from ..rng import generator
from ..supervised import Classifier, margins, train
from . import pictures

PATCH = 4
LENGTH = 0.5  # root mean square of a whitened patch; patches of this book's data model have about 0.3 to 0.6
KERNELS = ("untrained", "lengthened", "MRP", "MRP, dealt anew", "MRP, turned", "patches")
TURNS = 4
TRAINED = ("untrained", "MRP", "lengthened")
# of kernels and head, on pilots: descent the best of nine (SMALL) and of seven pairs, Adam within half a point of the best
RATES = {"descent": (10.0, 0.1), "adam": (0.003, 0.003)}
SMALL = {"descent": (0.001, 1e6), "adam": (0.003, 0.003)}  # of untrained kernels, whose answers are small


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
    """KERNELS of one seed. "untrained": where training starts; "MRP": after pretraining with the normalised teacher on all
    training pictures. The others ask what of it counts. "lengthened": the untrained ones, each as long as its pretrained self.
    "MRP, dealt anew": pretrained with each patch in a random picture and place, so that patches of a picture have nothing in
    common. "MRP, turned": all pretrained kernels turned by one random rotation, as crowded as before around other directions.
    "patches": training patches that are not blank, drawn at random, of the pretrained lengths.
    """
    x = pictures.tensors(source)[0]
    X = view(x, source, patch)
    act, w0, rng = SmoothedReLU(), initial_kernels(K, X.shape[2], seed), generator(seed, "unplanted")
    single = X.flatten(0, 1)
    dealt = single[torch.from_numpy(rng.permutation(len(single)))].view_as(X)
    options = dict(lr=lr, steps=int(time / lr), snapshots=int(time / lr))
    w, other = (pretrain(NormalisedTeacher(theta), x, w0, act, **options).last for x in (X, dealt))
    inked = single[to_patches(x, patch).flatten(0, 1).sum(1) > 0]
    drawn = inked[torch.from_numpy(rng.permutation(len(inked))[:K])]

    def as_long(v: Tensor) -> Tensor:
        return w.norm(dim=1, keepdim=True) * v / v.norm(dim=1, keepdim=True)

    return dict(zip(KERNELS, (w0, as_long(w0), w, other, turned(w, seed), as_long(drawn)), strict=True))


def turned(w: Float[Tensor, "K d"], seed: int, number: int = 0) -> Float[Tensor, "K d"]:
    """All kernels turned by one random rotation (or reflection), the `number`-th of this seed."""
    random = generator(seed, "turned", number).normal(size=(w.shape[1],) * 2)
    return w @ torch.linalg.qr(torch.from_numpy(random)).Q.to(w.dtype)


def cell(seed: int, per_class: Sequence[int], source: str = "digits", patch: int = PATCH, **options) -> dict:
    """Test accuracies, one column for each number of labels per class; options: of `kernels`.

    `head` [len(KERNELS), columns]: a head on frozen kernels (of turned ones: mean over TURNS rotations). `descent` and `adam`
    [len(TRAINED), columns]: kernels and head trained together, from each of TRAINED. `pixels` [2, columns]: logistic
    regressions without kernels, on the sum of a picture's whitened patches, and on all of them, which knows where each lies.
    And of each of KERNELS: `twins`, `directions`, `shared`, `length` (mean), and `straight`, the share of positive answers
    beyond the bend of the smoothed ReLU.
    """
    banks, act = kernels(seed, source, patch, **options), SmoothedReLU()
    columns = [_learned(banks, seed, n, source, patch) for n in per_class]
    a = {name: activations(w, view(pictures.tensors(source)[0], source, patch)) for name, w in banks.items()}
    found = {name: np.stack([c[name] for c in columns], -1) for name in columns[0]}
    return found | {"twins": [twins(w) for w in banks.values()], "directions": [directions(w) for w in banks.values()],
                    "length": [float(w.norm(dim=1).mean()) for w in banks.values()],
                    "shared": [shared(act(z)) for z in a.values()],
                    "straight": [float((z[z > 0] > act.varrho).double().mean()) for z in a.values()]}


def _learned(banks, seed, per_class, source, patch):
    act, (_, x, y, tests, truth) = SmoothedReLU(), pictures.labelled(seed, per_class, source)
    shown, tests, k = view(x, source, patch), view(tests, source, patch), int(truth.max()) + 1

    def right(c: Classifier) -> float:
        return float((margins(c.scores(tests), truth) > 0).double().mean())

    def together(name: str, optimiser: str) -> float:
        w, (lr, lr_head) = banks[name], (SMALL if name == "untrained" else RATES)[optimiser]
        return right(train(shown, y, w, w.new_zeros(k, len(w)), act, lr=lr, lr_head=lr_head, steps=1500, optimiser=optimiser))

    def no_kernels(of: Callable[[Tensor], Tensor]) -> float:
        return probes.logistic(of(shown), y, of(tests), truth, seed).accuracy

    tried = {name: [w] for name, w in banks.items()} | {
        "MRP, turned": [turned(banks["MRP"], seed, number) for number in range(TURNS)]}
    return {"head": [np.mean([right(fit_head(w, shown, y, k, act)) for w in ws]) for ws in tried.values()],
            "pixels": [no_kernels(lambda x: x.sum(1)), no_kernels(lambda x: x.flatten(1))],
            } | {o: [together(name, o) for name in TRAINED] for o in RATES}


def shared(answers: Float[Tensor, "N P K"]) -> float:
    """How many patches of a picture share a kernel's answer: E (sum of answers)^2 / E (sum of their squares), mean over
    kernels, 1 to P for answers >= 0. What descent on the normalised teacher's loss raises (see `NormalisedTeacher`)."""
    a = answers.double()
    return float((a.sum(1).square().mean(0) / a.square().sum(1).mean(0)).mean())


def twins(w: Float[Tensor, "K d"]) -> float:
    """The share of kernels with another one within 18 degrees (cosine 0.95)."""
    unit = w / w.norm(dim=1, keepdim=True)
    return float(((unit @ unit.T).fill_diagonal_(-1).amax(1) > 0.95).double().mean())


def directions(w: Float[Tensor, "K d"]) -> float:
    """How many orthogonal directions the kernels fill: exp of the entropy of the spectrum of their unit vectors, 1 to d."""
    share = torch.linalg.svdvals((w / w.norm(dim=1, keepdim=True)).double()).square() / len(w)
    return float(torch.special.entr(share).sum().exp())
