"""What the page on the window measures: the clock of single kernels, against plain descent and closed forms."""
import math

import numpy as np
import pytest
import torch

import mrpbook as mb
from mrpbook.studies import capture, follow, window


@pytest.fixture(scope="module")
def noisy():
    return {k: np.asarray(v) for k, v in window.times(3, noise=0.3, theta=0.5, K=10, share=0.9).items()}


def test_a_long_step_is_second_order_and_stable_where_plain_descent_is_not():
    stiff = torch.tensor([8.0, 0.01], dtype=torch.float64)  # 8 * dt = 16 > 2
    w = torch.ones(1, 2, dtype=torch.float64)
    for _ in range(10):
        w = follow.step(lambda x: -stiff * x, w, -stiff * w, torch.tensor([[2.0]]), stages=6)
    assert abs(w[0, 0]) < 0.4 and w[0, 1].item() == pytest.approx(math.exp(-0.2), rel=1e-5)


@pytest.mark.parametrize("stages", [2, 4, 6])
def test_halving_the_step_divides_the_error_by_four(stages):
    def error(dt):
        w = torch.ones(1, 1, dtype=torch.float64)
        for _ in range(round(1 / dt)):
            w = follow.step(lambda x: -(x**2), w, -(w**2), dt, stages)
        return abs(w.item() - 0.5)
    assert error(0.1) / error(0.05) == pytest.approx(4, rel=0.25)


def test_kernels_followed_one_by_one_are_captured_when_plain_descent_captures_them(noisy):
    m, act, V, S, w0 = capture.setting(3, 0.3, 10, 200, mu=0.0)
    path = mb.pretrain.pretrain(mb.NormalisedTeacher(0.5), S.X, w0, act, lr=1.0, steps=600, snapshots=2)
    held = mb.holding(path.kernels, V, m, act)
    common = mb.semantics.first_time(held.captured, path.times)
    both = common.isfinite().numpy()
    assert both.sum() >= 8 and noisy["capture"][both] == pytest.approx(common.numpy()[both], rel=0.06)
    at = int(noisy["time"] / 2)
    assert noisy["captured"] == 9 and abs(int(held.captured[at].sum()) - 9) <= 1
    assert abs(int(noisy["single"]) - int(held.single[at].sum())) <= 1


def test_windows_are_followed_in_time_and_not_in_steps():
    all_of_them = np.asarray(window.times(3, theta=0.5, K=10, enough=1.0)["window"])
    half = np.asarray(window.times(3, theta=0.5, K=10, enough=0.5)["window"])
    known = np.isfinite(half)
    assert half[known] == pytest.approx(all_of_them[known], rel=1e-3)
    wanted = math.ceil(0.5 * (~np.isnan(half)).sum())
    assert np.nanmax(half[known]) >= np.sort(all_of_them[~np.isnan(all_of_them)])[wanted - 1] * 0.999
    assert window.typical({"window": half}) == pytest.approx(np.quantile(all_of_them[~np.isnan(all_of_them)], 0.5,
                                                                         method="inverted_cdf"), rel=1e-3)


def test_without_noise_the_window_is_the_predicted_one_and_a_kernel_without_a_second_view_is_not_asked():
    cell = {k: np.asarray(v) for k, v in window.times(1, noise=0.0, theta=0.5, sigma_0=0.1, enough=0.3, predict=True).items()}
    assert abs(window.log_ratio(cell, {"window": cell["predicted"]}, "window")) < 0.05
    assert 0 < np.isnan(cell["window"]).sum() < 16
    assert (np.isnan(cell["predicted"]) == ~np.isfinite(cell["window"])).all()


@pytest.mark.parametrize("given, power", [({}, 2), ({"tau": 1.3}, 6)])
def test_capture_takes_longer_by_the_power_of_the_teacher(given, power):
    late, soon = (window.times(0, noise=0.3, sigma_0=size, enough=0, K=6, N=60, **given) for size in (0.0125, 0.025))
    assert window.log_ratio(late, soon, "capture") / math.log(2) == pytest.approx(power, abs=0.05)


def test_only_the_mask_moves_the_lead_if_the_patches_of_a_view_are_equal_and_not_otherwise():
    equal, unequal = window.lead_errors(0), window.lead_errors(0, equal=False)
    assert set(equal) == {"NormalisedTeacher", "RescaledTeacher", "PlainDecoder", "Oracle"}
    assert max(equal.values()) < 1e-6 and min(unequal.values()) > 0.1


def test_a_mask_that_is_taken_away_keeps_kernels_single_and_a_constant_one_does_not():
    kept, constant = (window.scheduled(2, K=8, N=100, time=600, **given) for given in ({"release": True}, {}))
    assert torch.equal(kept["captured"][:2], constant["captured"][:2])
    assert kept["single"][-1] > 0.9 and constant["single"][-1] < 0.1 and len(kept["times"]) == len(kept["single"]) == 31
    annealed = window.scheduled(2, K=8, N=100, time=600, p=2.0)
    assert annealed["single"][-1] > 0.5


def test_the_ratio_is_taken_over_kernels_known_in_both():
    one, other = {"window": [2.0, math.inf, 8.0, 0.0, math.nan]}, {"window": [1.0, 1.0, 1.0, 1.0, 1.0]}
    assert window.log_ratio(one, other, "window") == pytest.approx((math.log(2) + math.log(8)) / 2)


def test_the_typical_start_scales_with_the_kernels_and_has_the_other_view_behind():
    first, second = window.starts(range(4))
    assert 0 < second < first
    assert window.starts(range(4), sigma_0=0.1) == pytest.approx((2 * first, 2 * second))
