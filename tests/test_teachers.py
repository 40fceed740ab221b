"""Targets with a memory or a trained decoder: equal to all masks and to autograd, and what the proofs say of them."""
from itertools import product

import numpy as np
import pytest
import torch

import mrpbook as mb
from mrpbook import reference
from mrpbook.network import activations
from mrpbook.pretrain import pretrain, pretrain_along_arcs, pretrain_each
from mrpbook.teachers import EMATeacher, PixelDecoder, answers, follow

ACT = mb.SmoothedReLU()


@pytest.fixture
def case():
    """(w, a second set of kernels, X) in float64, in every range of the activation."""
    rng = np.random.default_rng(5)
    w, other, X = rng.normal(size=(3, 4)) * 0.6, rng.normal(size=(3, 4)) * 0.6, rng.normal(size=(4, 5, 4))
    return torch.from_numpy(w), torch.from_numpy(other), torch.from_numpy(X)


def close(a, b, error=1e-10):
    return (a - b).abs().max() <= error * max(1.0, float(b.abs().max()))


def test_one_power_gives_the_same_answers_and_slopes_as_two():
    a = torch.linspace(-0.5, 1.5, 101, dtype=torch.float64).view(1, 101, 1)
    sigma, slope = answers(a, ACT)
    assert close(sigma, ACT(a), 1e-14) and close(slope, ACT.derivative(a), 1e-14)


@pytest.mark.parametrize("decoder", ["1/theta", "1"])
def test_the_averaged_teachers_direction_is_the_mean_over_all_masks(case, decoder):
    w, teacher, X = case
    objective = EMATeacher(0.7, decoder)
    objective.remember(teacher, 0.0)
    H = ACT(activations(teacher, X)).sum(1)
    expected = reference.masked_direction(w.numpy(), X.numpy(), H.numpy(), 0.7, objective.c, "bernoulli", ACT.q, ACT.varrho)
    assert close(objective.direction(w, X, ACT), torch.as_tensor(expected))


def test_the_teacher_starts_at_the_student_and_follows_at_its_rate(case):
    w, other, X = case
    objective = EMATeacher(rate=0.5, lr=2.0)
    objective.descent(w, X, ACT)
    assert objective.teacher.equal(w)
    objective.descent(other, X, ACT)
    assert close(objective.teacher, w + (1 - np.exp(-1.0)) * (other - w), 1e-14)


@pytest.mark.parametrize("decoder", ["1/theta", "1"])
def test_without_a_mask_the_averaged_teacher_never_moves_a_weight(case, decoder):
    w, _, X = case
    for kernels, data in ((w, X), (w.float(), X.float())):
        assert pretrain(EMATeacher(1.0, decoder), data, kernels, ACT, steps=20).last.equal(kernels)


def lone(decoder, steps=200):
    """Overlap of one kernel with one semantic, no noise, along the way."""
    X, w = torch.full((1, 4, 1), 0.28, dtype=torch.float64), torch.tensor([[1.2]], dtype=torch.float64)
    return pretrain(EMATeacher(0.75, decoder, rate=0.1), X, w, ACT, steps=steps, snapshots=1).kernels[:, 0, 0]


def test_an_average_of_the_past_never_lets_a_lone_overlap_exceed_its_start_with_c_of_one_over_theta():
    path = lone("1/theta")
    assert (path <= 1.2).all() and path[-1] < path[0]


def test_with_c_of_one_the_same_overlap_grows():
    path = lone("1")
    assert (path.diff() > 0).all() and path[-1] > 3


def test_the_paths_along_arcs_are_those_of_common_time():
    m = mb.MultiView(noise=0.3)
    X, w0 = m.sample(60, 1, "pretrain").X, mb.initial_kernels(6, m.d, 1, sigma_0=0.25)
    common = pretrain(EMATeacher(0.75, "1", rate=0.05, lr=1.0), X, w0, ACT, lr=1.0, steps=300, snapshots=[300]).last
    path = follow(EMATeacher(0.75, "1", rate=0.05), X, w0, ACT, length=0.002, steps=400)
    reached = path.times[-1] >= 300
    assert reached.sum() >= 4
    there = path.at_common_time(torch.tensor([300.0])).kernels[0]
    moved = (common - w0).norm(dim=1)
    assert ((there - common).norm(dim=1) <= 0.02 * common.norm(dim=1))[reached].all() and moved.max() > 0.1


def test_kernels_with_a_memory_or_a_shared_decoder_get_no_clock_of_their_own(case):
    w, _, X = case
    for objective in (EMATeacher(), PixelDecoder()):
        with pytest.raises(ValueError, match="coupled or remember"):
            pretrain_along_arcs(objective, X, w, ACT)
        with pytest.raises(ValueError, match="coupled or remember"):
            pretrain_each(objective, X, w, ACT, settled=lambda w: torch.zeros(len(w), dtype=torch.bool))


@pytest.mark.parametrize("alone", [False, True])
def test_the_pixel_loss_is_the_mean_over_all_masks(case, alone):
    w, D, X = case
    theta, sigma, x = 0.7, ACT(activations(w, X)), X.sum(1)
    total = 0.0
    for mask in product((0.0, 1.0), repeat=X.shape[1]):
        kept = torch.tensor(mask, dtype=X.dtype)
        weight = theta ** float(kept.sum()) * (1 - theta) ** float(len(kept) - kept.sum())
        h = (kept[:, None] * sigma).sum(1) / theta
        errors = [x - h[:, [r]] * D[r] for r in range(len(w))] if alone else [x - h @ D]
        total += weight * sum((e**2).sum() for e in errors) / (2 * len(X))
    assert float(PixelDecoder(theta, alone=alone).loss(w, D, X, ACT)) == pytest.approx(float(total), rel=1e-12)


@pytest.mark.parametrize("alone", [False, True])
def test_the_pixel_directions_are_minus_autograds_gradient(case, alone):
    w, D, X = (t.clone() for t in case)
    objective = PixelDecoder(0.7, alone=alone)
    gradients = torch.autograd.grad(objective.loss(w.requires_grad_(), D.requires_grad_(), X, ACT), (w, D))
    for direction, gradient in zip(objective.directions(w.detach(), D.detach(), X, ACT), gradients, strict=True):
        assert close(direction, -gradient)


def test_the_pixel_loss_falls_along_descent_and_not_when_the_step_is_reversed(case):
    w, D, X = case
    objective = PixelDecoder(0.7)
    dw, dD = objective.directions(w, D, X, ACT)
    now = objective.loss(w, D, X, ACT)
    assert objective.loss(w + 1e-3 * dw, D + 1e-3 * dD, X, ACT) < now < objective.loss(w - 1e-3 * dw, D - 1e-3 * dD, X, ACT)


def test_a_kernel_alone_does_not_feel_the_others_and_one_in_company_does(case):
    w, D, X = case
    changed = w.clone()
    changed[1] *= 1.7
    for alone, same in ((True, True), (False, False)):
        before, after = (PixelDecoder(0.7, alone=alone).directions(k, D, X, ACT)[0][0] for k in (w, changed))
        assert close(before, after, 1e-12) == same


def test_a_decoder_at_rate_zero_stays_as_it_began_and_otherwise_learns(case):
    w, _, X = case
    for rate, stays in ((0.0, True), (1.0, False)):
        objective = PixelDecoder(0.7, rate=rate, size=2.0)
        pretrain(objective, X, w, ACT, lr=0.01, steps=3)
        assert close(objective.D, 2 * w / w.norm(dim=1, keepdim=True), 1e-12) == stays


@pytest.mark.parametrize(("make", "words"), [
    (lambda: EMATeacher(theta=0.0), "theta = 0.0"), (lambda: EMATeacher(decoder="2"), "decoder = '2'"),
    (lambda: EMATeacher(rate=0.0), "rate = 0.0"), (lambda: EMATeacher(lr=-1.0), "lr = -1.0"),
    (lambda: PixelDecoder(theta=1.5), "theta = 1.5"), (lambda: PixelDecoder(rate=-1.0), "rate = -1.0"),
    (lambda: PixelDecoder(size=0.0), "size = 0.0"),
])
def test_values_out_of_range_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_an_object_that_has_run_does_not_take_kernels_of_another_number(case):
    w, _, X = case
    for objective in (EMATeacher(), PixelDecoder()):
        objective.descent(w, X, ACT)
        with pytest.raises(ValueError, match="shape of w"):
            objective.descent(w[:2], X, ACT)
