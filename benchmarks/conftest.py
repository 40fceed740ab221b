"""Turns of the ways, timed one by one on one core."""
import os
import tempfile
import time

caches = tempfile.TemporaryDirectory(prefix="mrpbook-bench-")  # compilers start from nothing, so that their time is seen
os.environ |= {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "NPROC": "1",  # JAX's pool of threads; XLA's own flags for it change nothing since it compiles to thunks
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu",
    "TORCHINDUCTOR_CACHE_DIR": caches.name, "NUMBA_CACHE_DIR": caches.name,
}

import pytest  # noqa: E402
import torch  # noqa: E402

from . import ways  # noqa: E402
from .compare import Missing, turns  # noqa: E402
from .machine import machine  # noqa: E402

CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
MISSING = {}  # (case, way) -> what it lacks


def pytest_addoption(parser):
    parser.addoption("--size", choices=("tiny", "bench", "full"), default="bench", help="how large the cases are")


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
    if config.getoption("size") == "tiny":
        ways.PEAK = 64


def pytest_generate_tests(metafunc):
    if "turn" in metafunc.fixturenames:
        metafunc.parametrize("turn", [
            pytest.param(turn, id=str(turn), marks=pytest.mark.benchmark(timer=turn.case.clock))
            for turn in turns(metafunc.module.cases(metafunc.config.getoption("size")))])


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info.clear()
    machine_info.update(machine())


def pytest_benchmark_update_json(config, benchmarks, output_json):
    output_json["missing"] = [{"case": case, "way": way, "lacks": lacks} for (case, way), lacks in MISSING.items()]
    output_json["size"] = config.getoption("size")


@pytest.fixture(scope="session")
def prepared():
    """Ways of the present case: (case, way) -> what `prepare` returned."""
    torch.set_num_threads(1)
    return {}


def prepare(way):
    """(Ready, seconds of a call, seconds that compiling took or None): call it, check the answer."""
    start = time.perf_counter()
    try:
        ready = way.prepare()
        middle = time.perf_counter()
        found = ready.call()
    except Missing:
        raise
    except Exception as error:
        if not way.compiles:
            raise
        raise Missing(f"does not compile here: {str(error).strip().splitlines()[0]}") from error
    end = time.perf_counter()
    ready.check(found)
    if not way.compiles:
        return ready, end - middle, None
    again = time.perf_counter()
    ready.call()
    seconds = time.perf_counter() - again
    return ready, seconds, max(end - start - seconds, 0.0)


def on_cores(case):
    """Processor time is that of one core: threads that are made from now on stay on it. Wall time: all cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(CORES)} if case.clock is time.process_time else CORES)


@pytest.fixture
def timed(benchmark, prepared):
    """timed(turn): prepare and check the way in its first turn, time it in every turn."""

    def run(turn):
        case, way = turn.case, turn.way
        on_cores(case)
        if prepared and next(iter(prepared))[0] != case.name:
            prepared.clear()
        key = case.name, way.name
        if key not in MISSING and key not in prepared:
            try:
                prepared[key] = prepare(way)
            except Missing as missing:
                MISSING[key] = str(missing)
        if key in MISSING:
            pytest.skip(f"{way.name}: {MISSING[key]}")
        ready, seconds, compile_s = prepared[key]
        slow = seconds > 0.2
        if not slow:
            ready.call()
        wall, cpu = time.perf_counter(), time.process_time()
        benchmark.pedantic(ready.call, rounds=1 if slow else case.calls, iterations=1)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        benchmark.extra_info.update(
            case=case.name, round=turn.round, way=way.name, role=way.role, work=ready.work, steps=ready.steps,
            pictures=ready.pictures, compile_s=compile_s, cpu_per_wall=cpu / wall)

    return run
