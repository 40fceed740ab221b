"""Labels fine and coarse: the data, the labels, and the studies, small."""
import numpy as np
import pytest
import torch

from mrpbook import MultiView, SmoothedReLU
from mrpbook.hierarchy.labels import Grained, merged, shuffled
from mrpbook.semantics import holding
from mrpbook.studies import fine

M = Grained()


@pytest.fixture(scope="module")
def samples():
    return M.sample(400, 3, mu=0.5)


def test_a_sample_shows_the_semantic_of_its_superclass_and_that_of_its_subclass(samples):
    easy = samples.select(~samples.single)
    mine = torch.stack([M.coarse(easy.y), M.superclasses + easy.y], 1)
    assert (easy.strengths.gather(1, mine) >= 1).all()
    assert (easy.strengths.scatter(1, mine, 0.0) <= 0.4).all()


def test_a_hard_sample_shows_its_common_semantic_at_a_fiftieth_only(samples):
    hard = samples.select(samples.single)
    common = hard.strengths.gather(1, M.coarse(hard.y)[:, None])
    assert (common <= 0.02 * 1.2).all() and (common >= 0.02).all()
    assert (hard.strengths.gather(1, M.superclasses + hard.y[:, None]) >= 1).all()
    assert (hard.strong == 1).all() and (samples.strong[~samples.single] == -1).all()


def test_only_semantics_of_other_superclasses_join_and_as_often_as_their_own_label_occurs():
    S = M.sample(4000, 0, mu=0.0)
    top = torch.cat([torch.arange(4), torch.arange(16) // 4])
    foreign = S.strengths > 0
    foreign[torch.arange(4000), M.coarse(S.y)] = foreign[torch.arange(4000), 4 + S.y] = False
    assert not (foreign & (top == M.coarse(S.y)[:, None])).any()
    rates = foreign.float().mean(0)
    assert rates[:4].mean() == pytest.approx(3 / 16, abs=0.03) and rates[4:].mean() == pytest.approx(3 / 64, abs=0.01)


def test_patches_hold_what_the_strengths_say(samples):
    total = torch.zeros(len(samples), M.n + 1).scatter_add_(1, samples.patch_semantic % (M.n + 1), samples.z)[:, :M.n]
    assert torch.allclose(total, samples.strengths, atol=1e-5)
    assert samples.X.shape == (400, 16, 60) and M.semantics(3).shape == (20, 60)


@pytest.mark.parametrize("wrong", [dict(superclasses=3), dict(views=1), dict(superclasses=1)])
def test_superclasses_that_do_not_divide_the_subclasses_are_refused(wrong):
    with pytest.raises(ValueError, match="superclasses"):
        Grained(**wrong)


def test_shuffled_labels_keep_superclasses_and_sizes_and_name_nothing_else():
    y = torch.arange(16).repeat(100)
    new = shuffled(M, y, 0)
    assert torch.equal(M.coarse(new), M.coarse(y)) and torch.equal(new.bincount(), y.bincount())
    assert (new == y).float().mean() == pytest.approx(0.25, abs=0.05)
    assert torch.equal(new, shuffled(M, y, 0)) and not torch.equal(new, shuffled(M, y, 1))


def test_merged_scores_add_chances():
    F = torch.randn(5, 16)
    chances = torch.softmax(F, 1).view(5, 4, 4).sum(2)
    assert torch.allclose(torch.softmax(merged(F, 4), 1), chances, atol=1e-6)
    assert torch.allclose(merged(F, 16), F)


def test_crossed_labels_hold_one_subclass_of_every_superclass():
    y, classes = fine.labels_of("crossed", M, torch.arange(16), 0)
    assert classes == 4 and all(M.coarse(torch.arange(16)[y == i]).tolist() == [0, 1, 2, 3] for i in range(4))


@pytest.mark.parametrize("name, common, rest", [("coarse", 4, 1), ("fine", 1, 1.25), ("crossed", 0, 1), ("shuffled", 1, 0.25)])
def test_demand_of_each_labelling_is_that_of_the_table(name, common, rest):
    S = M.sample(8000, 0, mu=0.0)
    y, classes = fine.labels_of(name, M, S.y, 0)
    shows = (S.strengths >= 1).float()
    together = torch.nn.functional.one_hot(y, classes).float().T @ shows / len(y)  # P(i, j)
    d = (together - shows.mean(0) / classes) / ((1 - 1 / 4) / 16)
    own = together > 0
    assert d[:, :4][own[:, :4]].mean().item() == pytest.approx(common, abs=0.05)
    assert d[:, 4:][own[:, 4:]].mean().item() == pytest.approx(rest, abs=0.05)


def test_a_semantic_beside_a_stronger_one_in_the_same_kernel_is_reached_but_not_captured():
    V, act = M.semantics(0), SmoothedReLU()
    w = 4 * V.clone()
    w[4] = 5 * V[0] + 4 * V[4]  # one fused kernel
    w[9] = 0.0  # nothing holds fine semantic 5
    assert holding(w, V, M, act).semantics.nonzero()[:, 0].tolist() == [j for j in range(20) if j not in (4, 9)]
    assert fine.reached(w, V, M, act).nonzero()[:, 0].tolist() == [j for j in range(20) if j != 9]


@pytest.fixture(scope="module")
def small():
    return fine.draw(3, N=160, steps=100, tune=("coarse", "MRP"))


def test_the_shapes_of_a_draw_are_as_documented(small):
    nets = len(fine.NETS)
    assert small["own"].shape == (nets, 2) and small["heads"].shape == (nets, 2, 2) and small["tuned"].shape == (2, 2)
    assert small["best"].shape == (nets, 20) and small["held"].shape == (nets, 2) and small["lost"].shape == (nets, 4)


def test_what_is_held_counts_what_is_captured_and_more(small):
    assert (small["held"] >= np.stack([small["common"], small["fine"]], 1)).all()
    assert small["held"][fine.NETS.index("shuffled"), 1] > small["fine"][fine.NETS.index("shuffled")]
    assert (small["lost"].sum(1) == 16 - small["held"][:, 1]).all()


def test_untrained_kernels_capture_nothing_and_a_free_head_reads_hard_samples_from_them_all_the_same(small):
    assert small["common"][0] == small["fine"][0] == 0 and not small["own"][0].any()
    assert (small["heads"][0, 0] > 900).all()


def test_coarse_labels_teach_common_semantics_and_masked_reconstruction_teaches_both(small):
    coarse, masked = fine.NETS.index("coarse"), fine.NETS.index("MRP")
    assert small["common"][coarse] == 4 and small["fine"][coarse] <= 3 and small["fine"][masked] >= 12
    assert small["own"][coarse, 0] > 990 and small["own"][coarse, 1] < 350
    assert small["tuned"][1, 1] > small["tuned"][0, 1] + 300


def test_a_head_is_right_where_the_subclass_has_a_label_and_a_kernel():
    found = fine.coupon(3, N=160, Ns=(4, 32))
    assert found["labelled"][1, 0].min() == 1000 and (found["labelled"][0, 0] > found["labelled"][0, 1]).all()
    assert abs(found["correct"][1, 1] - found["known"][1]) < 100 and found["correct"][1, 0] == 1000


def test_masked_reconstruction_captures_frequent_subclasses_rather_than_rare_ones():
    found = fine.rare(3, 0.1, nets=("untrained", "MRP"), N=320)
    assert found["counts"].tolist() == [55, 18, 6, 2] and found["hard"].shape == (2, 3, 4)
    assert found["captured"][1, 0] == 4 > found["captured"][1, 3] and not found["captured"][0].any()
    assert found["cases"].sum() == 2000 and (found["held"] >= found["captured"]).all()


def test_pictured_overlaps_are_those_of_the_networks():
    found = fine.pictured(3, nets=("coarse",), N=160, steps=40)["overlaps"]
    assert found.shape == (1, 96, 20) and np.count_nonzero(found.amax(1) >= 1) >= 4


def test_the_hierarchy_counts_its_semantics_and_keeps_room_and_strength_of_the_multi_view_model():
    assert M.n == 20 and M.room == MultiView().room == 2 and M.patch_strength == MultiView().patch_strength
