"""mrpbook: the helper package of the companion to Pan, Zhou, Yan (ICLR 2023) on mask-reconstruction pretraining."""
from . import (
           data,
           film,
           finetune,
           gradients,
           ledger,
           network,
           objectives,
           plots,
           pretrain,
           semantics,
           studies,
           supervised,
           sweep,
           theory,
)
from .data import MultiView
from .finetune import fit_head
from .network import SmoothedReLU, initial_kernels, responses
from .objectives import NormalisedTeacher, Objective, PlainDecoder, RescaledTeacher
from .semantics import holding

__version__ = "0.1.0"

__all__ = ["MultiView", "NormalisedTeacher", "Objective", "PlainDecoder", "RescaledTeacher", "SmoothedReLU", "data", "film",
           "finetune", "fit_head", "gradients", "holding", "initial_kernels", "ledger", "network", "objectives", "plots",
           "pretrain", "responses", "semantics", "studies", "supervised", "sweep", "theory"]
