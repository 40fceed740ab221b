"""Grid x seeds in processes or on a cluster, resumable."""
import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import joblib
import numpy as np
import torch
from tqdm import tqdm

from . import cells as files
from .validation import check_integer

ANSWER, WAIT = 20, 600  # seconds for a scheduler to answer, and for its first worker: a queue may be slow


def run(study: Callable[..., dict], cells: Sequence, *, store: Path | None = None, jobs: int | None = None
        ) -> list[dict[str, np.ndarray]]:
    """study(**cell) for every cell, in parallel processes of one thread each; results in the order of `cells`.

    study: a function of a module that returns a dict of arrays, numbers and text. cells: dicts of its arguments. store: folder
    for finished cells, one file per (study, arguments, code the study reaches, versions of the libraries that compute). A cell
    that is there is read, not computed; a damaged one is computed again; equal cells are computed once.
    A study outside this package is keyed by its module's file as it is when `run` is called: start Python again after an edit.
    jobs: processes (default: environment MRPBOOK_JOBS, else all cores).

    With MRPBOOK_SCHEDULER=tcp://host:8786 in the environment the workers of that Dask scheduler compute instead, each with as
    many cells at a time as it has threads (one, please: `dask worker --nthreads 1`), and `jobs` does not count.

    What holds when something stops: the process that computes a cell writes it the moment it is finished, so no finished cell
    is lost, and the next run computes the others only. A worker of a cluster that cannot write to the folder `store` hands the
    cell over, and this process writes it when it arrives: there a worker that is lost takes along the cell it computes and
    perhaps one on its way. A lost worker of a cluster is replaced by the others during the run; a lost process on this
    machine ends the run with joblib's TerminatedWorkerError. A cell that fails raises its own error.

    Raises ValueError for cells that are no dicts, jobs < 1, a store that is no folder, or, with a store, a study that is no
    named function of a module; ConnectionError if no scheduler or no worker answers; RuntimeError if a file of the package was
    edited after it was imported, or if a worker has other code.
    """
    jobs = _jobs(jobs)
    for i, cell in enumerate(cells):
        if not isinstance(cell, dict):
            raise ValueError(f"cells[{i}] = {cell!r}: expected a dict, the arguments of the study")
    key, results, todo = None, {}, {i: i for i in range(len(cells))}
    names = list(todo)  # what tells cells apart: without a store their number, else their file
    if store is not None:
        key = files.key_of(study)
        names = files.paths(store, study, cells, key)
        results = {path: found for path in set(names) if (found := files.read(path)) is not None}
        todo = {path: i for i, path in enumerate(names) if path not in results}
    with _parallel(min(jobs, len(todo))) as parallel:
        tasks = [joblib.delayed(_cell)(study, cells[i], name, key) for name, i in todo.items()]
        # found cells are counted but not in the rate; smoothing=0: the rate of the run, not of the last batch
        with tqdm(total=len(set(names)), initial=len(results), desc=getattr(study, "__name__", "cells"), unit="cell",
                  mininterval=2, smoothing=0) as bar, contextlib.closing(parallel(tasks)) as done:
            for name, result in done:
                if key is not None and files.read(name) is None:
                    files.write(name, result)
                results[name] = result
                bar.update()
    return [results[name] for name in names]


def stack(results: Sequence[dict[str, np.ndarray]], name: str) -> np.ndarray:
    """One quantity of all cells, stacked along a new first axis."""
    return np.stack([r[name] for r in results])


def _jobs(jobs: int | None) -> int:
    if jobs is not None:
        return check_integer("jobs", jobs, 1)
    text = os.environ.get("MRPBOOK_JOBS") or str(joblib.cpu_count())
    return check_integer("MRPBOOK_JOBS", int(text) if text.lstrip("-").isdigit() else text, 1)


def _cell(study: Callable[..., dict], cell: dict, name: Path | int, key: str | None) -> tuple:
    """(name, result) of one cell, computed by one thread; read from the store if another run or worker was faster."""
    seen = key is not None and os.access(name.parent, os.W_OK)
    if key is not None:
        _same_code(study, key)
    if seen and (found := files.read(name)) is not None:
        return name, found
    start, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result = {k: np.asarray(v) for k, v in study(**cell).items()}
    finally:
        torch.set_num_threads(threads)
    for quantity, value in result.items():
        if value.dtype.hasobject:  # it could be stored and not be read again
            raise ValueError(f"{quantity} = {value!r} of {study.__name__}: expected numbers, text or an array of them")
    result["seconds"] = np.asarray(time.perf_counter() - start)
    if seen:
        files.write(name, result)
    return name, result


@lru_cache
def _same_code(study: Callable, key: str) -> None:
    """RuntimeError if this worker would compute with other code than the process that asks."""
    if files.key_of(study) != key:
        raise RuntimeError(f"the worker on {socket.gethostname()} has other code, or another Python, NumPy, SciPy, PyTorch or "
                           f"Numba, than the process that runs {study.__name__}: bring them in line and start it again")


@contextlib.contextmanager
def _parallel(jobs: int) -> Iterator[joblib.Parallel]:
    """Processes on this machine, or the workers of the scheduler that the environment names."""
    address = os.environ.get("MRPBOOK_SCHEDULER")
    if not address or not jobs:  # nothing to compute: nobody to ask
        yield joblib.Parallel(max(jobs, 1), return_as="generator_unordered")
        return
    with _client(address) as client:
        # all at once, for workers that come later; singly, so that a lost worker loses one
        yield joblib.Parallel(backend=_backend(client), return_as="generator_unordered", pre_dispatch="all", batch_size=1)


def _client(address: str):
    """A connection to a scheduler that has a worker."""
    where = f"MRPBOOK_SCHEDULER = {address!r}"
    if not address.startswith(("tcp://", "tls://")):
        raise ValueError(f"{where}: expected tcp://host:port or tls://host:port")
    try:
        import distributed
    except ImportError as error:
        raise ImportError(f"{where} needs Dask: pip install 'mrpbook[cluster]', or leave MRPBOOK_SCHEDULER unset") from error
    try:
        client = distributed.Client(address, timeout=ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConnectionError(f"{where}: no scheduler answers; start one with `dask scheduler`, or leave MRPBOOK_SCHEDULER "
                              f"unset ({error})") from error
    try:
        client.wait_for_workers(1, timeout=WAIT)
    except TimeoutError:
        client.close()
        raise ConnectionError(f"{where}: no worker after {WAIT} s; start some: `dask worker {address} --nthreads 1`") from None
    return client


def _backend(client):
    """joblib's Dask backend with two repairs."""
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs):
            return max(2, super().effective_n_jobs(n_jobs))  # with one worker joblib would compute in this process

        def submit(self, func, callback=None):
            future = super().submit(func, callback)  # joblib would wait for ever for a task that Dask gives up
            future.add_done_callback(lambda ended: ended.exception() and callback(ended.exception()))
            return future

    return Backend(client=client)
