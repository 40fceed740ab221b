"""Supervised learning: gradients, stopping, margins."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mrpbook import reference
from mrpbook.data import MultiView
from mrpbook.network import SmoothedReLU, initial_kernels, responses
from mrpbook.supervised import Classifier, Network, fixed_head, margins, train

ACT = SmoothedReLU()


@given(seed=st.integers(0, 10**6), q=st.integers(2, 5), N=st.integers(1, 9), P=st.integers(1, 5))
def test_the_closed_form_gradients_equal_the_reference_and_autograd(seed, q, N, P):
    rng = np.random.default_rng(seed)
    w, u, X, y = rng.normal(size=(6, 4)), rng.normal(size=(3, 6)), rng.normal(size=(N, P, 4)), rng.integers(0, 3, N)
    act = SmoothedReLU(q)
    tensors = [torch.from_numpy(a) for a in (w, u, X, y)]
    loss, gw, gu = Network(tensors[2], tensors[3], 6, act).gradient(tensors[0], tensors[1], head=True)
    expected = reference.cross_entropy_gradient(w, u, X, y, q)
    leaves = [t.clone().requires_grad_() for t in tensors[:2]]
    value = torch.nn.functional.cross_entropy(responses(leaves[0], tensors[2], act) @ leaves[1].T, tensors[3])
    auto = [value.detach(), *torch.autograd.grad(value, leaves)]
    for found, plain, check in zip((loss, gw, gu), expected, auto, strict=True):
        np.testing.assert_allclose(found, plain, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found, check, rtol=1e-10, atol=1e-12)


def test_a_fixed_head_has_no_gradient_and_gives_each_class_its_own_kernels():
    u = fixed_head(3, 2)
    assert u.tolist() == [[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]]
    X, y, w = torch.randn(4, 3, 5), torch.tensor([0, 1, 2, 0]), torch.randn(6, 5)
    assert Network(X, y, 6, ACT).gradient(w, u, head=False)[2] is None


@pytest.fixture(scope="module")
def task():
    model = MultiView(k=3, d=10)
    S = model.sample(120, 0)
    return model, S, initial_kernels(12, 10, 0)


@pytest.mark.parametrize("loss", [0.3, 0.03])
def test_training_stops_at_the_loss_that_was_asked_for(loss, task):
    _, S, w0 = task
    c = train(S.X, S.y, w0, fixed_head(3, 4), ACT, loss=loss, check_every=1)
    value = torch.nn.functional.cross_entropy(c.scores(S.X), S.y)
    assert c.reached and c.loss <= loss and c.loss == pytest.approx(float(value), rel=1e-4)
    assert c.steps > 0 and torch.equal(c.u, fixed_head(3, 4))
    short = train(S.X, S.y, w0, fixed_head(3, 4), ACT, loss=loss, steps=c.steps - 1, check_every=1)
    assert not short.reached and short.loss > loss and short.steps == c.steps - 1


def test_a_loss_reached_with_the_last_step_counts_as_reached(task):
    _, S, w0 = task
    exact = train(S.X, S.y, w0, fixed_head(3, 4), ACT, loss=0.1, check_every=1)
    last = train(S.X, S.y, w0, fixed_head(3, 4), ACT, loss=0.1, steps=exact.steps, check_every=10**6)
    assert last.reached and last.loss <= 0.1


def test_one_step_moves_kernels_and_head_at_their_own_rates(task):
    _, S, w0 = task
    u0, X = fixed_head(3, 4).double(), S.X.double()
    _, gw, gu = reference.cross_entropy_gradient(w0.double().numpy(), u0.numpy(), X.numpy(), S.y.numpy())
    c = train(X, S.y, w0.double(), u0, ACT, lr=2.0, lr_head=0.5, steps=1)
    np.testing.assert_allclose(c.w, reference.descent_step(w0.double().numpy(), -gw, 2.0), rtol=1e-10)
    np.testing.assert_allclose(c.u, reference.descent_step(u0.numpy(), -gu, 0.5), rtol=1e-10)


def test_adams_first_step_has_the_size_of_its_rate(task):
    _, S, w0 = task
    c = train(S.X.double(), S.y, w0.double(), fixed_head(3, 4).double(), ACT, lr=0.01, optimiser="adam", steps=1)
    moved = (c.w - w0).abs()
    assert moved.max() == pytest.approx(0.01, rel=1e-3) and moved.median() > 0.005
    assert torch.equal(c.u, fixed_head(3, 4).double())


def test_what_is_learned_is_known_on_fresh_multi_view_data(task):
    model, S, w0 = task
    T = model.sample(300, 0, "test")
    c = train(S.X, S.y, w0, fixed_head(3, 4), ACT)
    assert c.correct(T.X, T.y).float().mean() > 0.98
    before = Classifier(w0, fixed_head(3, 4), ACT)
    assert before.correct(T.X, T.y).float().mean() < 0.8


def test_training_leaves_its_arguments_alone(task):
    _, S, w0 = task
    before, u0 = w0.clone(), fixed_head(3, 4)
    train(S.X, S.y, w0, u0, ACT, lr_head=1.0, steps=5)
    train(S.X, S.y, w0, u0, ACT, lr_head=1.0, steps=5, optimiser="adam")
    assert torch.equal(w0, before) and torch.equal(u0, fixed_head(3, 4))


@given(st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=6), st.integers(0, 2))
def test_a_margin_is_ones_own_score_minus_the_best_other(rows, label):
    y = torch.full((len(rows),), label)
    expected = [row[label] - max(v for i, v in enumerate(row) if i != label) for row in rows]
    assert margins(torch.tensor(rows).float(), y).tolist() == expected


def test_silence_is_an_error_for_every_class():
    silent = Classifier(torch.zeros(2, 3), torch.ones(2, 2), ACT)
    assert not silent.correct(torch.ones(2, 2, 3), torch.tensor([0, 1])).any()


@pytest.mark.parametrize("change, message", [
    ({"u0": fixed_head(3, 5)}, r"u0 \(3, 15\), w0 \(12, 10\)"), ({"y": torch.tensor([0, 1])}, "expected"),
    ({"u0": torch.ones(2, 12)}, "y up to 2"), ({"lr": -1.0}, "lr = -1.0"), ({"lr_head": -0.1}, "lr_head = -0.1"),
    ({"loss": 0.0}, "loss = 0.0"), ({"steps": 0}, "steps = 0"), ({"check_every": 0}, "check_every = 0"),
    ({"optimiser": "sgd"}, "optimiser = 'sgd': expected one of 'descent', 'adam'")])
def test_shapes_and_rates_that_do_not_fit_are_refused(change, message, task, unchecked):
    _, S, w0 = task
    with pytest.raises(ValueError, match=message):
        train(**({"X": S.X, "y": S.y, "w0": w0, "u0": fixed_head(3, 4)} | change))
