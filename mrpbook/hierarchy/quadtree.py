"""The Gaussian quadtree: masking and its best code in closed form.

Every variable has variance 1: the root is N(0, 1), each child is a * parent + sqrt(1 - a^2) * noise, with four children, down
to the 2^depth x 2^depth pixels. Two variables at tree distance d have covariance a^d, so that everything that a linear encoder
can know is matrix algebra (derived; the paper's main text has no experiment of this kind).
"""
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from ..rng import generator
from ..validation import check_integer, check_real
from .graphs import Graph


@dataclass(frozen=True)
class Quadtree:
    """depth: 1 to 5, levels below the root; a: the correlation of parent and child, in (0, 1). ValueError otherwise.

    Variables are numbered level by level, each level row by row of its grid; the last ones are the pixels.
    """

    depth: int = 3
    a: float = 0.8

    def __post_init__(self):
        if check_integer("depth", self.depth, 1) > 5:
            raise ValueError(f"depth = {self.depth}: expected at most 5, 1024 pixels")
        check_real("a", self.a, 0, 1, open_low=True)
        if self.a >= 1:
            raise ValueError(f"a = {self.a}: expected a number below 1, for noise at every edge")

    @property
    def side(self) -> int:
        """Pixels in a row."""
        return 2**self.depth

    @cached_property
    def levels(self) -> Int[np.ndarray, "n"]:
        """The level of each variable: 0 for the root, depth for pixels."""
        return np.repeat(np.arange(self.depth + 1), 4 ** np.arange(self.depth + 1))

    @cached_property
    def ancestors(self) -> Int[np.ndarray, "n levels"]:
        """The number of the ancestor of each variable at each level, itself at its own; -1 below it."""
        first = np.cumsum([0, *4 ** np.arange(self.depth)])
        table = np.full((len(self.levels), self.depth + 1), -1)
        for level in range(self.depth + 1):
            row, column = np.divmod(np.arange(4**level), 2**level)
            for above in range(level + 1):
                up = level - above
                table[first[level]:first[level] + 4**level, above] = first[above] + (row >> up) * 2**above + (column >> up)
        return table

    @cached_property
    def covariance(self) -> Float[np.ndarray, "n n"]:
        """a^d for every pair of variables, d their distance in the tree."""
        table = self.ancestors
        common = ((table[:, None] == table[None]) & (table[:, None] >= 0)).sum(2) - 1  # level of the deepest common ancestor
        return self.a ** (self.levels[:, None] + self.levels[None] - 2 * common)

    @property
    def graph(self) -> Graph:
        """The same tree with the same numbers, for `graphs.shared`."""
        above = self.ancestors[np.arange(1, len(self.levels)), self.levels[1:] - 1]
        return Graph(((), *((int(p),) for p in above)), self.latents)

    @property
    def latents(self) -> int:
        """How many variables are no pixels."""
        return len(self.levels) - 4**self.depth

    def sample(self, N: int, seed: int) -> Float[np.ndarray, "N n"]:
        """N independent draws of all variables."""
        noise = generator(seed, "quadtree").standard_normal((check_integer("N", N, 1), len(self.levels)))
        for level in range(1, self.depth + 1):
            now = np.flatnonzero(self.levels == level)
            noise[:, now] = self.a * noise[:, self.ancestors[now, level - 1]] + np.sqrt(1 - self.a**2) * noise[:, now]
        return noise


def masks(tree: Quadtree, N: int, ratio: float, unit: int, seed: int) -> Bool[np.ndarray, "N pixels"]:
    """True where a pixel is hidden: round(ratio U) of the U squares of unit x unit pixels, every choice equally likely.

    unit: a divisor of the side. At least one square is hidden and one is not; ValueError if that can't be.
    """
    check_real("ratio", ratio, 0, 1)
    if tree.side % check_integer("unit", unit, 1) or unit == tree.side:
        raise ValueError(f"unit = {unit}: expected a divisor of the side {tree.side}, smaller than it")
    across = tree.side // unit
    count = int(np.clip(round(ratio * across**2), 1, across**2 - 1))
    order = generator(seed, "quadtree: masks").random((check_integer("N", N, 1), across**2)).argsort(1)
    hidden = np.zeros((N, across**2), dtype=bool)
    np.put_along_axis(hidden, order[:, :count], True, 1)
    return hidden.reshape(N, across, across).repeat(unit, 1).repeat(unit, 2).reshape(N, -1)


def predictor(tree: Quadtree, hidden: Bool[np.ndarray, "pixels"]) -> Float[np.ndarray, "masked visible"]:
    """The matrix of E[x_masked | x_visible], exact: Cov_mv Cov_vv^-1."""
    S = tree.covariance[tree.latents:, tree.latents:]
    return np.linalg.solve(S[np.ix_(~hidden, ~hidden)], S[np.ix_(~hidden, hidden)]).T


def unexplained(tree: Quadtree, hidden: Bool[np.ndarray, "pixels"]) -> float:
    """Mean variance of the masked pixels that no function of the visible ones explains: the least squared error."""
    S, B = tree.covariance[tree.latents:, tree.latents:], predictor(tree, hidden)
    return float(1 - np.einsum("mv,mv->m", B, S[np.ix_(hidden, ~hidden)]).mean())


def code(tree: Quadtree, hidden: Bool[np.ndarray, "pixels"], k: int | None = None) -> Float[np.ndarray, "visible r"]:
    """The directions of the visible pixels from which the masked ones are best predicted, uncorrelated and of variance 1: the
    first k, or all there are (None).

    Reduced-rank regression (Izenman 1975): the first left singular vectors of Cov_vv^(-1/2) Cov_vm, times Cov_vv^(-1/2). There
    are only as many as the rank of Cov_vm, the number of variables that it takes to separate the two sides of the tree
    (Sullivant et al. 2010, recalled); directions beyond would be arbitrary, so a larger k gives no more.
    """
    S = tree.covariance[tree.latents:, tree.latents:]
    values, vectors = np.linalg.eigh(S[np.ix_(~hidden, ~hidden)])
    root = vectors / np.sqrt(values) @ vectors.T
    left, sizes, _ = np.linalg.svd(root @ S[np.ix_(~hidden, hidden)])
    real = int((sizes > 1e-9 * sizes[0]).sum())
    return root @ left[:, :real if k is None else min(check_integer("k", k, 1), real)]


def readout(tree: Quadtree, hidden: Bool[np.ndarray, "pixels"], k: int | None = None) -> Float[np.ndarray, "levels"]:
    """R^2 of the latents from the `code` of the visible part, mean over all latents of each level above the pixels."""
    W = code(tree, hidden, k)
    with_code = tree.covariance[:tree.latents, tree.latents:][:, ~hidden] @ W
    explained = (with_code**2).sum(1)
    return np.array([explained[tree.levels[:tree.latents] == level].mean() for level in range(tree.depth)])
