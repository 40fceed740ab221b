"""One draw with another optimiser, activation, axes or way to draw masks."""
import pytest
import torch

from mrpbook.studies import capture, sampled, variations


@pytest.mark.parametrize("axes", ["random", "axes", "hadamard"])
def test_turning_the_axes_is_a_rotation(axes):
    turn = variations.turned(capture.setting(7, 0.0, 1, N=1, d=64)[2], axes)
    assert torch.allclose(turn @ turn.T, torch.eye(64), atol=1e-5)


def test_semantics_can_be_turned_onto_axes_and_onto_hadamard_columns():
    V = capture.setting(7, 0.0, 1, N=1, d=64)[2]
    assert torch.allclose(V @ variations.turned(V, "axes").T, torch.eye(64)[:20], atol=1e-5)
    assert torch.allclose((V @ variations.turned(V, "hadamard").T).abs(), torch.full((20, 64), 1 / 8), atol=1e-5)


def test_descent_does_not_see_the_axes_and_adam_does():
    ends = {(rule, axes): variations.pretrained(7, rule, axes=axes, K=10, steps=80, share=1.0)["overlaps"]
            for rule in ("descent", "Adam") for axes in ("random", "axes")}
    assert torch.allclose(ends["descent", "random"], ends["descent", "axes"], atol=1e-3)
    assert not torch.allclose(ends["Adam", "random"], ends["Adam", "axes"], atol=0.5)


def test_one_length_for_the_network_learns_what_descent_learns_and_adam_more():
    both = {rule: variations.lottery(7, rule)["both"] for rule in ("descent", "one length", "Adam")}
    assert (both["descent"] == both["one length"]).float().mean() >= 0.9
    assert both["Adam"].sum() > both["descent"].sum() + 3


def test_favourites_are_split_when_both_views_lead_in_some_kernel():
    first = torch.tensor([[[0.2, 0.1], [0.1, 0.3]], [[0.2, 0.1], [0.3, 0.1]], [[-0.3, -0.1], [0.2, 0.1]]])
    assert variations._split(first).tolist() == [True, False, True]


def test_a_supervised_run_that_did_not_reach_its_loss_says_so():
    cell = variations.lottery(7, m=1, N=40, steps=20)
    assert not cell["reached"] and cell["loss"] > 0.01


def test_shares_are_of_the_kernels_that_have_grown():
    cell = variations.pretrained(7, activation="q = 3", K=20, steps=30)
    assert cell["reached"] and 16 <= cell["grown_at"] <= 20
    held = cell["winner"] >= 0
    assert held.sum() == cell["grown_at"]
    assert cell["single_at"] == (held & (cell["second"] < 0.3)).sum() <= cell["one_class_at"]
    assert (cell["other"] <= cell["second"] + 1e-6).all()


def test_relu_kernels_mix_classes_where_those_of_a_third_power_do_not():
    shares = {name: variations.pretrained(7, activation=name, K=20, steps=30, lr=1.0) for name in ("q = 3", "ReLU")}
    assert shares["q = 3"]["one_class_at"] > 0.9 * shares["q = 3"]["grown_at"]
    assert shares["ReLU"]["one_class_at"] < 0.2 * shares["ReLU"]["grown_at"]


@pytest.mark.parametrize("q", [1, 2, 4])
def test_views_of_a_class_occur_together_and_views_of_two_classes_do_not(q):
    same, other = variations.cosine(q)
    assert 0.8 < same < 1 and other < 0.05


def test_agreement_counts_kernels_captured_in_both_runs():
    one = {"captured": torch.tensor([True, True, False]), "winner": torch.tensor([1, 2, 3])}
    two = {"captured": torch.tensor([True, True, True]), "winner": torch.tensor([1, 5, 3])}
    both, same = sampled.agreement([one], [two])
    assert both == [2] and same == [1]


def test_fresh_masks_lead_most_kernels_where_averaged_ones_do():
    runs = [sampled.sampled(7, way, K=20, time=200) for way in ("fresh", "averaged")]
    both, same = sampled.agreement(runs[:1], runs[1:])
    assert both[0] > 10 and same[0] >= 0.9 * both[0]
