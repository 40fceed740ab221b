"""Cells are computed once, whole, in order, and again when the code changes."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tqdm import tqdm

from mrpbook import sweep
from mrpbook.cells import key_of, read

ROOT = Path(sweep.__file__).parents[1]


def study(x, log, fail=(), scale=1.0):
    """Writes down that it ran."""
    with open(log, "a") as file:
        file.write(f"{x}\n")
    if x in fail:
        raise RuntimeError(f"cell {x} failed")
    return {"square": x**2 * scale, "row": np.arange(x), "name": "cell"}


def computed(log):
    return [int(line) for line in Path(log).read_text().split()] if Path(log).exists() else []


@pytest.fixture
def place(tmp_path):
    """(store, log) of one test."""
    return tmp_path / "store", str(tmp_path / "log")


def cells(log, xs=(3, 1, 2), **more):
    return [{"x": x, "log": log, **more} for x in xs]


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_cells(place, jobs):
    store, log = place
    found = sweep.run(study, cells(log, (5, 1, 4, 2)), store=store, jobs=jobs)
    assert sweep.stack(found, "square").tolist() == [25, 1, 16, 4]
    assert [len(cell["row"]) for cell in found] == [5, 1, 4, 2]
    assert all(cell["seconds"] >= 0 for cell in found) and sorted(computed(log)) == [1, 2, 4, 5]


def test_a_second_run_computes_nothing_and_reads_the_same(place):
    store, log = place
    first, second = (sweep.run(study, cells(log), store=store, jobs=1) for _ in range(2))
    assert computed(log) == [3, 1, 2]
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
    sweep.run(study, cells(log, (2, 7)), store=store, jobs=1)
    assert computed(log) == [3, 1, 2, 7]


def test_another_parameter_is_another_cell(place):
    store, log = place
    a = sweep.run(study, cells(log, (3,)), store=store, jobs=1)
    b = sweep.run(study, cells(log, (3,), scale=2.0), store=store, jobs=1)
    assert (float(a[0]["square"]), float(b[0]["square"])) == (9, 18) and computed(log) == [3, 3]


def test_without_a_store_every_run_computes(place):
    _, log = place
    for _ in range(2):
        sweep.run(study, cells(log, (3,)), jobs=1)
    assert computed(log) == [3, 3]


def test_a_damaged_cell_is_computed_again(place):
    store, log = place
    sweep.run(study, cells(log), store=store, jobs=1)
    path = max(store.rglob("*.npz"), key=lambda path: path.stat().st_mtime_ns)
    path.write_bytes(path.read_bytes()[:100])
    again = sweep.run(study, cells(log), store=store, jobs=1)
    assert sweep.stack(again, "square").tolist() == [9, 1, 4] and computed(log) == [3, 1, 2, 2]
    assert float(read(path)["square"]) == 4  # and the damaged file was replaced


def test_a_failing_cell_raises_its_own_error_and_those_before_it_are_kept(place):
    store, log = place
    with pytest.raises(RuntimeError, match="cell 1 failed"):
        sweep.run(study, cells(log, fail=(1,)), store=store, jobs=1)
    assert len(list(store.rglob("*.npz"))) == 1
    found = sweep.run(study, cells(log, (3,), fail=(1,)), store=store, jobs=1)
    assert float(found[0]["square"]) == 9 and computed(log) == [3, 1]


def test_the_error_of_a_cell_comes_out_of_another_process(place):
    with pytest.raises(RuntimeError, match="cell 1 failed"):
        sweep.run(study, cells(place[1], fail=(1,)), store=place[0], jobs=2)


KILLED = """
    import os, signal, sys
    import numpy as np
    sys.path.insert(0, {tests!r})
    from mrpbook import sweep
    from test_sweep import cells, study

    def half(file, **arrays):
        file.write(b"PK half a cell")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    np.savez_compressed = half
    sweep.run(study, cells({log!r}, (3,)), store={store!r}, jobs=1)
"""


def test_a_worker_killed_while_it_writes_leaves_no_cell_behind(place):
    store, log = place
    script = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), log=log, store=str(store))
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True)
    assert done.returncode == -9 and computed(log) == [3]
    assert [path.suffix for path in store.rglob("*") if path.is_file()] == [".part"]
    (cell,) = sweep.run(study, cells(log, (3,)), store=store, jobs=1)
    assert float(cell["square"]) == 9 and computed(log) == [3, 3] and len(list(store.rglob("*.npz"))) == 1


def test_equal_cells_are_computed_once(place):
    store, log = place
    found = sweep.run(study, cells(log, (3, 1, 3)), store=store, jobs=1)
    assert sweep.stack(found, "square").tolist() == [9, 1, 9] and sorted(computed(log)) == [1, 3]


def test_the_bar_counts_found_cells_and_keeps_them_out_of_the_rate(place, monkeypatch):
    store, log = place
    bars = []
    monkeypatch.setattr(sweep, "tqdm", lambda **given: bars.append(tqdm(**given | {"disable": False})) or bars[-1])
    sweep.run(study, cells(log), store=store, jobs=1)
    sweep.run(study, cells(log, (3, 1, 2, 7)), store=store, jobs=1)
    assert [(bar.initial, bar.n, bar.total) for bar in bars] == [(0, 3, 3), (3, 4, 4)]


@pytest.mark.parametrize("fail", [(), (3,)])
def test_the_thread_count_of_the_caller_stays(place, fail):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(RuntimeError) if fail else nullcontext():
            sweep.run(study, cells(place[1], (3,), fail=fail), jobs=1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_what_a_worker_that_cannot_write_to_the_store_hands_over_is_written_here(place, monkeypatch):
    store, log = place
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for _ in range(2):
        sweep.run(study, cells(log), store=store, jobs=1)
    assert computed(log) == [3, 1, 2]
    next(store.rglob("*.npz")).write_bytes(b"damaged")
    for _ in range(2):
        sweep.run(study, cells(log), store=store, jobs=1)
    assert len(computed(log)) == 4


def test_a_worker_with_other_code_says_so():
    sweep._same_code(study, key_of(study))
    with pytest.raises(RuntimeError, match="has other code"):
        sweep._same_code(study, "0123")


def nameless(x):
    return lambda y: y


def unstorable(x):
    return {"rows": np.asarray([{}, None])}


@pytest.mark.parametrize("change, message", [
    ({"jobs": 0}, "jobs = 0: expected an integer >= 1"),
    ({"jobs": -1}, "jobs = -1: expected an integer >= 1"),
    ({"cells": [{}, 3]}, r"cells\[1\] = 3: expected a dict"),
    ({"study": nameless(3)}, "study = .*expected a function that a module defines by name"),
    ({"study": partial(nameless, 3)}, "study = .*expected a function that a module defines by name"),
    ({"study": unstorable, "cells": [{"x": 1}]}, "rows = .* of unstorable: expected numbers, text or an array"),
    ({"store": Path(__file__)}, "store = .*test_sweep.py.*: expected a folder"),
])
def test_a_request_that_cannot_be_met_names_argument_value_and_what_is_allowed(tmp_path, change, message):
    given = {"study": study, "cells": [], "store": tmp_path, "jobs": 1} | change
    with pytest.raises(ValueError, match=message):
        sweep.run(given.pop("study"), given.pop("cells"), **given)


@pytest.mark.parametrize("name, value, error, message", [
    ("MRPBOOK_JOBS", "0", ValueError, "MRPBOOK_JOBS = 0: expected an integer >= 1"),
    ("MRPBOOK_JOBS", "all", ValueError, "MRPBOOK_JOBS = 'all': expected an integer >= 1"),
    ("MRPBOOK_SCHEDULER", "node7", ValueError, "MRPBOOK_SCHEDULER = 'node7': expected tcp://host:port"),
    ("MRPBOOK_SCHEDULER", "tcp://127.0.0.1:9", ImportError, r"needs Dask: pip install 'mrpbook\[cluster\]'"),
])
def test_an_environment_that_cannot_be_met_says_what_to_do(place, monkeypatch, name, value, error, message):
    monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(error, match=message):
        sweep.run(study, cells(place[1]), store=place[0])


STOPPED = """
    import os, signal, sys, time
    sys.path.insert(0, {tests!r})
    from mrpbook import sweep
    from test_sweep import slow

    sweep.run(slow, [dict(x=x, log={log!r}, die={die!r}, gate={gate!r}) for x in range(20)], store={store!r}, jobs=2)
"""


def slow(x, log, die="", gate=""):
    """Takes a while; cell 8 ends its process unless the file `die` is there, it and those after it wait for the file `gate`."""
    with open(log, "a") as file:
        file.write(f"{x}\n")
    if die and x == 8 and not Path(die).exists():
        Path(die).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    while gate and x >= 8 and not Path(gate).exists():
        time.sleep(0.02)
    return {"square": x**2}


def start(place, **files):
    names = {"die": "", "gate": ""} | files
    script = textwrap.dedent(STOPPED).format(tests=str(Path(__file__).parent), log=place[1], store=str(place[0]), **names)
    return subprocess.Popen([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(ROOT)},
                            stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(place, kept, **files):
    """Continue a sweep that was stopped with the cells `kept` on disk, and check that nothing was lost or done twice."""
    same = dict(log=place[1]) | {"die": "", "gate": ""} | files
    found = sweep.run(slow, [dict(x=x) | same for x in range(20)], store=place[0], jobs=1)
    assert sweep.stack(found, "square").tolist() == [x**2 for x in range(20)]
    times = Counter(computed(place[1]))
    assert [x for x in kept if times[x] != 1] == []
    assert sorted(times) == list(range(20)) and sum(times.values()) <= 24  # 2 a process were handed out


def kept_in(store):
    return [int(np.sqrt(read(path)["square"])) for path in store.rglob("*.npz")]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_sweep_that_is_stopped_continues_where_it_was(place, tmp_path, sent):
    gate = tmp_path / "gate"  # closed until the sweep is stopped: on a slow machine, too, it cannot end before
    process = start(place, gate=str(gate))
    deadline = time.time() + 60
    while len(list(place[0].rglob("*.npz"))) < 4:
        assert time.time() < deadline and process.poll() is None
        time.sleep(0.01)
    while process.poll() is None:  # a signal that comes while Python cleans up is swallowed: one presses Ctrl-C again
        os.killpg(process.pid, sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
    gate.touch()
    error = process.communicate(timeout=30)[1]
    assert process.returncode != 0 and (sent == signal.SIGKILL or "KeyboardInterrupt" in error)
    kept = kept_in(place[0])
    assert 4 <= len(kept) < 20
    finish(place, kept, gate=str(gate))


def test_a_sweep_that_loses_a_process_continues_where_it_was(place, tmp_path):
    die = str(tmp_path / "died")
    process = start(place, die=die)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "TerminatedWorkerError" in error
    kept = kept_in(place[0])
    assert kept and 8 not in kept
    finish(place, kept, die=die)
