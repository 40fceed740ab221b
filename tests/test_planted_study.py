"""The theory's network on planted textures: what it holds, and controls that fail."""
import pytest
import torch

from mrpbook.studies import planted

SMALL = dict(N=150)
K = 80


@pytest.fixture(scope="module")
def grown():
    return {kind: planted.masked(1, K=K, background=kind, **SMALL) for kind in ("as they are", "Gaussian patches")}


@pytest.fixture(scope="module")
def bare():
    return planted.masked(1, K=K, bare=True, theta=0.5, **SMALL)


def test_a_texture_of_mean_strength_has_the_theorys_length_among_whitened_patches():
    s, X, truth = planted.setting(2)
    flat = torch.full((1, 1, 32, 32), 0.5)
    seen = s.patches(flat + s.model.patch_strength * s.pictures.T[0].view(8, 8).repeat(4, 4)) - s.patches(flat)
    assert torch.allclose(seen[0, 0], s.lengths[0] * s.V[0], atol=1e-4)
    assert float(s.lengths.mean()) == pytest.approx(s.model.patch_strength, rel=1e-4)
    assert X.shape == (300, 16, 64) and truth.patch_semantic.shape == (300, 16)


def test_a_pattern_is_the_patch_that_whitening_turns_into_the_kernel():
    s, _, _ = planted.setting(2)
    turned = s.patterns(s.V) @ s.whiten.matrix
    assert torch.allclose(turned, s.V, atol=1e-3)
    assert torch.nn.functional.cosine_similarity(s.patterns(s.V), s.pictures.T).min() > 0.999


def test_pretraining_and_test_pictures_are_other_pictures_and_bare_ones_their_backgrounds():
    s, X, truth = planted.setting(2)
    assert not torch.equal(s.samples(300, "test multi", 0.0)[0], X)
    bare, empty = s.patches(s.pictures.bare(300, "pretrain")), truth.patch_semantic < 0
    assert torch.allclose(bare[empty], X[empty], atol=1e-4) and not torch.allclose(bare[~empty], X[~empty], atol=0.01)


def test_photographs_are_heavy_tailed_and_alike_and_gaussian_patches_are_neither():
    real, smooth = (planted.statistics(0, background=kind) for kind in ("as they are", "Gaussian patches"))
    assert real["kurtosis"] > 8 and real["likeness"] > 0.1
    assert smooth["kurtosis"] == pytest.approx(3, abs=0.2) and abs(smooth["likeness"]) < 0.02
    assert real["overlap"].max() < 0.35


def test_kernels_hold_one_texture_on_gaussian_patches_and_often_several_on_photographs(grown):
    real, smooth = (grown[kind] for kind in ("as they are", "Gaussian patches"))
    assert smooth["single"][-1] > 0.95 and real["single"][-1] < 0.85
    assert smooth["captured"][-1] > real["captured"][-1] + 0.2
    assert smooth["inside"].median() > 0.9 > 0.5 > real["inside"].median()
    assert real["semantics"][-1] > 0.6 and int(real["holders"].sum()) == int(real["count"][-1])


def test_without_textures_in_the_pictures_none_is_captured(bare, grown):
    assert bare["semantics"][-1] < 0.3 < grown["as they are"]["semantics"][-1]


def test_supervised_learning_keeps_one_view_and_masked_reconstruction_both(grown):
    real = planted.supervised(1, **SMALL)
    tuned = planted.downstream(1, grown["as they are"]["kernels"].numpy(), **SMALL)
    assert (real["learned"].sum(1) == 1).sum() >= 6 and real["correct"][1] > 490
    assert tuned["fine"][0] > real["correct"][0] + 50 and tuned["fine"][1] > 490
    assert tuned["kept"] >= 0.9 * tuned["had"]


def test_with_single_view_labels_supervised_learning_keeps_both_views():
    told = planted.supervised(1, mu_train=0.3, **SMALL)
    assert (told["learned"].sum(1) == 2).sum() >= 8 and told["correct"][0] > 450


def test_kernels_that_saw_bare_photographs_are_worse_than_untrained_ones_and_wrong_labels_teach_nothing(grown, bare):
    def head(kernels=None, **options):
        return planted.downstream(1, kernels, K=K, fine=False, **SMALL, **options)["head"]

    good = head(grown["as they are"]["kernels"].numpy())
    blind = head(bare["kernels"].numpy())[0]
    assert good[0] > blind + 150 and head()[0] > blind + 150
    assert head(grown["as they are"]["kernels"].numpy(), shuffled=True)[1] < 150


def test_textures_off_the_grid_are_not_captured_one_class_at_a_time(grown):
    moved = planted.masked(1, K=K, jitter=2, **SMALL)
    assert moved["one_class"][-1] < 0.5 < grown["as they are"]["one_class"][-1]


def test_adam_and_a_transformer_learn_both_views_from_scratch_and_descent_does_not():
    adam = planted.downstream(1, K=K, rates=(0.01, 0.01), steps=100, optimiser="adam", **SMALL)
    descent = planted.supervised(1, **SMALL)
    block = planted.transformer(1, **SMALL)
    assert adam["fine"][0] > 450 and block["correct"][0] > 450 > 400 > descent["correct"][0]


def test_the_forecast_belongs_to_the_class_and_the_crossed_one_to_another():
    found = planted.supervised(3, **SMALL)
    assert found["forecast"].shape == found["crossed"].shape == (10,)
    assert not torch.equal(found["forecast"], found["crossed"])
