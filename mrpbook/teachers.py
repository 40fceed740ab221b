"""Targets with a memory or a trained decoder: an averaged teacher, and the picture itself.

Both hold state, so a run needs a fresh object, and kernels may not leave early or keep clocks of their own as if they were
independent (`independent = False`). Each patch is kept with probability theta, and masks are averaged in closed form.
"""
import torch
from jaxtyping import Float
from torch import Tensor

from .network import SmoothedReLU, activations
from .pretrain import ArcTrajectory
from .validation import check_choice, check_integer, check_real, check_same


def answers(a: Float[Tensor, "N P K"], act: SmoothedReLU) -> tuple[Float[Tensor, "N P K"], Float[Tensor, "N P K"]]:
    """(sigma(a), sigma'(a)) with one power instead of two: sigma = sigma' u / q + (a - varrho)^+, u = clamp(a, 0, varrho)."""
    slope = act.derivative(a)
    return slope * a.clamp(0, act.varrho) / act.q + (a - act.varrho).relu(), slope


class EMATeacher:
    """Target H_r = sum_p sigma(<u_r, x_p>), u an exponential moving average of the student: du/dt = rate (w - u) (ours).

    theta in (0, 1]; decoder: "1/theta" or "1", the fixed c; rate > 0, in common time, so that a step of length lr moves the
    teacher by the share 1 - exp(-lr rate), about lr x rate; lr: that of the run, to be the one that `pretrain` is given. The
    teacher starts at the student. `teacher` is u, [K, d], None before the first step.
    """

    independent = False

    def __init__(self, theta: float = 0.9, decoder: str = "1/theta", rate: float = 0.01, lr: float = 1.0):
        check_real("theta", theta, 0, 1, open_low=True)
        check_choice("decoder", decoder, ("1/theta", "1"))
        self.rate, self.lr = check_real("rate", rate, 0, open_low=True), check_real("lr", lr, 0, open_low=True)
        self.theta, self.c, self.teacher = theta, 1 / theta if decoder == "1/theta" else 1.0, None

    def remember(self, w: Float[Tensor, "K d"], time: float | Tensor) -> None:
        """Let the teacher run after the student w for `time`, a number or one for each kernel [K, 1]."""
        if self.teacher is None:
            self.teacher = w.clone()
        check_same("shape of w", tuple(w.shape), "the teacher", tuple(self.teacher.shape))
        share = -torch.expm1(torch.as_tensor(-self.rate * time, dtype=torch.float64))
        self.teacher += share.to(w.dtype) * (w - self.teacher)

    def direction(self, w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU) -> Float[Tensor, "K d"]:
        """c theta / N sum_n sum_p [H - c theta h - c (1 - theta) sigma(a_p)] sigma'(a_p) x_p, H from the teacher as it stands
        (derived, as in `objectives`). Exactly zero where teacher = student and theta = 1."""
        sigma, slope = answers(activations(w, X), act)
        H = answers(activations(self.teacher, X), act)[0].sum(1)  # the same order of summation as h: no rounding at H = h
        bracket = (H - self.c * self.theta * sigma.sum(1))[:, None] - self.c * (1 - self.theta) * sigma
        pull = (bracket * slope).reshape(-1, len(w)).T @ X.reshape(-1, X.shape[2])
        return self.c * self.theta / len(X) * pull

    def descent(self, w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU) -> Float[Tensor, "K d"]:
        """The direction at w once the teacher has followed for one step; to be called once per step."""
        self.remember(w, self.lr)
        return self.direction(w, X, act)


def follow(objective: EMATeacher, X: Float[Tensor, "N P d"], w0: Float[Tensor, "K d"], act: SmoothedReLU, *,
           length: float = 0.05, steps: int = 200) -> ArcTrajectory:
    """`pretrain_along_arcs` for a teacher that remembers: steps |dw| = length |w|, its memory running in the recovered time.

    Legitimate because u_r depends on kernel r only (derived: the clock theorem with memory). A kernel without a direction
    stays where it is and its time is inf.
    """
    check_real("length", length, 0, open_low=True)
    check_integer("steps", steps, 1)
    w = w0.clone()
    objective.remember(w, 0.0)
    kept, times = [w.clone()], [torch.zeros(len(w), dtype=torch.float64)]
    for _ in range(steps):
        g = objective.direction(w, X, act)
        size, wanted = g.double().norm(dim=1, keepdim=True), length * w.double().norm(dim=1, keepdim=True)
        moves = size > 0
        time = torch.where(moves, wanted / size, torch.inf)
        w = w + torch.where(moves, g * time, 0.0).to(w.dtype)
        objective.remember(w, time)
        kept.append(w)
        times.append(times[-1] + time[:, 0])
    return ArcTrajectory(torch.stack(times), torch.stack(kept))


class PixelDecoder:
    """Reconstructs the picture x = sum_p x_p from all kernels: x_hat = 1/theta sum_r D_r sum_p eps_p sigma(a_rp) (ours).

    In the data model a semantic's places are drawn at random, so a decoder can say what is there, not where: hence the sum.
    Loss 1/(2N) sum_n E_eps |x - x_hat|^2 = 1/(2N) sum_n [|x - sum_r D_r h_r|^2 + kappa sum_p |sum_r D_r sigma(a_rp)|^2]
    (derived), kappa = (1 - theta)/theta. The decoder D [K, d] starts parallel to the kernels with rows of norm `size` and
    descends on the same loss at `rate` times the kernels' rate (rate = 0: it is never trained); lr: that of the run.

    alone = True takes the competition away: kernel r has a picture of its own to reconstruct, x_hat_r = D_r h_r.
    """

    independent = False

    def __init__(self, theta: float = 0.9, rate: float = 1.0, size: float = 1.0, alone: bool = False, lr: float = 1.0):
        self.theta, self.rate = check_real("theta", theta, 0, 1, open_low=True), check_real("rate", rate, 0)
        self.size, self.lr = check_real("size", size, 0, open_low=True), check_real("lr", lr, 0, open_low=True)
        self.alone, self.D = alone, None

    @property
    def kappa(self) -> float:
        return (1 - self.theta) / self.theta

    def _between(self, products: Float[Tensor, "K K"]) -> Float[Tensor, "K K"]:
        """Products of pairs of kernels; without competition only those of a kernel with itself."""
        return products.diag().diag() if self.alone else products

    def loss(self, w: Float[Tensor, "K d"], D: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU
             ) -> Float[Tensor, ""]:
        """The loss above as a function of kernels and decoder (summed over the kernels' own pictures if alone)."""
        sigma, x = answers(activations(w, X), act)[0], X.sum(1)
        h = sigma.sum(1)
        if self.alone:
            residual = x[:, None] - h[..., None] * D
            hidden = (sigma**2).sum(1) * (D**2).sum(1)
            return ((residual**2).sum() + self.kappa * hidden.sum()) / (2 * len(X))
        return (((x - h @ D) ** 2).sum() + self.kappa * ((sigma @ D) ** 2).sum()) / (2 * len(X))

    def directions(self, w: Float[Tensor, "K d"], D: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU
                   ) -> tuple[Float[Tensor, "K d"], Float[Tensor, "K d"]]:
        """Minus the loss's gradient in kernels and decoder (derived), both [K, d]."""
        N, P, d = X.shape
        (sigma, slope), x = answers(activations(w, X), act), X.sum(1)
        h, G = sigma.sum(1), self._between(D @ D.T)
        rows = sigma.reshape(N * P, -1)
        bracket = (x @ D.T - h @ G)[:, None] - self.kappa * (rows @ G).view_as(sigma)
        kernels = (bracket * slope).reshape(N * P, -1).T @ X.reshape(N * P, d)
        decoder = h.T @ x - self._between(h.T @ h + self.kappa * rows.T @ rows) @ D
        return kernels / N, decoder / N

    def descent(self, w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU) -> Float[Tensor, "K d"]:
        """The kernels' direction; the decoder takes its own step. To be called once per step."""
        if self.D is None:
            self.D = self.size * w / w.norm(dim=1, keepdim=True)
        check_same("shape of w", tuple(w.shape), "the decoder", tuple(self.D.shape))
        kernels, decoder = self.directions(w, self.D, X, act)
        self.D = self.D + self.lr * self.rate * decoder
        return kernels
