"""Level, times and window of the normalised teacher, against descent, counting, quadrature and an exact reduced flow."""
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from mrpbook import regions, window
from mrpbook.data import MultiView
from mrpbook.network import SmoothedReLU, activations
from mrpbook.objectives import NormalisedTeacher
from mrpbook.pretrain import pretrain
from mrpbook.theory import strength_ratios

ACT = SmoothedReLU()


def strengths(N, C=4, seed=0, present=0.5, equal=False):
    """Strengths [N, 2, C] of two views that always occur together, in a share of the samples."""
    rng = np.random.default_rng(seed)
    share = np.ones((N, 2, C)) if equal else 0.5 + rng.random((N, 2, C))
    return share / share.sum(-1, keepdims=True) * (rng.random(N) < present)[:, None, None]


def moments(z, q):
    """m, R_q and chi of two views, m of the first."""
    S = (z**q).sum(-1)
    own = regions.Moments((S**2).mean(0)[None], (S[:, 0] * S[:, 1]).mean()[None], (z ** (2 * q)).sum(-1).mean(0)[None])
    return math.sqrt(own.square[0, 0]), own.R, own.chi


def patches(z):
    """[N, 2 C, 2]: the noise-free samples themselves, in the basis of the two semantics."""
    N, _, C = z.shape
    X = np.zeros((N, 2 * C, 2))
    X[:, :C, 0], X[:, C:, 1] = z[:, 0], z[:, 1]
    return torch.from_numpy(X)


def descent_flow(z, start, A, kappa, act=ACT, until=None, time=1e6):
    """Gradient flow of the package's own objective in the two overlaps, by a stiff solver."""
    X, objective = patches(z), NormalisedTeacher(theta=1 / (1 + kappa), A=A)
    def speed(t, y):
        return objective.descent(torch.tensor(y)[None], X, act)[0].numpy()
    if until is not None:
        until.terminal = True
    return solve_ivp(speed, (0, time), start, method="LSODA", rtol=1e-8, atol=1e-12, events=until)


def event(run):
    return float(run.t_events[0][0]) if len(run.t_events[0]) else math.inf


@given(st.floats(0.05, 20), st.floats(0, 5), st.integers(1, 6), st.integers(2, 5), st.floats(0.1, 0.9))
def test_with_equal_strengths_rms_at_rest_is_the_teachers_over_one_plus_kappa_over_patches_in_any_regime(A, kappa, C, q, z0):
    act, z = SmoothedReLU(q), np.full((3, C), z0)
    rest = window.rest_overlap(z, A, kappa, act)
    assert window.mask_ratio(z, rest, act) == pytest.approx(1 / C)
    rho = math.sqrt(3 * (C * act(torch.tensor(rest * z0, dtype=torch.float64)).item()) ** 2 / 3)
    assert rho == pytest.approx(A / window.rest_factor(kappa, 1 / C), rel=1e-6)


def test_the_mask_ratio_goes_from_the_power_to_the_linear_ratio_as_the_overlap_grows():
    z = strengths(200)[:, 0]
    r_q, r_1 = strength_ratios(torch.from_numpy(z), ACT.q)
    assert window.mask_ratio(z, 0.1, ACT) == pytest.approx(r_q, rel=1e-9)
    assert window.mask_ratio(z, 1e6, ACT) == pytest.approx(r_1, rel=1e-3)


@pytest.mark.parametrize("A, kappa, lr", [(0.02, 1.0, 20.0), (0.3, 0.3, 2.0), (1.0, 0.1, 2.0), (3.0, 3.0, 0.5)])
def test_descent_comes_to_rest_where_predicted_in_the_power_the_mixed_and_the_linear_regime(A, kappa, lr):
    z = strengths(20)
    rest = window.rest_overlap(z[:, 0], A, kappa, ACT)
    end = pretrain(NormalisedTeacher(1 / (1 + kappa), A=A), patches(z), torch.tensor([[0.2, -0.1]], dtype=torch.float64),
                   ACT, lr=lr, steps=300, snapshots=300).last[0]
    assert end[0].item() == pytest.approx(rest, rel=1e-4) and end[1].item() == pytest.approx(-0.1)


@pytest.mark.parametrize("q", [2, 3, 4])
def test_capture_time_is_that_of_descent_and_does_not_know_the_mask(q):
    act, z = SmoothedReLU(q), strengths(8)
    m, R, _ = moments(z, q)
    end, B = 0.2, window.rate(m, 20.0, act)
    for kappa in (0.0, 2.0):
        run = descent_flow(z, [0.01, -1.0], 20.0, kappa, act, until=lambda t, y: y[0] - end)
        predicted = window.capture_time(0.01, end, B, q)
        brake = (1 + kappa * R) * m * end**q / (q * act.varrho ** (q - 1)) / 20
        assert predicted <= event(run) * (1 + 1e-6) <= predicted / (1 - brake) * (1 + 2e-6)


@given(st.integers(3, 6), st.floats(0.01, 0.1), st.floats(0.2, 0.5))
def test_a_start_scaled_by_a_share_takes_share_to_the_minus_q_minus_two_times_as_long(q, lam0, share):
    long, short = (window.capture_time(s * lam0, s * 0.2, 1.0, q) for s in (share, 1))
    assert long / short == pytest.approx(share ** (2 - q))


def test_a_noisy_kernel_started_smaller_is_captured_later_by_the_same_power_whatever_the_data():
    X = torch.randn(30, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    g = torch.tensor([[0.3, 0.2, -0.1, 0.4, 0.1]], dtype=torch.float64)
    ends = [pretrain(NormalisedTeacher(0.5, A=1e8), X * 0.05, c * g, ACT, lr=4e-9 * c**-2, steps=200, snapshots=200).last / c
            for c in (1.0, 0.1)]
    assert (ends[0] - g).norm() > 0.05 * g.norm()  # it moved
    assert (ends[0] - ends[1]).norm() < 1e-6 * g.norm()


@pytest.mark.parametrize("head_start, holds", [(0.6, True), (0.97, False)])
def test_what_the_second_view_gains_before_capture_is_a_heuristic_that_stops_at_near_ties(head_start, holds):
    z = strengths(30)
    z = np.concatenate([z, z[:, ::-1]])  # symmetric views
    *_, chi = moments(z, ACT.q)
    run = descent_flow(z, [0.02, head_start * 0.02], 20.0, 0.3, until=lambda t, y: y[0] - 0.4)
    predicted = window.partner_at_capture(0.02, head_start * 0.02, chi, ACT.q)
    assert (predicted == pytest.approx(run.y[1, -1], rel=0.05)) == holds


@pytest.mark.parametrize("kappa", [0.05, 0.3, 1.0])
def test_the_window_is_that_of_descent_without_noise(kappa):
    z = strengths(60)
    rest, second = window.rest_overlap(z[:, 0], 1.0, kappa, ACT), 0.02
    run = descent_flow(z, [rest, second], 1.0, kappa, until=lambda t, y: y[1] - 0.3 * y[0])
    assert window.window(z[:, 0], z[:, 1], second, 1.0, kappa, ACT) == pytest.approx(event(run), rel=0.02)


def test_relative_to_capture_the_window_knows_neither_the_initial_scale_nor_the_teachers_size():
    z, kappa = strengths(60), 0.2
    z = np.concatenate([z, z[:, ::-1]])  # symmetric views
    ratios = []
    for A, scale in ((0.02, 1e-3), (0.02, 1e-2), (0.03, 1e-3)):  # power regime at rest
        m, R, chi = moments(z, ACT.q)
        cap = window.capture_time(scale, 1e3, window.rate(m, A, ACT), ACT.q)
        ratios.append(window.window(z[:, 0], z[:, 1], 0.5 * scale, A, kappa, ACT) / cap)
    assert ratios == pytest.approx([2**2 * window.rest_factor(kappa, R) / (kappa * R * chi)] * 3, rel=0.01)


@given(st.floats(0.01, 3), st.floats(0.01, 0.2), st.floats(1.1, 3))
def test_hiding_more_shortens_the_window_but_never_below_the_mask_free_clock_of_capture(kappa, second, more):
    z = strengths(20)
    m, R, chi = moments(z, ACT.q)
    light, heavy = (window.window(z[:, 0], z[:, 1], second, 0.02, k, ACT, share=1.0) for k in (kappa, more * kappa))
    assert light >= heavy
    rest = window.rest_overlap(z[:, 0], 0.02, kappa, ACT)
    if second < rest:
        floor = window.capture_time(second, rest, chi * window.rate(m, 0.02, ACT), ACT.q)
        assert light >= 0.999 * floor


@pytest.mark.parametrize("kappa, fused", [(0.0, False), (0.05, True), (1.0, True)])
def test_every_pair_of_positive_overlaps_ends_fused_if_anything_is_hidden_and_none_if_nothing_is(kappa, fused):
    z = strengths(6, equal=True)
    m, R, chi = moments(z, ACT.q)
    end = descent_flow(z, [0.05, 0.04], 0.05, kappa, time=1e8).y[:, -1]
    assert (end[1] / end[0] > 0.99) == fused
    if fused:
        rho = m * end[0] ** ACT.q * math.sqrt(2 * (1 + chi)) / (ACT.q * ACT.varrho ** (ACT.q - 1))
        assert rho == pytest.approx(0.05 / window.rest_factor(kappa, R, chi), rel=1e-3)
        # it travels through the lottery and the bistable region and rests between the last two
        assert beta(0.05 / rho, kappa, R) == pytest.approx(1 + chi, rel=1e-2)


def beta(s, kappa, R, q=4):
    """The place on the map of regions: the kernel's factor s is the tau^q of a rescaled teacher."""
    theta = 1 / (1 + kappa)
    return regions.load(theta, s ** (1 / q), 1 / theta, R, q)


def test_the_factor_crosses_the_four_regions_in_order():
    seen = [regions.region(beta(s, 1.0, 0.5), 0.9, 4) for s in (100, 1.65, 1.4, 1.2)]
    assert seen == ["lottery", "bistable", "pair growth", "shrink"]
    assert beta(window.rest_factor(1.0, 0.5), 1.0, 0.5) == pytest.approx(1)


def test_noise_drives_a_kernel_along_itself_as_stein_says():
    gen, sigma_p, w = torch.Generator().manual_seed(0), 0.1, torch.tensor([1.2, -0.5, 0.8], dtype=torch.float64)
    mean = torch.tensor([0.4, 0.1, 0.0, -0.1], dtype=torch.float64)  # z_p lambda, as if w were split off
    xi = sigma_p * torch.randn(400_000, 4, 3, generator=gen, dtype=torch.float64)
    a = mean + xi @ w
    pull = torch.einsum("np,npd->nd", ACT(a).sum(1)[:, None] * ACT.derivative(a), xi)
    c = window.noise_pull(mean.numpy(), sigma_p * w.norm().item(), ACT)
    assert ((pull.mean(0) - sigma_p**2 * c * w).abs() < 4 * pull.std(0) / len(xi) ** 0.5).all()


node, weight = (torch.from_numpy(x) for x in np.polynomial.hermite_e.hermegauss(40))


def exact_window(z, start, kappa, sigma_p):
    """Time to fuse, from rest, in the exact population flow of both overlaps: autograd of E averaged over patch noise."""
    z = torch.from_numpy(z).flatten(1)
    view = torch.tensor([0] * 4 + [1] * 4)
    def speed(t, y):
        lam = torch.tensor(y, requires_grad=True)
        sigma = ACT((z * lam[view])[..., None] + sigma_p * lam.norm() * node)
        first, second = sigma @ weight / weight.sum(), sigma**2 @ weight / weight.sum()
        rho = (first.sum(1) ** 2 + (second - first**2).sum(1)).mean().sqrt()
        return -torch.autograd.grad((1 - rho) ** 2 / 2 + kappa / 2 * second.sum(1).mean(), lam)[0].numpy()
    def fused(t, y):
        return y[1] - 0.3 * y[0]
    fused.terminal = True
    return event(solve_ivp(speed, (0, 1e5), start, method="LSODA", rtol=1e-5, atol=1e-8, events=fused))


@pytest.mark.parametrize("noise, holds", [(0.1, True), (0.5, False)])
def test_with_noise_the_window_is_a_heuristic_good_at_low_noise_and_stopping_at_high(noise, holds):
    z, kappa, sigma_p = strengths(24, present=0.3), 0.3, noise / 60**0.5
    rest = window.rest_overlap(z[:, 0], 1.0, kappa, ACT)
    predicted = window.window(z[:, 0], z[:, 1], 0.02, 1.0, kappa, ACT, sigma_p)
    assert (abs(exact_window(z, [rest, 0.02], kappa, sigma_p) / predicted - 1) < 0.25) == holds


def test_with_noise_the_window_forgets_where_the_second_view_started_and_is_open_to_negative_overlaps():
    z = strengths(40)
    at = {s: window.window(z[:, 0], z[:, 1], s, 1.0, 0.3, ACT, 0.04) for s in (1e-3, 1e-2, -1e-2)}
    assert at[1e-3] == pytest.approx(at[1e-2], rel=0.1) and math.isfinite(at[-1e-2])
    bare = [window.window(z[:, 0], z[:, 1], s, 1.0, 0.3, ACT) for s in (1e-3, 1e-2, -1e-2)]
    assert bare[0] == pytest.approx(100 * bare[1], rel=0.05) and bare[2] == math.inf


def test_a_mask_annealed_like_one_over_t_prolongs_the_window_exponentially():
    assert window.annealed_window(3.0, 2.0, 1.0) == pytest.approx(2 * math.expm1(1.5))
    assert window.annealed_window(3.0, 2.0, 1.0) == pytest.approx(window.annealed_window(3.0, 2.0, 1 + 1e-7), rel=1e-4)


@pytest.mark.parametrize("p, t0_share", [(1.0, 0.7), (2.0, 2.5), (0.5, 0.5)])
def test_annealing_the_mask_prolongs_the_window_of_descent_as_its_dose_says(p, t0_share):
    z, kappa, second = strengths(6), 0.1, 0.05
    constant = window.window(z[:, 0], z[:, 1], second, 1.0, kappa, ACT)
    X, t0 = patches(z), t0_share * constant
    def speed(t, y):
        theta = 1 / (1 + kappa * (1 + t / t0) ** -p)
        return NormalisedTeacher(theta).descent(torch.tensor(y)[None], X, ACT)[0].numpy()
    def fused(t, y):
        return y[1] - 0.3 * y[0]
    fused.terminal = True
    start = [window.rest_overlap(z[:, 0], 1.0, kappa, ACT), second]
    run = solve_ivp(speed, (0, 100 * constant), start, method="LSODA", rtol=1e-6, atol=1e-10, events=fused)
    assert event(run) == pytest.approx(window.annealed_window(constant, t0, p), rel=0.15)
    assert event(run) > 1.3 * constant


@given(st.floats(1, 100), st.floats(1, 100), st.floats(0, 3))
def test_the_annealed_window_spends_the_dose_of_the_constant_one(constant, t0, p):
    assume(abs(p - 1) > 1e-3)
    t = window.annealed_window(constant, t0, p)
    if math.isinf(t):
        assert t0 / (p - 1) <= constant * (1 + 1e-9)
    else:
        assert t >= constant * (1 - 1e-9)
        assert t0 * ((1 + t / t0) ** (1 - p) - 1) / (1 - p) == pytest.approx(constant, rel=1e-5)


@pytest.mark.parametrize("call, name", [(lambda: window.capture_time(0.0, 1.0, 1.0, 4), "lam0"),
                                        (lambda: window.capture_time(1.0, 0.5, 1.0, 4), "lam1"),
                                        (lambda: window.capture_time(0.1, 0.5, 1.0, 1), "q"),
                                        (lambda: window.annealed_window(1.0, 0.0, 1.0), "t0"),
                                        (lambda: window.lead(1.0, 0.0, 0.3, ACT), "lam")])
def test_bad_input_is_named(call, name):
    with pytest.raises(ValueError, match=name):
        call()


def test_the_noise_free_direction_is_the_gradient_of_the_energy():
    z = strengths(20)
    X, w = patches(z), torch.tensor([[0.9, 0.5]], dtype=torch.float64, requires_grad=True)
    sigma = ACT(activations(w, X))
    E = (0.7 - (sigma.sum(1) ** 2).mean().sqrt()) ** 2 / 2 + 0.25 / 2 * (sigma**2).sum(1).mean()
    E.backward()
    assert torch.allclose(-w.grad, NormalisedTeacher(0.8, A=0.7).descent(w.detach(), X, ACT), rtol=1e-10)


def test_the_strengths_of_a_semantic_are_those_of_its_patches_and_zero_where_it_is_absent():
    S = MultiView(noise=0.0).sample(40, 3, mu=0.0)
    z = window.patch_strengths(S, 5)
    assert z.shape == (40, 4) and (z.sum(1) == pytest.approx(S.strengths[:, 5].numpy(), abs=1e-6))
    assert ((z > 0).all(1) == (S.strengths[:, 5] > 0).numpy()).all() and 0 < (z > 0).all(1).sum() < 40


@given(st.integers(2, 6), st.floats(0.05, 5), st.floats(0.05, 5), st.floats(0.1, 1))
def test_the_lead_is_the_integral_of_one_over_the_slope(q, lam1, lam2, z):
    act = SmoothedReLU(q)
    grid = np.geomspace(lam2, lam1, 4001)
    slope = act.derivative(torch.from_numpy(grid * z)).numpy()
    assert window.lead(lam1, lam2, z, act) == pytest.approx(np.trapezoid(1 / slope, grid), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("A", [0.3, 4.0])
def test_with_equal_strengths_the_lead_falls_by_the_dose_of_the_mask_whatever_the_size_of_the_target(A):
    kappa, z = 0.3, strengths(8, equal=True)
    run = descent_flow(z, [0.3, 0.15], A, kappa, time=100.0)
    sizes = ACT(torch.from_numpy(run.y * 0.25)).numpy()
    fallen = [window.lead(*run.y[:, i], 0.25, ACT) for i in (0, -1)]
    pi = (z[:, 0, 0] > 0).mean()
    dose = np.trapezoid(kappa * pi * 4 * 0.25 * (sizes[0] - sizes[1]), run.t)
    assert fallen[0] - fallen[1] == pytest.approx(dose, rel=0.02) and dose > 0.003 * fallen[0]
