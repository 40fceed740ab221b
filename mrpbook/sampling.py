"""Masks that are drawn instead of averaged, and how noisy that is."""
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from .network import SmoothedReLU, activations
from .objectives import MaskedObjective, NormalisedTeacher
from .rng import generator
from .validation import check_choice, check_integer


@dataclass
class SampledMasks:
    """An objective with one drawn mask per sample and step ('fresh'), or one per sample for ever ('fixed').

    teacher: a masked objective with independent masks, whose target, decoder and theta are used; batch: samples per step, drawn
    with replacement (None: all); averages: whether the averages in the target (the normalised teacher's mean square) run over
    'all' samples or the 'batch'; seed keys all draws. Every kernel sees the same mask. Not `independent`: a kernel's path
    depends on how often the objective was called before.
    """

    teacher: MaskedObjective = field(default_factory=NormalisedTeacher)
    masks: str = "fresh"
    batch: int | None = None
    averages: str = "all"
    seed: int = 0
    step: int = field(default=0, init=False)
    independent = False

    def __post_init__(self):
        check_choice("masks", self.masks, ("fresh", "fixed"))
        check_choice("averages", self.averages, ("all", "batch"))
        check_choice("teacher.mask", self.teacher.mask, ("bernoulli",))
        if self.batch is not None:
            check_integer("batch", self.batch, 1)

    def draw(self, N: int, P: int) -> Float[Tensor, "N P"]:
        """The masks of the present step, 1: patch kept."""
        rng = generator(self.seed, "masks", 0 if self.masks == "fixed" else 1 + self.step)
        return torch.from_numpy(rng.random((N, P)) < self.teacher.theta).float()

    def descent(self, w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU) -> Float[Tensor, "K d"]:
        """c / N sum_n sum_p eps_p [H - c sum_p' eps_p' sigma(a_p')] sigma'(a_p) x_p with this step's masks (ours)."""
        a, masks = activations(w, X), self.draw(*X.shape[:2]).to(X)
        some = slice(None)
        if self.batch is not None:
            some = torch.from_numpy(generator(self.seed, "batches", self.step).integers(0, len(X), self.batch))
        H = self.teacher.target(a, act)[some] if self.averages == "all" else self.teacher.target(a[some], act)
        self.step += 1
        return masked_direction(self.teacher.c, H, a[some], X[some], act, masks[some])


def masked_direction(c: float, H: Float[Tensor, "N K"], a: Float[Tensor, "N P K"], X: Float[Tensor, "N P d"], act: SmoothedReLU,
                     masks: Float[Tensor, "N P"]) -> Float[Tensor, "K d"]:
    """Minus the gradient under given masks at activations a, target H held fixed (derived), [K, d]."""
    seen = masks[..., None]
    bracket = (H - c * (act(a) * seen).sum(1))[:, None] * seen * act.derivative(a)
    return c / len(X) * bracket.reshape(-1, H.shape[1]).T @ X.reshape(-1, X.shape[2])


@dataclass(frozen=True)
class MaskNoise:
    """Mask noise of the plain decoder's direction per kernel: relative variance (B/theta + C/(1 - theta) - D) / G, each [K]."""

    B: Float[Tensor, "K"]
    C: Float[Tensor, "K"]
    D: Float[Tensor, "K"]
    G: Float[Tensor, "K"]

    def variance(self, theta: float) -> Float[Tensor, "K"]:
        """E |g - E g|^2 / |E g|^2 at keep probability theta, 0 < theta < 1."""
        return (self.B / theta + self.C / (1 - theta) - self.D) / self.G

    @property
    def quietest(self) -> Float[Tensor, "K"]:
        """The theta at which it is smallest, sqrt(B) / (sqrt(B) + sqrt(C)); 1/2 where B = C."""
        return self.B.sqrt() / (self.B.sqrt() + self.C.sqrt())


def mask_noise(w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU) -> MaskNoise:
    """The exact mask noise for c = 1, H = h, independent masks, all N samples in one step (derived, ours).

    With g_p = sigma'(a_p) x_p a sample's direction is sum_{p != p'} eps_p (1 - eps_p') sigma_p' g_p. B sums
    |g_p|^2 (h - sigma_p)^2, C sums sigma_p^2 |sum_{p' != p} g_p'|^2, D pairs of pairs that share a patch;
    G = |sum over samples of the mean / (theta (1 - theta))|^2.
    """
    a = activations(w, X)
    s, slope = act(a), act.derivative(a)
    apart = 1 - torch.eye(X.shape[1], dtype=X.dtype, device=X.device)
    # sums over *other* patches, never a sum less one of its terms: next to a loud patch the rest would drown in rounding
    rest_h = torch.einsum("pq,nqk->npk", apart, s)                       # sum_{p' != p} sigma_p'
    inner = X @ X.mT                                                     # x_p . x_p'
    mine = slope**2 * inner.diagonal(dim1=1, dim2=2)[..., None]          # |g_p|^2
    along = slope * ((inner * apart) @ slope)                            # g_p . sum_{p' != p} g_p'
    rest = torch.stack([(slope * one[:, None] * (inner @ (slope * one[:, None]))).sum(1) for one in apart], 1)
    mean = torch.einsum("npk,npd->nkd", rest_h * slope, X)               # sum_{p != p'} sigma_p' g_p
    B, C = (mine * rest_h**2).sum(1), (s**2 * rest).sum(1)
    once = (mine * torch.einsum("pq,nqk->npk", apart, s**2)).sum(1)      # one pair with itself
    turned = (s * slope * ((inner * apart) @ (s * slope))).sum(1)        # a pair with the same pair turned round
    chained = 2 * (rest_h * s * along).sum(1)                            # patch visible in one pair, hidden in the other
    return MaskNoise(B.sum(0), C.sum(0), (B + C - once + chained - turned).sum(0), (mean.sum(0) ** 2).sum(1))
