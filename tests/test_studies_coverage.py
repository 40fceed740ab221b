"""One draw pretrained where semantics are missing or rare."""
import numpy as np
import pytest
import torch

from mrpbook.studies import coverage
from mrpbook.studies.capture import setting
from mrpbook.studies.downstream import test_sets as both_tests

SEED = 5


@pytest.fixture(scope="module")
def views():
    return coverage.partial(SEED, missing=(1, 3, 5, 7, 9), K=60, labels=60)


@pytest.fixture(scope="module")
def rare():
    return coverage.rare(SEED, K=40, Ks=(20, 40), labels=60)


def test_groups_split_each_test_set_in_two():
    m = setting(SEED, 0.1, 1, N=1)[0]
    single, multi = tests = both_tests(m, SEED)
    group = coverage.groups(tests, (0, 1, 2), m.views)
    assert (group[:2].sum(0) == 1).all() and (group[2:].sum(0) == 1).all()
    assert torch.equal(group[1], (single.y == 0) | ((single.y == 1) & (single.strong == 0)))
    assert torch.equal(group[3], multi.y == 0)  # class 1 still has a view


def test_views_that_pretraining_showed_are_read_and_missing_ones_are_not(views):
    right = views["correct"] / views["cases"].clamp_min(1)
    assert (right[2:, 0] > 0.9).all() and (right[2:, 1] < 0.3).all() and (right[2:, 2] > 0.95).all()
    assert views["semantics"] <= 15 and views["after"] <= 15


def test_without_fine_tuning_there_is_no_fourth_method(views):
    plain = coverage.partial(SEED, missing=(1, 3, 5, 7, 9), K=60, labels=60, fine=False)
    assert torch.equal(plain["correct"], views["correct"][:3]) and "silence" not in plain


def test_untrained_kernels_do_not_depend_on_what_pretraining_showed(views):
    other = coverage.partial(SEED, missing=(), K=60, labels=60, time=20, fine=False)
    assert other["correct"][0, :2].sum() == views["correct"][0, :2].sum()


def test_a_class_never_shown_is_answered_after_fine_tuning_only():
    out = coverage.partial(SEED, missing=(0, 1), K=60, labels=60)
    right = out["correct"] / out["cases"].clamp_min(1)
    assert right[2, 3] < 0.2 and right[3, 3] > 0.9
    wrong, taken = out["silence"]
    assert wrong == out["cases"][0] - out["correct"][3, 0] and 0 <= taken <= wrong


def test_the_shapes_of_a_rare_draw_are_as_documented(rare):
    assert rare["initial"].shape == (40, 20) and rare["winner"].shape == (40,) and rare["holders"].shape == (16, 20)
    assert rare["single"].shape == rare["multi"].shape == (2, 10)
    assert ((rare["single"] >= 0) & (rare["single"] <= 1)).all() and rare["times"][-1] == 300


def test_frequent_semantics_have_more_kernels_and_have_them_earlier(rare):
    frequent, seldom = rare["holders"][:, :10].sum(1), rare["holders"][:, 10:].sum(1)
    assert frequent[6] > seldom[6] and frequent[-1] > seldom[-1]
    assert (rare["winner"] >= 0).float().mean() > 0.9


def test_errors_of_a_class_that_no_kernel_of_the_bank_holds_are_near_one(rare):
    missed = [i for i in range(10) if not torch.isin(rare["winner"], torch.tensor([2 * i, 2 * i + 1])).any()]
    held = [i for i in range(10) if all((rare["winner"] == 2 * i + view).any() for view in (0, 1))]
    assert held and (rare["single"][1, held] < 0.2).all()
    assert (rare["multi"][1, missed] > 0.5).all()


@pytest.mark.parametrize("objective, slope", [("normalised", -0.5), ("rescaled", -1.0)])
def test_capture_times_fall_with_frequency_as_derived(objective, slope):
    out = coverage.planted(SEED, objective)
    assert torch.isfinite(out["times"]).all() and float(out["slope"]) == pytest.approx(slope, abs=0.12)
    assert out["frequency"].sum() == pytest.approx(2) and np.asarray(out["square"]).shape == (20,)
