"""Which latents masks reach, and which a trained network finds."""
import numpy as np
import torch

from ..hierarchy import graphs, quadtree
from ..hierarchy import identified as model
from ..hierarchy.graphs import Graph
from ..images.batches import Batches
from ..images.mae import MAE
from ..images.patches import random_masks
from ..images.training import Plan, train
from ..images.vit import ViT
from ..rng import generator


def searched(seed: int, latents: tuple[int, int] = (2, 6), pixels: tuple[int, int] = (3, 6)) -> dict:
    """One random graph and mask, 1 or 0 for each: does the search find another set than `graphs.shared`, or several
    (`differs`)? Are `all` shared latents, or the `parents` of the set, what it finds? Does it find another set when hidden and
    visible pixels are `exchanged`? And how many sets are `admissible`, the `size` of the least."""
    g = generator(seed, "hierarchy: searched")
    graph = graphs.random_graph(seed, int(g.integers(latents[0], latents[1] + 1)), int(g.integers(pixels[0], pixels[1] + 1)))
    order = g.permutation(np.array(graph.pixels))
    masked = order[:int(g.integers(1, len(order)))].tolist()
    c, found = graphs.shared(graph, masked), graphs.exhaustive(graph, masked)
    everything = frozenset.intersection(*graph.split(masked))
    above = frozenset(p for z in c for p in graph.parents[z])
    other = graphs.exhaustive(graph, set(graph.pixels) - set(masked))
    return {"differs": int(found != [c]), "all": int(found == [everything]), "parents": int(found == [above]),
            "exchanged": int(other != found), "admissible": len(graphs.admissible(graph, masked)), "size": len(c)}


def searches(first_seed: int, count: int) -> dict:
    """`searched` for `count` seeds: each quantity as [count]."""
    found = [searched(first_seed + i) for i in range(count)]
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def heights(seed: int, ratios: tuple[float, ...], unit: int, branches: int = 2, depth: int = 8) -> dict:
    """A random mask of a balanced tree for each ratio, in units of `unit` neighbouring pixels: mean `height` of the minimal
    shared set above the pixels, and its `size`, [ratios] each. Raises ValueError unless the unit divides the pixels, and each
    ratio hides a whole number of units, at least one, not all."""
    graph = graphs.tree(branches, depth)
    units, left = divmod(len(graph.pixels), unit)
    counts = [ratio * units for ratio in ratios]
    if left or any(n != round(n) or not 0 < n < units for n in counts):
        raise ValueError(f"unit = {unit}, ratios = {ratios}: expected whole numbers of units of {len(graph.pixels)} pixels")
    order, level, found = generator(seed, "hierarchy: tree mask").permutation(units), graphs.heights(graph), []
    for n in counts:
        masked = graph.pixels.start + (order[:int(n), None] * unit + np.arange(unit)).ravel()
        found.append(list(graphs.shared(graph, masked.tolist())))
    return {"height": np.array([level[c].mean() for c in found]), "size": np.array([len(c) for c in found])}


def levels(seed: int, ratios: tuple[float, ...], unit: int, k: int | None = None, a: float = 0.8, depth: int = 3,
           count: int = 4) -> dict:
    """The quadtree and `count` masks for each ratio, [ratios] each: mean R^2 of every level above the pixels from the code of
    the visible pixels (`readout`, [ratios, depth]), its number of `directions`, the `share` of pixels that is hidden, and the
    part of their variance that visible ones explain (`explained`)."""
    tree, found = quadtree.Quadtree(depth, a), {"readout": [], "directions": [], "share": [], "explained": []}
    for ratio in ratios:
        hidden = quadtree.masks(tree, count, ratio, unit, seed)
        found["readout"].append(np.mean([quadtree.readout(tree, h, k) for h in hidden], 0))
        found["directions"].append(np.mean([quadtree.code(tree, h, k).shape[1] for h in hidden]))
        found["share"].append(hidden.mean())
        found["explained"].append(1 - np.mean([quadtree.unexplained(tree, h) for h in hidden]))
    return {name: np.array(values) for name, values in found.items()}


def example() -> tuple[Graph, np.ndarray]:
    """The small graph of the book's film, and the place of each variable, [variables, 2]: six latents in three rows over eight
    pixels. Two of the latents share children, so that it is no tree."""
    parents = ((), (0,), (0,), (1,), (1, 2), (2,), (3,), (3,), (3, 4), (4,), (4,), (4, 5), (5,), (5,))
    place = [(3.5, 3), (1.5, 2), (5.5, 2), (0.8, 1), (3.5, 1), (6.2, 1), *((x, 0) for x in range(8))]
    return Graph(parents, 6), np.array(place, dtype=float)


def identified(seed: int, kind: str = "mixed", width: int = 2, steps: int = 1500, N: int = 20_000, tests: int = 1500
               ) -> dict:
    """An encoder of the visible view (see `identified.encoder`), on new draws: R^2 of c from its numbers (`cause`), of its
    numbers from c (`back`), and of the visible view's own noise from its numbers (`own`)."""
    code = model.encoder(seed, model.views(seed, N, "training", kind), width, steps)
    new = model.views(seed, 2 * tests, "tests", kind)
    with torch.no_grad():
        found = code(new.visible)
    return {"cause": model.explained(found, new.c, tests), "back": model.explained(new.c, found, tests),
            "own": model.explained(found, new.own_v, tests)}


def conditional(seed: int, ratio: float = 0.5, steps: int = 1200, N: int = 50_000, depth: int = 2, a: float = 0.8) -> dict:
    """A masked autoencoder on pictures of the quadtree, each pixel a patch, beside the exact conditional mean, on new
    pictures and new draws of masks: `excess`, the mean squared distance between the two over the least squared error; `error`
    and `least`, in units of a pixel's variance."""
    tree = quadtree.Quadtree(depth, a)

    def pictures(count, draw):  # [0, 1] for the encoder: plus and minus four standard deviations
        return torch.from_numpy(tree.sample(count, draw)[:, tree.latents:]).float().view(-1, 1, tree.side, tree.side) / 8 + 0.5

    net = MAE(ViT((1, tree.side, tree.side), 1, 48, 2, 3, seed), normalise=False, decoder_width=48, seed=seed)
    train(net, Batches(pictures(N, 2 * seed), 128, seed, masks=(tree.side**2, ratio)), Plan(steps, 6e-3))
    new, (visible, hidden) = pictures(500, 2 * seed + 1), random_masks(500, tree.side**2, ratio, seed, step=10**6)
    with torch.no_grad():
        said = net.eval().predict(new, visible, hidden)[..., 0].double()
    x, exact, least = new.flatten(1).double(), torch.empty(hidden.shape, dtype=torch.float64), []
    for i, places in enumerate(hidden.numpy()):
        mask = np.isin(np.arange(tree.side**2), places)
        exact[i] = torch.from_numpy(quadtree.predictor(tree, mask) @ (x[i][~mask].numpy() - 0.5)) + 0.5
        least.append(quadtree.unexplained(tree, mask))
    distance, error = 64 * (said - exact).square().mean(), 64 * (said - x.gather(1, hidden)).square().mean()
    return {"excess": float(distance) / np.mean(least), "error": float(error), "least": float(np.mean(least))}
