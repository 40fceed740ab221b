import dataclasses
import math

import numpy as np
import pytest
import torch

from mrpbook.images.agreement import answers, cka, ensemble, errors, matched, procrustes
from mrpbook.images.probes import features
from mrpbook.images.vit import ViT
from mrpbook.studies import agreement as study
from mrpbook.studies import pictures

MEASURES = (cka, procrustes, matched)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turned(width, seed=0):
    return torch.linalg.qr(normal(width, width, seed=seed))[0]


def test_the_same_features_agree_fully_whatever_their_size_and_shift():
    x = normal(50, 7) + 1
    before = x.clone()
    for measure in MEASURES:
        assert measure(x, 3 * x + 5) == pytest.approx(1, abs=1e-9), measure
    assert torch.equal(x, before)


def test_a_rotation_is_nothing_to_cka_and_procrustes_and_much_to_matched_units():
    x = normal(500, 8) * torch.arange(1, 9)
    y = x @ turned(8)
    assert cka(x, y) == pytest.approx(1) and procrustes(x, y) == pytest.approx(1)
    assert matched(x, y) < 0.8
    assert matched(x, -2 * x[:, torch.randperm(8, generator=torch.Generator().manual_seed(1))]) == pytest.approx(1)


def test_cka_is_the_alignment_of_the_matrices_of_inner_products():
    x, y = normal(20, 3), normal(20, 5, seed=1)
    H = torch.eye(20) - 1 / 20
    K, L = (H.double() @ (z @ z.T) @ H.double() for z in (x, y))
    assert cka(x, y) == pytest.approx(float((K * L).sum() / (K.norm() * L.norm())), rel=1e-9)
    assert cka(x, y) == pytest.approx(cka(y, x))


def test_procrustes_is_reached_by_a_rotation_and_beaten_by_none():
    x, y = (z - z.mean(0) for z in (normal(30, 4), normal(30, 4, seed=1)))
    x, y = x / x.norm(), y / y.norm()
    u, _, v = torch.linalg.svd(x.T @ y)
    best = 1 - (x @ (u @ v) - y).square().sum() / 2
    assert procrustes(x, y) == pytest.approx(float(best))
    assert all(procrustes(x, y) > 1 - float((x @ turned(4, seed) - y).square().sum()) / 2 for seed in range(20))


def test_features_with_nothing_in_common_agree_little_but_not_at_zero():
    x, y = normal(2000, 10), normal(2000, 10, seed=1)
    assert 0.002 < cka(x, y) < 0.01  # about width / N = 0.005
    assert procrustes(x, y) < 0.1 and 0.01 < matched(x, y) < 0.06


def test_agreement_beyond_the_classes_forgets_what_labels_explain():
    labels = torch.arange(600) % 3
    means = 10 * normal(3, 6)[labels]
    x, y = means + normal(600, 6, seed=1), means @ turned(6) + normal(600, 6, seed=2)
    assert cka(x, y) > 0.95 and procrustes(x, y) > 0.9
    assert cka(x, y, labels) < 0.05 and procrustes(x, y, labels) < 0.15 and matched(x, y, labels) < 0.15
    with pytest.raises(ValueError, match="same for all pictures of a class"):
        cka(means, x, labels)


def test_untrained_encoders_of_different_seeds_agree_which_is_why_they_are_the_control():
    pictures = torch.rand(200, 1, 1, 1) * torch.rand(1, 1, 8, 8) + 0.1 * torch.rand(200, 1, 8, 8)
    one, other = (features(ViT((1, 8, 8), 2, 16, 1, 2, seed=seed), pictures) for seed in (0, 1))
    assert cka(one, other) > 0.5
    assert cka(one, other[torch.randperm(200)]) < 0.3


def test_a_unit_that_never_varies_matches_nothing():
    x = normal(40, 3)
    x[:, 0] = 2
    assert matched(x, x) == pytest.approx(2 / 3)


def test_independent_networks_agree_as_often_as_their_accuracies_say():
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (200_000,), generator=g)

    def network(accuracy):
        wrong = (labels + torch.randint(1, 10, labels.shape, generator=g)) % 10
        return torch.where(torch.rand(len(labels), generator=g) < accuracy, labels, wrong)

    for p, q in ((0.9, 0.9), (0.5, 0.8)):
        one, other = network(p), network(q)
        for found in (answers(one, other, labels, 10), errors(one, other, labels)):
            assert abs(found.kappa) < 0.02 < found.observed
            assert found.observed == pytest.approx(found.expected, abs=0.005)


def test_two_accurate_networks_agree_mostly_because_both_are_right_and_kappa_is_not_fooled():
    labels = torch.zeros(100, dtype=torch.int64)
    one, other = labels.clone(), labels.clone()
    one[:5], other[5:10] = 1, 1  # 95 % right, never wrong together
    found = errors(one, other, labels)
    assert found.observed == pytest.approx(0.9) and found.kappa < 0
    same = errors(one, one, labels)
    assert same.kappa == 1 and same.expected == pytest.approx(0.95**2 + 0.05**2)


def test_always_right_networks_leave_nothing_to_explain():
    labels = torch.arange(4)
    for call in (lambda: answers(labels, labels, labels, 4), lambda: errors(labels, labels, labels)):
        with pytest.raises(ValueError, match="both always right"):
            call()


def test_an_ensemble_follows_the_sure_network_and_not_the_count_of_votes():
    unsure, sure = [0.51, 0.49], [0.01, 0.99]
    assert ensemble(torch.tensor([[unsure], [unsure], [sure]])).tolist() == [1]


def test_bad_input_is_named():
    x = normal(10, 3)
    for measure in MEASURES:
        with pytest.raises(ValueError, match="10 and 9 pictures"):
            measure(x, x[:9])
        with pytest.raises(ValueError, match="the same for all pictures"):
            measure(torch.ones(10, 3), x)
        with pytest.raises(ValueError, match="at least two pictures"):
            measure(x[:1], x)
        with pytest.raises(ValueError, match="labels: 9 for 10"):
            measure(x, x, torch.zeros(9, dtype=torch.int64))
    y = torch.arange(3)
    with pytest.raises(ValueError, match="expected the same pictures"):
        errors(y, y, y[:2])
    with pytest.raises(ValueError, match="classes = 1"):
        answers(y, y, y, 1)
    assert math.isclose(answers(y, y.flip(0), y, 3).observed, 1 / 3)


@pytest.fixture(scope="module")
def members():
    return [study.member(seed, draw, 2, tuning=5) for seed, draw in ((0, 0), (1, 0), (0, 1))]


def test_members_of_a_draw_differ_by_seed_and_draws_by_labels(members):
    assert members[0]["probabilities"].shape == (597, 10) and members[0]["features"].shape == (597, 48)
    again = study.member(0, 0, 2, tuning=5)
    assert np.array_equal(again["probabilities"], members[0]["probabilities"])
    assert all(not np.array_equal(m["probabilities"], members[0]["probabilities"]) for m in members[1:])


def test_frozen_encoders_keep_their_features_whatever_the_labels():
    one, other, untouched = study.frozen(0, 0, 2), study.frozen(0, 1, 2), pictures.encoder(0)
    found = features(untouched, pictures.tensors()[1])
    np.testing.assert_allclose(one["features"], found, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(other["features"], one["features"])
    assert np.abs(one["probabilities"] - other["probabilities"]).max() > 0.1
    np.testing.assert_allclose(one["probabilities"].sum(1), 1)


def test_weights_that_are_given_are_the_ones_that_are_used():
    weights = pictures.flat(pictures.encoder(5))
    given, untrained = study.frozen(0, 0, 2, weights), study.frozen(5, 0, 2)
    np.testing.assert_allclose(given["features"], untrained["features"], rtol=1e-5, atol=1e-6)


def test_a_head_that_is_fitted_first_starts_from_the_logistic_regression(monkeypatch):
    monkeypatch.setattr(pictures, "DIGITS", dataclasses.replace(pictures.DIGITS, gentle_lr=1e-9))
    started, read = study.member(0, 0, 2, head_first=True, tuning=1), study.frozen(0, 0, 2)
    same = (started["probabilities"].argmax(1) == read["probabilities"].argmax(1)).mean()
    assert same > 0.95 > (study.member(0, 0, 2, tuning=1)["probabilities"].argmax(1) == read["probabilities"].argmax(1)).mean()


def test_pairs_and_ensembles_are_counted_over_all_networks(members):
    y = pictures.data()[1].labels.numpy()
    p = np.stack([m["probabilities"] for m in members])
    found = study.together(p, y)
    assert found["single"] == pytest.approx(np.mean([(q.argmax(1) == y).mean() for q in p]))
    assert found["ensemble"] == pytest.approx((p.mean(0).argmax(1) == y).mean())
    x = [torch.tensor(m["features"]) for m in members]
    expected = np.mean([cka(a, b) for a, b in ((x[0], x[1]), (x[0], x[2]), (x[1], x[2]))])
    assert study.alike(np.stack([m["features"] for m in members]))[0] == pytest.approx(expected)
