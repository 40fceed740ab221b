"""Steps other than plain descent: torch.optim, or gradients rescaled to a fixed length."""
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from .gradients import Descent
from .network import SmoothedReLU
from .objectives import MaskedObjective
from .pretrain import Diverged
from .validation import check_choice, check_integer, check_real

# rule: (optimiser, its options, what is rescaled to a fixed length before it)
RULES = {
    "descent": (torch.optim.SGD, {}, None),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}, None),
    "one length": (torch.optim.SGD, {}, "network"),
    "one length per kernel": (torch.optim.SGD, {}, "kernel"),
    "sign": (torch.optim.SGD, {}, "coordinate"),
    "Adam": (torch.optim.Adam, {}, None),
}


def rescaled(g: Float[Tensor, "K d"], unit: str | None) -> Float[Tensor, "K d"]:
    """The gradient with one length for the 'network' (sqrt K in all), one per 'kernel' (1), or one per 'coordinate' (its sign).

    None leaves it as it is; what is zero stays zero.
    """
    check_choice("unit", unit, (None, "network", "kernel", "coordinate"))
    if unit is None:
        return g
    if unit == "coordinate":
        return g.sign()
    size = g.double()  # squares of the first gradients underflow in float32
    size = size.norm(dim=1, keepdim=True) if unit == "kernel" else size.norm() / len(g) ** 0.5
    return torch.where(size > 0, g / size, torch.zeros((), dtype=torch.float64)).to(g.dtype)


def follow(gradient: Callable[[Tensor], Tensor], w0: Float[Tensor, "K d"], rule: str = "descent", *, lr: float, steps: int,
           every: int = 10, stop: Callable[[Tensor], bool] | None = None, **options) -> Float[Tensor, "T K d"]:
    """Kernels after 0, every, 2 every, ... steps of a rule of `RULES`, [T, K, d]; stop(w) is asked at these states.

    gradient: kernels -> gradient [K, d]; options go to the torch.optim optimiser (eps of Adam). Unlike `pretrain` there is
    no common time: rules other than descent have none. ValueError for an unknown rule; Diverged for kernels not finite.
    """
    check_choice("rule", rule, tuple(RULES))
    check_real("lr", lr, 0, open_low=True)
    check_integer("steps", steps, 1)
    check_integer("every", every, 1)
    make, given, unit = RULES[rule]
    w = w0.detach().clone()
    optimiser, kept = make([w], lr=lr, **given | options), [w.clone()]
    if stop is not None and stop(w):
        return kept[0][None]
    for step in range(1, steps + 1):
        w.grad = rescaled(gradient(w), unit)
        optimiser.step()
        if step % every == 0:
            if not torch.isfinite(w).all():
                raise Diverged(f"kernels are not finite after {step} steps of {rule}: lower lr")
            kept.append(w.clone())
            if stop is not None and stop(w):
                break
    return torch.stack(kept)


def gradient_of(objective: MaskedObjective, X: Float[Tensor, "N P d"], K: int, act: SmoothedReLU) -> Callable[[Tensor], Tensor]:
    """w -> gradient of the objective with masks averaged in closed form, which needs of the activation that sigma(0) = 0.

    In cache-sized blocks for the smoothed ReLU, else the whole batch at once.
    """
    direction = Descent(objective, X, K, act) if type(act) is SmoothedReLU else lambda w: objective.descent(w, X, act)
    return lambda w: -direction(w)
