"""One draw downstream: the fast evaluation equals the plain one, and the studies say what they measure."""

import numpy as np
import pytest
import torch

from mrpbook.finetune import fit_head
from mrpbook.network import SmoothedReLU, initial_kernels
from mrpbook.semantics import holding
from mrpbook.studies import downstream
from mrpbook.studies.capture import setting

SEED = 3


@pytest.fixture(scope="module")
def bank():
    """Kernels that hold one semantic each, the first 20 of them all twenty: what pretraining ends with, made by hand."""
    m, _, V, _, w0 = setting(SEED, 0.1, 40)
    return (4 * V[torch.arange(40) % m.n] + w0).numpy()


@pytest.fixture(scope="module")
def net():
    return downstream.supervised(SEED, N=100, nets=2)


def test_heads_on_the_first_kernels_of_a_bank_count_as_if_each_were_evaluated_alone(bank):
    found = downstream.heads(SEED, bank, noise=0.1, Ks=(10, 40), labels=(50, 100))
    m, act, _, _, w0 = setting(SEED, 0.1, 40)
    tests = downstream.test_sets(m, SEED)
    for row, w in enumerate((w0, torch.as_tensor(bank))):
        for i, count in enumerate((50, 100)):
            L = m.sample(count, SEED, "labels", mu=0.0)
            for j, K in enumerate((10, 40)):
                head = fit_head(w[:K], L.X, L.y, m.k, act)
                alone = [int(head.correct(t.X, t.y).sum()) for t in tests]
                assert np.abs(found["correct"][row, i, j].numpy() - alone).max() <= 2  # sums in another order


def test_a_head_on_kernels_that_hold_every_semantic_is_right_on_both_kinds_of_data(bank):
    found = downstream.heads(SEED, bank, noise=0.1, Ks=(20,), labels=(100,))
    assert (found["correct"][1, 0, 0] >= 990).all()
    assert found["relative"].shape == (2, downstream.TESTS)


def test_fine_tuning_from_kernels_that_hold_every_semantic_loses_none(bank):
    found = downstream.heads(SEED, bank, noise=0.1, Ks=(40,), labels=(100,), fine=True)
    assert found["fine_semantics"] == 20
    assert (found["fine"] >= 990).all()


def test_relative_margins_forget_the_scale_of_the_head_and_keep_the_sign():
    m = setting(SEED, 0.1, 1)[0]
    tests = downstream.test_sets(m, SEED)
    rng = torch.Generator().manual_seed(0)
    F = [torch.rand(downstream.TESTS, m.k, generator=rng) for _ in tests]
    for f, t in zip(F, tests, strict=True):
        f[torch.arange(len(f)), t.y] += 0.8
    one, scaled = downstream.relative(F, tests), downstream.relative([1000 * f for f in F], tests)
    assert torch.allclose(one, scaled, rtol=1e-4, atol=1e-4)
    assert (one > 0).sum() == downstream.right(F, tests)[0]


def test_five_copies_of_a_network_answer_as_the_network_does(net):
    assert torch.equal(net["copies"], net["correct"])


def test_an_ensemble_of_different_networks_does_not_answer_as_its_first(net):
    assert not torch.equal(net["ensemble"], net["correct"])


def test_the_shapes_of_a_supervised_draw_are_as_documented(net):
    assert net["learned"].shape == (10, 2) and net["overlaps"].shape == (60, 20)
    assert net["relative"].shape == (downstream.TESTS,)
    assert net["reached"] and net["loss"] <= 0.01


def test_descent_from_untrained_kernels_ends_with_fewer_semantics_than_kernels_were_offered():
    found = downstream.overcomplete(SEED, K=60, labels=100)
    w0 = initial_kernels(60, 60, SEED)
    head = downstream.heads(SEED, w0.numpy(), Ks=(60,), labels=(100,))["correct"][0, 0, 0]
    assert found["semantics"] <= 14
    assert found["correct"][0] < head[0] - 200


def test_the_error_law_counts_what_its_subsets_miss(bank):
    found = downstream.error_law(SEED, bank, noise=0.1, Ks=(10, 20), labels=100)
    m, act, V, _, _ = setting(SEED, 0.1, 1)
    parts = torch.as_tensor(bank).split(10)
    missed = np.mean([float((~holding(p, V, m, SmoothedReLU()).semantics).float().mean()) for p in parts])
    assert float(found["missed"][0]) == pytest.approx(missed)
    assert found["cases"].tolist() == [4 * downstream.TESTS, 2 * downstream.TESTS]
    assert float(found["missed"][1]) == 0 and float(found["single"][1]) <= 0.01
    # ten kernels in a row hold both views of five classes: the other five are never answered
    assert float(found["multi"][0]) == pytest.approx(0.5, abs=0.05)


def test_the_same_call_gives_the_same_numbers(net):
    again = downstream.supervised(SEED, N=100, nets=2)
    assert all(torch.equal(torch.as_tensor(again[name]), torch.as_tensor(net[name])) for name in net)


def test_the_winner_of_a_cell_is_the_best_method_and_undecided_where_the_lead_may_be_chance():
    rng = np.random.default_rng(0)
    scores = 0.5 + 0.01 * rng.standard_normal((8, 3, 3))
    scores[:, 1, 0] += 0.2
    scores[:, 2, 1] += 0.4
    scores[:, 0, 2] = scores[:, 1, 2]
    scores[:, 2, 2] -= 0.3
    who, lead = downstream.winners(scores)
    assert who.tolist() == [1, 2, -1]
    assert lead[:2] == pytest.approx([0.2, 0.4], abs=0.02) and lead[2] == pytest.approx(0)


@pytest.mark.parametrize("shape", [(8, 3), (1, 3, 2), (8, 1, 2)])
def test_a_map_needs_draws_and_rivals(shape):
    with pytest.raises(ValueError, match="accuracy has shape"):
        downstream.winners(np.zeros(shape))
