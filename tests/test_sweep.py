"""Cells are computed once, whole, in order, and again when the code changes."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from mrpbook import sweep

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
    sweep.run(study, cells(log, (3,)), store=store, jobs=1)
    (path,) = store.rglob("*.npz")
    whole = path.read_bytes()
    damage = [whole[:size] for size in range(0, len(whole), 40)]
    damage += [whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :] for i in range(0, len(whole), 3)]
    for i, content in enumerate([*damage, b"not a cell"]):
        path.write_bytes(content)
        cell = sweep._read(path)
        if cell is not None:  # a byte that does not matter
            assert float(cell["square"]) == 9 and cell["row"].tolist() == [0, 1, 2], i
    (again,) = sweep.run(study, cells(log, (3,)), store=store, jobs=1)
    assert float(again["square"]) == 9 and computed(log) == [3, 3]
    assert float(sweep._read(path)["square"]) == 9  # and the damaged file was replaced


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


def test_a_cell_that_cannot_be_written_leaves_nothing_behind(place, monkeypatch):
    store, log = place

    def full(file, **arrays):
        file.write(b"PK half a cell")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space left"):
        sweep.run(study, cells(log, (3,)), store=store, jobs=1)
    assert [path for path in store.rglob("*") if path.is_file()] == []


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the package whose code key is asked for."""
    shutil.copytree(Path(sweep.__file__).parent, tmp_path / "mrpbook", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sweep, "__file__", str(tmp_path / "mrpbook" / "sweep.py"))
    return tmp_path / "mrpbook"


@pytest.mark.parametrize("name", ["data.py", "gradients.py", "objectives.py", "studies/capture.py", "reference.py"])
def test_the_code_key_changes_with_a_module_that_computes(copy, name):
    before = sweep.code_key()
    (copy / name).write_text((copy / name).read_text() + "\nX = 1\n")
    assert sweep.code_key() != before


@pytest.mark.parametrize("name", ["plots.py", "ledger.py", "__init__.py"])
def test_the_code_key_does_not_change_with_a_module_that_draws_or_judges(copy, name):
    before = sweep.code_key()
    (copy / name).write_text((copy / name).read_text() + "\nX = 1\n")
    assert sweep.code_key() == before


def test_every_name_that_is_kept_out_of_the_key_is_a_file():
    assert {name for name in sweep.NOT_NUMBERS if not list(Path(sweep.__file__).parent.rglob(name))} == set()


def test_a_changed_code_key_computes_again(place, copy):
    store, log = place
    sweep.run(study, cells(log, (3,)), store=store, jobs=1)
    (copy / "data.py").write_text("X = 2\n")
    sweep.run(study, cells(log, (3,)), store=store, jobs=1)
    assert computed(log) == [3, 3]
