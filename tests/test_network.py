"""Smoothed ReLU, responses, initial kernels - and that shapes are checked while the tests run."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from mrpbook import reference
from mrpbook.blocks import Blocks, CompiledBlocks
from mrpbook.network import SmoothedReLU, activations, initial_kernels, responses

acts = st.builds(SmoothedReLU, q=st.integers(2, 6), varrho=st.floats(0.05, 2))


@given(acts, st.lists(st.floats(-3, 3), min_size=1, max_size=20))
def test_the_smoothed_relu_and_its_derivative_equal_the_reference(act, values):
    a = torch.tensor(values, dtype=torch.float64)
    np.testing.assert_allclose(act(a), reference.relu(a.numpy(), act.q, act.varrho), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(
        act.derivative(a), reference.relu_derivative(a.numpy(), act.q, act.varrho), rtol=1e-12, atol=1e-14)


@given(acts)
def test_the_derivative_is_the_slope_in_all_three_ranges_and_continuous_between_them(act):
    a = torch.tensor([-1, -1e-9, 0.3, 0.9, 1 - 1e-6, 1 + 1e-6, 5.0], dtype=torch.float64) * act.varrho
    a.requires_grad_()
    (slope,) = torch.autograd.grad(act(a).sum(), a)
    torch.testing.assert_close(act.derivative(a), slope, rtol=1e-9, atol=1e-12)
    ends = torch.tensor([1 - 1e-9, 1 + 1e-9], dtype=torch.float64) * act.varrho
    assert abs(np.diff(act(ends))) < 1e-8 * act.varrho and abs(np.diff(act.derivative(ends))) < 1e-7


@pytest.mark.parametrize("wrong, message", [({"q": 1}, "q = 1: expected an integer >= 2"),
                                            ({"varrho": 0.0}, "varrho = 0.0: expected a number in (0, inf)")])
def test_an_activation_outside_its_range_is_refused(wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SmoothedReLU(**wrong)


@pytest.mark.parametrize("block", [1, 3, 7, 100])
def test_responses_are_the_reference_for_every_block_size_and_where_a_gradient_is_asked_for(block, monkeypatch):
    torch.manual_seed(0)
    w, X, act = torch.randn(5, 6).double(), torch.randn(7, 4, 6).double(), SmoothedReLU()
    expected = reference.plain_target(w.numpy(), X.numpy())
    for kind in (Blocks, CompiledBlocks):
        monkeypatch.setattr(kind, "BYTES", block * 8 * 4 * 5)
    np.testing.assert_allclose(responses(w, X, act), expected, rtol=1e-12)
    followed = responses(w.requires_grad_(), X, act)
    np.testing.assert_allclose(followed.detach(), expected, rtol=1e-12)
    assert followed.requires_grad
    w = w.detach()
    assert activations(w, X)[2, 3, 4] == pytest.approx(float(w[4] @ X[2, 3]))


def test_a_pool_of_200_kernels_contains_the_pool_of_60():
    assert torch.equal(initial_kernels(200, 60, seed=3)[:60], initial_kernels(60, 60, seed=3))
    assert not torch.equal(initial_kernels(60, 60, seed=4), initial_kernels(60, 60, seed=3))
    assert not torch.equal(initial_kernels(60, 60, seed=3, purpose="other"), initial_kernels(60, 60, seed=3))


def test_initial_kernels_are_gaussian_of_the_asked_size():
    w = initial_kernels(2000, 50, seed=0, sigma_0=0.02) / 0.02
    assert abs(w.mean()) < 5 / np.sqrt(1e5)
    assert float(w.std()) == pytest.approx(1, abs=5 / np.sqrt(2e5))
    assert float((w**4).mean()) == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize("arguments, name", [((0, 5, 1), "K = 0"), ((5, 0, 1), "d = 0"), ((5, 5, -1), "seed = -1"),
                                             ((5, 5, 1, 0.0), "sigma_0 = 0.0")])
def test_kernels_of_no_number_or_size_are_refused(arguments, name):
    with pytest.raises(ValueError, match=name):
        initial_kernels(*arguments)


def test_shapes_are_checked_while_the_tests_run():
    with pytest.raises(TypeCheckError):
        activations(torch.zeros(3, 4), torch.zeros(2, 2, 5))
    with pytest.raises(TypeCheckError):
        activations(torch.zeros(3, 4), torch.zeros(2, 2, 4, dtype=torch.int64))


def test_autograd_agrees_with_the_derivative_where_the_pieces_meet():
    act = SmoothedReLU()
    a = torch.tensor([-1.0, 0.0, act.varrho, 2 * act.varrho], dtype=torch.float64, requires_grad=True)
    act(a).sum().backward()
    torch.testing.assert_close(a.grad, act.derivative(a.detach()))


def test_no_kernels_and_no_samples_have_empty_responses():
    X = torch.ones(3, 2, 4)
    assert responses(torch.ones(0, 4), X).shape == (3, 0) and responses(torch.ones(5, 4), X[:0]).shape == (0, 5)
