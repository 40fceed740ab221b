"""One draw with an assumption moved: forecasts are right where they should be, and wrong without an assumption they need."""
import numpy as np
import pytest
import torch

from mrpbook.studies import assumptions
from mrpbook.studies.capture import setting


@pytest.fixture(scope="module")
def default():
    return assumptions.moved(3, K=40, N=150)


def test_most_captured_kernels_hold_what_was_forecast_for_them(default):
    assert default["won"] >= 0.85 * default["count"] > 0
    assert float(default["semantics"]) / default["n"] == pytest.approx(float(default["forecast"]), abs=0.11)  # two of twenty


def test_noise_beyond_its_break_drowns_the_head_start():
    noisy = assumptions.moved(3, K=40, N=150, noise=0.6, lr=2.5)
    assert noisy["won"] < 0.8 * noisy["count"] and noisy["single"] < 0.7 * noisy["count"]


def test_the_forecast_of_kernels_falls_with_weak_views_and_so_does_what_is_measured(default):
    weak = assumptions.moved(3, K=40, N=150, view_ratio=0.5)
    for name in ("law", "law_kernels", "forecast", "semantics", "count"):
        assert float(weak[name]) < float(default[name]), name


def test_mean_squares_are_those_of_the_strengths_in_the_samples():
    m, _, _, S, _ = setting(2, 0.1, 1, N=50)
    square = assumptions.mean_squares(S, m.n, 4)
    for j in (0, 7):
        z = torch.where(S.patch_semantic == j, S.z, 0.0)
        assert square[j] == pytest.approx(float((z**4).sum(1).double().pow(2).mean()), rel=1e-5)


def test_a_draw_is_its_seed_and_nothing_else():
    a, b = (assumptions.moved(5, K=8, N=40, time=40) for _ in range(2))
    assert all(np.array_equal(np.asarray(a[name]), np.asarray(b[name])) for name in a)


def test_more_classes_are_given_time_kernels_and_samples_in_proportion():
    small = assumptions.ladder(1, k=5)
    assert len(small["winner"]) == 20 and small["n"] == 10
    assert float(small["times"][-1]) == pytest.approx(300 * 0.5**0.5, rel=0.02)


def test_the_reader_of_the_learned_views_is_right_where_the_weak_view_outweighs_other_classes():
    found = assumptions.read_out(1, labels=100, K=0, tests=200, rhos=(0.02, 0.3))
    assert found["reader"][1] > 0.95 * 200 > found["reader"][0]
    assert found["supervised"][1] > found["supervised"][0] + 20
    assert "mrp" not in found and bool(found["reached"])


def test_heads_are_read_on_the_same_tests_as_the_network():
    found = assumptions.read_out(1, labels=60, K=20, tests=100)
    assert {name: tuple(found[name].shape) for name in ("supervised", "untrained", "mrp", "reader")} == dict.fromkeys(
        ("supervised", "untrained", "mrp", "reader"), (1,))
    assert all(0 <= int(found[name][0]) <= 100 for name in ("supervised", "untrained", "mrp", "reader"))
