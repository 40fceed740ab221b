"""Stored cells: keyed by what made them, whole, checked; what was left half written goes."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from mrpbook import cells
from mrpbook.studies import capture

CELL = {"square": np.asarray(9.0), "row": np.arange(3), "seconds": np.asarray(0.5)}


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, whose files a test may edit."""
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(cells.PACKAGE, tmp_path / "mrpbook", ignore=ignore))


def key(package, study="capture"):
    return cells.code_key(cells.code_of(f"mrpbook.studies.{study}", package / "studies" / f"{study}.py", package))


def edit(path, more="\nX = 1\n"):
    path.write_text(path.read_text() + more)


@pytest.mark.parametrize("name", ["studies/capture.py", "pretrain.py", "gradients.py", "objectives.py", "rng.py"])
def test_the_key_changes_with_the_study_and_every_module_it_reaches(copy, name):
    before = key(copy)
    edit(copy / name)
    assert key(copy) != before


@pytest.mark.parametrize("name", ["studies/downstream.py", "supervised.py", "plots.py", "ledger.py", "sweep.py", "__init__.py"])
def test_the_key_does_not_change_with_another_study_a_figure_or_the_ledger(copy, name):
    before = key(copy)
    edit(copy / name)
    assert key(copy) == before


def test_the_key_changes_with_an_interval_for_the_study_that_computes_one(copy):
    before = {name: key(copy, name) for name in ("downstream", "capture")}
    edit(copy / "intervals.py")
    assert key(copy, "downstream") != before["downstream"] and key(copy, "capture") == before["capture"]


@pytest.mark.parametrize("line", [
    "import mrpbook as mb\ndef f(): return mb.plots.STYLE",
    "def f():\n    from .. import plots",
    "def f():\n    import mrpbook.plots",
    "from mrpbook.film import grid",  # reaches `plots` only below, through `film`
])
def test_the_key_changes_with_a_module_that_is_imported_late_or_through_another(copy, line):
    edit(copy / "film.py", "\nfrom . import plots\n")
    edit(copy / "studies" / "capture.py", f"\n{line}\n")
    before = key(copy)
    edit(copy / "plots.py")
    assert key(copy) != before


def test_comments_and_docstrings_leave_the_key_alone(copy):
    before = key(copy)
    edit(copy / "data.py", "# a comment\n")
    assert key(copy) == before


def test_the_key_changes_with_the_version_of_a_library(copy, monkeypatch):
    before = key(copy)
    versions = cells._versions()
    assert {name for name, version in versions.items() if version is None} <= {"numba"}
    for name in versions:
        monkeypatch.setattr(cells, "_versions", lambda name=name: versions | {name: "0.1"})
        assert key(copy) != before


def test_a_study_outside_the_package_is_keyed_by_its_file_and_what_it_uses_of_the_package(tmp_path, copy):
    source = tmp_path / "mine.py"
    source.write_text("from mrpbook.data import MultiView\ndef study(): pass\n")
    keys = [cells.code_key(cells.code_of("mine", source, copy))]
    edit(copy / "theory.py")
    assert cells.code_key(cells.code_of("mine", source, copy)) == keys[0]
    for path in (source, copy / "rng.py"):
        edit(path)
        keys.append(cells.code_key(cells.code_of("mine", source, copy)))
    assert len(set(keys)) == 3


def test_code_that_was_edited_after_its_import_is_not_given_a_key(monkeypatch):
    monkeypatch.setattr(cells, "_IMPORTED", {path: path.stat().st_mtime_ns for path in cells.PACKAGE.rglob("*.py")})
    monkeypatch.setitem(cells._IMPORTED, cells.PACKAGE / "plots.py", 1)  # capture does not use it
    cells.key_of(capture.race)
    monkeypatch.setitem(cells._IMPORTED, cells.PACKAGE / "rng.py", 1)
    with pytest.raises(RuntimeError, match="rng.py changed after mrpbook was imported"):
        cells.key_of(capture.race)


def test_a_damaged_cell_is_not_read(tmp_path):
    path = tmp_path / "cell.npz"
    cells.write(path, CELL)
    whole = path.read_bytes()
    damage = [whole[:size] for size in range(0, len(whole), 40)]
    damage += [whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :] for i in range(0, len(whole), 3)]
    for i, content in enumerate([*damage, b"not a cell"]):
        path.write_bytes(content)
        found = cells.read(path)
        if found is not None:  # a byte that does not matter
            assert all(np.array_equal(found[name], CELL[name]) for name in CELL), i
    assert cells.read(path) is None and cells.read(tmp_path / "none.npz") is None


def test_a_cell_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"PK half a cell")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space left"):
        cells.write(tmp_path / "cell.npz", CELL)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_half_written_is_removed_an_hour_later(tmp_path):
    folder = tmp_path / "race"
    folder.mkdir()
    for name, age in (("old.part", 2 * cells.HOUR), ("young.part", 1.0), ("old.npz", 2 * cells.HOUR)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age,) * 2)
    cells.paths(tmp_path, capture.race, [], "key")
    assert sorted(path.name for path in folder.iterdir()) == ["old.npz", "young.part"]
