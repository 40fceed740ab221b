"""The draws of chapter 3, both noise levels, in one process for each core."""
import time

import torch
from joblib import Parallel, cpu_count, delayed

from mrpbook import sweep
from mrpbook.studies import capture

from . import ways
from .compare import Case, Ready, Way

DRAWS, K = {"tiny": 2, "bench": 8, "full": 256}, 200
SETTING = capture.setting(0, 0.1, 1)[3].X.shape  # N, P, d
PRODUCTS = 50


def chapter(draws: int, **more) -> Ready:
    """Half of the draws at each noise level, three quarters to time 300 and the others to T, as the chapter runs them.

    steps: of a whole network of K kernels.
    """
    seeds = range(1000, 1000 + draws // 2)
    cells = [cell | more for noise in (0.1, 0.3) for cell in capture.default_cells(seeds, noise, 3 * len(seeds) // 4)]

    def call():
        return sweep.run(capture.race, cells)

    def check(found):
        assert [float(cell["T"]) for cell in found] == first

    done = call()
    first = [float(cell["T"]) for cell in done]
    kernel_steps = sum(int(cell["kernel_steps"]) for cell in done)
    return Ready(call, 4e-9 * SETTING.numel() * kernel_steps, check, round(kernel_steps / more.get("K", K)))


def products(count: int):
    torch.set_num_threads(1)
    call = ways.large_product().call
    for _ in range(count):
        last = call()
    return last[:1, :1]


def on_every_core(count: int) -> Ready:
    cores = cpu_count()
    work = Parallel(n_jobs=cores)
    return Ready(lambda: work(delayed(products)(count) for _ in range(cores)), cores * count * 2e-9 * ways.PEAK**3,
                 lambda found: None)


def cases(size):
    draws, small = DRAWS[size], {"K": 20, "time": 20, "limit": 20, "patience": 20} if size == "tiny" else {}
    yield Case(f"{draws} draws of chapter 3, on every core", [
        Way("a large product, on every core", lambda: on_every_core(2 if size == "tiny" else PRODUCTS), "peak"),
        Way("to their verdicts", lambda: chapter(draws, **small), "base")],
               rounds=2 if size == "tiny" else 1, calls=1, clock=time.perf_counter)


def test_the_draws_of_a_chapter(turn, timed):
    timed(turn)
