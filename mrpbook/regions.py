"""Where a kernel ends that has begun with both views of a class: four regions, and runaway beyond them.

Two views that always occur together, overlaps lambda_1, lambda_2 > 0 small enough for the power law, target
sum_p sigma(tau a_p), decoder c, no noise. With S_j = sum_p z_p^q, R_q = E sum_p z_p^2q / E S_j^2, chi = E S_1 S_2 / E S_1^2,
    d lambda_1 = lambda_1^(q-1) (a lambda_1^q + chi lambda_2^q),   a = 1 - beta,   beta = c (1 - theta) R_q / (tau^q - c theta),
and the same with 1 and 2 exchanged, up to one positive factor, where tau^q > c theta. All here is derived (ours) from it.
"""
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from .data import MultiView, Sample
from .validation import check_integer, check_real

REGIONS = ("shrink", "pair growth", "bistable", "lottery")


def load(theta: float, tau: float, c: float, R_q: float, q: int) -> float:
    """beta = c (1 - theta) R_q / (tau^q - c theta), what the mask takes in units of what the teacher gives (derived, ours).

    inf where tau^q <= c theta: the teacher gives nothing. theta in (0, 1), tau > 0, c > 0, R_q in (0, 1], q >= 2.
    """
    check_real("theta", theta, 0, 1, open_low=True)
    for name, value in (("tau", tau), ("c", c)):
        check_real(name, value, 0, open_low=True)
    check_real("R_q", R_q, 0, 1, open_low=True)
    given = tau ** check_integer("q", q, 2) - c * theta
    return c * (1 - theta) * R_q / given if given > 0 else np.inf


def separatrix(beta: float, chi: float, q: float) -> float:
    """The ratio r* of the smaller to the larger overlap above which the two views fuse, in [0, 1] (derived, ours).

    r* = e^-t with chi sinh t = a sinh((q - 1) t), a = 1 - beta; 0: every pair fuses (a <= 0), 1: none does
    (a >= chi / (q - 1)). beta > 0 (inf allowed), chi in [0, 1], q >= 2. At q = 2 it jumps from 0 to 1 at a = chi.
    """
    _check(beta, chi, q)
    a = 1 - beta
    if a <= 0:
        return 0.0
    if a >= chi / (q - 1):
        return 1.0
    if q == 2:
        return 0.0
    # ln of sinh((q-1) t) / sinh t, written so that large t do not overflow; it rises from ln(q - 1) without bound
    def excess(t):
        return (q - 2) * t + np.log(-np.expm1(-2 * (q - 1) * t)) - np.log(-np.expm1(-2 * t)) - np.log(chi / a)

    if excess(1e-9) >= 0:  # nearer to the lottery than rounding can tell
        return 1.0
    return float(np.exp(-brentq(excess, 1e-9, np.log(chi / a) / (q - 2) + 1, xtol=1e-14)))


def region(beta: float, chi: float, q: float) -> str:
    """One of REGIONS (derived, ours).

    shrink: every pair of overlaps goes to 0 (to a point without growth at beta = 1 + chi). pair growth: pairs grow, and fuse
    from every ratio (a view alone grows only if beta < 1, which happens here at q = 2 only). bistable: a view alone grows, a
    pair fuses if its ratio is above `separatrix`. lottery: the larger of two unequal overlaps leaves the other behind.
    """
    _check(beta, chi, q)
    if beta >= 1 + chi:
        return "shrink"
    r = separatrix(beta, chi, q)
    return "pair growth" if r == 0 else "lottery" if r == 1 else "bistable"


@dataclass(frozen=True)
class Moments:
    """square [k, 2]: E S_j^2, cross [k]: E S_1 S_2, patches [k, 2]: E sum_p z_p^(2 power), S_j = sum_p z_p^power; per class."""

    square: Float[np.ndarray, "k 2"]
    cross: Float[np.ndarray, "k"]
    patches: Float[np.ndarray, "k 2"]

    @property
    def R(self) -> float:
        """E sum_p z_p^(2 power) / E S^2, ratio of means over classes and views."""
        return float(self.patches.mean() / self.square.mean())

    @property
    def chi(self) -> float:
        """E[S_1 S_2] / E[S_1^2], ratio of means over classes and views."""
        return float(self.cross.mean() / self.square.mean())

    @property
    def pooled(self) -> "Moments":
        """The same for one class with two equal views: means over classes and views."""
        one = np.ones((1, 2))
        return Moments(self.square.mean() * one, self.cross.mean(keepdims=True), self.patches.mean() * one)

    def pull(self, theta: float, tau: float, c: float, power: int) -> Float[np.ndarray, "k 2 2"]:
        """M with d lambda_i = lambda_i^(power-1) sum_j M_ij lambda_j^power, per class [k, 2, 2] (derived, ours).

        power = q: small overlaps; power = 1: large ones, all activations on the linear part.
        """
        M = np.empty((len(self.cross), 2, 2))
        given = tau**power - c * theta
        M[:, 0, 1] = M[:, 1, 0] = given * self.cross
        for j in (0, 1):
            M[:, j, j] = given * self.square[:, j] - c * (1 - theta) * self.patches[:, j]
        return M


def moments(S: Sample, power: float) -> Moments:
    """Moments of the strengths in a sample of a model with two views per class; ValueError for an odd number of semantics."""
    N, n = S.strengths.shape
    if n % 2:
        raise ValueError(f"S holds n = {n} semantics: expected two per class")
    z, semantic = S.z.double().numpy(), S.patch_semantic.numpy()
    held, rows = semantic >= 0, np.broadcast_to(np.arange(N)[:, None], semantic.shape)
    total = np.zeros((N, n))
    np.add.at(total, (rows[held], semantic[held]), z[held] ** power)
    patches = np.bincount(semantic[held], z[held] ** (2 * power), minlength=n) / N
    return Moments((total**2).mean(0).reshape(-1, 2), (total[:, ::2] * total[:, 1::2]).mean(0), patches.reshape(-1, 2))


def population(model: MultiView, power: float, seed: int = 0, N: int = 20000, mu: float | None = None) -> Moments:
    """`moments` of N fresh samples of a model with two views, pooled (Monte Carlo, keyed by the seed; about 0.5 % at 20000)."""
    if model.views != 2:
        raise ValueError(f"views = {model.views}: the regions are those of two views per class")
    return moments(model.but(noise=0.0, gamma=0.0, d=model.n).sample(N, seed, "moments", mu=mu), power).pooled


def boundaries(theta, near: Moments, far: Moments, q: int, c=None) -> dict[str, np.ndarray]:
    """tau at each boundary, for an array of theta; c = 1/theta unless given (derived, ours).

    near, far: moments with power q and 1. 'pair growth', 'single growth', 'lottery': tau^q = c theta + c (1 - theta) R_q / b
    with b = 1 + chi, 1, 1 - chi / (q - 1) (inf where b <= 0: no lottery). 'single runaway', 'pair runaway':
    tau = c theta + c (1 - theta) R_1 / b with b = 1, 1 + chi of the far moments: a view, or an even pair, finds no rest.
    """
    theta = np.asarray(theta, float)
    check_integer("q", q, 2)
    if not ((theta > 0) & (theta <= 1)).all():
        raise ValueError(f"theta = {theta}: expected numbers in (0, 1]")
    c = 1 / theta if c is None else c
    found = {}
    for name, b in (("pair growth", 1 + near.chi), ("single growth", 1.0), ("lottery", 1 - near.chi / (q - 1))):
        found[name] = (c * (theta + (1 - theta) * near.R / b)) ** (1 / q) if b > 0 else np.full_like(theta, np.inf)
    for name, b in (("pair runaway", 1 + far.chi), ("single runaway", 1.0)):
        found[name] = c * (theta + (1 - theta) * far.R / b)
    return {name: np.asarray(tau) for name, tau in found.items()}


def margin(ratio: Float[np.ndarray, "K"], r_star: float) -> Float[np.ndarray, "K"]:
    """How far a ratio of overlaps is from those that stay: the smaller of |ln r - ln r*| and |ln r|; nan stays nan.

    r = 1 stays only where the two views have the same moments, r* only at their population values, so both need room.
    """
    even = np.abs(np.log(ratio))
    return np.fmin(even, np.abs(np.log(ratio / r_star))) if r_star > 0 else even


def gap(beta: float, chi: float, q: float) -> float:
    """How far beta is from the nearest edge of a region, |ln(beta / edge)|; inf if beta is (ours)."""
    _check(beta, chi, q)
    edges = [b for b in (1 + chi, 1.0, 1 - chi / (q - 1)) if b > 0]
    return float(min(abs(np.log(beta / b)) for b in edges))


def _check(beta, chi, q):
    if not beta > 0:
        raise ValueError(f"beta = {beta!r}: expected a number in (0, inf]")
    check_real("chi", chi, 0, 1)
    check_real("q", q, 2)
