"""One loop for pretraining, fine-tuning, supervised learning.

Every batch, mask and crop is keyed by (seed, step), and models have no other source of chance: weights, optimiser and number of
steps are the whole state of a run.
"""
import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from ..pretrain import Diverged
from ..validation import check_integer, check_real
from . import checkpoints
from .batches import Batches


@dataclass(frozen=True)
class Plan:
    """AdamW (Loshchilov and Hutter 2019): steps >= 1; lr > 0, its peak; warm_up, the share of steps in which the rate rises
    linearly, in [0, 1), after which it falls to 0 as half a cosine; weight_decay >= 0, for matrices only; beta1 = 0.9 and
    beta2. ValueError for numbers outside these ranges.
    """

    steps: int
    lr: float = 1e-3
    warm_up: float = 0.1
    weight_decay: float = 0.05
    beta2: float = 0.95

    def __post_init__(self):
        check_integer("steps", self.steps, 1)
        check_real("lr", self.lr, 0, open_low=True)
        check_real("warm_up", self.warm_up, 0, 0.99)
        check_real("weight_decay", self.weight_decay, 0)
        check_real("beta2", self.beta2, 0, 0.9999)

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..., steps - 1."""
        warm = self.warm_up * self.steps
        if step < warm:
            return self.lr * min(1, (step + 1) / warm)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / (self.steps - warm)))


def optimiser(model: nn.Module, plan: Plan) -> torch.optim.AdamW:
    """AdamW over the trainable weights: matrices decay, vectors (biases, norms, tokens) do not."""
    weights = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p for p in weights if p.ndim > 1], "weight_decay": plan.weight_decay},
              {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, plan.lr, (0.9, plan.beta2), fused=True)


def train(model: nn.Module, batches: Batches, plan: Plan, *, checkpoint: Path | None = None, every: int = 500,
          progress: str = "") -> Float[Tensor, "steps"]:
    """Train `model` in place and return the loss of every step (on the CPU, mean over all processes).

    model: called with what `batches` gives, returns its mean loss; its `after_step()`, if there is one, is called after every
    step. It is on the device of the pictures. On a GPU the forward pass is under autocast to bfloat16, elsewhere in float32.
    checkpoint: a file, written every `every` steps and at the end, in one piece: killed at any moment, the run finds its last
    finished checkpoint, continues, and ends with the same bits as if it had never stopped (on the same machine and number of
    threads). A finished run is read, not computed. A run is known by its plan, its batches and its weights at the start.
    progress: a name shows a bar with pictures per second and time left.
    Under torchrun, inside `processes()`: each process computes its share of every batch, and the first one writes.

    Raises ValueError for a checkpoint that is damaged or of another run; Diverged if a loss is not finite.
    """
    check_integer("every", every, 1)
    device, (part, parts) = batches.pictures.device, _process()
    adam, losses, start = optimiser(model, plan), torch.zeros(plan.steps, device=device), 0
    if checkpoint is not None:
        identity = {"plan": {name: float(x) for name, x in asdict(plan).items()}, "batches": batches.identity(),
                    "model": checkpoints.checksum(model)}
        if found := checkpoints.read(checkpoint, identity, device):
            start = checkpoints.restore(found, model, adam, losses)
    _agree(start, checkpoint, parts, device)
    shared = DistributedDataParallel(model) if parts > 1 else model
    model.train()
    with tqdm(total=plan.steps * batches.size, initial=start * batches.size, desc=progress, unit=" pictures", unit_scale=True,
              disable=not progress or part > 0, mininterval=2, smoothing=0.05) as bar:
        for step in range(start, plan.steps):
            for group in adam.param_groups:
                group["lr"] = plan.rate(step)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = shared(*batches(step, part, parts))
            adam.zero_grad()
            loss.backward()
            adam.step()
            if hasattr(model, "after_step"):
                model.after_step()
            losses[step] = _mean(loss.detach(), parts)
            bar.update(batches.size)
            last = step + 1 == plan.steps
            if last or (step + 1) % every == 0:
                _check_finite(losses, step)
                bar.set_postfix(loss=f"{losses[step].item():.3g}")
                if checkpoint is not None and part == 0:
                    checkpoints.write(checkpoint, identity | {
                        "weights": model.state_dict(), "optimiser": adam.state_dict(), "losses": losses[: step + 1].clone()})
    return losses.cpu()


@contextlib.contextmanager
def processes() -> Iterator[torch.device]:
    """Joins the processes that torchrun started, if it did, and gives this one its device: a GPU of its own, or the CPU.

        with processes() as device:
            train(model.to(device), Batches(pictures.to(device), ...), plan)
    """
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield device
        return
    distributed.init_process_group("nccl" if gpu else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def _process() -> tuple[int, int]:
    """(number of this process, number of processes)."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _agree(start, checkpoint, parts, device):
    if parts > 1:
        ends = torch.tensor([start, -start], device=device)
        distributed.all_reduce(ends, distributed.ReduceOp.MAX)
        if ends[0] != -ends[1]:
            raise ValueError(f"checkpoint = {checkpoint}: the processes read different states; expected a folder all share")


def _mean(loss, parts):
    if parts > 1:
        distributed.all_reduce(loss)
    return loss / parts


def _check_finite(losses, step):
    if not torch.isfinite(losses[: step + 1]).all():
        first = int((~torch.isfinite(losses[: step + 1])).nonzero()[0])
        raise Diverged(f"the loss is not finite from step {first} on: lower lr")
