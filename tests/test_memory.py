"""A request that cannot fit is answered before it starts; one that fits is not refused."""
import tracemalloc

import pytest
import torch

from mrpbook import memory
from mrpbook.blocks import Blocks, CompiledBlocks
from mrpbook.data import MultiView
from mrpbook.network import initial_kernels, responses
from mrpbook.objectives import NormalisedTeacher
from mrpbook.pretrain import pretrain, pretrain_along_arcs

MODEL = MultiView()


def endless(*shape):
    """A tensor of any shape that takes four bytes."""
    return torch.zeros(1).expand(*shape)


def test_samples_that_cannot_fit_are_refused_with_size_and_remedy():
    with pytest.raises(MemoryError, match=r"N = 1000000000 samples.*needs [\d,.]+ GiB and .* are free: lower N, P or d"):
        MODEL.sample(10**9, 0)


@pytest.mark.parametrize("kind", [Blocks, CompiledBlocks])
def test_a_gradient_that_cannot_fit_is_refused(kind):
    with pytest.raises(MemoryError, match=r"a gradient for N = 100000000, P = 16, K = 200 needs .* lower N or K"):
        kind(endless(10**8, 16, 60), 200, 4, keep=True)


def test_snapshots_that_cannot_fit_are_refused_before_the_first_step():
    X, w = MODEL.sample(2, 0).X, initial_kernels(10**5, MODEL.d, 0)
    with pytest.raises(MemoryError, match="100001 snapshots of K = 100000 kernels"):
        pretrain(NormalisedTeacher(), X, w, steps=10**5, snapshots=1)
    with pytest.raises(MemoryError, match="over steps = 100000 needs .* lower steps or K"):
        pretrain_along_arcs(NormalisedTeacher(), X, w, steps=10**5)


def test_responses_that_cannot_fit_are_refused():
    with pytest.raises(MemoryError, match="responses of K = 100000 kernels to N = 100000000 samples"):
        responses(endless(10**5, 4), endless(10**8, 1, 4))


def test_a_request_is_judged_by_what_is_free_now(monkeypatch):
    class Machine:
        available = 2**30

    monkeypatch.setattr(memory, "available", lambda: Machine.available)
    memory.check_fits("this", 2**30, "it")
    with pytest.raises(MemoryError, match="this needs 1.0 GiB and 1.0 GiB are free: lower it"):
        memory.check_fits("this", 2**30 + 1, "it")


def test_the_size_named_for_samples_is_the_peak_that_they_need(monkeypatch):
    asked = []
    monkeypatch.setattr("mrpbook.data.check_fits", lambda what, size, lower: asked.append(size))
    tracemalloc.start()
    MODEL.sample(4000, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak / 1.3 <= asked[0] <= peak * 1.3


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    free = memory.available(tmp_path)  # no group: the machine's
    for limit, expected in (("1000", 400), ("max", None), (str(2**60), None)):
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text("600")
        found = memory.available(tmp_path)
        assert found == expected if expected else found > free / 2
