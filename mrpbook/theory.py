"""Predictions in closed form: capture, growth, error."""
import math

from jaxtyping import Float
from torch import Tensor

from .data import MultiView
from .network import SmoothedReLU, activations
from .validation import check_integer, check_real


def captured_share(K: int, n: int) -> float:
    """Expected share of n semantics captured by K kernels that end on one each, uniformly: 1 - (1 - 1/n)^K (derived).

    With unequal basins the expectation is smaller (Jensen). K >= 0, n >= 1.
    """
    check_integer("K", K, 0)
    check_integer("n", n, 1)
    return 1 - (1 - 1 / n) ** K


def captured_share_sd(K: int, n: int) -> float:
    """Standard deviation of that share over draws of K kernels (derived: variance of the number of empty cells)."""
    check_integer("K", K, 0)
    check_integer("n", n, 1)
    empty, two_empty = (1 - 1 / n) ** K, (1 - 2 / n) ** K if n > 1 else 0.0
    return math.sqrt(max(n * empty + n * (n - 1) * two_empty - n * n * empty**2, 0.0)) / n


def all_captured_probability(K: int, n: int) -> float:
    """Probability that K kernels leave no semantic out: sum_j (-1)^j C(n, j) (1 - j/n)^K (coupon collector)."""
    check_integer("K", K, 0)
    check_integer("n", n, 1)
    # in whole numbers: the alternating sum cancels to nothing in floats once n is about 100
    return sum((-1) ** j * math.comb(n, j) * (n - j) ** K for j in range(n + 1)) / n**K


def strength_ratios(z: Float[Tensor, "N C"], q: int) -> tuple[float, float]:
    """R_q = E[sum_p z_p^2q] / E[(sum_p z_p^q)^2] and R_1 = E[sum z_p^2] / E[(sum z_p)^2] (derived).

    z: strengths of one semantic over its C_p patches, one row per sample. Both are 1/C_p for equal strengths.
    """
    z = z.double()
    r_q = (z ** (2 * q)).sum(1).mean() / ((z**q).sum(1) ** 2).mean()
    r_1 = (z**2).sum(1).mean() / (z.sum(1) ** 2).mean()
    return float(r_q), float(r_1)


def growth_threshold(theta: float, c: float, ratio: float) -> float:
    """T = c (theta + (1 - theta) ratio) (derived, for the rescaled teacher and one semantic).

    With ratio = R_q a small overlap grows iff tau^q > T; with ratio = R_1 a large one is pushed back iff tau < T.
    """
    return c * (theta + (1 - theta) * ratio)


def fixed_point(tau: float, kappa: float, C_p: int, act: SmoothedReLU) -> float | None:
    """Overlap x strength at which a lone semantic of equal strengths stops, c = 1/theta; None if there is no such point.

    Source: derived. On the linear part lambda* z = kappa b / (kappa - (tau - 1) C_p), b = (1 - 1/q) varrho; below it
    the root of C_p (tau u - 1 + 1/q) = (C_p + kappa) u^q / q, u = lambda z / varrho. It exists iff tau < 1 + kappa/C_p < tau^q.
    """
    T = 1 + kappa / C_p
    if not tau < T < tau**act.q:
        return None
    q, varrho = act.q, act.varrho
    linear = kappa * (1 - 1 / q) * varrho / (kappa - (tau - 1) * C_p)
    if linear >= varrho:
        return linear
    low, high = 1 / tau, 1.0
    for _ in range(80):  # bisection: the difference changes sign once on [1/tau, 1]
        u = (low + high) / 2
        low, high = (u, high) if C_p * (tau * u - 1 + 1 / q) > (C_p + kappa) * u**q / q else (low, u)
    return low * varrho


def coactivation(w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU) -> Float[Tensor, "K"]:
    """Phi(w) = mean_n sum_{p < q} sigma(a_p) sigma(a_q), [K]: what descent climbs when c = 1 and the teacher is the student.

    Source: derived. The expected direction is theta (1 - theta) grad Phi for independent masks.
    """
    sigma = act(activations(w, X))
    return ((sigma.sum(1) ** 2 - (sigma**2).sum(1)) / 2).mean(0)


def error_law(K: int, k: int, views: int = 2, rescue: float = 0.0) -> tuple[float, float]:
    """(single-view error, multi-view error) of a head on K frozen kernels (heuristic rules, then exact counting).

    With x = (1 - 1/n)^K semantics missed and x2 = (1 - views/n)^K classes missed entirely, a single-view sample fails
    when its strong view is missed, unless another view is captured and saves it (share `rescue` of those cases); a
    multi-view sample fails when all views are. n = views * k.
    """
    check_real("rescue", rescue, 0, 1)
    n = views * k
    x, x2 = (1 - 1 / n) ** K, (1 - views / n) ** K
    return x - (x - x2) * rescue, x2


def rescue(K: int, model: MultiView) -> float:
    """Share of the cases 'strong view missed, another view captured' that end right by chance (heuristic).

    Where the weak view lies below the noise (rho z << sigma_p) nothing speaks for any class unless a captured semantic of
    another class is present; without one the head guesses among the k (1 - x2) classes that have a kernel. Hence
    E[x^J] / (k (1 - x2)), with J the number of other classes' semantics present: Binomial(n - views, s/k), cut at the room.
    """
    x, x2 = (1 - 1 / model.n) ** K, (1 - model.views / model.n) ** K
    m, p = model.n - model.views, model.s / model.k
    law = [math.comb(m, j) * p**j * (1 - p) ** (m - j) for j in range(m + 1)]
    silent = sum(weight * x ** min(j, model.room) for j, weight in enumerate(law))
    return silent / (model.k * (1 - x2)) if x2 < 1 else 0.0


def total_error(mu: float, single_error: float, multi_error: float) -> float:
    """mu x single-view error + (1 - mu) x multi-view error: arithmetic, not evidence. mu is the share in the test data."""
    check_real("mu", mu, 0, 1)
    return mu * single_error + (1 - mu) * multi_error
