"""The fused gradients: the same numbers as the readable form. Without a GPU, triton's interpreter runs the kernels on the
processor, and its compiler shows that they fit a GPU. Run as a program, this file is what the interpreter runs: triton reads
TRITON_INTERPRET when it is imported, so it needs a process of its own.
"""
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import mrpbook as mb
from mrpbook.gradients import Descent
from mrpbook.network import SmoothedReLU
from mrpbook.objectives import NormalisedTeacher, PlainDecoder, RescaledTeacher

triton = pytest.importorskip("triton", reason="the fused gradients are written in triton")
from mrpbook import fused  # noqa: E402

KINDS = (NormalisedTeacher, RescaledTeacher, PlainDecoder)
MASKS = ("bernoulli", "fixed count")
# N, P, K, d, theta: nothing a power of two; the book's; several tiles of kernels; many patches; one patch
SHAPES = [(13, 5, 7, 9, 0.8), (13, 16, 40, 64, 0.75), (37, 3, 70, 70, 2 / 3), (3, 70, 5, 9, 0.9), (5, 1, 3, 2, 0.5)]
PARTS = (1, 3, 264)


def problem(N, P, K, d, device="cpu"):
    rng = np.random.default_rng(0)
    w, X = rng.normal(size=(K, d)) * 0.5, rng.normal(size=(N, P, d)) * 0.5
    return torch.from_numpy(w).float().to(device), torch.from_numpy(X).float().to(device)


def gap(found, expected):
    """Largest difference, relative to the largest element."""
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


def hundred_steps(direction, w, lr=1.0):
    for _ in range(100):
        w = w + lr * direction(w)
    return w


def world():
    data = mb.MultiView(k=3, d=12, P=8, C_p=2)
    return data.sample(16, 0).X, mb.initial_kernels(12, data.d, 0), data.semantics(0)


def interpreted() -> dict:
    """Everything that the interpreter is asked, as numbers."""
    act, found = SmoothedReLU(), {}
    for kind, mask, q in itertools.product(KINDS, MASKS, (2, 3, 4, 5)):
        w, X = problem(13, 5, 7, 9)
        objective = kind(0.8, mask)
        found[f"q {kind.__name__} {mask} {q}"] = gap(fused.FusedDescent(objective, X, 7, SmoothedReLU(q))(w),
                                                     objective.descent(w, X, SmoothedReLU(q)))
    for kind, mask, (*shape, theta) in itertools.product(KINDS, MASKS, SHAPES):
        if mask == "bernoulli" or shape[1] > 1:
            w, X = problem(*shape)
            objective = kind(theta, mask)
            found[f"shape {kind.__name__} {mask} {tuple(shape)}"] = gap(
                fused.FusedDescent(objective, X, shape[2], act)(w), objective.descent(w, X, act))
    for kind, fused.PROGRAMS in itertools.product(KINDS, PARTS):
        w, X = problem(61, 7, 9, 10)
        direction = fused.FusedDescent(kind(0.8), X, 9, act)
        direction(w * 2)  # the workspace is used again
        found[f"parts {kind.__name__} {fused.PROGRAMS}"] = gap(direction(w), kind(0.8).descent(w, X, act)), direction.grid[1]

    w, X = problem(13, 5, 7, 9)
    before, other = (w.clone(), X.clone()), w.clone()
    other[1], other[2] = torch.nan, 0
    twice, after_damage, silent, ran_away = [], [], [], []
    for kind in KINDS:
        direction = fused.FusedDescent(kind(0.8), X, 7, act)
        first = direction(w).clone()
        twice.append(torch.equal(first, direction(w)))
        damaged = direction(other)
        silent.append(bool((damaged[2] == 0).all()))
        ran_away.append(bool(damaged[1].isnan().all()))
        rest = [0, 3, 4, 5, 6]
        after_damage.append(torch.equal(damaged[rest], first[rest]))
    found |= {"twice": twice, "silent": silent, "ran away": ran_away, "rest": after_damage,
              "untouched": torch.equal(w, before[0]) and torch.equal(X, before[1])}

    try:
        direction(w[:6])
    except ValueError as error:
        found["wrong shape"] = str(error)

    X, w, V = world()
    objective = NormalisedTeacher(0.75)
    fast = hundred_steps(fused.FusedDescent(objective, X, len(w), act), w)
    readable = hundred_steps(lambda w: objective.descent(w, X, act), w)
    return found | {"winners": [(end @ V.T).argmax(1).tolist() for end in (w, fast, readable)], "drift": gap(fast, readable)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(interpreted()))


@pytest.fixture(scope="module")
def found():
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("q", [2, 3, 4, 5])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_fused_gradient_is_the_readable_form_for_every_q(found, kind, mask, q):
    assert found[f"q {kind.__name__} {mask} {q}"] < 2e-6


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_of_any_kind_give_the_readable_form(found, kind):
    gaps = {case: value for case, value in found.items() if case.startswith(f"shape {kind.__name__}")}
    assert len(gaps) == 2 * len(SHAPES) - 1 and max(gaps.values()) < 5e-6, gaps


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_any_size_give_the_readable_form(found, kind):
    cases = [found[f"parts {kind.__name__} {programs}"] for programs in PARTS]
    assert max(value for value, _ in cases) < 2e-6 and [parts for _, parts in cases] == [1, 3, 8]


def test_the_same_call_gives_the_same_bits(found):
    assert found["twice"] == [True] * 3


def test_a_silent_kernel_gets_no_push(found):
    assert found["silent"] == [True] * 3


def test_a_kernel_that_ran_away_shows_it_and_leaves_the_others_alone(found):
    assert found["ran away"] == [True] * 3 and found["rest"] == [True] * 3


def test_kernels_and_data_are_left_as_they_were(found):
    assert found["untouched"]


def test_kernels_of_another_shape_are_refused(found):
    assert "torch.Size([6, 9]): expected torch.Size([7, 9])" in found["wrong shape"]


def test_a_hundred_steps_end_with_the_same_winners(found):
    start, fast, readable = found["winners"]
    assert fast == readable != start and found["drift"] < 1e-4


def compiled(kernel, capability, monkeypatch, folder, **size):
    """The kernel compiled for a GPU that need not be there, with its registers and stack (spills) per thread."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(folder))
    kinds = dict.fromkeys(("X", "W", "FACTOR", "OUT"), "*fp32") | dict.fromkeys(("beta", "tau"), "fp32")
    names = kernel.arg_names
    signature = {name: "constexpr" if name in size else kinds.get(name, "i32") for name in names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if name in ("X", "W", "FACTOR", "OUT", "P", "D")}
    done = triton.compile(triton.compiler.ASTSource(kernel, signature, size, aligned),
                          target=triton.backends.compiler.GPUTarget("cuda", capability, 32),
                          options=dict(num_warps=fused.WARPS, num_stages=2, enable_fp_fusion=True))
    binary = folder / "kernel.cubin"
    binary.write_bytes(done.asm["cubin"])
    tool = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", binary]
    usage = subprocess.run(tool, capture_output=True, text=True, check=True)
    registers, stack = map(int, re.search(r"REG:(\d+) STACK:(\d+)", usage.stdout + usage.stderr).groups())
    return done, registers, stack


@pytest.mark.parametrize(("capability", "d", "spill"), [(80, 64, 0), (90, 64, 0), (90, 256, 16)])
def test_the_kernels_compile_for_a_gpu_that_is_not_there(capability, d, spill, monkeypatch, tmp_path, capsys):
    """And keep to registers; at d = 256 the compiler spills two numbers of some 250, and 16 bytes are allowed."""
    size = fused.tiles(16, 200, d) | dict(PRECISION="ieee", Q=4)
    first = {name: value for name, value in size.items() if name != "SLICE"}
    for kernel, sizes in ((fused.direction_kernel, size | dict(TEACHER=True)), (fused.squares_kernel, first)):
        done, registers, stack = compiled(kernel, capability, monkeypatch, tmp_path, **sizes)
        with capsys.disabled():
            print(f"\n{done.metadata.name} sm_{capability} d = {d}: {registers} registers, {stack} bytes spilled, "
                  f"{done.metadata.shared} bytes shared", end="")
        assert stack <= spill
        assert done.metadata.shared <= 48 * 1024
        assert ".ftz" not in done.asm["ptx"]  # small kernels have small directions: nothing may be flushed to zero
        assert "mma" not in done.asm["ptx"]  # float32 products, not those of tensor cores


def test_tf32_compiles_to_tensor_cores_and_only_when_asked(monkeypatch, tmp_path):
    size = fused.tiles(16, 200, 64) | dict(PRECISION="tf32", Q=4, TEACHER=True)
    done, _, _ = compiled(fused.direction_kernel, 80, monkeypatch, tmp_path, **size)
    assert "mma.sync" in done.asm["ptx"] and "tf32" in done.asm["ptx"]


@dataclass(frozen=True)
class Doubled(RescaledTeacher):
    def target(self, a, act):
        return 2 * super().target(a, act)


@pytest.mark.parametrize(("objective", "dtype", "P", "precision", "message"), [
    (Doubled(), torch.float32, 5, "ieee", "Doubled.*expected one of .*NormalisedTeacher"),
    (NormalisedTeacher(), torch.float64, 5, "ieee", "float64.*allows torch.float32"),
    (NormalisedTeacher(), torch.float32, 5, "bf16", "precision = 'bf16'.*'ieee', 'tf32'"),
    (NormalisedTeacher(), torch.float32, 5, "ieee", "on cpu.*GPU")])
def test_what_is_not_fused_is_refused(objective, dtype, P, precision, message):
    with pytest.raises(ValueError, match=message):
        fused.FusedDescent(objective, problem(3, P, 2, 4)[1].to(dtype), 2, SmoothedReLU(), precision)


def test_patches_or_dimensions_beyond_a_tile_are_refused():
    assert fused.tiles(256, 10, 1024)["KT"] == 16
    for P, d in ((257, 64), (16, 1025)):
        with pytest.raises(ValueError, match=f"P = {P}, d = {d}.*P <= 256 and d <= 1024"):
            fused.tiles(P, 10, d)


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@gpu
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu_the_fused_gradient_is_that_of_the_processor(kind):
    for *shape, theta in [*SHAPES, (100, 16, 200, 256, 0.75)]:
        w, X = problem(*shape)
        expected = Descent(kind(theta), X, shape[2], SmoothedReLU())(w)
        direction = fused.FusedDescent(kind(theta), X.cuda(), shape[2], SmoothedReLU())
        first = direction(w.cuda()).clone()
        assert gap(first.cpu(), expected) < 1e-5
        assert torch.equal(direction(w.cuda()), first)


@gpu
def test_on_a_gpu_a_hundred_steps_end_with_the_same_winners_with_and_without_a_graph():
    X, w, V = world()
    objective, act = NormalisedTeacher(0.75), SmoothedReLU()
    expected = hundred_steps(Descent(objective, X, len(w), act), w)
    direction = fused.FusedDescent(objective, X.cuda(), len(w), act)
    loop, graphed = hundred_steps(direction, w.cuda()), w.cuda()
    steps = fused.GraphedSteps(direction, graphed, 1.0)
    assert torch.equal(graphed.cpu(), w)  # recording moves nothing
    steps(60)
    steps(40)
    assert torch.equal((loop.cpu() @ V.T).argmax(1), (expected @ V.T).argmax(1))
    assert torch.equal((graphed.cpu() @ V.T).argmax(1), (expected @ V.T).argmax(1))
    assert gap(graphed, loop) < 1e-4
