"""The closed forms: equal to all masks, to autograd, to sampling; and what they imply."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mrpbook import reference, theory
from mrpbook.network import SmoothedReLU, activations
from mrpbook.objectives import MaskedObjective, NormalisedTeacher, Objective, PlainDecoder, RescaledTeacher

KINDS = (NormalisedTeacher, RescaledTeacher, PlainDecoder)


@st.composite
def cases(draw, kinds=KINDS):
    """(objective, w, X, act) of a small problem in float64, in every range of the activation."""
    P = draw(st.integers(1, 8))
    mask = draw(st.sampled_from(["bernoulli", "fixed count"]))
    theta = draw(st.integers(1, P)) / P if mask == "fixed count" else draw(st.floats(0.05, 1))
    kind = draw(st.sampled_from(kinds))
    more = {NormalisedTeacher: {"A": draw(st.floats(0.3, 3))}, RescaledTeacher: {"tau": draw(st.floats(0.5, 2))}}
    act = SmoothedReLU(draw(st.integers(2, 5)), draw(st.floats(0.2, 1)))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    w, X = rng.normal(size=(3, 4)) * draw(st.sampled_from([0.2, 1.0])), rng.normal(size=(draw(st.integers(1, 4)), P, 4))
    return kind(theta, mask, **more.get(kind, {})), torch.from_numpy(w), torch.from_numpy(X), act


def plain_target(objective, w, X, act):
    """The reference's target for an objective of the package."""
    w, X = w.numpy(), X.numpy()
    if isinstance(objective, NormalisedTeacher):
        return reference.normalised_target(w, X, objective.A, act.q, act.varrho)
    if isinstance(objective, RescaledTeacher):
        return reference.rescaled_target(w, X, objective.tau, act.q, act.varrho)
    return reference.plain_target(w, X, act.q, act.varrho)


def plain(function, objective, w, X, act):
    """A reference function of (w, X, H, theta, c, law, q, varrho) for an objective of the package."""
    c = 1.0 if isinstance(objective, PlainDecoder) else 1 / objective.theta
    H = plain_target(objective, w, X, act)
    return function(w.numpy(), X.numpy(), H, objective.theta, c, objective.mask, act.q, act.varrho)


def difference(a, b):
    """Largest difference, relative to the largest entry (or 1e-3, where that is smaller)."""
    a, b = np.asarray(a), np.asarray(b)
    return np.abs(a - b).max() / max(np.abs(b).max(), 1e-3)


@given(cases())
def test_the_closed_form_equals_the_mean_over_all_masks(case):
    objective, w, X, act = case
    assert difference(objective.loss(w, X, act), plain(reference.masked_loss, *case)) < 1e-10
    assert difference(objective.descent(w, X, act), plain(reference.masked_direction, *case)) < 1e-10


@pytest.mark.parametrize("mask", ["bernoulli", "fixed count"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_closed_form_equals_the_mean_over_all_masks_of_ten_patches(kind, mask):
    rng = np.random.default_rng(0)
    w, X, act = torch.from_numpy(rng.normal(size=(3, 4))), torch.from_numpy(rng.normal(size=(4, 10, 4))), SmoothedReLU()
    case = kind(0.7, mask), w, X, act
    assert difference(case[0].descent(w, X, act), plain(reference.masked_direction, *case)) < 1e-10
    assert difference(case[0].descent(w, X, act), plain(reference.closed_form_direction, *case)) < 1e-10
    assert difference(case[0].loss(w, X, act), plain(reference.masked_loss, *case)) < 1e-10


@given(cases())
def test_the_direction_is_minus_autograds_gradient_with_the_target_held_fixed(case):
    objective, w, X, act = case
    leaf = w.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective.loss(leaf, X, act), leaf)
    assert difference(objective.descent(w, X, act), -gradient) < 1e-10


@pytest.mark.parametrize("mask", ["bernoulli", "fixed count"])
@pytest.mark.parametrize("kind", KINDS)
def test_sampled_masks_agree_within_their_error(kind, mask):
    rng = np.random.default_rng(1)
    w, X, act = torch.from_numpy(rng.normal(size=(2, 5))), torch.from_numpy(rng.normal(size=(3, 16, 5))), SmoothedReLU()
    objective, draws = kind(0.75, mask), 4000
    eps = torch.from_numpy(rng.random((draws, 3, 16)))
    eps = (eps < 0.75).double() if mask == "bernoulli" else (eps.argsort(-1) < 12).double()
    a = activations(w, X)
    H = objective.target(a, act)
    gap = H - objective.c * torch.einsum("mnp,npk->mnk", eps, act(a))
    each = objective.c / 3 * torch.einsum("mnk,mnp,npk,npd->mkd", gap, eps, act.derivative(a), X)
    error = each.std(0) / draws**0.5
    assert ((each.mean(0) - objective.descent(w, X, act)) / error).abs().max() < 5
    loss = (gap**2).sum((1, 2)) / 6
    assert abs(loss.mean() - objective.loss(w, X, act)) < 5 * loss.std() / draws**0.5


@given(cases())
def test_targets_equal_the_reference(case):
    objective, w, X, act = case
    assert difference(objective.target(activations(w, X), act), plain_target(objective, w, X, act)) < 1e-12


@given(cases(kinds=(NormalisedTeacher,)))
def test_the_normalised_target_has_mean_square_A_squared_unless_the_kernel_is_silent(case):
    objective, w, X, act = case
    w = torch.cat([w, torch.zeros(1, 4).double()])
    a = activations(w, X)
    loud = act(a).sum(1).abs().amax(0) > 0
    size = (objective.target(a, act) ** 2).mean(0)
    torch.testing.assert_close(size[loud], torch.full_like(size[loud], objective.A**2), rtol=1e-9, atol=0)
    assert not loud[-1] and size[-1] == 0 and torch.isfinite(objective.descent(w, X, act)).all()


@given(cases())
def test_a_kernel_moves_as_if_it_were_alone(case):
    objective, w, X, act = case
    alone = torch.cat([objective.descent(row[None], X, act) for row in w])
    assert objective.independent and difference(objective.descent(w, X, act), alone) < 1e-12


@pytest.mark.parametrize("mask", ["bernoulli", "fixed count"])
def test_a_mask_kept_with_probability_one_teaches_nothing_when_c_is_one(mask):
    torch.manual_seed(0)
    w, X, act = torch.randn(4, 5).double(), torch.randn(6, 8, 5).double(), SmoothedReLU()
    scale = PlainDecoder(0.5, mask).descent(w, X, act).abs().max()
    assert PlainDecoder(1.0, mask).descent(w, X, act).abs().max() < 1e-12 * scale
    assert RescaledTeacher(1.0, mask).descent(w, X, act).abs().max() > 1e-3 * scale


@given(cases(kinds=(PlainDecoder,)))
def test_with_c_one_every_mask_law_climbs_coactivation_and_theta_sets_the_rate_only(case):
    """Pr(p kept) - Pr(p, p' kept) times grad Phi: theta (1 - theta), times P / (P - 1) for a fixed count (theory note)."""
    objective, w, X, act = case
    leaf, P, theta = w.clone().requires_grad_(), X.shape[1], objective.theta
    (climb,) = torch.autograd.grad(theory.coactivation(leaf, X, act).sum(), leaf)
    factor = theta * (1 - theta)
    if objective.mask == "fixed count":
        factor = theta * (1 - theta) * P / (P - 1) if P > 1 else 0.0
    assert difference(objective.descent(w, X, act), factor * climb) < 1e-10
    assert P == 1 or theta == 1 or climb.abs().max() == 0 or objective.descent(w, X, act).abs().max() > 0


def test_the_loss_of_the_plain_decoder_rises_along_its_own_descent():
    """The direction is a semi-gradient: the target moves with the student, and a loss curve would mislead."""
    torch.manual_seed(1)
    w, X, act = torch.randn(6, 5).double() * 0.3, torch.randn(20, 8, 5).double(), SmoothedReLU()
    objective, losses = PlainDecoder(0.5), []
    for _ in range(20):
        losses.append(float(objective.loss(w, X, act)))
        w = w + 0.05 * objective.descent(w, X, act)
    assert all(np.diff(losses) > 0) and losses[-1] > 1.02 * losses[0]


@given(cases(kinds=(NormalisedTeacher,)))
def test_the_normalised_teacher_has_an_energy_and_its_stop_gradient_changes_nothing(case):
    """H = A h / rms(h) has a fixed size and the direction of h, so mean (H - c theta h) dH = 0 (derived): the
    semi-gradient is the gradient of the loss itself, 1/2 (A - rms(h))^2 + 1/2 kappa mean v per kernel.
    """
    objective, w, X, act = case
    leaf = w.clone().requires_grad_()
    h = act(activations(leaf, X)).sum(1)
    loud = (h.abs().amax(0) > 0).detach()
    size = (h**2).mean(0)[loud].sqrt()
    sigma = act(activations(leaf, X))
    v, P = (sigma**2).sum(1), X.shape[1]
    if objective.mask == "fixed count":
        v = P / (P - 1) * (v - h**2 / P) if P > 1 else 0 * v
    energy = 0.5 * ((objective.A - size) ** 2).sum() + 0.5 * objective.kappa * v.mean(0)[loud].sum()
    if not loud.any():
        return
    (gradient,) = torch.autograd.grad(energy, leaf)
    assert difference(objective.descent(w, X, act), -gradient) < 1e-9
    assert objective.loss(w, X, act).item() == pytest.approx(energy.item(), rel=1e-9)


def test_the_factor_of_the_decoder_and_kappa_are_those_of_theta():
    assert (NormalisedTeacher(0.8).c, RescaledTeacher(0.8).c, PlainDecoder(0.8).c) == (1.25, 1.25, 1.0)
    assert PlainDecoder(0.8).kappa == pytest.approx(0.25)
    assert NormalisedTeacher(0.75).weights(16) == pytest.approx((1, 1 / 3))


def test_objectives_meet_the_protocol_and_the_bare_base_class_says_what_to_use():
    assert all(isinstance(kind(), Objective) for kind in KINDS) and not isinstance(SmoothedReLU(), Objective)
    with pytest.raises(TypeError, match="use NormalisedTeacher, RescaledTeacher or PlainDecoder"):
        MaskedObjective().descent(torch.ones(1, 2), torch.ones(1, 2, 2), SmoothedReLU())


def test_a_target_of_ones_own_takes_part_in_loss_and_direction():
    @dataclass(frozen=True)
    class Constant(MaskedObjective):
        def target(self, a, act):
            return torch.ones_like(a[:, 0])

    torch.manual_seed(0)
    w, X, act = torch.randn(2, 3).double(), torch.randn(3, 4, 3).double(), SmoothedReLU()
    H = np.ones((3, 2))
    expected = reference.masked_direction(w.numpy(), X.numpy(), H, 0.6, 1 / 0.6)
    assert difference(Constant(0.6).descent(w, X, act), expected) < 1e-10


@pytest.mark.parametrize("build, message", [
    (lambda: NormalisedTeacher(0.0), "theta = 0.0: expected a number in (0, 1]"),
    (lambda: PlainDecoder(1.01), "theta = 1.01: expected a number in (0, 1]"),
    (lambda: PlainDecoder(0.5, "blocks"), "mask = 'blocks': expected one of 'bernoulli', 'fixed count'"),
    (lambda: NormalisedTeacher(A=0.0), "A = 0.0: expected a number in (0, inf)"),
    (lambda: RescaledTeacher(tau=-1.0), "tau = -1.0: expected a number in (0, inf)"),
    (lambda: PlainDecoder(0.9, "fixed count").weights(16), "with P = 16 a fixed-count mask would keep 14.4 patches"),
    (lambda: PlainDecoder(0.9, "fixed count").loss(torch.ones(1, 2), torch.ones(1, 16, 2), SmoothedReLU()), "14.4"),
    (lambda: PlainDecoder(1e-12, "fixed count").kept(8), "allowed are j/8 for j = 1..8"),
])
def test_parameters_outside_their_range_are_refused_by_name_value_and_range(build, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()
