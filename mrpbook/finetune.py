"""Heads on frozen kernels, and fine-tuning."""
import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import minimize
from torch import Tensor

from .network import SmoothedReLU, responses
from .supervised import Classifier, train
from .validation import check_integer, check_real


def fit_head(w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], y: Int[Tensor, "N"], k: int,
             act: SmoothedReLU | None = None, *, ridge: float = 1e-4, standardise: bool = True) -> Classifier:
    """A linear head without bias on frozen kernels - pretrained or untrained -, trained to convergence.

    Minimises mean cross-entropy + ridge/2 |u|^2 in float64 by L-BFGS from u = 0. With `standardise` each response is
    divided by its root mean square first, so that the small responses of untrained kernels are not at a disadvantage;
    without, by one number for all kernels (their joint root mean square), so that a kernel counts as much as it
    answers. The ridge makes the optimum unique where the data are separable; its value is ours.
    The result's `loss` is that sum, ridge included, and `steps` counts iterations. Raises ValueError for y >= k or ridge <= 0.
    """
    act = act or SmoothedReLU()
    check_integer("k", k, 2)
    check_real("ridge", ridge, 0, open_low=True)
    if int(y.max()) >= k:
        raise ValueError(f"y goes up to {int(y.max())}: expected classes below k = {k}")
    h = responses(w, X, act).double()
    scale = (h**2).mean(0).sqrt() if standardise else (h**2).mean().sqrt().expand(h.shape[1])
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    H, labels = (h / scale).numpy(), y.numpy()
    onehot = np.eye(k)[labels]

    def objective(flat):
        u = flat.reshape(k, -1)
        F = H @ u.T
        F -= F.max(1, keepdims=True)
        log_p = F - np.log(np.exp(F).sum(1, keepdims=True))
        grad = (np.exp(log_p) - onehot).T @ H / len(H) + ridge * u
        return -(log_p * onehot).sum() / len(H) + ridge / 2 * (u**2).sum(), grad.ravel()

    found = minimize(objective, np.zeros(k * len(w)), jac=True, method="L-BFGS-B",
                     options={"maxiter": 2000, "gtol": 1e-6, "ftol": 1e-12})
    u = torch.from_numpy(found.x.reshape(k, -1)) / scale
    return Classifier(w, u.to(w.dtype), act, float(found.fun), int(found.nit), bool(found.success))


def finetune(w0: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], y: Int[Tensor, "N"], k: int,
             act: SmoothedReLU | None = None, *, lr: float = 5.0, lr_head: float = 0.05, loss: float = 0.01,
             steps: int = 2000) -> Classifier:
    """Fine-tuning of kernels and head together, the head from 0, with separate rates (form recalled; rates ours)."""
    return train(X, y, w0, w0.new_zeros(k, len(w0)), act, lr=lr, lr_head=lr_head, loss=loss, steps=steps)
