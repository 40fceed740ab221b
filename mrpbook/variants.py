"""What the data model lacks, for moving its assumptions: unequal strengths, semantics that are not orthogonal, views apart."""
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import log_ndtr
from scipy.stats import norm
from torch import Tensor

from . import window
from .data import MultiView
from .network import SmoothedReLU
from .validation import check_choice, check_integer, check_real


@dataclass(frozen=True)
class Variant(MultiView):
    """`MultiView` with three more assumptions that can be moved (ours); at the defaults it samples what `MultiView` samples.

    view_ratio, class_ratio: strength of the last view, or class, as a share of the first's, geometric steps between, wherever
    the semantic occurs; in (0, 1]. coherence: inner product of two different semantics, in [0, 1), `among` all of them or the
    "views" of a class. together: share of samples that show all views of their class; each other one shows one of them, chosen
    evenly; in [0, 1]. Raises ValueError for anything else, and what `MultiView` raises.
    """

    view_ratio: float = 1.0
    class_ratio: float = 1.0
    coherence: float = 0.0
    among: str = "all"
    together: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        for name in ("view_ratio", "class_ratio"):
            check_real(name, getattr(self, name), 0, 1, open_low=True)
        check_real("coherence", self.coherence, 0, 1)
        if self.coherence == 1:
            raise ValueError("coherence = 1: expected a number in [0, 1); at 1 the semantics are one")
        check_choice("among", self.among, ("all", "views"))
        check_real("together", self.together, 0, 1)

    @property
    def factors(self) -> Float[np.ndarray, "n"]:
        """Strength of each semantic as a share of the strongest's, [n]."""
        view, owner = np.arange(self.n) % self.views, np.arange(self.n) // self.views
        return self.view_ratio ** (view / max(self.views - 1, 1)) * self.class_ratio ** (owner / (self.k - 1))

    @property
    def gram(self) -> Float[np.ndarray, "n n"]:
        """Inner products of the semantics, [n, n]."""
        owner = np.arange(self.n) // self.views
        pairs = np.ones((self.n, self.n)) if self.among == "all" else owner[:, None] == owner
        return np.eye(self.n) * (1 - self.coherence) + self.coherence * pairs

    def semantics(self, seed: int) -> Float[Tensor, "n d"]:
        """Unit vectors with the inner products `gram`: its symmetric root times the orthonormal ones of the seed, [n, d]."""
        orthonormal = super().semantics(seed)
        if self.coherence == 0:
            return orthonormal
        size, basis = np.linalg.eigh(self.gram)
        root = torch.from_numpy((basis * np.sqrt(size.clip(0))) @ basis.T)
        return (root @ orthonormal.double()).float()

    def readers(self, seed: int) -> Float[Tensor, "n d"]:
        """Semantics times their `factors`, [n, d]: overlaps with these x `patch_strength` are what a kernel answers on a patch.

        Given to `semantics.holding` in place of the semantics, they make "captured" and "single" speak of answers.
        """
        return self.semantics(seed) * torch.from_numpy(self.factors).float()[:, None]

    def _strengths(self, rng, y, single, strong):
        strengths = super()._strengths(rng, y, single, strong)
        if self.together < 1:
            owner, view = np.arange(self.n) // self.views, np.arange(self.n) % self.views
            apart = rng.random(len(y)) >= self.together
            alone = rng.integers(0, self.views, len(y))
            strengths[(owner == y[:, None]) & apart[:, None] & (view != alone[:, None])] = 0.0
        return strengths * self.factors


def head_starts(square: Float[np.ndarray, "n"], q: int) -> Float[np.ndarray, "n"]:
    """What an initial overlap is worth in the race of semantics for a kernel, m^(1/(q-1)) [n], 0 for those that never occur.

    square: m_j^2 = mean S_j^2, S_j = sum_p z_p^q. Source: derived, power regime, before rest: d lambda_j is proportional to
    m_j^2 lambda_j^(2q-1), by one factor for the whole kernel, so that the largest m_j^(1/(q-1)) lambda_j(0) diverges first.
    Left out: what semantics of one sample do for each other, and noise. q >= 2.
    """
    square = np.asarray(square, dtype=float)
    if square.ndim != 1 or not (square >= 0).all() or not square.any():
        raise ValueError(f"square = {square!r}: expected a vector of mean squares >= 0, not all 0")
    return square ** (0.5 / (check_integer("q", q, 2) - 1))


def basins(square: Float[np.ndarray, "n"], q: int, low: Float[np.ndarray, "n"] | float = -np.inf) -> Float[np.ndarray, "n"]:
    """Share of kernels with isotropic initial weights in which each semantic has the best head start, [n] (derived).

    The largest of n independent normals of spread `head_starts`: p_j = int phi(x) prod_i Phi(x g_j / g_i) dx over x > low_j:
    the initial overlap, in units of sigma_0, that capture by a given time takes. Without `low` the shares sum to 1.
    """
    g, low = head_starts(square, q), np.broadcast_to(low, np.shape(square))
    x = np.linspace(-6, 6, 401)
    reach = np.where(g > 0, x[:, None, None] * g[:, None] / np.where(g > 0, g, 1), 40.0)  # [x, j, i]
    reach[:, np.arange(len(g)), np.arange(len(g))] = 40.0  # nobody races against himself, or against what never occurs
    share = norm.pdf(x)[:, None] * np.exp(log_ndtr(reach).sum(2)) * (x[:, None] > low) * (g > 0)
    return share.sum(0) * (x[1] - x[0])


def captured_share(p: Float[np.ndarray, "n"], K: int) -> float:
    """Expected share of semantics captured by K kernels that end on semantic j with probability p_j: 1 - mean (1 - p_j)^K."""
    return float(1 - ((1 - np.asarray(p, dtype=float)) ** check_integer("K", K, 0)).mean())


def noise_share(noise: float, square: float, model: MultiView, act: SmoothedReLU, sigma_0: float = 0.05) -> float:
    """Pull of patch noise over pull of the best semantic, at the start of training (derived; power regime, P patches of noise).

    The first is sigma_p^2 c w (`window.noise_pull`); the second, for a kernel whose largest overlap is that expected of n
    normals, has the rate square lambda^(2q-2) / (q varrho^(2q-2)). square: m_j^2 of one semantic. Above 1 noise leads.
    """
    sigma_p, q = check_real("noise", noise, 0, open_low=True) / np.sqrt(model.d), act.q
    x = np.linspace(-9, 9, 4001)
    largest = (x * model.n * norm.pdf(x) * norm.cdf(x) ** (model.n - 1)).sum() * (x[1] - x[0]) * sigma_0
    pull = sigma_p**2 * window.noise_pull(np.zeros(model.P), sigma_0 * np.sqrt(model.d) * sigma_p, act)
    return pull * q * act.varrho ** (2 * q - 2) / (square * largest ** (2 * q - 2))


def background_break(square: float, model: MultiView, q: int) -> float:
    """gamma at which the mean of feature noise is as strong in the race as a semantic: P (gamma sqrt(n) / 2)^q = m (heuristic).

    The noise of mean gamma/2 on every semantic is one more direction, sum_j v_j / sqrt(n), of strength gamma sqrt(n) / 2 on all
    P patches of every sample. square: m_j^2 of one semantic.
    """
    return 2 / np.sqrt(model.n) * (np.sqrt(square) / model.P) ** (1 / q)
