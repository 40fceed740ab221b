"""Grid x seeds in processes, resumable."""
import hashlib
import os
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import joblib
import numpy as np
import torch
from tqdm import tqdm

# files that draw, judge or check, and never compute a number
NOT_NUMBERS = {"plots.py", "film.py", "look.py", "ledger.py", "intervals.py", "sweep.py", "__init__.py"}


def code_key() -> str:
    """Hash of the package's files that can change a number."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        if path.name not in NOT_NUMBERS:
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def run(study: Callable[..., dict], cells: Sequence[dict], *, store: Path | None = None, jobs: int | None = None
        ) -> list[dict[str, np.ndarray]]:
    """study(**cell) for every cell, in parallel processes of one thread each; results in the order of `cells`.

    study: a function of the package that returns a dict of arrays and numbers. store: folder for finished cells, one
    file per (study, parameters, code), parameters may be arrays; a cell that is there is read, not computed, and an
    unreadable one is computed again, so a run that was stopped continues where it was. jobs: processes (default:
    environment MRPBOOK_JOBS, else all cores).
    A cell that fails raises its own error; cells finished before it stay on disk.
    """
    jobs = jobs or int(os.environ.get("MRPBOOK_JOBS", 0)) or os.cpu_count()
    key = code_key()
    tasks = (joblib.delayed(_cell)(study, cell, store and Path(store) / study.__name__, key) for cell in cells)
    results = joblib.Parallel(n_jobs=min(jobs, max(len(cells), 1)), return_as="generator")(tasks)
    return list(tqdm(results, total=len(cells), desc=study.__name__, unit="cell", mininterval=2))


def stack(results: Sequence[dict[str, np.ndarray]], name: str) -> np.ndarray:
    """One quantity of all cells, stacked along a new first axis."""
    return np.stack([r[name] for r in results])


def _cell(study, cell, folder, key):
    torch.set_num_threads(1)
    path = None
    if folder is not None:
        path = folder / f"{joblib.hash([study.__module__, cell, key])}.npz"
        found = _read(path)
        if found is not None:
            return found
    start = time.perf_counter()
    result = {k: np.asarray(v) for k, v in study(**cell).items()}
    result["seconds"] = np.asarray(time.perf_counter() - start)
    if path is not None:
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with open(part, "wb") as file:
                np.savez_compressed(file, **result)
            os.replace(part, path)  # atomic: a cell on disk is whole
        finally:
            part.unlink(missing_ok=True)
    return result


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """A stored cell, or None if it is missing or damaged (every array carries a checksum)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            cell = {name: file[name] for name in file.files}
            return cell if "seconds" in cell else None  # written last: it is missing where a directory was cut
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None

