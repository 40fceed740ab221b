"""The theory's own network on pictures with planted textures."""
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..data import MultiView, Sample
from ..finetune import fit_head
from ..images import probes
from ..images.batches import Batches
from ..images.patches import Whitening, to_patches, whitening
from ..images.planted import backgrounds, likeness, plant, tails, textures
from ..images.training import Plan
from ..images.vit import ViT
from ..network import SmoothedReLU, activations, initial_kernels
from ..objectives import NormalisedTeacher
from ..pretrain import pretrain
from ..rng import generator
from ..semantics import Holding, holding
from ..supervised import fixed_head, margins, train
from .capture import shares

PATCH = 8
TESTS = 500  # single-view and multi-view test pictures each
TESTED = ("test single", 1.0), ("test multi", 0.0)  # purpose, share of single-view pictures
PER_CLASS = 6  # kernels of the fixed-head network


@dataclass(frozen=True, eq=False)  # so that two are the same only if they are one, and numbers need not be compared
class Pictures:
    """How the pictures of one draw are made; T: textures at strength 1 [n, 64]. The rest: see `setting`."""

    seed: int
    source: str
    background: str
    jitter: int
    model: MultiView
    T: Float[Tensor, "n d"]

    def bare(self, N: int, purpose: str) -> Float[Tensor, "N 1 32 32"]:
        """Backgrounds, for a purpose that starts with "test" from the test part."""
        part = "test" if purpose.startswith("test") else "train"
        return backgrounds(self.source, N, self.seed, purpose, part, kind=self.background, patch=PATCH).pictures

    def planted(self, N: int, purpose: str, mu: float) -> tuple[Float[Tensor, "N 1 32 32"], Sample]:
        """The same backgrounds with textures, a share mu of them with one view only, and the truth about them."""
        truth = self.model.sample(N, self.seed, purpose, mu=mu)
        return plant(self.bare(N, purpose), truth, self.T, PATCH, self.jitter, self.seed), truth


@dataclass(frozen=True, eq=False)
class Setting:
    """One draw, whitened. scale: of whitened patches, so that a texture of mean strength has on average the theory's length.

    V: directions of the textures among whitened patches [n, 64]; lengths: of textures of mean strength, there [n].
    """

    pictures: Pictures
    whiten: Whitening
    scale: float
    V: Float[Tensor, "n d"]
    lengths: Float[Tensor, "n"]

    @property
    def model(self) -> MultiView:
        return self.pictures.model

    def patches(self, pictures: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N P d"]:
        """Whitened patches of pictures."""
        return self.scale * self.whiten(to_patches(pictures, PATCH))

    def patterns(self, w: Float[Tensor, "K d"]) -> Float[Tensor, "K d"]:
        """What kernels look for, in pixels: the patch, less the mean one, that whitening turns into w, up to its length."""
        return torch.linalg.solve(self.whiten.matrix.double(), w.double().T).T.to(w.dtype)

    def samples(self, N: int, purpose: str, mu: float) -> tuple[Float[Tensor, "N P d"], Sample]:
        """Whitened patches of N planted pictures, and the truth about them."""
        pictures, truth = self.pictures.planted(N, purpose, mu)
        return self.patches(pictures), truth


@lru_cache(maxsize=2)  # neighbouring cells of a sweep share a draw
def setting(seed: int, source: str = "photographs", background: str = "as they are", contrast: float = 0.15, N: int = 300,
            jitter: int = 0) -> tuple[Setting, Float[Tensor, "N P d"], Sample]:
    """(Setting, whitened patches of N pictures for pretraining, the truth about them) of one draw.

    source, background, jitter: see `images.planted`. contrast: root mean square of a texture of mean strength, where black is 0
    and white is 1. Whitening is measured on the pictures for pretraining, textures included: a learner could do that.
    """
    model = MultiView(d=PATCH**2, noise=0.0)
    T = contrast / model.patch_strength * textures(model.n, PATCH, seed)
    pictures = Pictures(seed, source, background, jitter, model, T)
    shown, truth = pictures.planted(N, "pretrain", 0.1)
    whiten = whitening(to_patches(shown, PATCH))
    seen = model.patch_strength * pictures.T @ whiten.matrix
    sizes = seen.norm(dim=1)
    scale = model.patch_strength / float(sizes.mean())
    s = Setting(pictures, whiten, scale, seen / sizes[:, None], scale * sizes)
    return s, s.patches(shown), truth


def statistics(seed: int, **options) -> dict:
    """What whitening makes of backgrounds and textures, for the arguments of `setting`.

    On patches without a texture: `noise`, root mean square length (the theory's 0.1 to 0.5); `kurtosis` along the textures;
    `likeness` of two patches along them, on 1000 bare pictures. `overlap`: of each texture with the nearest other, [n], the
    largest; `lengths` of textures [n] over their mean.
    """
    s, _, _ = setting(seed, **options)
    X = s.patches(s.pictures.bare(1000, "statistics"))
    other = (s.V @ s.V.T).abs().fill_diagonal_(0)
    X = X - X.mean((0, 1))
    along = X @ s.V.T
    return {"noise": (X**2).sum(2).mean().sqrt(), "kurtosis": tails(along), "likeness": likeness(along),
            "overlap": other.amax(1), "lengths": s.lengths / s.model.patch_strength}


def masked(seed: int, theta: float = 0.9, K: int = 200, time: int = 300, lr: float = 4.0, bare: bool = False, **options
           ) -> dict:
    """Pretraining with the normalised teacher, and what its kernels hold on the way; options: of `setting`.

    bare: the same pictures without textures, whitened as if they had them. Returns `shares` at common `times` 0, 20, ..., time,
    `kernels` [K, d], `lengths` of textures over their mean [n], and of the last network: `holders` [n], captured kernels that
    hold each texture; `inside` [K], the share of a kernel's square in the span of the textures; `on_textures` [K], the share of
    its answers to new multi-view pictures that comes from patches with a texture.
    """
    s, X, _ = setting(seed, **options)
    act, w0 = SmoothedReLU(), initial_kernels(K, PATCH**2, seed)
    if bare:
        X = s.patches(s.pictures.bare(len(X), "pretrain"))
    path = pretrain(NormalisedTeacher(theta), X, w0, act, lr=lr, steps=int(time / lr), snapshots=int(20 / lr))
    held, w = holding(path.kernels, s.V, s.model, act), path.last
    return shares(held) | {"times": path.times, "kernels": w, "holders": holders(held)[-1], "inside": inside(w, s.V),
                           "lengths": s.lengths / s.model.patch_strength,
                           "on_textures": on_textures(w, s, act)}


def holders(held: Holding) -> Int[Tensor, "*lead n"]:
    """Captured kernels that have each semantic as their largest overlap."""
    return torch.nn.functional.one_hot(held.winner, held.overlaps.shape[-1]).mul(held.captured[..., None]).sum(-2)


def inside(w: Float[Tensor, "K d"], V: Float[Tensor, "n d"]) -> Float[Tensor, "K"]:
    """Share of each kernel's square in the span of V; n / d for a random direction."""
    basis = torch.linalg.qr(V.T).Q
    return (w @ basis).square().sum(1) / w.square().sum(1)


def on_textures(w: Float[Tensor, "K d"], s: Setting, act: SmoothedReLU) -> Float[Tensor, "K"]:
    """Share of each kernel's answers to 300 new multi-view pictures that comes from patches with a texture; 0 if silent."""
    X, truth = s.samples(300, "test answers", 0.0)
    answers = act(activations(w, X))
    return answers[truth.patch_semantic >= 0].sum(0) / answers.sum((0, 1)).clamp_min(1e-30)


def downstream(seed: int, kernels: np.ndarray | None = None, K: int = 200, labels: int = 300, fine: bool = True,
               shuffled: bool = False, rates: tuple = (5.0, 0.05), steps: int = 1500, optimiser: str = "descent",
               **options) -> dict:
    """A head on frozen kernels, and fine-tuning of both; kernels: from `masked` with the same options, None for untrained.

    shuffled: labels in random order. rates: of kernels and head in fine-tuning, by descent or "adam". Returns correct answers
    out of TESTS to (single-view, multi-view) pictures, `head` [2]; with fine also `fine` [2], `loss`, `steps`, `holders` and
    `shares` of the fine-tuned kernels, `had` and `kept`: how many textures are captured before, and how many of these after.
    """
    s, _, _ = setting(seed, **options)
    act = SmoothedReLU()
    w = initial_kernels(K, PATCH**2, seed) if kernels is None else torch.as_tensor(kernels)
    (X, truth), tests = s.samples(labels, "labels", 0.0), _tests(s)
    y = truth.y[torch.from_numpy(generator(seed, "shuffled").permutation(labels))] if shuffled else truth.y
    out = {"head": _right(fit_head(w, X, y, s.model.k, act), tests)}
    if fine:
        tuned = train(X, y, w, w.new_zeros(s.model.k, len(w)), act, lr=rates[0], lr_head=rates[1], loss=0.01, steps=steps,
                      optimiser=optimiser)
        before, after = (holding(x, s.V, s.model, act) for x in (w, tuned.w))
        out |= {"fine": _right(tuned, tests), "loss": tuned.loss, "steps": tuned.steps, "holders": holders(after),
                "kept": (before.semantics & after.semantics).sum(), "had": before.semantics.sum()} | shares(after)
    return out


def supervised(seed: int, labels: int = 300, mu_train: float = 0.0, **options) -> dict:
    """The fixed-head network from scratch, 6 kernels per class; options: of `setting`.

    Returns `correct` [2] as in `downstream`; whether each class `learned` each view [k, views]; `forecast` [k], the view that
    is to win (heuristic, q = 4: the one of largest initial overlap times squared length); `crossed` [k], the same from the
    kernels of another class, a forecast that knows nothing; `holders`, `shares`, loss, steps.
    """
    s, _, _ = setting(seed, **options)
    m, act = s.model, SmoothedReLU()
    w0 = initial_kernels(m.k * PER_CLASS, PATCH**2, seed, purpose="supervised 0")
    X, truth = s.samples(labels, "labels", mu_train)
    c = train(X, truth.y, w0, fixed_head(m.k, PER_CLASS), act, lr=16.0, loss=0.01, steps=1500)
    held = holding(c.w, s.V, m, act)
    start = (w0 @ s.V.T * s.lengths**2).view(m.k, PER_CLASS, m.k, m.views).amax(1)
    end = held.overlaps.view(m.k, PER_CLASS, m.k, m.views).amax(1)
    own = torch.arange(m.k)
    return {"correct": _right(c, _tests(s)), "learned": end[own, own] * m.patch_strength >= act.varrho,
            "forecast": start[own, own].argmax(1), "crossed": start[own.roll(1), own].argmax(1), "holders": holders(held),
            "loss": c.loss, "steps": c.steps} | shares(held)


def transformer(seed: int, labels: int = 300, steps: int = 60, **options) -> dict:
    """A small vision transformer (patch 8, width 64, 2 blocks, 4 heads) from scratch by AdamW, on the pictures, not whitened.

    Returns `correct` [2] as in `downstream`. options: of `setting`.
    """
    s, _, _ = setting(seed, **options)
    pictures, truth = s.pictures.planted(labels, "labels", 0.0)
    encoder = ViT((1, 32, 32), PATCH, 64, 2, 4, seed)
    batches = Batches(pictures, 50, seed, labels=truth.y)
    model, _ = probes.finetune(encoder, batches, s.model.k, Plan(steps, 2e-3))
    tests = (s.pictures.planted(TESTS, purpose, mu) for purpose, mu in TESTED)
    return {"correct": torch.stack([(model.predict(shown) == truth.y).sum() for shown, truth in tests])}


@lru_cache(maxsize=2)
def _tests(s):
    return [s.samples(TESTS, purpose, mu) for purpose, mu in TESTED]


def _right(c, tests):
    return torch.stack([(margins(c.scores(X), truth.y) > 0).sum() for X, truth in tests])
