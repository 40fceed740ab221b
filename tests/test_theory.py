"""Predictions in closed form, against counting, simulation and descent itself."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from mrpbook import reference, theory
from mrpbook.network import SmoothedReLU
from mrpbook.objectives import MaskedObjective, PlainDecoder, RescaledTeacher


@pytest.mark.parametrize("K, n", [(K, n) for n in (1, 2, 3, 4) for K in range(7)])
def test_the_capture_law_equals_counting_every_outcome(K, n):
    share, sd, every = reference.coupons(K, n)
    assert theory.captured_share(K, n) == pytest.approx(share, abs=1e-12)
    assert theory.captured_share_sd(K, n) == pytest.approx(sd, abs=1e-7)
    assert theory.all_captured_probability(K, n) == pytest.approx(every, abs=1e-12)


@pytest.mark.parametrize("K", [20, 40, 80, 120])
def test_the_capture_law_equals_simulation_for_twenty_semantics(K):
    runs = 20000
    hits = np.random.default_rng(0).integers(0, 20, (runs, K))
    seen = (hits[:, :, None] == np.arange(20)).any(1)
    share, p = seen.mean(1), theory.all_captured_probability(K, 20)
    assert abs(share.mean() - theory.captured_share(K, 20)) < 4 * share.std() / runs**0.5
    assert share.std() == pytest.approx(theory.captured_share_sd(K, 20), rel=0.03)
    assert abs(seen.all(1).mean() - p) <= 4 * math.sqrt(p * (1 - p) / runs)


@given(st.integers(2, 200), st.integers(0, 500))
def test_the_chance_of_capturing_all_is_a_probability_that_grows_with_kernels_also_for_many_semantics(n, K):
    p, more = theory.all_captured_probability(K, n), theory.all_captured_probability(K + 1, n)
    assert 0 <= p <= 1 and p <= more and (p == 0) == (K < n)
    assert p <= theory.captured_share(K, n)


@pytest.mark.parametrize("function", [theory.captured_share, theory.captured_share_sd, theory.all_captured_probability])
def test_less_than_no_kernel_or_no_semantic_is_refused(function):
    with pytest.raises(ValueError, match="K = -1"):
        function(-1, 5)
    with pytest.raises(ValueError, match="n = 0"):
        function(3, 0)


@given(st.integers(1, 6), st.integers(2, 5))
def test_equal_strengths_have_ratios_of_one_over_the_number_of_patches(C_p, q):
    assert theory.strength_ratios(torch.full((3, C_p), 0.3), q) == pytest.approx((1 / C_p, 1 / C_p))


def test_strength_ratios_are_ratios_of_means_not_means_of_ratios():
    z = np.random.default_rng(0).uniform(0.1, 1, (50, 4))
    q = 3
    expected = (z ** (2 * q)).sum(1).mean() / ((z**q).sum(1) ** 2).mean(), (z**2).sum(1).mean() / (z.sum(1) ** 2).mean()
    assert theory.strength_ratios(torch.from_numpy(z), q) == pytest.approx(expected)
    other = ((z ** (2 * q)).sum(1) / (z**q).sum(1) ** 2).mean()
    assert abs(expected[0] - other) > 0.01


def lone_semantic(z):
    """Samples whose patches hold strengths z [N, C] of one semantic, in one dimension."""
    return torch.as_tensor(z)[..., None].double()


def force(objective, lam, z, act):
    """Push on the overlap of a kernel with a lone semantic."""
    return float(objective.descent(torch.tensor([[lam]]).double(), lone_semantic(z), act))


@given(theta=st.floats(0.1, 0.98), C_p=st.integers(1, 5), q=st.integers(2, 5), seed=st.integers(0, 999))
def test_a_small_overlap_grows_just_above_the_boundary_and_shrinks_just_below(theta, C_p, q, seed):
    act = SmoothedReLU(q)
    z = np.random.default_rng(seed).uniform(0.1, 0.5, (20, C_p))
    T = theory.growth_threshold(theta, 1 / theta, theory.strength_ratios(torch.from_numpy(z), q)[0])
    above, below = (RescaledTeacher(theta, tau=(T * side) ** (1 / q)) for side in (1.001, 0.999))
    small = 0.05 * act.varrho
    assert force(above, small, z, act) > 0 > force(below, small, z, act)


@given(theta=st.floats(0.1, 0.98), C_p=st.integers(1, 5), q=st.integers(2, 5), seed=st.integers(0, 999))
def test_a_large_overlap_is_pushed_back_just_below_the_other_boundary_and_runs_away_above(theta, C_p, q, seed):
    act = SmoothedReLU(q)
    z = np.random.default_rng(seed).uniform(0.1, 0.5, (20, C_p))
    T = theory.growth_threshold(theta, 1 / theta, theory.strength_ratios(torch.from_numpy(z), q)[1])
    assert force(RescaledTeacher(theta, tau=T * 1.001), 1e5, z, act) > 0
    assert force(RescaledTeacher(theta, tau=T * 0.999), 1e5, z, act) < 0


@given(theta=st.floats(0.1, 0.98), C_p=st.integers(1, 5), c=st.sampled_from([0.7, 1.0, 1.4]))
def test_the_same_boundary_holds_for_another_decoder(theta, C_p, c):
    class Student(MaskedObjective):
        def target(self, a, act):
            return act(a).sum(1)

    Student.c = c
    act, T = SmoothedReLU(), theory.growth_threshold(theta, c, 1 / C_p)
    assume(abs(T - 1) > 1e-6)
    assert (force(Student(theta), 0.05, np.full((1, C_p), 0.3), act) > 0) == (T < 1)


@given(kappa=st.floats(0.05, 3), C_p=st.integers(1, 5), q=st.integers(2, 5), share=st.floats(0.05, 0.9))
def test_the_fixed_point_is_where_descent_stops_and_what_it_approaches(kappa, C_p, q, share):
    act, T, z = SmoothedReLU(q), 1 + kappa / C_p, 0.3
    tau = T ** (1 / q) * (T ** (1 - 1 / q)) ** share
    level = theory.fixed_point(tau, kappa, C_p, act)
    objective, strengths = RescaledTeacher(1 / (1 + kappa), tau=tau), np.full((1, C_p), z)
    assert force(objective, 0.99 * level / z, strengths, act) > 0 > force(objective, 1.01 * level / z, strengths, act)


@pytest.mark.parametrize("tau, branch", [(1.22, "power"), (1.6, "linear")])
def test_iterating_descent_ends_at_the_fixed_point_from_either_side(tau, branch):
    act, z, objective = SmoothedReLU(), 0.5, RescaledTeacher(0.5, tau=tau)
    level = theory.fixed_point(tau, objective.kappa, 1, act)
    assert (level >= act.varrho) == (branch == "linear")
    X = lone_semantic(np.full((1, 1), z))
    for start in (0.5, 5.0):
        w = torch.tensor([[start]]).double()
        for _ in range(1000):
            w = w + 4 * objective.descent(w, X, act)
        assert float(w) * z == pytest.approx(level, rel=1e-4)


@pytest.mark.parametrize("tau, found", [(1.02, None), (1.1, float), (1.26, None)])
def test_there_is_a_fixed_point_only_between_the_two_boundaries(tau, found):
    level = theory.fixed_point(tau, 1.0, 4, SmoothedReLU())  # boundaries 1.25^(1/4) = 1.057 and 1.25
    assert level is None if found is None else level > 0


def test_the_example_of_a_fixed_point_below_the_linear_part_is_reproduced():
    """Written down by hand: kappa = 3, C_p = 1, tau = 1.582 ends at 0.2738, the linear formula says 0.2792."""
    assert theory.fixed_point(1.582, 3.0, 1, SmoothedReLU()) == pytest.approx(0.2738, abs=5e-5)


@given(st.integers(0, 999))
def test_coactivation_counts_every_pair_of_patches_once(seed):
    rng = np.random.default_rng(seed)
    w, X = rng.normal(size=(2, 3)), rng.normal(size=(4, 5, 3))
    sigma = reference.relu(reference.activations(w, X))
    pairs = sum(sigma[:, p] * sigma[:, r] for p in range(5) for r in range(p)).mean(0)
    np.testing.assert_allclose(theory.coactivation(*map(torch.from_numpy, (w, X)), SmoothedReLU()), pairs, atol=1e-14)


def test_descent_of_the_plain_decoder_climbs_coactivation():
    torch.manual_seed(0)
    w, X, act, levels = torch.randn(3, 4).double() * 0.4, torch.randn(20, 6, 4).double(), SmoothedReLU(), []
    for _ in range(30):
        levels.append(theory.coactivation(w, X, act))
        w = w + 0.1 * PlainDecoder(0.5).descent(w, X, act)
    assert (torch.stack(levels).diff(dim=0) > 0).all()


@pytest.mark.parametrize("rescue", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("K, k, views", [(3, 2, 2), (5, 2, 2), (4, 1, 3), (4, 2, 1)])
def test_the_error_law_equals_counting_every_outcome_under_its_rules(K, k, views, rescue):
    from itertools import product

    single, multi = [], []
    for outcome in product(range(k * views), repeat=K):
        for strong in range(k * views):  # the strong view of a single-view sample, every class and view in turn
            any_view = any(j // views == strong // views for j in outcome)
            missed = strong not in outcome
            single.append(missed * (1 - rescue * any_view))
            multi.append(not any_view)
    found = theory.error_law(K, k, views, rescue)
    assert found == pytest.approx((np.mean(single), np.mean(multi)), abs=1e-12)


def test_the_total_error_mixes_by_the_share_in_the_test_data():
    assert theory.total_error(0.25, 0.4, 0.1) == pytest.approx(0.175)
    with pytest.raises(ValueError, match="mu = 1.2"):
        theory.total_error(1.2, 0.1, 0.1)
    with pytest.raises(ValueError, match="rescue = -0.1"):
        theory.error_law(5, 2, rescue=-0.1)
