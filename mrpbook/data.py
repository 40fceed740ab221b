"""The multi-view distribution and its samples."""
import math
import warnings
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .memory import check_fits
from .rng import generator
from .validation import check_integer, check_range, check_real


class TheoryWarning(UserWarning):
    """Legal parameters that lie outside the order in which the theory speaks."""


@dataclass(frozen=True)
class Sample:
    """Samples that know which patch holds which semantic. N samples, P patches, n = views * k semantics.

    X: patches [N, P, d]; y: class in [0, k) [N]; single: True for single-view samples [N]; strong: the strong view of a
    single-view sample, -1 for a multi-view one [N]; strengths: sum over patches of z_p per semantic, 0 if absent [N, n];
    patch_semantic: the semantic a patch holds, -1 for none [N, P]; z: strength of that semantic in the patch [N, P].
    """

    X: Float[Tensor, "N P d"]
    y: Int[Tensor, "N"]
    single: Bool[Tensor, "N"]
    strong: Int[Tensor, "N"]
    strengths: Float[Tensor, "N n"]
    patch_semantic: Int[Tensor, "N P"]
    z: Float[Tensor, "N P"]

    def __len__(self) -> int:
        return len(self.y)

    def select(self, index) -> "Sample":
        """The samples at `index` (a slice, a mask or a list of positions)."""
        return Sample(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device=None, dtype=None) -> "Sample":
        """The same samples on another device; `dtype` changes X only."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self)}
        moved["X"] = moved["X"].to(dtype=dtype)
        return Sample(**moved)


@dataclass(frozen=True)
class MultiView:
    """The multi-view data distribution (definition recalled from Allen-Zhu & Li; numbers at finite k are ours).

    k classes own `views` orthonormal semantics each; semantic i * views + l is view l of class i. A sample of class y
    holds its class's semantics and each semantic of another class with probability s / k. Every semantic present
    occupies C_p of the P patches, x_p = z_p v + sum_v' alpha_{p,v'} v' + xi_p, alpha ~ U[0, gamma], xi ~ N(0, sigma_p^2 I).
    Strengths sum_p z_p: multi-view samples have `own` for both views and `off` for other classes' semantics. A
    single-view sample (share mu) has `own` for one view, rho * own for the others, [Gamma / 2, Gamma] for other classes.
    Within a semantic z_p is proportional to 0.5 + U[0, 1].

    Parameters: k >= 2, views >= 1, views * k <= d, P >= views * C_p, 0 <= s <= k, 0 <= mu <= 1, 0 < rho <= 1, Gamma >= 0,
    gamma >= 0, noise >= 0 (sigma_p * sqrt(d): the typical norm of a patch's noise), own and off: (low, high).

    Other classes' semantics beyond the room (P // C_p - views of them) are dropped at random; `dropped` says how many.
    Raises ValueError for anything else; warns (TheoryWarning) when rho >= Gamma, where one-view classifiers stop failing.
    """

    k: int = 10
    views: int = 2
    d: int = 60
    P: int = 16
    C_p: int = 4
    s: float = 1.0
    mu: float = 0.0
    rho: float = 0.02
    Gamma: float = 0.3
    gamma: float = 0.0
    noise: float = 0.1
    own: tuple[float, float] = (1.0, 1.2)
    off: tuple[float, float] = (0.2, 0.4)

    def __post_init__(self):
        check_integer("k", self.k, 2)
        for name in ("views", "d", "P", "C_p"):
            check_integer(name, getattr(self, name), 1)
        if self.n > self.d:
            raise ValueError(f"views * k = {self.n} semantics need d >= {self.n} to be orthonormal; d = {self.d}")
        check_real("s", self.s, 0, self.k)
        check_real("mu", self.mu, 0, 1)
        check_real("rho", self.rho, 0, 1, open_low=True)
        for name in ("Gamma", "gamma", "noise"):
            check_real(name, getattr(self, name), 0)
        check_range("own", self.own, low=0, open_low=True)
        check_range("off", self.off, low=0)
        if self.room < 0:
            raise ValueError(f"P = {self.P} patches can't hold {self.views} views of C_p = {self.C_p} patches each: "
                             f"P >= {self.views * self.C_p} is needed")
        asked = self.s / self.k * self.views * (self.k - 1)
        if asked > self.room:
            raise ValueError(
                f"s = {self.s:g} asks for {asked:.2f} semantics of other classes per sample on average, but P = {self.P} "
                f"patches have room for {self.room}: {self.dropped:.2f} per sample would be truncated. Allowed: "
                f"P >= {self.C_p * (self.views + math.ceil(asked))}, or "
                f"s <= {self.room * self.k / (self.views * (self.k - 1)):.3g}")
        if self.rho >= self.Gamma:
            warnings.warn(f"rho = {self.rho:g} >= Gamma = {self.Gamma:g}: the weak view outweighs other classes' "
                          "semantics, so a classifier that learned one view per class no longer fails on single-view "
                          "data", TheoryWarning, stacklevel=3)

    @property
    def n(self) -> int:
        """Number of semantics, views * k."""
        return self.views * self.k

    @property
    def room(self) -> int:
        """How many semantics of other classes a sample has patches for."""
        return self.P // self.C_p - self.views

    @property
    def sigma_p(self) -> float:
        """Standard deviation of a patch's noise per coordinate, noise / sqrt(d)."""
        return self.noise / math.sqrt(self.d)

    @property
    def dropped(self) -> float:
        """Expected number of other classes' semantics per sample without patches: E max(Binomial(n - views, s/k) - room, 0)."""
        m, p = self.n - self.views, self.s / self.k
        return sum((j - self.room) * math.comb(m, j) * p**j * (1 - p) ** (m - j) for j in range(max(self.room, 0) + 1, m + 1))

    @property
    def patch_strength(self) -> float:
        """Mean strength per patch of an own-class semantic, mean(own) / C_p: the unit in which capture is judged."""
        return sum(self.own) / 2 / self.C_p

    def but(self, **changes) -> "MultiView":
        """The same distribution with some parameters changed."""
        return replace(self, **changes)

    def semantics(self, seed: int) -> Float[Tensor, "n d"]:
        """The orthonormal semantics v of one draw, [n, d]: Haar-distributed, keyed by the seed."""
        gaussian = generator(seed, "semantics").standard_normal((self.d, self.n))
        q, r = np.linalg.qr(gaussian)
        return torch.from_numpy((q * np.sign(np.diag(r))).T.astype(np.float32).copy())

    def sample(self, N: int, seed: int, purpose: str = "train", *, mu: float | None = None) -> Sample:
        """N independent samples, reproducible by (seed, purpose); the semantics are those of `semantics(seed)`.

        mu overrides the share of single-view samples (0: multi-view only, 1: single-view only). MemoryError if N samples
        do not fit.
        """
        check_integer("N", N, 1)
        # at its peak: two patch arrays in float64, two in float32
        check_fits(f"N = {N} samples of P = {self.P} patches in d = {self.d} dimensions", 24 * N * self.P * self.d, "N, P or d")
        mu = self.mu if mu is None else check_real("mu", mu, 0, 1)
        rng = generator(seed, f"samples:{purpose}")
        y = rng.integers(0, self.k, N)
        single = rng.random(N) < mu
        strong = np.where(single, rng.integers(0, self.views, N), -1)
        strengths = self._strengths(rng, y, single, strong)
        patch_semantic, z = self._patches(rng, strengths)
        V = self.semantics(seed).numpy()
        X = np.where(patch_semantic[..., None] >= 0, V[patch_semantic], 0) * z[..., None]
        if self.gamma > 0:
            X = X + rng.uniform(0, self.gamma, (N, self.P, self.n)).astype(np.float32) @ V
        X = X + self.sigma_p * rng.standard_normal((N, self.P, self.d), dtype=np.float32)
        as_float = [torch.from_numpy(a.astype(np.float32)) for a in (X, strengths, z)]
        as_int = [torch.from_numpy(a.astype(np.int64)) for a in (y, strong, patch_semantic)]
        return Sample(as_float[0], as_int[0], torch.from_numpy(single), as_int[1], as_float[1], as_int[2], as_float[2])

    def _strengths(self, rng, y, single, strong):
        """Total strength of each semantic in each sample [N, n]; 0 where it is absent."""
        N, owner = len(y), np.arange(self.n) // self.views
        own = owner[None, :] == y[:, None]
        weak = own & single[:, None] & (np.arange(self.n)[None, :] % self.views != strong[:, None])
        order = np.where(own, np.inf, rng.random((N, self.n)))
        joins = (rng.random((N, self.n)) < self.s / self.k) & ~own
        # keep the `room` semantics of lowest random rank among those that joined
        rank = np.argsort(np.argsort(np.where(joins, order, np.inf), axis=1), axis=1)
        joins &= rank < self.room
        mine = rng.uniform(*self.own, (N, self.n)) * np.where(weak, self.rho, 1.0)
        other_multi = rng.uniform(*self.off, (N, self.n))
        other_single = rng.uniform(self.Gamma / 2, self.Gamma, (N, self.n))
        others = np.where(single[:, None], other_single, other_multi)
        return np.where(own, mine, np.where(joins, others, 0.0))

    def _patches(self, rng, strengths):
        """Give every semantic present C_p patches of its own; returns patch_semantic [N, P] and z [N, P]."""
        N, slots = len(strengths), min(self.P // self.C_p, self.n)
        # present semantics first, in index order; a sample never holds more than `slots`
        present = np.argsort(strengths == 0, axis=1, kind="stable")[:, :slots]
        there = np.take_along_axis(strengths, present, 1)
        share = 0.5 + rng.random((N, slots, self.C_p))
        share /= share.sum(-1, keepdims=True)
        semantic = np.full((N, self.P), -1)
        z = np.zeros((N, self.P))
        filled = slots * self.C_p
        semantic[:, :filled] = np.repeat(np.where(there > 0, present, -1), self.C_p, axis=1)
        z[:, :filled] = (share * there[..., None]).reshape(N, filled)
        where = np.argsort(rng.random((N, self.P)), axis=1)
        return np.take_along_axis(semantic, where, 1), np.take_along_axis(z, where, 1)
