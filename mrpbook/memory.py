"""Requests that cannot fit are refused."""
from pathlib import Path

import psutil

SMALL = 2**26  # bytes; below this nobody asks the machine


def check_fits(what: str, size: int, lower: str) -> None:
    """MemoryError, before anything is computed, if `size` bytes are more than this machine has free.

    what: the request in the caller's terms; lower: the arguments whose reduction helps.
    """
    if size > SMALL and size > (free := available()):
        raise MemoryError(f"{what} needs {_shown(size)} and {_shown(free)} are free: lower {lower}")


def available(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Free bytes of this machine, or of the control group it gives us (a container, a job of a queue)."""
    free = psutil.virtual_memory().available
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no such group, or "max"
        return free
    return min(free, limit - used)


def _shown(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
