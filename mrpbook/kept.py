"""Values of long runs, kept with their provenance."""
import json
from pathlib import Path

import numpy as np

from .ledger import Ledger, write


def _file(book: Ledger, name: str) -> Path:
    return book.root / "book" / "results" / "kept" / f"{book.page}.{name}.json"


def keep(book: Ledger, name: str, values: dict) -> None:
    """Write values, plain or arrays, beside the page's claims; what was kept under this name is replaced.

    They go with commit, machine, versions and date to book/results/kept/<page>.<name>.json, which is committed.
    """
    plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in values.items()}
    write(_file(book, name), {"values": plain, "made": book.provenance()})


def kept(book: Ledger, name: str) -> dict | None:
    """What `keep` wrote, lists as arrays, with a sentence `provenance`; None if nothing was kept."""
    file = _file(book, name)
    if not file.exists():
        return None
    found = json.loads(file.read_text())
    made = found["made"]
    values = {key: np.array(value) if isinstance(value, list) else value for key, value in found["values"].items()}
    where = made["hardware"]["gpu"] or f"{made['hardware']['cores']} cores, {made['hardware']['cpu']}"
    commit, _, changed = (made["commit"] or "unknown").partition("+")
    changes = " with files not yet committed" if changed else ""
    return values | {"provenance": f"Computed on {made['made_at']} with {where}, commit {commit[:10]}{changes}."}
