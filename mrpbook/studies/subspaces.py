"""One draw of learning invariances: latents with known styles, digits, and the two views of a class."""
import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from ..data import MultiView
from ..images.subspaces import (
    Encoder,
    Masks,
    Weights,
    best_masks,
    distance,
    explained,
    fitted,
    linear_r2,
    moved,
    overlap,
    shares,
    train,
)
from ..network import initial_kernels, responses
from ..rng import generator
from ..validation import check_choice
from . import pictures
from .capture import race

CONTENT, STYLES = 4, ((4, 6), (6, 8), (8, 10))  # places among ten latents
KINDS = ("masks", "ones", "disjoint", "random", "composed", "one", "same", "untrained")


def normal(seed: int, purpose: str, *shape: int, step: int = 0) -> Tensor:
    """Standard normal numbers keyed by (seed, purpose, step)."""
    return torch.from_numpy(generator(seed, f"subspaces: {purpose}", step).standard_normal(shape, dtype=np.float32))


def observed(z: Tensor, seed: int) -> Tensor:
    """x = g(z), 32 numbers from ten latents: a fixed linear map, then twice leaky ReLU (slope 0.2) and a rotation."""
    g = generator(seed, "subspaces: observed")
    first, *turns = (torch.from_numpy(np.linalg.qr(g.standard_normal((32, 32)))[0]).float() for _ in range(3))
    x = 1.8 * z @ first[:z.shape[1]]  # pixels of variance about 1
    for turn in turns:
        x = functional.leaky_relu(x, 0.2) @ turn
    return x


def redrawn(z: Tensor, new: Tensor, places) -> Tensor:
    """The latents with those of the given (first, last + 1) taken from `new`."""
    out = z.clone()
    for first, last in places:
        out[:, first:last] = new[:, first:last]
    return out


def plan(kind: str, K: int, d: int, seed: int) -> tuple[list[tuple[int, ...]], Tensor | None]:
    """Which augmentations act together in each pair, and the masks if they are fixed.

    "masks": one learned mask per augmentation. "ones": the same pairs, masks of ones. "disjoint", "random": fixed masks, each
    feature in one of them, or in each with probability 1/2. "composed": VICReg, all augmentations at once. "one": VICReg with
    the first alone. "same": VICReg of x with itself. "untrained": no steps. ValueError for another kind.
    """
    check_choice("kind", kind, KINDS)
    alone, g = [(k,) for k in range(K)], generator(seed, "subspaces: fixed masks")
    fixed = {"ones": torch.ones(K, d), "random": torch.from_numpy(g.random((K, d)) < 0.5).float(),
             "disjoint": functional.one_hot(torch.from_numpy(g.permutation(d)) % K, K).T.float()}
    if kind in ("masks", "untrained", *fixed):
        return alone, fixed.get(kind)
    return [{"composed": tuple(range(K)), "one": (0,), "same": ()}[kind]], torch.ones(1, d)


def synthetic(seed: int, kind: str = "masks", steps: int = 300, d: int = 24, size: int = 256, spoiled: float = 0.0,
              trace: bool = True, tests: int = 3000, **weights) -> dict:
    """Ten latents, four of content and three styles of two; augmentation k draws style k anew. New latents at every step.

    spoiled: share of the first augmentation's pictures that are of another content too; with `trace` these are twice as bright.
    weights: see `Weights`. On new draws, R^2 by least squares: `content`, `styles` [3] from all features; `inside` [3, 4] of
    content and styles from the features that mask k opens (m > 1/2). `masks` [3, d], `share` [3, d] of each feature that each
    augmentation changes, `law` [3, d], the masks that fit these shares best; `raw` [4], R^2 from x itself; `doubt`, how much
    larger the mean log-variance of spoiled pictures is (of use with tau).
    """
    together, fixed = plan(kind, len(STYLES), d, seed)
    weights, masks = Weights(**weights), Masks(len(together), d, seed, fixed=fixed)
    net = Encoder((32, 64, 64, d), len(together), seed)

    def spoil(view, new, bad):
        other = observed(torch.where(bad, redrawn(view, new, [(0, CONTENT)]), view), seed)
        return torch.where(bad & trace, 2 * other, other)

    def pair(step):
        z, new, coin = (normal(seed, what, size, 10, step=step) for what in ("latents", "styles", "coin"))
        bad = torch.special.ndtr(coin[:, :1]) < spoiled
        first, *rest = [redrawn(z, new, [STYLES[k] for k in ks]) for ks in together]
        return observed(z, seed), [spoil(first, new, bad), *(observed(view, seed) for view in rest)]

    train(net, masks, pair, weights, 0 if kind == "untrained" else steps)
    z, new = normal(seed, "tests", 2 * tests, 10), normal(seed, "tests, styles", 2 * tests, 10)
    with torch.no_grad():
        x = observed(z, seed)
        h, m = net(x), masks().expand(len(STYLES), -1)
        rho = shares(h, [net(observed(redrawn(z, new, [place]), seed)) for place in STYLES])
        every = torch.ones(len(x), 1, dtype=torch.bool)
        doubt = [net.uncertain(t)[:, 0].mean() for t in (x, spoil(z, new, every))]

    def read(features):
        return [linear_r2(features, z[:, a:b], tests) for a, b in ((0, CONTENT), *STYLES)]

    content, *styles = read(h)
    return {"content": content, "styles": styles, "inside": [read(h[:, row > 0.5]) for row in m], "masks": m, "share": rho,
            "law": best_masks(rho, weights), "raw": read(x), "doubt": float(doubt[1] - doubt[0])}


def placed(N: int, seed: int, purpose: str, step: int = 0) -> Tensor:
    """How N pictures are shown, [N, 4]: shift right and down (up to 1.5 of 8 pixels), angle (up to 40 degrees), gain (0.4 to
    1), all uniform; the first three scaled to [-1, 1], the last to [0, 1]."""
    u = torch.from_numpy(generator(seed, f"subspaces: {purpose}", step).random((N, 4), dtype=np.float32))
    return torch.cat([2 * u[:, :3] - 1, u[:, 3:]], 1)


def shown(x: Tensor, how: Tensor) -> Tensor:
    """The pictures as `placed` says, in rows of pixels."""
    return moved(x, how[:, :2] * 1.5 * x.shape[3] / 8, how[:, 2] * np.deg2rad(40), 0.4 + 0.6 * how[:, 3]).flatten(1)


PLACES = ((0, 2), (2, 3), (3, 4))  # of shift, angle, gain in `placed`


def digits(seed: int, kind: str = "masks", steps: int = 300, d: int = 32, size: int = 256, source: str = "digits",
           most: int | None = None, **weights) -> dict:
    """Pictures shown at random place, angle and brightness; augmentation k draws one of the three anew. For the test part, seen
    so: `accuracy` of least squares on the class, and `styles` [3], R^2 of shift, angle and gain, from all features (fitted on
    the training part); `inside` [3, 4], both from the features that mask k opens; `raw` [4], both from pixels;
    `masks` [3, d]; `share` [3, d], as in `synthetic`; `overlap` [3, 3] of the masks. With tau also what `doubts` returns.

    most: of the training pictures, and half as many of the test pictures, are used (by lot, the same for all seeds).
    """
    x, labels, test, truth = some_pictures(source, most)
    together, fixed = plan(kind, len(PLACES), d, seed)
    weights, masks = Weights(**weights), Masks(len(together), d, seed, fixed=fixed)
    net = Encoder((x[0].numel(), 128, 128, d), len(together), seed)

    def pair(step):
        some = x[torch.from_numpy(generator(seed, "subspaces: pictures", step).integers(len(x), size=size))]
        how, new = (placed(size, seed, purpose, step) for purpose in ("shown", "shown anew"))
        return shown(some, how), [shown(some, redrawn(how, new, [PLACES[k] for k in ks])) for ks in together]

    train(net, masks, pair, weights, 0 if kind == "untrained" else steps)
    every, labels, first = torch.cat([x, x, test]), torch.cat([labels, labels, truth]), 2 * len(x)
    how, new = (placed(len(every), seed, purpose) for purpose in ("tests", "tests anew"))
    with torch.no_grad():
        rows = shown(every, how)
        changed = [shown(every, redrawn(how, new, [place])) for place in PLACES]
        h, m, others = net(rows), masks().expand(len(PLACES), -1), [net(c) for c in changed]
    onehot = functional.one_hot(labels).float()

    def read(features):  # all at once: with thousands of pixels the normal equations are what takes time
        what, where = fitted(features, torch.cat([onehot, how], 1), first).tensor_split([onehot.shape[1]], 1)
        right = (what.argmax(1) == labels[first:]).float().mean()
        return [float(right), *(explained(where[:, a:b], how[first:, a:b]) for a, b in PLACES)]

    accuracy, *styles = read(h)
    found = {"accuracy": accuracy, "styles": styles, "inside": [read(h[:, row > 0.5]) for row in m], "raw": read(rows),
             "masks": m, "share": shares(h, others), "overlap": overlap(m)}
    if weights.tau is None:
        return found
    gains = [how[first:, 3], how[first:, 3], new[first:, 3]]
    with torch.no_grad():
        told = [net.uncertain(c[first:])[:, k] for k, c in enumerate(changed)]
    said = [fitted(torch.cat([h[:first], o[first:]]), onehot, first).argmax(1) for o in others]
    moves = [distance(row * h[first:], row * o[first:]) for row, o in zip(m, others, strict=True)]
    return found | doubts(told, [s != labels[first:] for s in said], gains, moves)


def some_pictures(source: str, most: int | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training pictures, their labels, test pictures, theirs; of the former `most`, of the latter half as many, or all."""
    parts = []
    for x, part, n in zip(pictures.tensors(source), pictures.data(source), (most, most and most // 2), strict=True):
        lot = torch.from_numpy(generator(0, "subspaces: which pictures").permutation(len(x))[:n]) if n else slice(None)
        parts += [x[lot], part.labels[lot]]
    return tuple(parts)


def doubts(told: list[Tensor], wrong: list[Tensor], gains: list[Tensor], moves: list[Tensor]) -> dict:
    """Does doubt follow difficulty? Of each augmentation's changed pictures, [n] each, with the doubt `told` of them:

    `hard` [K], the probability that a picture whose class is read wrongly has more doubt than one that is read rightly (the
    area under the curve, 0.5 by chance); `dark` [K], the same of -`gains`, how dark it is shown, in the place of doubt;
    `moved` [K], the rank correlation of doubt with what it stands for in the loss, the distance `moves` of the pair.
    """
    return {"hard": [roc_auc_score(w, t) for w, t in zip(wrong, told, strict=True)],
            "dark": [roc_auc_score(w, -g) for w, g in zip(wrong, gains, strict=True)],
            "moved": [spearmanr(s, t).statistic for s, t in zip(moves, told, strict=True)]}


def pooled(S, keep: Tensor, seed: int, step: int = 0, noise: float = 0.02) -> Tensor:
    """The sum of the patches kept [N, P] of each sample, [N, d], with fresh noise of this norm."""
    fresh = normal(seed, "fresh noise", len(S), S.X.shape[2], step=step) * noise / S.X.shape[2] ** 0.5
    return (S.X * keep[..., None]).sum(1) + fresh


def kept(S, how: str, m: MultiView, g: np.random.Generator) -> Tensor:
    """Which patches an augmentation keeps, [N, P]. "noise": all. "patches": a random half. "view": all but those of one of the
    class's views, by coin toss. ValueError for another one."""
    check_choice("how", how, ("noise", "patches", "view"))
    N, P = S.patch_semantic.shape
    if how == "patches":
        return torch.from_numpy(g.random((N, P)).argsort(1) < P // 2).float()
    gone = S.y * m.views + torch.from_numpy(g.integers(m.views, size=N))
    return 1 - (S.patch_semantic == gone[:, None]).float() * (how == "view")


def views(seed: int, how: str, N: int = 2000, steps: int = 200, d: int = 24, K: int = 100, noise: float = 0.1,
          mu: float = 0.1, theta: float = 0.5, time: int = 300) -> dict:
    """What an encoder makes of the two views of a class. how: VICReg on the summed patches with an augmentation of `kept`;
    "masked reconstruction", kernels after pretraining on such patches for `time`, a share theta of them visible
    (`capture.race`); "untrained", those before.

    `apart` (see there): 0 if the views of a class became one, 1 if they are as different as classes. `agree` [2]: correlation
    of two draws of the augmentation along the classes' directions v_1 + v_2 and along v_1 - v_2 (1 without augmentation).
    """
    m = MultiView(noise=noise, mu=mu)
    V, tests = m.semantics(seed), m.sample(3000, seed, "views", mu=1.0)
    agree = [1.0, 1.0]
    if how in ("untrained", "masked reconstruction"):
        w = initial_kernels(K, m.d, seed)
        if how != "untrained":
            w = torch.as_tensor(race(seed, noise=noise, theta=theta, K=K, time=time, patience=0, limit=0)["kernels"])
        h = responses(w, tests.X)
    else:
        S, net = m.sample(N, seed, "pretrain"), Encoder((m.d, 64, 64, d), 1, seed)

        def pair(step):
            g = generator(seed, f"subspaces: {how}", step)
            some = S.select(torch.from_numpy(g.integers(N, size=256)))
            x, other = (pooled(some, kept(some, how, m, g), seed, 2 * step + i) for i in range(2))
            return x, [other]

        train(net, Masks(1, d, seed, fixed=torch.ones(1, d)), pair, Weights(), steps)
        g = generator(seed, f"subspaces: {how} agree")
        first, second = (pooled(S, kept(S, how, m, g), seed, 10**6 + i) @ V.T for i in range(2))
        agree = [agreement(first, second, sign) for sign in (1, -1)]
        with torch.no_grad():
            h = net(pooled(tests, torch.ones(tests.patch_semantic.shape), seed, 10**6 + 2))
    return {"apart": apart(h, tests.y, tests.strong), "agree": agree}


def agreement(a: Tensor, b: Tensor, sign: int) -> float:
    """Correlation of a_{c1} + sign a_{c2} with the same of b over all samples, mean over classes c; a, b [N, semantics]."""
    one, two = (t[:, ::2] + sign * t[:, 1::2] for t in (a, b))
    return float(torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(one.T, two.T, strict=True)]).mean())


def apart(h: Tensor, y: Tensor, strong: Tensor) -> float:
    """Distance between the mean features of a class's two views over that of different classes, root mean squares; h [N, M]:
    features of single-view samples, y [N] their classes, strong [N] which of two views they have.

    A squared distance is the product of the differences in two halves of the samples, so that sampling alone adds nothing.
    """
    group, n = 2 * y + strong, 2 * int(y.max()) + 2
    one, two = (torch.stack([h[i::2][group[i::2] == j].mean(0) for j in range(n)]) for i in range(2))
    squared = ((one[:, None] - one) * (two[:, None] - two)).sum(-1)
    other = torch.arange(n)[:, None] // 2 != torch.arange(n) // 2
    views = squared[torch.arange(n), torch.arange(n) ^ 1].mean()
    return float((views.clamp_min(0) / squared[other].mean()).sqrt())
