"""The companion's argument from end to end on two or three draws: a change that flips a conclusion fails here first."""

import pytest
import torch

from mrpbook.finetune import fit_head
from mrpbook.network import SmoothedReLU
from mrpbook.objectives import NormalisedTeacher, PlainDecoder
from mrpbook.pretrain import pretrain, pretrain_along_arcs
from mrpbook.semantics import holding
from mrpbook.studies import capture, downstream


@pytest.fixture(scope="module")
def default():
    """Three draws of the default setting."""
    return [capture.race(seed, noise=0.1, K=200, time=180, patience=0) for seed in range(3)]


def test_there_is_a_common_time_at_which_all_semantics_are_captured(default):
    for cell in default:
        assert 80 <= cell["T"] <= 180
        at_T = cell["times"] == cell["T"]
        assert cell["semantics"][at_T] == 1 and (cell["semantics"][cell["times"] < cell["T"]] < 1).all()
        assert 0.2 < cell["captured"][at_T] < 0.8  # many kernels are still on their way


def test_at_that_time_kernels_are_single_and_hold_one_class(default):
    for cell in default:
        at_T = cell["times"] == cell["T"]
        assert cell["single"][at_T] >= 0.95 and cell["one_class"][at_T] >= 0.98


def test_the_largest_initial_overlap_wins_for_most_kernels():
    cell = capture.race(3, noise=0.1, K=80, time=250, patience=600)
    assert cell["count_end"] > 70 and cell["predicted"] > 0.85 * cell["count_end"]


def test_with_half_of_the_patches_hidden_kernels_fuse_within_their_class_and_with_a_tenth_hidden_they_do_not():
    for seed in range(2):
        half, tenth = (capture.race(seed, noise=0.3, theta=theta, K=60, time=300, patience=0) for theta in (0.5, 0.9))
        assert half["captured"][-1] > 0.9 and tenth["captured"][-1] > 0.9
        assert half["single"][-1] < 0.25 and tenth["single"][-1] > 0.85
        assert half["one_class"][-1] > 0.95


@pytest.fixture(scope="module")
def rescaled():
    """Two draws of the rescaled teacher."""
    return [capture.arcs(seed, K=40, steps=200) for seed in range(2)]


def test_the_rescaled_teacher_looks_single_along_arc_length(rescaled):
    for cell in rescaled:
        done = (cell["arc_captured"] == 1).nonzero()[0]
        assert cell["arc_single"][done] > 0.95 and cell["arc_one_class"][done] > 0.95


def test_the_rescaled_teacher_is_fused_at_every_common_time(rescaled):
    for cell in rescaled:
        several = cell["common_count"] >= 4
        assert several.sum() > 20 and cell["common_single"][several].max() < 0.3
        assert cell["capture_spread"] > 30 and cell["gap"] < 0.01


@pytest.fixture(scope="module")
def supervised():
    """Two draws of the fixed-head network from scratch."""
    return [downstream.supervised(seed, N=600) for seed in range(2)]


def test_supervised_learning_learns_one_view_of_most_classes_and_fails_on_the_other(supervised):
    for cell in supervised:
        single, multi = cell["correct"] / downstream.TESTS
        assert cell["reached"] and multi > 0.99 and 0.45 < single < 0.72
        views = cell["learned"].sum(1)
        assert (views >= 1).all() and (views == 1).sum() >= 7


def test_supervised_learning_no_longer_fails_once_the_weak_view_outweighs_other_classes(supervised):
    for cell in supervised:
        assert cell["correct_wrong_order"] > 0.98 * downstream.TESTS


def test_a_head_on_pretrained_kernels_does_not_fail_on_single_view_data():
    """At noise 0.3 and 60 kernels, where untrained kernels do fail."""
    for seed in range(2):
        m, act, _, S, w0 = capture.setting(seed, 0.3, 60)
        w = pretrain(NormalisedTeacher(0.9), S.X, w0, act, steps=300, snapshots=300).last
        L, tests = m.sample(300, seed, "labels", mu=0.0), downstream.test_sets(m, seed)
        heads = [fit_head(bank, L.X, L.y, m.k, act) for bank in (w0, w)]
        untrained, pretrained = (downstream.right([h.scores(t.X) for t in tests], tests) / downstream.TESTS for h in heads)
        assert pretrained[0] > untrained[0] + 0.03 and pretrained[0] > 0.88 and pretrained[1] > 0.97


def test_with_c_one_and_nothing_hidden_nothing_is_captured():
    m, act, V, S, w0 = capture.setting(0, 0.1, 40)
    after = pretrain(PlainDecoder(1.0), S.X, w0, act, lr=1000.0, steps=100, snapshots=100).last
    assert (after - w0).norm() < 1e-3 * w0.norm() and not holding(after, V, m, act).captured.any()
    arcs = pretrain_along_arcs(PlainDecoder(0.9), S.X, w0, act, steps=120)  # a tenth hidden is enough
    assert holding(arcs.kernels[-1], V, m, act).captured.all()


@pytest.mark.parametrize("seed", [0, 1])
def test_with_c_one_kernels_fuse_the_views_of_a_class_if_a_semantic_fits_in_one_patch(seed):
    fused, parts = (capture.arcs(seed, K=40, objective="plain", C_p=C_p, steps=120) for C_p in (1, 4))
    for cell, single in ((fused, False), (parts, True)):
        done = (cell["arc_captured"] == 1).nonzero()[0]
        assert cell["arc_single"][done] > 0.9 if single else cell["arc_single"][done] < 0.1
        assert cell["arc_one_class"][done] > 0.5  # two semantics at random: 1 of 19


def test_the_activation_of_the_studies_is_the_default_one():
    assert capture.setting(0, 0.1, 1)[1] == SmoothedReLU() == SmoothedReLU(4, 0.3)
    assert torch.equal(capture.setting(5, 0.1, 3)[4], capture.setting(5, 0.3, 9)[4][:3])
