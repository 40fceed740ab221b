"""Steps other than plain descent."""
import pytest
import torch

import mrpbook as mb
from mrpbook.optimisers import RULES, follow, gradient_of, rescaled
from mrpbook.pretrain import Diverged
from mrpbook.studies import capture


@pytest.fixture(scope="module")
def draw():
    return capture.setting(7, 0.1, 12, N=40)


def test_descent_by_torch_optim_is_descent_in_common_time(draw):
    _, act, _, S, w0 = draw
    plain = mb.pretrain.pretrain(mb.NormalisedTeacher(), S.X, w0, act, lr=2.0, steps=40, snapshots=10).kernels
    path = follow(gradient_of(mb.NormalisedTeacher(), S.X, 12, act), w0, "descent", lr=2.0, steps=40)
    assert torch.allclose(path, plain, atol=1e-6)


def test_one_length_per_kernel_keeps_directions_and_forgets_sizes():
    g = torch.tensor([[3e-12, 4e-12], [30.0, 40.0], [0.0, 0.0]])
    assert torch.allclose(rescaled(g, "kernel"), torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]]))


def test_one_length_for_the_network_keeps_the_ratio_of_kernels():
    g = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    r = rescaled(g, "network")
    assert torch.allclose(r[1, 1] / r[0, 0], torch.tensor(3.0)) and float(r.norm()) == pytest.approx(2**0.5)


def test_one_length_per_coordinate_is_the_sign():
    assert rescaled(torch.tensor([[-1e-20, 0.0, 5.0]]), "coordinate").tolist() == [[-1.0, 0.0, 1.0]]


def test_momentum_at_small_rates_follows_descent_ten_times_as_fast():
    def gradient(w):
        return w * torch.tensor([[1.0, 3.0]])

    w0 = torch.tensor([[1.0, 1.0]])
    slow = follow(gradient, w0, "descent", lr=1e-3, steps=1000, every=1000)[-1]
    fast = follow(gradient, w0, "momentum", lr=1e-4, steps=1000, every=1000)[-1]
    assert torch.allclose(slow, fast, atol=0.01)


def test_adam_with_an_epsilon_above_all_gradients_is_linear_in_them():
    def end(size, eps):
        return follow(lambda w: torch.full_like(w, size), torch.zeros(1, 1), "Adam", lr=eps, steps=20, eps=eps)[-1].item()

    assert end(2e-3, 1.0) / end(1e-3, 1.0) == pytest.approx(2, rel=0.01)
    assert end(2e-3, 1e-12) / end(1e-3, 1e-12) == pytest.approx(1, rel=0.01)


def test_following_ends_where_stop_says_and_keeps_the_state_there():
    path = follow(torch.ones_like, torch.zeros(1, 1), lr=1.0, steps=100, every=5, stop=lambda w: float(w) <= -12)
    assert path.flatten().tolist() == [0, -5, -10, -15]


def test_an_unknown_rule_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="rule = 'newton': expected one of 'descent'.*'Adam'"):
        follow(torch.ones_like, torch.zeros(1, 1), "newton", lr=1.0, steps=1)
    assert len(RULES) == 6


def test_kernels_that_leave_the_finite_numbers_end_the_run():
    with pytest.raises(Diverged, match="after 10 steps of descent"):
        follow(lambda w: -1e30 * w, torch.ones(1, 1), lr=1.0, steps=10)
