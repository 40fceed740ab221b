"""One draw of pretraining: what is counted, when, and on which clock."""
import numpy as np
import pytest
import torch

import mrpbook as mb
from mrpbook.studies import capture


@pytest.fixture(scope="module")
def race():
    return capture.race(7, noise=0.3, K=100, time=200, patience=400)


@pytest.fixture(scope="module")
def arcs():
    return capture.arcs(7, K=20, steps=200, grid=12, tau=1.3)


def test_the_captured_share_is_counted_in_each_disjoint_subset_alone():
    winner = [0, 0, 1, -1, 2, 3, 3]  # the seventh kernel belongs to no subset of three
    assert capture.captured_in_subsets(winner, 3, 4).tolist() == [0.5, 0.5]
    assert capture.captured_in_subsets(winner, 7, 4).tolist() == [1.0]


def test_copies_of_kernels_capture_no_more_than_their_originals():
    assert capture.captured_in_subsets(np.tile([3, 1, 3, 0, 2], 16), 80, 20).tolist() == pytest.approx([4 / 20])


def test_fusion_is_the_first_time_at_which_a_twentieth_of_the_captured_kernels_are_not_single():
    single = [[0.0, 1.0, 0.96, 0.95], [0.0, 0.9, 1.0, 1.0], [0.0, 1.0, 1.0, 0.96]]
    count = [[0, 5, 90, 99], [0, 10, 90, 99], [0, 5, 90, 99]]  # nothing captured is not fused
    assert capture.fusion_times(single, count, [0.0, 10.0, 20.0, 30.0]).tolist() == [30, 10, 30]


def test_arc_shares_are_read_where_all_kernels_have_captured_and_are_missing_where_they_never_do():
    done = {"arc_captured": torch.tensor([0.0, 0.9, 1.0, 1.0]), "arc_single": torch.tensor([0.1, 0.2, 0.3, 0.4])}
    never = done | {"arc_captured": torch.tensor([0.0, 0.9, 0.9, 0.9])}
    value, missing = capture.when_all_captured([done, never], "single").tolist()
    assert value == pytest.approx(0.3) and np.isnan(missing)


def test_the_counts_at_T_are_those_of_the_network_at_T(race):
    assert race["T"] < torch.inf
    row = int((race["times"] == race["T"]).nonzero()[0])
    assert race["count_T"] == race["count"][row]
    assert race["single_T"] / race["count_T"] == pytest.approx(float(race["single"][row]))
    assert race["one_class_T"] / race["count_T"] == pytest.approx(float(race["one_class"][row]))
    assert (race["semantics"][:row] < 1).all()


def test_each_kernel_is_read_where_it_first_captured(race):
    m, act, V, _, _ = capture.setting(7, 0.3, 100)
    held = mb.holding(race["at_capture"], V, m, act)
    assert race["count_end"] == held.captured.sum() >= race["count"][-1] > 0
    assert (race["winner"] >= 0).equal(held.captured)
    final = mb.holding(race["kernels"], V, m, act)
    both = held.captured & final.captured
    assert (held.overlaps[both].amax(1) <= final.overlaps[both].amax(1) + 1e-4).all()  # it went on growing after capture


def test_the_race_of_a_kernel_does_not_depend_on_how_many_others_run(race):
    alone = capture.race(7, noise=0.3, K=10, time=200, patience=0)
    torch.testing.assert_close(alone["kernels"], race["kernels"][:10], rtol=1e-3, atol=1e-3)
    assert "winner" not in alone  # nobody was followed to capture


def test_head_starts_count_every_captured_kernel_once_and_agree_with_the_race(race):
    start = capture.head_start(7, race["winner"], edges=(0.0, 0.5, 1.0))
    assert start["kernels"].sum() == race["count_end"] and start["won"].sum() == race["predicted"]
    nobody = capture.head_start(7, torch.full((40,), -1))
    assert nobody["kernels"].sum() == nobody["won"].sum() == 0


def test_more_masking_fuses_kernels_sooner_and_within_their_class(race):
    heavy = capture.race(7, noise=0.3, theta=0.5, K=40, time=300, patience=0)
    light = capture.race(7, noise=0.3, theta=0.95, K=40, time=300, patience=0)
    assert heavy["single"][-1] < 0.5 < 0.9 < light["single"][-1]
    assert heavy["one_class"][-1] > 0.95


def test_without_a_mask_the_plain_decoder_captures_nothing_and_says_so():
    blank = capture.arcs(7, K=10, steps=40, objective="plain", theta=1.0)
    assert blank["arc_count"].sum() == 0 and np.isnan(blank["gap"]) and "common_single" not in blank
    assert capture.arcs(7, K=10, steps=40, objective="plain", theta=0.75)["arc_count"][-1] > 0


def test_at_the_last_common_time_every_kernel_that_captures_has_captured(arcs):
    assert arcs["common_captured"][-1] == arcs["arc_captured"].max() == 1
    assert arcs["common_captured"][0] == pytest.approx(1 / 20)  # at the first, the first one
    assert (arcs["common_captured"].diff() >= 0).all() and (arcs["reached"].diff() <= 0).all()


def test_equal_arc_length_flatters_the_rescaled_teacher_and_a_common_time_does_not(arcs):
    assert capture.when_all_captured([arcs], "single") > 0.9
    assert arcs["common_single"][arcs["common_captured"] >= 0.1].max() < 0.5
    assert arcs["capture_spread"] > 10 and arcs["gap"] < 0.01


def test_rate_two_reaches_at_each_common_time_what_rate_one_reaches():
    slow, fast = (capture.race(11, noise=0.3, K=80, time=200, patience=0, lr=lr) for lr in (1.0, 2.0))
    assert torch.equal(slow["times"], fast["times"])
    assert abs(float(slow["T"]) - float(fast["T"])) <= 10
    for name in ("captured", "semantics"):
        assert (slow[name] - fast[name]).abs().max() <= 0.1
    V = capture.setting(11, 0.3, 80)[2]
    same = (slow["kernels"] @ V.T).argmax(1) == (fast["kernels"] @ V.T).argmax(1)
    assert same.float().mean() >= 0.97
    assert (slow["kernels"] - fast["kernels"]).norm() <= 0.05 * slow["kernels"].norm()
