"""One draw with a second layer on top."""
import torch

from ..objectives import NormalisedTeacher
from ..optimisers import rescaled
from ..rng import generator
from ..semantics import SINGLE, holding
from .capture import setting

# rates of the first and of the second layer
RATES = {"descent": (2.0, 2.0), "one length per kernel": (0.05, 0.05)}


def layered(seed: int, rule: str = "descent", K: int = 40, units: int = 20, N: int = 100, steps: int = 60, theta: float = 0.75,
            noise: float = 0.1) -> dict:
    """Pretraining of two layers, ReLU units on the answers of K kernels, with the normalised teacher at the second.

    The second layer reads the masked answers over theta, with a fresh mask at each step. Its initial weights are
    N(0, 0.3^2 / K), it is trained by descent, the first layer by `rule` ('descent' or 'one length per kernel').
    Returns of the first layer at the end `captured`, `single` and `one_class` [K] and the number of `semantics`; of the second
    at start and end `ratio` [2, units]: mean answer to the class it answers second most, over that to the first (nan: silent).
    """
    model, act, V, S, w0 = setting(seed, noise, K, N=N)
    unit = {"descent": None, "one length per kernel": "kernel"}[rule]
    w = w0.clone().requires_grad_()
    u = torch.from_numpy(generator(seed, "second layer").standard_normal((units, K)) * 0.3 / K**0.5).float().requires_grad_()
    optimiser = torch.optim.SGD([{"params": [p], "lr": lr} for p, lr in zip((w, u), RATES[rule], strict=True)])
    teacher = NormalisedTeacher(theta)

    def ratio():
        with torch.no_grad():
            answers = (act(S.X @ w.T).sum(1) @ u.T).relu()
        by_class = torch.stack([answers[S.y == i].mean(0) for i in range(model.k)])
        first, second = by_class.topk(2, dim=0).values
        return second / first

    ratios = [ratio()]
    for step in range(steps):
        said = act(S.X @ w.T)  # [N, P, K]
        masks = torch.from_numpy(generator(seed, "masks", step).random(said.shape[:2]) < theta).float()[..., None] / theta
        with torch.no_grad():
            whole = (said.sum(1) @ u.T).relu()
            target = whole * teacher.scale((whole**2).mean(0))
        loss = ((target - ((said * masks).sum(1) @ u.T).relu()) ** 2).sum() / (2 * N)
        optimiser.zero_grad()
        loss.backward()
        w.grad = rescaled(w.grad, unit)
        optimiser.step()
    held = holding(w.detach(), V, model, act)
    return {"captured": held.captured, "single": held.single, "one_class": held.one_class, "semantics": held.semantics.sum(),
            "ratio": torch.stack([*ratios, ratio()])}


def one_class(cells, state: int):
    """(second-layer units that answer to one class, units that answer), two lists over draws; state: 0 start, 1 end."""
    ratios = [torch.as_tensor(c["ratio"])[state] for c in cells]
    return [int((r < SINGLE).sum()) for r in ratios], [int((~r.isnan()).sum()) for r in ratios]
