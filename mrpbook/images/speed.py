"""One training step as a thing to be timed."""
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from .mae import MAE
from .patches import random_masks
from .training import Plan, optimiser
from .vit import ViT


def step(model: nn.Module, batch: tuple[Tensor, ...]) -> Callable[[], Tensor]:
    """A function that does one step on `batch` - loss, gradients, AdamW - and returns the loss."""
    adam = optimiser(model, Plan(1))

    def once():
        with torch.autocast(batch[0].device.type, torch.bfloat16, enabled=batch[0].device.type == "cuda"):
            loss = model(*batch)
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.detach()

    return once


def work(model: nn.Module, batch: tuple[Tensor, ...]) -> float:
    """GFLOP of the matrix products of one step, forward and backward, those of attention included.

    torch counts them; it does not know its fused attention on a CPU, so attention is computed here product by product.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(*batch).backward()
    model.zero_grad()
    return counter.get_total_flops() / 1e9


def masked_steps(N: int = 64, shape: tuple[int, int, int] = (3, 32, 32), patch: int = 4, ratio: float = 0.75, width: int = 192,
                 depth: int = 6, heads: int = 3, decoder_width: int = 96) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    """MAE with the encoder on visible patches only, and in place (hidden patches replaced by a token), on the same N random
    pictures, masks, initial weights and decoder: {"visible only": (model, batch), "in place": (model, batch)}.

    Pictures are uniform noise: no time depends on them. Default: 64 patches, the size of CIFAR-10.
    """
    pictures = torch.rand(N, *shape, generator=torch.Generator().manual_seed(0))
    found = {}
    for name, in_place in {"visible only": False, "in place": True}.items():
        encoder = ViT(shape, patch, width, depth, heads)
        masks = random_masks(N, encoder.cells, ratio, seed=0)
        found[name] = MAE(encoder, in_place=in_place, decoder_width=decoder_width), (pictures, *masks)
    return found
