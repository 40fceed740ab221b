"""One draw with masks drawn, and their noise."""
import itertools
import math

import torch

from ..network import SmoothedReLU, activations, initial_kernels
from ..objectives import NormalisedTeacher, PlainDecoder
from ..pretrain import pretrain
from ..rng import generator
from ..sampling import SampledMasks, mask_noise, masked_direction
from ..semantics import holding
from .capture import setting
from .masks import case

WAYS = {"averaged": None, "fresh": {}, "one mask": {"masks": "fixed"}, "batches": {"batch": 30},
        "own averages": {"batch": 30, "averages": "batch"}}


def sampled(seed: int, way: str = "fresh", theta: float = 0.75, noise: float = 0.3, K: int = 30, N: int = 100, time: int = 300,
            lr: float = 2.0) -> dict:
    """Pretraining with the normalised teacher, masks `averaged`, `fresh` (drawn at each step), `one mask` per sample for ever,
    or fresh on `batches` of 30 samples, the teacher's mean square taken over all data or, `own averages`, over the batch.

    Read at the common time: `captured`, `single`, `one_class` and `winner`, each [K].
    """
    model, act, V, S, w0 = setting(seed, noise, K, N=N)
    objective = NormalisedTeacher(theta)
    if WAYS[way] is not None:
        objective = SampledMasks(objective, seed=seed, **WAYS[way])
    steps = int(time / lr)
    held = holding(pretrain(objective, S.X, w0, act, lr=lr, steps=steps, snapshots=steps).last, V, model, act)
    return {name: getattr(held, name) for name in ("captured", "single", "one_class", "winner")}


def agreement(cells, reference):
    """(kernels captured in both, of those with the same winner) per draw, two lists."""
    both = [c["captured"] & r["captured"] for c, r in zip(cells, reference, strict=True)]
    same = [(b & (c["winner"] == r["winner"])).sum() for b, c, r in zip(both, cells, reference, strict=True)]
    return [b.sum() for b in both], same


def noise_curve(seed: int, noise: float = 0.0, thetas: tuple = (0.1, 0.3, 0.5, 0.7, 0.9), K: int = 10, N: int = 300,
                draws: int = 8, size: float = 0.5) -> dict:
    """Mask noise of a full-batch step for kernels that hold one semantic each, in the power regime.

    Kernels: size x varrho / patch_strength along a semantic, semantics in turn, plus a faint random part. `predicted` and
    `measured` [thetas]: root mean square over kernels of the relative noise for the plain decoder, by `mask_noise` and over
    `draws` drawn masks; `normalised` [thetas]: measured for the normalised teacher (c = 1/theta); `quietest` [K].
    """
    model, act, V, S, _ = setting(seed, noise, 1, N=N)
    held = V[torch.arange(K) % model.n]
    w = size * act.varrho / model.patch_strength * held + initial_kernels(K, model.d, seed, sigma_0=0.01)
    a, exact = activations(w, S.X), mask_noise(w, S.X, act)
    out = {"quietest": exact.quietest, "predicted": torch.stack([exact.variance(theta).mean().sqrt() for theta in thetas])}
    for name, kind in (("measured", PlainDecoder), ("normalised", NormalisedTeacher)):
        relative = []
        for i, theta in enumerate(thetas):
            teacher, rng = kind(theta), generator(seed, "noise", i)
            mean, H = teacher.descent(w, S.X, act), teacher.target(a, act)
            off = [masked_direction(teacher.c, H, a, S.X, act, torch.from_numpy(rng.random(a.shape[:2]) < theta).float()) - mean
                   for _ in range(draws)]
            relative.append(((torch.stack(off) ** 2).sum(2).mean(0) / (mean**2).sum(1)).mean().sqrt())
        out[name] = torch.stack(relative)
    return out


def enumerated(seed: int) -> dict:
    """The formula of `mask_noise` against every mask, on a random `masks.case`, kernels that answer: largest relative errors.

    `formula`: of the variance; `exchanged`: the same with B and C exchanged.
    """
    s = case(seed)
    w, X, act, theta = torch.from_numpy(s["w"]), torch.from_numpy(s["X"]), SmoothedReLU(), s["theta"]
    a, mean, square = activations(w, X), 0.0, 0.0
    for kept in itertools.product((0.0, 1.0), repeat=s["P"]):
        eps = torch.tensor(kept, dtype=torch.float64)
        chance = math.prod(theta if e else 1 - theta for e in kept)
        g = torch.stack([masked_direction(1.0, act(b).sum(1), b, x, act, eps[None])
                         for x, b in zip(X.split(1), a.split(1), strict=True)])
        mean, square = mean + chance * g, square + chance * g**2
    # samples have masks of their own: variances add
    variance, size = (square - mean**2).sum((0, 2)), (mean.sum(0) ** 2).sum(1)
    some, exact = size > 0, mask_noise(w, X, act)
    turned = (exact.C / theta + exact.B / (1 - theta) - exact.D) / exact.G
    errors = [float((formula[some] / (variance / size)[some] - 1).abs().max()) for formula in (exact.variance(theta), turned)]
    return dict(zip(("formula", "exchanged"), errors, strict=True))
