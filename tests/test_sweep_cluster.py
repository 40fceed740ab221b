"""The same sweep on a real Dask scheduler with workers in processes of their own, some of which are killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mrpbook import sweep

HERE = Path(__file__).parent
CELLS, GATE = 16, 8
BLIND = "import os\nos.access = lambda path, mode: False\n"  # makes a worker one that cannot write to the store

pytest.importorskip("distributed", reason="needs Dask: pip install 'mrpbook[cluster]'")


def slow(x, log):
    """Writes down who starts it; from cell GATE on it ends when the log has a file `.open` beside it."""
    with open(log, "a") as file:
        file.write(f"{x} {os.getpid()}\n")
    if x >= GATE:
        wait(Path(f"{log}.open").exists)
    return {"square": x**2, "noise": np.random.default_rng(x).standard_normal(5)}


def failing(x):
    raise LookupError(f"cell {x} failed")


def killing(x):
    os.kill(os.getpid(), signal.SIGKILL)


def wait(condition, seconds=60):
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline, "nothing happened"
        time.sleep(0.02)


def read_json(file):
    """What a file holds, or None while it is not there or half written."""
    try:
        return json.loads(file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


class Cluster:
    """A scheduler and workers on this machine, at free ports."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.start("dask_scheduler", "--port", "0", "--idle-timeout", "120 s", "--scheduler-file", "scheduler.json")
        wait(lambda: read_json(folder / "scheduler.json"))
        self.address = read_json(folder / "scheduler.json")["address"]

    def start(self, what, *options):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]), "OMP_NUM_THREADS": "1"}
        environment["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "1"  # a cell may end two workers, not four
        command = [sys.executable, "-m", f"distributed.cli.{what}", "--host", "127.0.0.1", "--no-dashboard", *options]
        with open(self.folder / f"{len(self.processes)}.log", "w") as log:
            self.processes.append(subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log))
        return self.processes[-1]

    def workers(self, n, *options):
        given = ["--nthreads", "1", "--no-nanny", "--memory-limit", "0", *options]
        return [self.start("dask_worker", self.address, *given) for _ in range(n)]

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    made = Cluster(tmp_path)
    monkeypatch.setenv("MRPBOOK_SCHEDULER", made.address)
    yield made
    made.stop()


# without a common store a cell that has just arrived may still be the worker's to keep, and is computed again
@pytest.mark.parametrize("blind, more", [(False, 0), (True, 1)], ids=["with-a-common-store", "without"])
def test_a_worker_that_is_killed_costs_the_cell_it_computes(cluster, tmp_path, blind, more):
    (tmp_path / "blind.py").write_text(BLIND)
    first, _ = cluster.workers(2, *["--preload", "blind.py"] * blind)
    store, log, killed = tmp_path / "store", tmp_path / "log", []

    def starts():
        return [tuple(map(int, line.split())) for line in log.read_text().split("\n") if line]

    def kill():
        wait(lambda: len(list(store.rglob("*.npz"))) == GATE)
        wait(lambda: [x for x, worker in starts() if worker == first.pid and x >= GATE])
        killed.extend([x for x, worker in starts() if worker == first.pid][-1:])
        first.kill()
        first.wait()
        Path(f"{log}.open").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    grid = [dict(x=x, log=str(log)) for x in range(CELLS)]
    found = sweep.run(slow, grid, store=store)
    killer.join()
    times = Counter(x for x, _ in starts())
    again = [x for x, n in times.items() if n > 1]
    assert first.returncode == -signal.SIGKILL and sorted(times) == list(range(CELLS))
    assert killed[0] in again and max(times.values()) == 2 and len(again) <= 1 + more
    assert len(list(store.rglob("*.npz"))) == CELLS

    assert sweep.run(slow, grid, store=store)[3]["square"] == 9 and sum(times.values()) == len(starts())
    here = [slow(**cell) for cell in grid]
    for a, b in zip(found, here, strict=True):
        assert a["square"] == b["square"] and np.array_equal(a["noise"], b["noise"])


def test_a_cell_that_fails_or_ends_every_worker_ends_the_sweep(cluster, tmp_path):
    from distributed.scheduler import KilledWorker

    workers = cluster.workers(2)  # the first to come must not make joblib compute here, which would end this process
    with pytest.raises(LookupError, match="cell 1 failed"):
        sweep.run(failing, [dict(x=1)], store=tmp_path / "store")
    with pytest.raises(KilledWorker, match="those workers died"):
        sweep.run(killing, [dict(x=1)], store=tmp_path / "store")
    assert [worker.wait() for worker in workers] == [-signal.SIGKILL] * 2


def test_without_a_worker_or_a_scheduler_the_error_says_what_to_start(cluster, monkeypatch):
    monkeypatch.setattr(sweep, "WAIT", 0.5)
    with pytest.raises(ConnectionError, match=f"no worker after 0.5 s.*dask worker {cluster.address} --nthreads 1"):
        sweep.run(failing, [dict(x=1)])
    cluster.stop()
    monkeypatch.setattr(sweep, "ANSWER", 1)
    with pytest.raises(ConnectionError, match="no scheduler answers.*dask scheduler"):
        sweep.run(failing, [dict(x=1)])
