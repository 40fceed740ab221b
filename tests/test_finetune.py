"""A head on frozen kernels, trained to the optimum; fine-tuning of both."""

import pytest
import torch

from mrpbook.data import MultiView
from mrpbook.finetune import finetune, fit_head
from mrpbook.network import SmoothedReLU, initial_kernels, responses
from mrpbook.objectives import NormalisedTeacher
from mrpbook.pretrain import pretrain
from mrpbook.semantics import holding

ACT = SmoothedReLU()


@pytest.fixture(scope="module")
def task():
    """(model, labelled multi-view samples, single-view test samples, {name: kernels})."""
    model = MultiView(k=4, d=12, noise=0.3)
    w0 = initial_kernels(40, 12, 0)
    w = pretrain(NormalisedTeacher(), model.sample(200, 0, "pretrain").X, w0, ACT, steps=200, snapshots=200).last
    return model, model.sample(80, 0, "labels"), model.sample(400, 0, "test", mu=1.0), {"untrained": w0, "pretrained": w}


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("kernels", ["untrained", "pretrained"])
def test_the_head_is_the_optimum_of_cross_entropy_plus_ridge(kernels, standardise, task):
    """At the optimum the gradient vanishes, and no head nearby is better: checked with autograd on the plain formula."""
    _, L, _, banks = task
    c = fit_head(banks[kernels], L.X, L.y, 4, ACT, ridge=1e-3, standardise=standardise)
    h = responses(c.w, L.X, ACT).double()
    scale = (h**2).mean(0).sqrt() if standardise else (h**2).mean().sqrt()

    def value(u):
        return torch.nn.functional.cross_entropy((h / scale) @ u.T, L.y) + 0.5e-3 * (u**2).sum()

    u = (c.u.double() * scale).requires_grad_()
    (gradient,) = torch.autograd.grad(value(u), u)
    (start,) = torch.autograd.grad(value(zero := torch.zeros_like(u, requires_grad=True)), zero)
    assert gradient.norm() < 1e-3 * start.norm()
    assert c.loss == pytest.approx(float(value(u.detach())), rel=1e-4)
    torch.manual_seed(0)
    for _ in range(5):
        step = torch.randn(u.shape).double()
        assert value(u.detach() + 0.3 * step / step.norm()) > value(u.detach())


@pytest.mark.parametrize("kernels", ["untrained", "pretrained"])
def test_a_head_on_either_bank_learns_and_leaves_the_kernels_frozen(kernels, task):
    _, L, T, banks = task
    before = banks[kernels].clone()
    c = fit_head(banks[kernels], L.X, L.y, 4, ACT)
    assert torch.equal(c.w, before) and torch.equal(banks[kernels], before)
    assert c.reached and c.u.shape == (4, 40)
    assert c.correct(L.X, L.y).float().mean() > 0.97
    assert c.correct(T.X, T.y).float().mean() > (0.95 if kernels == "pretrained" else 0.7)


def test_pretraining_was_worth_something_here(task):
    _, L, T, banks = task
    untrained, pretrained = (fit_head(banks[name], L.X, L.y, 4, ACT).correct(T.X, T.y).float().mean()
                             for name in ("untrained", "pretrained"))
    assert pretrained > untrained + 0.02


def test_without_a_bias_a_sample_that_moves_no_kernel_is_an_error(task):
    _, L, _, banks = task
    c = fit_head(banks["pretrained"], L.X, L.y, 4, ACT)
    nothing = torch.zeros(4, 16, 12)
    assert (c.scores(nothing) == 0).all() and not c.correct(nothing, torch.arange(4)).any()


def test_standardised_heads_do_not_care_how_large_a_kernel_answers(task):
    _, L, T, banks = task
    w = banks["untrained"]  # deep in the power range: a response goes like |w|^q
    stretched = w * torch.linspace(0.1, 1.0, 40)[:, None]
    a, b = (fit_head(x, L.X, L.y, 4, ACT) for x in (w, stretched))
    torch.testing.assert_close(a.scores(T.X), b.scores(T.X), rtol=0.02, atol=0.05)
    plain = [fit_head(x, L.X, L.y, 4, ACT, standardise=False).scores(T.X) for x in (w, stretched)]
    assert (plain[0] - plain[1]).abs().max() > 0.5


def test_a_kernel_that_never_answers_gets_no_weight(task):
    _, L, _, banks = task
    w = banks["pretrained"].clone()
    w[3] = 0
    c = fit_head(w, L.X, L.y, 4, ACT)
    assert (c.u[:, 3] == 0).all() and torch.isfinite(c.u).all()


def test_a_head_on_float64_kernels_scores_float64_data(task):
    _, L, _, banks = task
    c = fit_head(banks["pretrained"].double(), L.X.double(), L.y, 4, ACT)
    assert c.correct(L.X.double(), L.y).float().mean() > 0.97
    assert finetune(c.w, L.X.double(), L.y, 4, ACT, steps=2).u.dtype == torch.float64


def test_fine_tuning_reaches_its_loss_moves_kernels_and_keeps_what_they_hold(task):
    model, L, T, banks = task
    w = banks["pretrained"]
    c = finetune(w, L.X, L.y, 4, ACT)
    assert c.reached and c.loss <= 0.01 and c.correct(T.X, T.y).float().mean() > 0.9
    assert (c.w - w).norm() > 0.01 * w.norm()
    before, after = (holding(x, model.semantics(0), model, ACT) for x in (w, c.w))
    assert (before.semantics & after.semantics).sum() == before.semantics.sum()


def test_fine_tuning_starts_from_a_head_of_zero_and_uses_separate_rates(task):
    _, L, _, banks = task
    head_only = finetune(banks["pretrained"], L.X, L.y, 4, ACT, lr=0.0, lr_head=1.0, steps=3)
    assert torch.equal(head_only.w, banks["pretrained"]) and head_only.u.abs().max() > 0
    kernels_only = finetune(banks["pretrained"], L.X, L.y, 4, ACT, lr=1.0, lr_head=0.0, steps=3)
    assert (kernels_only.u == 0).all() and torch.equal(kernels_only.w, banks["pretrained"])  # no head, no signal


@pytest.mark.parametrize("change, message", [({"k": 1}, "k = 1"), ({"k": 3}, "y goes up to 3: expected classes below k = 3"),
                                             ({"ridge": 0.0}, "ridge = 0.0")])
def test_a_head_for_too_few_classes_or_without_ridge_is_refused(change, message, task):
    _, L, _, banks = task
    with pytest.raises(ValueError, match=message):
        fit_head(**({"w": banks["untrained"], "X": L.X, "y": L.y, "k": 4} | change))
