"""Requests that cannot fit are refused."""
import psutil

SMALL = 2**26  # bytes; below this nobody asks the machine


def check_fits(what: str, size: int, lower: str) -> None:
    """MemoryError, before anything is computed, if `size` bytes are more than this machine has free.

    what: the request in the caller's terms; lower: the arguments whose reduction helps.
    """
    if size > SMALL and size > (free := psutil.virtual_memory().available):
        raise MemoryError(f"{what} needs {_shown(size)} and {_shown(free)} are free: lower {lower}")


def _shown(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
