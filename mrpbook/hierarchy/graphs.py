"""Which latent variables a mask makes shared.

The model of Kong et al. 2023 (section 2.1): a directed acyclic graph of latent variables and pixels, each variable an
invertible function of its parents and of a noise of its own, no edge from a pixel. So a variable determines all its ancestors:
what it *knows* is the set of its own noise and of its ancestors' noises. Noises are numbers here (dimension 1), and a variable
has as many dimensions as noises that it knows.
"""
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations

import numpy as np

from ..rng import generator
from ..validation import check_integer

MOST = 16  # latents for `exhaustive`: 65,536 sets


@dataclass(frozen=True)
class Graph:
    """parents: those of each variable, by number, all smaller than its own; latents: how many of the variables are latent, the
    first ones; the others are pixels. Raises ValueError for parents that are no earlier latents, or for no pixels.
    """

    parents: tuple[tuple[int, ...], ...]
    latents: int

    def __post_init__(self):
        if not 1 <= check_integer("latents", self.latents, 1) < len(self.parents):
            raise ValueError(f"latents = {self.latents}: expected 1 to {len(self.parents) - 1}, for there are pixels too")
        for v, given in enumerate(self.parents):
            if any(not 0 <= p < min(v, self.latents) for p in given):
                raise ValueError(f"parents[{v}] = {given}: expected latents before {v}")

    @property
    def pixels(self) -> range:
        """The numbers of the pixels."""
        return range(self.latents, len(self.parents))

    @cached_property
    def knows(self) -> tuple[frozenset[int], ...]:
        """The noises that each variable determines: its own and those of its ancestors."""
        found: list[frozenset[int]] = []
        for v, given in enumerate(self.parents):
            found.append(frozenset({v}).union(*(found[p] for p in given)))
        return tuple(found)

    def known(self, variables: Collection[int]) -> frozenset[int]:
        """The noises that these variables determine together."""
        return frozenset().union(*(self.knows[v] for v in variables))

    def split(self, masked: Collection[int]) -> tuple[frozenset[int], frozenset[int]]:
        """The noises known to the masked and to the visible pixels. Raises ValueError unless there are both."""
        masked = set(masked)
        if not masked or not masked < set(self.pixels):
            every = f"{self.pixels.start} to {self.pixels.stop - 1}"
            raise ValueError(f"masked = {sorted(masked)}: expected some pixels of {every}, not all")
        return self.known(masked), self.known(set(self.pixels) - masked)


def shared(graph: Graph, masked: Collection[int]) -> frozenset[int]:
    """The minimal shared set c of a mask (Kong et al. 2023, theorem 1): x_m = g(c, s_m), x_v = g'(c, s_v), both invertible, and
    s_m independent of (c, s_v); of all such sets the one whose members have the least sum of dimensions.

    The latents that are ancestors of a masked and of a visible pixel, without those that have a descendant among them
    (derived; the paper's own algorithm stands in its appendix, which is not at hand). Proof: let S be the shared ancestors.
    What is left of the masked side must be independent of the visible side, so c determines all of S; both sides determine c,
    so c lies in S. A latent of S without descendants in S carries its own noise, which no other element of S knows: it must be
    in c. These together determine all of S, since every element of S is one of them or an ancestor of one. So every set that
    qualifies knows the same and contains these, and these alone are the cheapest.

    masked: numbers of pixels. Raises ValueError for a mask of no pixel or of all.
    """
    both = frozenset.intersection(*graph.split(masked))
    return frozenset(z for z in both if not any(z in graph.knows[y] for y in both if y != z))


def admissible(graph: Graph, masked: Collection[int]) -> list[frozenset[int]]:
    """All sets of latents that meet the conditions of theorem 1, by trying every set.

    Conditions, in noises: the set is a function of the masked pixels, and of the visible ones; and the noises of the masked
    pixels that it leaves open are independent of it and of the visible pixels. Raises ValueError for more than MOST latents.
    """
    if graph.latents > MOST:
        raise ValueError(f"latents = {graph.latents}: {2**graph.latents:,} sets; expected at most {MOST} latents")
    hidden, seen = graph.split(masked)
    every = chain.from_iterable(combinations(range(graph.latents), k) for k in range(graph.latents + 1))
    known = ((frozenset(c), graph.known(c)) for c in every)
    return [c for c, noises in known if noises <= hidden and noises <= seen and not (hidden - noises) & seen]


def exhaustive(graph: Graph, masked: Collection[int]) -> list[frozenset[int]]:
    """The sets among `admissible` whose members have the least sum of dimensions."""
    found = admissible(graph, masked)
    size = {c: sum(len(graph.knows[z]) for z in c) for c in found}
    return [c for c in found if size[c] == min(size.values())]


def random_graph(seed: int, latents: int, pixels: int, most_parents: int = 2) -> Graph:
    """Each latent but the first has 0 to `most_parents` earlier latents as parents, each pixel 1 to `most_parents` latents."""
    check_integer("pixels", pixels, 2)
    check_integer("most_parents", most_parents, 1)
    g, parents = generator(seed, "hierarchy: graph"), []
    for v in range(check_integer("latents", latents, 1) + pixels):
        pool = min(v, latents)
        count = int(g.integers(v >= latents, min(most_parents, pool) + 1)) if pool else 0
        parents.append(tuple(sorted(int(p) for p in g.choice(pool, count, replace=False))) if count else ())
    return Graph(tuple(parents), latents)


def tree(branches: int, depth: int) -> Graph:
    """The balanced tree of this depth: 1, branches, ..., branches^depth variables, the last ones pixels, level after level."""
    check_integer("branches", branches, 2)
    parents: list[tuple[int, ...]] = [()]
    first = [0]
    for level in range(1, check_integer("depth", depth, 1) + 1):
        before = first[-1]
        first.append(len(parents))
        parents += [(before + i // branches,) for i in range(branches**level)]
    return Graph(tuple(parents), first[-1])


def heights(graph: Graph) -> np.ndarray:
    """How far above the pixels each variable stands, [variables]: 0 for pixels, else 1 + the lowest of its children.

    A latent without children has height -1.
    """
    found = np.full(len(graph.parents), -1)
    found[graph.latents:] = 0
    for v in range(len(graph.parents) - 1, -1, -1):
        for p in graph.parents[v]:
            if found[v] >= 0 and (found[p] < 0 or found[v] + 1 < found[p]):
                found[p] = found[v] + 1
    return found
