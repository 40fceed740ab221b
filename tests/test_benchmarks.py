"""The benchmark suite on tiny problems, and how its report counts."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("pytest_benchmark", reason="the extra `bench` is not installed")

from benchmarks import (  # noqa: E402
    problems,
    report,
    test_chapter,
    test_gradient,
    test_pictures,
    test_rejected,
    test_run,
    test_scaling,
    test_stack,
    ways,
)
from benchmarks.compare import Case, Way, turns  # noqa: E402
from mrpbook import reference  # noqa: E402
from mrpbook.objectives import NormalisedTeacher, RescaledTeacher  # noqa: E402

ROOT = Path(problems.__file__).parents[1]
MODULES = (test_chapter, test_gradient, test_pictures, test_rejected, test_run, test_scaling, test_stack)
PROMISED = {"case", "way", "ms", "ratio", "ratio_low", "ratio_high", "n", "floor_ms", "gflops", "share_of_peak", "compile_s",
            "cpu_per_wall", "machine", "date", "version"}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """(rows, what is missing) of the whole suite on tiny problems; every way is checked before it is timed."""
    folder = tmp_path_factory.mktemp("bench")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "benchmarks", "--size", "tiny", "--benchmark-quiet", "-p", "no:cacheprovider",
               f"--benchmark-json={folder / 'raw.json'}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    report.main([str(folder / "raw.json"), str(folder / "bench.json")])
    missing = json.loads((folder / "raw.json").read_text())["missing"]
    return json.loads((folder / "bench.json").read_text()), missing


@pytest.mark.parametrize("case", [case for module in MODULES for case in module.cases("tiny")], ids=lambda case: case.name)
def test_every_way_equals_the_readable_form_and_is_timed_in_every_round(case, suite):
    rows, missing = suite
    lacks = {one["way"]: one["lacks"] for one in missing if one["case"] == case.name}
    found = {row["way"]: row["n"] for row in rows if row["case"] == case.name}
    assert found == {way.name: case.rounds for way in case.ways if way.name not in lacks}
    if lacks:
        pytest.skip(", ".join(f"{way}: {why}" for way, why in lacks.items()))


def test_the_file_holds_what_is_promised_and_names_no_host(suite):
    text = json.dumps(suite[0])
    for row in suite[0]:
        assert PROMISED <= set(row) and row["ms"] > 0 and row["n"] == 2 and 0 < row["cpu_per_wall"] < 2
        assert {"cpu", "cores", "python", "torch", "jax", "numpy", "blas"} <= set(row["machine"])
        assert platform.node() not in row["machine"].values()
    assert str(ROOT) not in text and str(Path.home()) not in text


def test_the_right_answer_is_the_mean_over_all_masks():
    for objective in test_gradient.OBJECTIVES.values():
        problem = problems.Problem(objective, 12, 4, 6, 5)
        w, X = problem.w.double().numpy(), problem.X.double().numpy()
        rescaled = isinstance(objective, RescaledTeacher)
        H = reference.rescaled_target(w, X, 1.3) if rescaled else reference.normalised_target(w, X)
        expected = reference.masked_direction(w, X, H, 0.75, 1 / 0.75)
        np.testing.assert_allclose(problems.right_answer(problem), expected, rtol=1e-5)


def test_the_loss_with_a_sampled_mask_averages_to_the_loss_over_all_masks():
    problem = problems.Problem(RescaledTeacher(0.75), 12, 4, 6, 5)
    every, chance = reference.masks(4, 0.75)
    total = sum(p * ways.sampled_loss(problem.objective, problem.w, problem.X, torch.tensor(mask).float()[None, :, None])
                for mask, p in zip(every, chance, strict=True))
    assert float(total) == pytest.approx(float(ways.closed_loss(problem)(problem.w, problem.X)), rel=1e-5)


def test_a_wrong_gradient_is_refused():
    problem = problems.Problem(NormalisedTeacher(0.75), 12, 4, 6, 5)
    right = problems.right_answer(problem).float()
    problem.is_direction(right)
    problem.is_gradient(-right)
    for wrong in (right * 1.001, -right, right.roll(1, 0)):
        with pytest.raises(AssertionError, match="off by"):
            problem.is_direction(wrong)
    with pytest.raises(AssertionError, match="off by"):
        problem.is_gradient(right)


def test_ways_take_turns_there_and_back():
    a, b, c = (Way(name, None) for name in "abc")
    found = [(turn.round, turn.way.name) for turn in turns([Case("one", (a, b, c), rounds=2)])]
    assert found == [(1, "a"), (1, "b"), (1, "c"), (2, "c"), (2, "b"), (2, "a")]


def raw(times, missing=()):
    """What pytest-benchmark would write: {(way, role): seconds by round}; every call does 2 GFLOP."""
    common = {"case": "one", "work": 2.0, "steps": 1, "pictures": 0, "compile_s": None, "cpu_per_wall": 1.0}
    found = [{"stats": {"min": s}, "extra_info": common | {"way": way, "role": role, "round": round}}
             for (way, role), seconds in times.items() for round, s in enumerate(seconds, 1)]
    return {"benchmarks": found, "missing": list(missing), "size": "bench", "datetime": "2030-01-02T03:04:05",
            "machine_info": {}}


def test_ratios_are_formed_within_rounds():
    drifting = raw({("peer", ""): (2, 40, 9), ("mine", "ours"): (1, 10, 3), ("products", "floor"): (0.5, 5, 3),
                    ("large", "peak"): (0.1, 1, 0.2)})
    row = {row["way"]: row for row in report.rows(drifting)}
    peer = row["peer"]
    assert (peer["ratio"], peer["ratio_low"], peer["ratio_high"], peer["n"]) == (3, 2, 4, 3)  # quotient of medians: 9 / 3 too,
    assert peer["ms"] == 9000 and peer["floor_ms"] == 3000 and peer["gflops"] == pytest.approx(2 / 9)
    assert row["mine"]["share_of_floor"] == 0.5  # but here 3 / 3 would be 1
    assert row["mine"]["share_of_peak"] == pytest.approx(0.1) and row["mine"]["ratio"] == 1
    assert row["large"]["ratio"] is None and peer["date"] == "2030-01-02"


@pytest.mark.parametrize(("there", "reference"), [
    (("ours compiled", "ours", "base"), "ours compiled"), (("ours", "base"), "ours"), (("base",), "base"), ((), None)])
def test_without_a_compiler_ratios_are_to_the_eager_blocks(there, reference):
    rows = report.rows(raw({("peer", ""): (6,)} | {(role, role): (2,) for role in there}))
    assert rows[0]["ratio_to"] == reference and rows[0]["ratio"] == (3 if there else None)


def test_what_is_missing_gets_one_line():
    lacks = [{"case": case, "way": "peer", "lacks": "JAX is not installed"} for case in ("one", "two")]
    found = raw({("mine", "ours"): (1, 2)}, lacks)
    assert report.table(report.rows(found), found["missing"]).count("left out: peer: JAX is not installed") == 1


def test_a_peer_that_is_not_installed_is_left_out(tmp_path):
    """JAX is made impossible to import; the rest of the suite still runs."""
    (tmp_path / "jax.py").write_text("raise ImportError")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment |= {"PYTHONPATH": str(tmp_path), "CXX": "nothing", "PATH": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "benchmarks/test_gradient.py", "--size", "tiny", "-p", "no:cacheprovider", "-rs"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "JAX is not installed" in done.stdout and "there is no C++ compiler" in done.stdout


def test_along_k_there_are_as_many_kernels_as_the_capture_law_asks_for():
    K = test_scaling.kernels_needed(20)
    assert test_scaling.all_captured_probability(K, 20) >= 0.95 > test_scaling.all_captured_probability(K - 1, 20)
