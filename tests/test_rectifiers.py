"""ReLU and GELU where a smoothed ReLU is expected."""
import math
from itertools import product

import pytest
import torch

import mrpbook as mb
from mrpbook.optimisers import gradient_of
from mrpbook.rectifiers import Rectifier
from mrpbook.studies import capture

KINDS = ("relu", "gelu")


@pytest.mark.parametrize("kind", KINDS)
def test_the_slope_is_that_of_the_function(kind):
    a = torch.tensor([-1.0, -0.2, 0.05, 0.3, 2.0], dtype=torch.float64, requires_grad=True)
    slope, = torch.autograd.grad(Rectifier(kind=kind)(a).sum(), a)
    assert torch.allclose(Rectifier(kind=kind).derivative(a.detach()), slope, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hidden_patch_is_not_answered_so_averaging_masks_needs_no_smoothed_relu(kind):
    act, w, X = Rectifier(kind=kind), torch.randn(2, 5, dtype=torch.float64), torch.randn(3, 4, 5, dtype=torch.float64)
    teacher, s = mb.RescaledTeacher(0.6, tau=1.2), act(X @ w.T)
    H, total = teacher.target(X @ w.T, act), 0.0
    for kept in product((0.0, 1.0), repeat=4):
        eps = torch.tensor(kept, dtype=torch.float64)[None, :, None]
        chance = math.prod(0.6 if e else 0.4 for e in kept)
        total += chance * float(((H - (eps * s).sum(1) / 0.6) ** 2).sum() / 6)
    assert float(teacher.loss(w, X, act)) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_closed_form_is_the_gradient_of_the_averaged_loss(kind):
    _, _, _, S, w0 = capture.setting(7, 0.1, 5, N=30)
    act, w = Rectifier(kind=kind), w0.clone().requires_grad_()
    by_autograd, = torch.autograd.grad(mb.NormalisedTeacher().loss(w, S.X, act), w)
    closed = gradient_of(mb.NormalisedTeacher(), S.X, 5, act)(w0)
    assert torch.allclose(closed, by_autograd, atol=1e-5 * float(closed.abs().max()))


def test_other_kinds_are_refused():
    with pytest.raises(ValueError, match="kind = 'tanh': expected one of 'relu', 'gelu'"):
        Rectifier(kind="tanh")
