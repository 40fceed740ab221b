"""One semantic: where a small and where a large overlap is pushed outwards."""
import numpy as np
import torch

from ..network import SmoothedReLU
from ..rng import generator
from ..theory import growth_threshold, strength_ratios
from .masks import FreeDecoder

SMALL, LARGE = 1e-3, 1e5  # overlaps, in units of varrho: all activations on the power, all on the linear part
NEAR = 0.01  # how far from the threshold the sign of the force is asked for, relative


def one(seed: int) -> dict:
    """Signs of the force on a lone overlap one percent below and above both thresholds, at a random setting.

    q in 2..5, C_p in 2..6, theta in (0.2, 0.95), any decoder c in (0.5, 2), unequal strengths, float64. Of the 4 signs, `right`
    as told by T = c (theta + (1 - theta) R) with R_q and R_1, and `by_count` with 1 / C_p for both.
    """
    rng = generator(seed, "thresholds")
    q, C_p, theta, c = int(rng.integers(2, 6)), int(rng.integers(2, 7)), rng.uniform(0.2, 0.95), rng.uniform(0.5, 2)
    z = rng.uniform(0.1, 1, (20, C_p)) ** rng.uniform(0, 2)
    act, X = SmoothedReLU(q), torch.from_numpy(z)[..., None]
    R_q, R_1 = strength_ratios(torch.from_numpy(z), q)
    counts = {"right": 0, "by_count": 0, "asked": 4}
    for lam, power, R in ((SMALL, q, R_q), (LARGE, 1, R_1)):
        w = torch.tensor([[lam * act.varrho / (z.max() if power == q else z.min())]], dtype=torch.float64)
        T = growth_threshold(theta, c, R)
        for factor in (1 - NEAR, 1 + NEAR):
            tau = (factor * T) ** (1 / power)
            outwards = float(FreeDecoder(theta, tau=tau, factor=c).descent(w, X, act)) > 0
            counts["right"] += outwards == (factor > 1)
            counts["by_count"] += outwards == (tau**power > growth_threshold(theta, c, 1 / C_p))
    return counts | {"unequal": float(np.log(R_q * C_p))}
