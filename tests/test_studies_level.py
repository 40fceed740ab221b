"""One draw at one mask and one patch size: the clock, the counts, the prediction, and the theorem behind them."""
import numpy as np
import pytest

import mrpbook as mb
from mrpbook.studies import level

SMALL = dict(K=24, N=80)


@pytest.fixture(scope="module")
def cells():
    return {key: level.cell(5, *key, **SMALL) for key in ((1.0, 4), (0.5, 4), (0.9, 1))}


def test_the_same_picture_has_the_same_strength_and_noise_however_it_is_cut():
    for C_p in (1, 2, 4):
        m, *_, S, _ = level.picture(5, C_p, 0.3, 1, 50)
        assert m.P == 4 * C_p and m.P * m.sigma_p**2 * m.d == pytest.approx(16 * 0.3**2)
        own = S.strengths[S.strengths > 0.9]
        assert own.min() >= 1.0 and own.max() <= 1.2


def test_hiding_half_makes_kernels_class_level_and_hiding_nothing_does_not(cells):
    assert cells[0.5, 4]["counts"][0, 2] > 0.7 * cells[0.5, 4]["counts"][0, 0]
    assert cells[1.0, 4]["counts"][0, 2] < 0.2 * cells[1.0, 4]["counts"][0, 0]


def test_a_tenth_of_large_patches_is_enough(cells):
    counts = cells[0.9, 1]["counts"][0]
    assert counts[2] > 0.5 * counts[0]


def test_part_level_and_class_level_kernels_are_captured_and_distinct(cells):
    for c in cells.values():
        assert (c["counts"][:, 1] + c["counts"][:, 2] <= c["counts"][:, 0]).all() and (c["counts"][:, 0] <= 24).all()


def test_the_later_of_the_two_clocks_has_captured_no_fewer_kernels(cells):
    for c in cells.values():
        own, fixed = c["counts"][:, 0]
        assert (own >= fixed) == (level.OWN * c["t"] >= level.FIXED) or own == fixed


def test_untrained_kernels_do_not_depend_on_the_mask(cells):
    assert cells[1.0, 4]["correct"][0] == cells[0.5, 4]["correct"][0] < cells[0.5, 4]["correct"][1]


def test_fusion_takes_forever_without_a_mask_and_less_time_the_more_is_hidden():
    waits = [level.predicted(theta, 2)["wait"] for theta in (1.0, 0.9, 0.5)]
    assert waits[0] == np.inf and waits[1] > 3 * waits[2] > 0


def test_parts_of_two_patches_are_parts_of_one_under_half_of_kappa_and_not_under_the_same():
    same, other = (level.one_number(5, 2, 0.5, alike, N=20, K=3, time=20.0) for alike in (0.25, 0.5))
    assert same["difference"] < 1e-12 < 0.01 < other["difference"] and same["moved"] > 0.1


def test_the_plain_decoder_on_parts_of_one_patch_is_not_part_level():
    one, four = (level.plain(5, C_p=C_p, **SMALL)["counts"] for C_p in (1, 4))
    assert one[1] < 0.2 * one[0] and four[1] > 0.7 * four[0]


def test_a_kernel_of_both_views_of_a_class_is_class_level_and_one_of_two_classes_is_neither():
    m = mb.MultiView()
    V = m.semantics(0)
    w = 2 * mb.MultiView().semantics(0)[:3].clone()
    w[1] += 2 * V[0]  # views 0 and 1: one class
    w[2] += 2 * V[5]  # views 2 and 5: two classes
    assert [int(n) for n in level.held(w, V, m, mb.SmoothedReLU())] == [3, 1, 1]
