"""mrpbook: the helper package of the companion to Pan, Zhou, Yan (ICLR 2023) on mask-reconstruction pretraining."""
from importlib import import_module

from . import data, finetune, gradients, network, objectives, pretrain, semantics, supervised, sweep, theory
from .data import MultiView
from .finetune import fit_head
from .network import SmoothedReLU, initial_kernels, responses
from .objectives import NormalisedTeacher, Objective, PlainDecoder, RescaledTeacher
from .semantics import holding

LATER = ("film", "intervals", "ledger", "plots", "studies", "testbench")  # workers that only compute need not wait for these


def __getattr__(name):
    """Import the modules that draw and judge when they are first used."""
    if name in LATER:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__version__ = "0.1.0"

__all__ = ["MultiView", "NormalisedTeacher", "Objective", "PlainDecoder", "RescaledTeacher", "SmoothedReLU", "data", "film",
           "finetune", "fit_head", "gradients", "holding", "initial_kernels", "ledger", "network", "objectives", "plots",
           "pretrain", "responses", "semantics", "studies", "supervised", "sweep", "testbench", "theory"]
