"""Finished cells of a sweep on disk: whole, checked, and keyed by what made them."""
import hashlib
import os
import socket
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from uuid import uuid4

import joblib
import numpy as np

from .closure import closure, code_hash

PACKAGE = Path(__file__).parent
LIBRARIES = ("numpy", "scipy", "torch", "numba")  # the last digits depend on them; numba may be missing
HOUR = 3600.0

# the files as this process imports them: what is edited later does not run
_IMPORTED = {path: path.stat().st_mtime_ns for path in PACKAGE.rglob("*.py")}


def code_of(module: str, source: Path, package: Path = PACKAGE) -> dict[str, Path]:
    """All code that decides what a study computes: dotted name -> file.

    module, source: dotted name and file of the module that holds the study. The code is this module and those of `package`
    that it imports, directly or through others, at once or late (`mrpbook.closure`).
    """
    inside = module.partition(".")[0] == package.name
    return closure(source.read_text(), package, module if inside else "") | {module: source}


def code_key(code: dict[str, Path]) -> str:
    """Hash of what `code` does, not of its comments and docstrings, and of the versions of the libraries below it."""
    return hashlib.sha256(f"{code_hash(code)} {_versions()}".encode()).hexdigest()[:16]


def key_of(study: Callable) -> str:
    """`code_key` of a study as it is imported here.

    Raises ValueError for a study that is no function with a name in a module, RuntimeError if a file it uses was edited after
    this process imported the package: its code and its key would not belong together.
    """
    name, module = getattr(study, "__qualname__", "<none>"), getattr(study, "__module__", None)
    source = getattr(sys.modules.get(module), "__file__", None)
    if not name.isidentifier() or module == "__main__" or source is None:  # nor a function within a function
        raise ValueError(f"study = {study!r}: expected a function that a module defines by name, whose code keys the cells")
    key, code = _as_imported(module, Path(source))
    edited = [path.name for path in code if path in _IMPORTED and path.stat().st_mtime_ns != _IMPORTED[path]]
    if edited:
        where = socket.gethostname()
        raise RuntimeError(f"{', '.join(edited)} changed after mrpbook was imported on {where}: start this Python again")
    return key


@lru_cache
def _as_imported(module: str, source: Path) -> tuple[str, list[Path]]:
    code = code_of(module, source)
    return code_key(code), list(code.values())


def paths(store: Path, study: Callable, cells: Sequence[dict], key: str) -> list[Path]:
    """The file of each cell; makes their folder and removes what a killed process left in it half written."""
    folder = Path(store).absolute() / study.__name__
    try:
        folder.mkdir(parents=True, exist_ok=True)
        old = [part for part in folder.glob("*.part") if time.time() - part.stat().st_mtime > HOUR]  # a write takes seconds
    except OSError as error:
        raise ValueError(f"store = {str(store)!r}: expected a folder that can be read and written ({error})") from None
    for part in old:
        part.unlink(missing_ok=True)
    return [folder / f"{joblib.hash([study.__module__, cell, key])}.npz" for cell in cells]


def write(path: Path, cell: dict[str, np.ndarray]) -> None:
    """Write a cell at once: its file is whole or not there, whatever happens."""
    part = path.with_suffix(f".{uuid4().hex}.part")
    try:
        with open(part, "wb") as file:
            np.savez_compressed(file, **cell)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> dict[str, np.ndarray] | None:
    """A stored cell, or None if it is missing or damaged (every array carries a checksum)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            cell = {name: file[name] for name in file.files}
            return cell if "seconds" in cell else None  # written last: it is missing where a directory was cut
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None


def _versions() -> dict[str, str | None]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found
