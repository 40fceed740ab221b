"""Capture and fusion under the normalised teacher: level, times, window.

A kernel answers h; rho = rms h. Descent is gradient descent on E = 1/2 (A - rho)^2 + kappa/2 mean v (derived, ours), so
    dw/dt = (A/rho - 1) mean h grad h - kappa/2 grad mean v:
a rescaled teacher whose factor s = A/rho, in place of tau^q, belongs to the kernel and falls from infinity to its value at
rest; its place on the map of `regions` is beta = kappa R_q / (s - 1). lambda_j is the overlap with semantic j, z_p its
strengths, S_j = sum_p z_p^q, m^2 = mean S_1^2, and R_q and chi are those of `regions.moments`. Power regime: all
lambda z <= varrho. Means run over all samples; where a semantic is absent its row of z is zero. Everything here is ours,
derived or heuristic as each function says.
"""
import math

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq

from .data import Sample
from .network import SmoothedReLU
from .validation import check_integer, check_real

_node, _weight = np.polynomial.hermite_e.hermegauss(48)
_weight /= _weight.sum()


def patch_strengths(S: Sample, semantic: int) -> np.ndarray:
    """Strengths z_p of one semantic over its patches, a row per sample [N, C]; rows of zeros where it is absent."""
    held = (S.patch_semantic == semantic).numpy()
    z = np.zeros((len(held), max(1, held.sum(1).max())))
    place = held.cumsum(1) - 1
    rows, patches = held.nonzero()
    z[rows, place[rows, patches]] = S.z.numpy()[rows, patches]
    return z


def rate(m: float, A: float, act: SmoothedReLU) -> float:
    """B = A m / varrho^(q-1): a lone small overlap grows as d lambda/dt = B lambda^(q-1) [1 - (1 + kappa R_q) rho/A] (derived).

    No kappa in B: while rho << A descent climbs A rho, and masks are not felt.
    """
    return A * m / act.varrho ** (act.q - 1)


def capture_time(lam0: float, lam1: float, B: float, q: int) -> float:
    """Time from lam0 to lam1 at B lambda^(q-1), without the brake near rest, so a lower bound for a lone semantic (derived).

    (lam0^-(q-2) - lam1^-(q-2)) / ((q-2) B), and ln(lam1/lam0) / B for q = 2. 0 < lam0 <= lam1.
    """
    check_integer("q", q, 2)
    check_real("lam1", lam1, check_real("lam0", lam0, 0, open_low=True))
    return math.log(lam1 / lam0) / B if q == 2 else (lam0 ** (2 - q) - lam1 ** (2 - q)) / ((q - 2) * B)


def partner_at_capture(lam1: float, lam2: float, chi: float, q: int) -> float:
    """The second view's overlap once the first is captured, from the initial ones, 0 < lam2 < lam1, q > 2:
    (lam2^-(q-2) - chi lam1^-(q-2))^(-1/(q-2)) (heuristic: drops (lam2/lam1)^q and lambda_1 at capture; no noise, kappa absent).
    """
    check_real("lam2", lam2, 0, check_real("lam1", lam1, 0, open_low=True), open_low=True)
    return (lam2 ** (2 - q) - chi * lam1 ** (2 - q)) ** (1 / (2 - q))


def rest_factor(kappa: float, R: float, chi: float = 0.0) -> float:
    """s at rest, 1 + kappa R / (1 + chi) (derived); rms h at rest is A / s.

    chi = 0: one semantic; chi > 0: two views held equally, power regime. R: R_q there, otherwise `mask_ratio`.
    """
    return 1 + kappa * R / (1 + chi)


def _alone(z, lam, act):
    """h [N], dh/dlambda [N], 1/2 d mean v/dlambda of a kernel that holds one semantic, no noise."""
    a = lam * np.asarray(z, float)
    u = np.clip(a, 0, act.varrho) / act.varrho
    sigma, slope = act.varrho * u**act.q / act.q + np.maximum(a - act.varrho, 0), u ** (act.q - 1) * z
    return sigma.sum(1), slope.sum(1), (sigma * slope).sum(1).mean()


def mask_ratio(z: np.ndarray, lam: float, act: SmoothedReLU) -> float:
    """R(lambda) = mean sum_p sigma sigma' z / mean h dh/dlambda (derived): R_q for small lambda, towards R_1 for large."""
    h, dh, dv = _alone(z, lam, act)
    return dv / (h * dh).mean()


def rest_overlap(z: np.ndarray, A: float, kappa: float, act: SmoothedReLU) -> float:
    """The overlap at which a lone semantic rests, rho (1 + kappa R(lambda)) = A, in any regime (derived).

    There is at least one; it is the only one where the left side increases, so for equal strengths.
    """
    def excess(log_lam):
        h, dh, dv = _alone(z, math.exp(log_lam), act)
        return math.log((h**2).mean() / A**2) / 2 + math.log1p(kappa * dv / (h * dh).mean())
    return math.exp(brentq(excess, -20, 30, xtol=1e-13))


def noise_pull(mean: np.ndarray, eta: float, act: SmoothedReLU) -> float:
    """c = sum_p E[sigma'(a_p)^2 + h sigma''(a_p)], independent a_p ~ N(mean_p, eta^2), eta > 0 (derived, Stein's identity).

    Patch noise xi_p ~ N(0, sigma_p^2 I), eta = |w| sigma_p: E[h sum_p sigma'(a_p) xi_p] = sigma_p^2 c w. The drive is along the
    kernel itself: every overlap gains the same share, and no semantic is favoured.
    """
    a = np.asarray(mean, float)[:, None] + eta * _node
    u = np.clip(a, 0, act.varrho) / act.varrho
    sigma, slope = act.varrho * u**act.q / act.q + np.maximum(a - act.varrho, 0), u ** (act.q - 1)
    s, bend = sigma @ _weight, (slope * _node) @ _weight / eta  # E sigma'' = E[sigma' G] / eta: sigma'' jumps at varrho
    return float((((sigma * slope * _node) @ _weight) / eta + (s.sum() - s) * bend).sum())


def partner_speed(z1, z2, lam1: float, lam2: float, kappa: float, act: SmoothedReLU, eta: float = 0.0) -> float:
    """d lambda_2/dt of a second view while the first rests at lam1: the surplus s - 1 = kappa R(lam1) of the target feeds it,
    kappa R(lam1) mean[ h_1 sum_p z_p E sigma'(z_p lam2 + eta G) ], eta = |w| sigma_p.

    Heuristic: leaves out what view 2 adds to h, to its own masks and to the rest of view 1, of relative order (lam2/lam1)^q
    or, with noise, sigma(eta)/h. Noise-free power regime, symmetric: D lam2^(q-1), D = B chi kappa R_q / (1 + kappa R_q).
    """
    h, dh, dv = _alone(z1, lam1, act)
    held, z2 = h > 0, np.asarray(z2, float)[h > 0]
    pull = (np.clip((z2[..., None] * lam2 + eta * _node) / act.varrho, 0, 1) ** (act.q - 1)) @ _weight
    return kappa * dv / (h * dh).mean() * (h[held] * (pull * z2).sum(1)).sum() / len(h)


def window(z1, z2, lam2: float, A: float, kappa: float, act: SmoothedReLU, sigma_p: float = 0.0, share: float = 0.3) -> float:
    """T_fus - T_cap: the time in which a second view goes from lam2 to share * lambda_1, at `partner_speed` (heuristic).

    inf if kappa = 0, or lam2 <= 0 without noise. Small lam2, no noise: lam2^-(q-2) / ((q-2) D), so that relative to T_cap it is
    (lambda_1(0)/lam2)^(q-2) (1 + kappa R) / (kappa R chi), without sigma_0 or A. Where noise exceeds z lam2 it forgets lam2.
    """
    if kappa == 0 or (sigma_p == 0 and lam2 <= 0):
        return math.inf
    rest = rest_overlap(z1, A, kappa, act)
    end, eta = share * rest, sigma_p * rest
    scale = max(lam2, eta / np.max(z2))  # lam2 = scale sinh x: fine where the speed is small
    return quad(lambda x: scale * math.cosh(x) / partner_speed(z1, z2, rest, scale * math.sinh(x), kappa, act, eta),
                math.asinh(min(lam2, end) / scale), math.asinh(end / scale), epsrel=1e-3, limit=200)[0]


def annealed_window(constant: float, t0: float, p: float) -> float:
    """The window under kappa (1 + t/t0)^-p, t from capture, given the one at constant kappa (heuristic: kappa R << 1, slow).

    Fusion waits for a dose int kappa dt: t0 ((1 + (1-p) constant/t0)^(1/(1-p)) - 1), inf if p > 1 and (p-1) constant >= t0.
    """
    x = 1 + (1 - check_real("p", p, 0)) * constant / check_real("t0", t0, 0, open_low=True)
    return math.inf if x <= 0 else t0 * (math.exp(constant / t0) if p == 1 else x ** (1 / (1 - p))) - t0


def lead(lam1: float, lam2: float, z: float, act: SmoothedReLU) -> float:
    """int dlambda / sigma'(lambda z) from lam2 to lam1, both > 0: how far view 1 is ahead of view 2 (ours).

    With equal strengths z and two views that always occur together it falls at the rate
    c theta c (1 - theta) pi C_p z [sigma(lam1 z) - sigma(lam2 z)] under any teacher (derived, exact, no noise).
    """
    def climb(lam):
        u = check_real("lam", lam, 0, open_low=True) * z / act.varrho
        if u >= 1:
            return u - 1
        return math.log(u) if act.q == 2 else (1 - u ** (2 - act.q)) / (act.q - 2)
    return act.varrho / z * (climb(lam1) - climb(lam2))
