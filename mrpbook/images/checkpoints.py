"""Checkpoints of a run: atomic, checked, without code inside."""
import os
import time
import zlib
from pathlib import Path

import torch
from torch import Tensor, nn


def checksum(model: nn.Module) -> int:
    """Of the parts as they print (see `extra_repr`) and of all weights: tells the start of one run from that of another."""
    found = zlib.crc32(repr(model).encode())
    for name, weight in model.state_dict().items():
        found = zlib.crc32(weight.cpu().contiguous().flatten().view(torch.uint8).numpy(), zlib.crc32(name.encode(), found))
    return found


def write(path: Path, state: dict) -> None:
    """The file is the old one or the new one at any moment, never a part of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f"{path.name}.*.part"):  # of a run that was killed in this function
        if time.time() - left.stat().st_mtime > 3600:
            left.unlink(missing_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path, identity: dict, device: torch.device) -> dict | None:
    """What `write` wrote for a run of the same identity; None without a file.

    Raises ValueError for a damaged file, or one of another run. Only tensors and plain numbers are read: a file cannot bring
    code along.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        differs = [name for name, value in identity.items() if state[name] != value]
    except Exception as error:
        raise ValueError(f"checkpoint = {path}: cannot be read ({type(error).__name__}); delete it to start anew") from error
    if differs:
        raise ValueError(f"checkpoint = {path}: belongs to other {' and '.join(differs)}: "
                         f"{[state[name] for name in differs]}, here {[identity[name] for name in differs]}")
    return state


def restore(state: dict, model: nn.Module, adam: torch.optim.Optimizer, losses: Tensor) -> int:
    """Bring model, optimiser and losses to the state of a checkpoint; returns the steps done."""
    model.load_state_dict(state["weights"])
    adam.load_state_dict(state["optimiser"])
    done = len(state["losses"])
    losses[:done] = state["losses"]
    return done
