"""Moved assumptions: what is sampled has what was asked for, and the forecast's formulas agree with simulation."""
import numpy as np
import pytest
import torch

from mrpbook import MultiView, SmoothedReLU, theory, variants
from mrpbook.variants import Variant


def test_at_its_defaults_a_variant_samples_what_the_data_model_samples():
    plain, variant = MultiView().sample(20, 3, mu=0.5), Variant().sample(20, 3, mu=0.5)
    assert torch.equal(plain.X, variant.X) and torch.equal(plain.strengths, variant.strengths)


def test_weak_views_and_classes_have_the_strength_they_were_given_wherever_they_occur():
    model = Variant(view_ratio=0.5, class_ratio=0.25, noise=0.0)
    assert model.factors[[0, 1, -2, -1]] == pytest.approx([1, 0.5, 0.25, 0.125])
    plain, weak = Variant(noise=0.0).sample(50, 1), model.sample(50, 1)
    assert np.allclose(weak.strengths, plain.strengths * torch.from_numpy(model.factors), rtol=1e-6)
    assert (plain.strengths > 0).sum() > 100  # own semantics, and some of other classes


def test_a_kernel_that_answers_alike_is_captured_alike_at_every_strength():
    model = Variant(view_ratio=0.5)
    V, readers = model.semantics(0), model.readers(0)
    kernels = V * torch.from_numpy(1 / model.factors).float()[:, None]  # a weak semantic needs a larger overlap
    assert torch.allclose((kernels * readers).sum(1), torch.ones(model.n), atol=1e-5)


@pytest.mark.parametrize("among", ["all", "views"])
def test_semantics_have_the_inner_products_that_were_asked_for(among):
    V = Variant(coherence=0.3, among=among).semantics(4).double()
    wanted = np.full((20, 20), 0.3) if among == "all" else 0.3 * np.kron(np.eye(10), np.ones((2, 2)))
    np.fill_diagonal(wanted, 1)
    assert np.allclose(V @ V.T, wanted, atol=1e-6)


def test_views_occur_together_in_the_share_of_samples_that_was_asked_for():
    model = Variant(together=0.25, s=0.0)
    S = model.sample(4000, 2, mu=0.0)
    shown = (S.strengths > 0).sum(1)
    assert set(shown.tolist()) == {1, 2}
    assert (shown == 2).float().mean() == pytest.approx(0.25, abs=0.03)
    first = (S.strengths.view(-1, 10, 2)[shown == 1] > 0).any(1)[:, 0].float().mean()
    assert first == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("wrong", [{"view_ratio": 0.0}, {"class_ratio": 1.1}, {"coherence": 1.0}, {"coherence": -0.1},
                                   {"among": "classes"}, {"together": 1.5}, {"views": 0}])
def test_a_variant_that_cannot_be_sampled_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Variant(**wrong)


def test_basins_are_the_shares_of_a_race_run_by_dice():
    square = np.array([1.0, 0.3, 0.05, 0.0, 2.0]) ** 2
    race = np.random.default_rng(0).standard_normal((400_000, 5)) * variants.head_starts(square, 4)
    race[:, 3] = -np.inf  # never occurs
    top, winner = race.max(1), race.argmax(1)
    assert np.allclose(variants.basins(square, 4), np.bincount(winner, minlength=5) / len(race), atol=0.003)
    low = np.array([1.0, 0.5, 0.0, 0.0, 2.0])
    late = top / variants.head_starts(square, 4)[winner] <= low[winner]
    assert np.allclose(variants.basins(square, 4, low), np.bincount(winner[~late], minlength=5) / len(race), atol=0.003)


def test_equal_basins_give_the_plain_capture_law():
    p = variants.basins(np.full(20, 0.01), 4)
    assert p == pytest.approx(np.full(20, 0.05), abs=1e-6)
    assert variants.captured_share(p, 60) == pytest.approx(theory.captured_share(60, 20), abs=1e-4)


def test_a_weaker_semantic_wins_fewer_kernels_a_larger_q_forgives_more():
    shares = [variants.basins(np.array([1.0] * 10 + [0.7 ** (2 * q)] * 10), q)[-1] for q in (3, 4, 8)]
    assert max(shares) < 0.03 and shares[0] < shares[1] < shares[2]  # f^(q/(q-1)) falls towards f as q grows


@pytest.mark.parametrize("square", [np.zeros(3), np.array([1.0, -1.0])])
def test_a_race_without_runners_is_refused(square):
    with pytest.raises(ValueError, match="square"):
        variants.head_starts(square, 4)


def test_noise_leads_the_race_only_beyond_its_break_and_more_so_for_rarer_semantics():
    model, act = MultiView(), SmoothedReLU()
    share = [variants.noise_share(x, 1e-4, model, act) for x in (0.1, 0.2, 0.4, 0.8)]
    assert share == sorted(share) and share[0] < 1 < share[-1]
    assert variants.noise_share(0.4, 5e-5, model, act) == pytest.approx(2 * share[2])


def test_at_its_break_the_mean_of_feature_noise_is_as_strong_as_a_semantic():
    model, m = MultiView(), 0.01
    gamma = variants.background_break(m**2, model, 4)
    V = model.semantics(0)
    mean = gamma / 2 * V.sum(0)  # of a patch
    assert float(model.P * mean.norm() ** 4) == pytest.approx(m, rel=1e-4)
