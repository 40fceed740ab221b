"""The four regions of two views that occur together, against integration, exact finite data and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from mrpbook import regions
from mrpbook.data import MultiView
from mrpbook.forecast import forecast
from mrpbook.network import SmoothedReLU
from mrpbook.objectives import RescaledTeacher
from mrpbook.theory import strength_ratios

chis, powers = st.floats(0.3, 1), st.integers(3, 7)


def end_of_ratio(r, beta, chi, q):
    """Where the equation of the ratio of the overlaps takes r, followed for long."""
    a = 1 - beta

    def field(_, x):
        r = np.exp(x)
        return chi * r ** (q - 2) * (1 - r**2) - a * (1 - r ** (2 * q - 2))

    def decided(_, x):
        return min(np.log(0.995) - x[0], x[0] - np.log(r) + 1)

    decided.terminal = True
    return float(np.exp(solve_ivp(field, (0, 1e9), [np.log(r)], method="LSODA", rtol=1e-8, events=decided).y[0, -1]))


@given(chi=chis, q=powers, share=st.floats(0.1, 0.9), side=st.sampled_from([0.98, 1.02]))
def test_a_ratio_two_percent_off_the_separatrix_ends_on_the_predicted_side(chi, q, share, side):
    beta = 1 - share * chi / (q - 1)
    r = regions.separatrix(beta, chi, q)
    assume(r * 1.02 < 0.995)
    assert regions.region(beta, chi, q) == "bistable"
    end = end_of_ratio(r * side, beta, chi, q)
    assert end > 0.99 if side > 1 else end < 0.9 * r


@given(chi=chis, q=powers, r=st.floats(0.05, 0.95))
def test_outside_the_bistable_band_every_ratio_goes_the_same_way(chi, q, r):
    edge = chi / (q - 1)
    assert end_of_ratio(r, 1.0, chi, q) > 0.99 and regions.region(1.0, chi, q) == "pair growth"
    assert end_of_ratio(r, 1 - 1.1 * edge, chi, q) < r and regions.region(1 - 1.1 * edge, chi, q) == "lottery"


@given(chi=chis, q=powers)
def test_the_separatrix_runs_from_zero_to_one_across_the_bistable_band(chi, q):
    edge = chi / (q - 1)
    a = edge * np.array([1e-12, 1e-3, 0.2, 0.5, 0.9, 1 - 1e-6])
    r = [regions.separatrix(1 - x, chi, q) for x in a]
    assert r[0] < 1e-12 ** (0.9 / (q - 2)) and r[-1] > 0.998 and np.all(np.diff(r) > 0)
    # near a = 0 it is (a / chi)^(1 / (q - 2))
    assert r[1] == pytest.approx((a[1] / chi) ** (1 / (q - 2)), rel=0.2)


@given(chi=chis, q=powers, share=st.floats(0.01, 0.99))
def test_at_the_separatrix_the_ratio_stands_still(chi, q, share):
    a = share * chi / (q - 1)
    r = regions.separatrix(1 - a, chi, q)
    assert chi * r ** (q - 2) * (1 - r**2) == pytest.approx(a * (1 - r ** (2 * q - 2)), rel=1e-6)


@given(beta=st.floats(1e-6, 5))
def test_without_a_lottery_at_q_two_when_the_views_always_occur_together_and_without_a_bistable_band(beta):
    assert regions.region(beta, 1.0, 2) == ("shrink" if beta >= 2 else "pair growth")
    assert regions.region(beta, 0.5, 2) in ("shrink", "pair growth", "lottery")


def test_views_that_never_occur_together_do_not_fuse():
    assert [regions.region(beta, 0.0, 4) for beta in (0.5, 1.0, np.inf)] == ["lottery", "shrink", "shrink"]


def symmetric(seed, C_p=3, k=2):
    """Noise-free data in float64 whose two views have the same moments exactly: every sample once more with views exchanged."""
    model = MultiView(k=k, d=2 * k, P=2 * C_p, C_p=C_p, s=0.0, noise=0.0)
    S, V = model.sample(40, seed), model.semantics(seed).double()
    X = S.X.double() @ V.T
    X[X.abs() < 1e-6] = 0  # rounding of the semantics
    exchanged = X.view(*X.shape[:2], k, 2).flip(3).flatten(2)
    return torch.cat([X, exchanged])


def classwise(X, q):
    """Moments of class 0 from the data themselves, with power q and 1."""
    found = []
    for power in (q, 1):
        z = X[..., :2] ** power
        total = z.sum(1)
        square, patches = (total**2).mean(0).numpy(), (z**2).sum(1).mean(0).numpy()
        found.append(regions.Moments(square[None], (total[:, 0] * total[:, 1]).mean()[None].numpy(), patches[None]))
    return found


def push(X, objective, lam, q):
    """The descent direction along the two views of class 0 at overlaps lam."""
    w = torch.zeros(1, X.shape[2]).double()
    w[0, :2] = torch.tensor(lam)
    return objective.descent(w, X, SmoothedReLU(q))[0, :2].numpy()


cases = given(theta=st.floats(0.1, 0.95), q=st.integers(2, 6), seed=st.integers(0, 99))


@cases
def test_on_exact_data_a_pair_and_a_single_view_grow_just_above_their_boundaries_and_shrink_just_below(theta, q, seed):
    X = symmetric(seed)
    edges = regions.boundaries(theta, *classwise(X, q), q)
    for name, lam in (("pair growth", [0.01, 0.01]), ("single growth", [0.01, 0.0])):
        # half a percent of what the teacher has to give, tau^q - 1
        above, below = (float((1 + (edges[name] ** q - 1) * side) ** (1 / q)) for side in (1.005, 0.995))
        assert push(X, RescaledTeacher(theta, tau=above), lam, q)[0] > 0 > push(X, RescaledTeacher(theta, tau=below), lam, q)[0]


@cases
def test_on_exact_data_an_even_pair_falls_apart_just_above_the_lottery_boundary_and_not_just_below(theta, q, seed):
    X = symmetric(seed)
    edge = regions.boundaries(theta, *classwise(X, q), q)["lottery"]
    assume(np.isfinite(edge) and q > 2)
    for side, sign in ((1.005, -1), (0.995, 1)):
        tau = float((1 + (edge**q - 1) * side) ** (1 / q))
        g = push(X, RescaledTeacher(theta, tau=tau), [0.01, 0.01 * 0.999], q)
        assert np.sign(g[1] / 0.999 - g[0]) == sign


@cases
def test_on_exact_data_a_pair_turns_at_the_separatrix(theta, q, seed):
    X = symmetric(seed)
    near, far = classwise(X, q)
    edges = regions.boundaries(theta, near, far, q)
    assume(q > 2)
    tau = float((edges["single growth"] ** q * 0.6 + edges["lottery"] ** q * 0.4) ** (1 / q))
    objective = RescaledTeacher(theta, tau=tau)
    r = regions.separatrix(regions.load(theta, tau, objective.c, near.R, q), near.chi, q)
    for side, sign in ((0.995, -1), (1.005, 1)):
        g = push(X, objective, [0.01, 0.01 * r * side], q)
        assert np.sign(g[1] / (r * side) - g[0]) == sign


@cases
def test_on_exact_data_large_overlaps_run_away_just_above_their_boundaries_and_are_pushed_back_just_below(theta, q, seed):
    X = symmetric(seed)
    edges = regions.boundaries(theta, *classwise(X, q), q)
    for name, lam in (("pair runaway", [1e6, 1e6]), ("single runaway", [1e6, 0.0])):
        above, below = (float(1 + (edges[name] - 1) * side) for side in (1.005, 0.995))
        assert push(X, RescaledTeacher(theta, tau=above), lam, q)[0] > 0 > push(X, RescaledTeacher(theta, tau=below), lam, q)[0]


@cases
def test_the_pull_is_the_descent_direction_of_small_and_of_large_overlaps(theta, q, seed):
    X = symmetric(seed)
    objective, found = RescaledTeacher(theta, tau=1.2), classwise(X, q)
    for moment, power, lam in ((found[0], q, np.array([0.02, 0.013])), (found[1], 1, np.array([1e9, 0.7e9]))):
        M = moment.pull(theta, 1.2, objective.c, power)[0]
        expected, g = lam ** (power - 1) * (M @ lam**power), push(X, objective, lam, q)
        assert g[0] / g[1] == pytest.approx(expected[0] / expected[1], rel=1e-6)
        assert g[0] * expected[0] > 0


def test_moments_are_those_of_a_loop_over_samples():
    model = MultiView(k=3, d=6, C_p=2, P=12, noise=0.0)
    S, q = model.sample(30, 4, mu=0.3), 3
    found = regions.moments(S, q)
    total, patches = np.zeros((30, 6)), np.zeros(6)
    for n in range(30):
        for p in range(12):
            j = int(S.patch_semantic[n, p])
            if j >= 0:
                total[n, j] += float(S.z[n, p]) ** q
                patches[j] += float(S.z[n, p]) ** (2 * q) / 30
    np.testing.assert_allclose(found.patches.ravel(), patches, rtol=1e-5)
    np.testing.assert_allclose(found.square.ravel(), (total**2).mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.cross, [(total[:, 2 * i] * total[:, 2 * i + 1]).mean() for i in range(3)], rtol=1e-5)
    assert found.pooled.R == pytest.approx(found.R) and found.pooled.chi == pytest.approx(found.chi)


def test_moments_of_the_population_have_the_ratio_of_the_shares_alone_and_hardly_depend_on_the_seed():
    shares = 0.5 + np.random.default_rng(0).random((40000, 4))
    shares /= shares.sum(1, keepdims=True)
    model = MultiView()
    near, far = (regions.population(model, power, mu=0.0) for power in (4, 1))
    assert near.R == pytest.approx(strength_ratios(torch.from_numpy(shares), 4)[0], rel=0.01)
    assert far.R == pytest.approx(strength_ratios(torch.from_numpy(shares), 4)[1], rel=0.01)
    other = regions.population(model, 4, seed=1, mu=0.0)
    assert near.R == pytest.approx(other.R, rel=0.01) and near.chi == pytest.approx(other.chi, rel=0.01) and near.R != other.R
    assert regions.population(model, 4, mu=0.5).chi < 0.8 * near.chi  # single-view samples show one view


def even_pull(a, chi):
    return np.array([[[a, chi], [chi, a]]])


@given(start=st.floats(0.05, 0.95), q=st.integers(2, 6))
def test_where_a_single_view_has_no_drift_the_difference_of_squares_is_kept(start, q):
    f = forecast(np.array([[0.1, 0.1 * start]]), even_pull(0.0, 0.9), q, 0.8)
    assert f.grows.all() and f.start[0] == pytest.approx(start)
    assert f.end[0] == pytest.approx((1 - (1 - start**2) * (0.1 / 0.8) ** 2) ** 0.5, abs=2e-3) == f.second[0]


@settings(max_examples=10)
@given(q=powers, start=st.floats(0.1, 0.9), a=st.floats(0.05, 0.8))
def test_the_forecast_is_what_the_equation_in_time_gives(q, start, a):
    f = forecast(np.array([[0.2 * start, 0.2]]), even_pull(a, 0.8), q, 1.0)

    def field(_, x):
        return x ** (q - 1) * (a * x**q + 0.8 * x[::-1] ** q)

    def reached(_, x):
        return max(x) - 1

    reached.terminal = True
    end = solve_ivp(field, (0, 1e14), [0.2, 0.2 * start], events=reached, method="LSODA", rtol=1e-8, atol=1e-12).y[:, -1]
    # in steps of 0.04 in arc length: the state is that of the first point at or after the level
    assert f.end[0] == pytest.approx(end[1] / end[0], rel=0.06)


def test_the_class_that_is_first_at_the_level_wins_and_a_late_one_counts_as_second():
    lam = np.array([[0.1, -1.0, 0.08, 0.079, 0.02, 0.0], [0.1, -1.0, -1.0, 0.0999, -0.2, -0.1]])
    f = forecast(lam, even_pull(0.3, 0.9), 4, 1.0)
    assert f.winner.tolist() == [1, 0] and (f.lead > 0).all() and f.lead[1] < 0.1
    assert f.end[1] == 0 and f.second[1] == pytest.approx((0.0999**-6 - 0.1**-6 + 1) ** (-1 / 6), rel=0.05)
    blind = forecast(lam, even_pull(0.3, 0.0), 4, 1.0)
    assert blind.winner.tolist() == [0, 0]
    mine = np.concatenate([even_pull(0.3, 0.9), even_pull(-1.0, 0.1), even_pull(0.1, 0.9)])
    assert forecast(lam, mine, 4, 1.0).winner.tolist() == [0, 0]


def test_where_only_pairs_grow_a_kernel_without_a_pair_does_not():
    lam = np.array([[0.1, -0.1, -0.1, 0.1], [0.1, -0.1, 0.03, 0.1], [-0.1] * 4])
    f = forecast(lam, even_pull(-0.3, 0.9), 4, 1.0)
    assert f.grows.tolist() == [False, True, False] and f.winner.tolist() == [-1, 1, -1] and np.isnan(f.end[[0, 2]]).all()
    assert f.end[1] > 0.95
    assert not forecast(lam, even_pull(-0.95, 0.9), 4, 1.0).grows.any()


def test_the_margin_is_to_the_nearest_ratio_that_stays():
    found = regions.margin(np.array([0.5, 0.95, np.nan]), 0.6)
    np.testing.assert_allclose(found, [np.log(0.6 / 0.5), -np.log(0.95), np.nan])
    np.testing.assert_allclose(regions.margin(np.array([0.5]), 0.0), np.log(2))


def test_the_boundaries_are_where_the_region_changes():
    near, far = (regions.population(MultiView(), power) for power in (4, 1))
    for theta in (0.3, 0.9):
        edges = regions.boundaries(theta, near, far, 4)
        names = [regions.region(regions.load(theta, float(edges[name] * side), 1 / theta, near.R, 4), near.chi, 4)
                 for name in ("pair growth", "single growth", "lottery") for side in (0.9999, 1.0001)]
        assert names == ["shrink", "pair growth", "pair growth", "bistable", "bistable", "lottery"]
    assert regions.boundaries([0.5], near.__class__(near.square, near.square[:, 0], near.patches), far, 2)["lottery"] == np.inf
    assert regions.load(0.9, 0.9, 1 / 0.9, 0.5, 4) == np.inf  # the teacher is behind


@pytest.mark.parametrize("call, text", [
    (lambda: regions.region(0.0, 0.5, 4), "beta = 0.0"), (lambda: regions.region(float("nan"), 0.5, 4), "beta = nan"),
    (lambda: regions.separatrix(0.5, 1.2, 4), "chi = 1.2"), (lambda: regions.separatrix(0.5, 0.9, 1), "q = 1"),
    (lambda: regions.load(1.2, 1.1, 1.0, 0.5, 4), "theta = 1.2"), (lambda: regions.load(0.5, 0.0, 1.0, 0.5, 4), "tau = 0.0"),
    (lambda: regions.load(0.5, 1.1, 1.0, 1.5, 4), "R_q = 1.5"), (lambda: regions.load(0.5, 1.1, 1.0, 0.5, 1), "q = 1"),
    (lambda: regions.population(MultiView(views=1), 4), "views = 1"),
    (lambda: forecast(np.ones((1, 2)), even_pull(1.0, 1.0), 4, 0.0), "level = 0.0"),
    (lambda: regions.boundaries([0.0, 0.5], *[regions.Moments(np.ones((1, 2)), np.ones(1), np.ones((1, 2)))] * 2, 4), "theta"),
    (lambda: regions.moments(MultiView(k=3, views=1, P=4, s=0.0).sample(2, 0), 4), "n = 3"),
])
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_the_gap_is_zero_on_every_edge_and_grows_away_from_it():
    for edge in (1.9, 1.0, 1 - 0.9 / 3):
        assert regions.gap(edge, 0.9, 4) == pytest.approx(0, abs=1e-12)
        assert regions.gap(edge * 1.01, 0.9, 4) == pytest.approx(np.log(1.01))
    assert regions.gap(np.inf, 0.9, 4) == np.inf
