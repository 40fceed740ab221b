"""What is left out changes no verdict; leaving out too much does; precision is what it says."""
import numpy as np
import pytest
import torch

from mrpbook.objectives import NormalisedTeacher
from mrpbook.studies import capture, saving


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_the_saved_run_has_the_winners_and_the_T_of_the_full_run(noise):
    found = saving.compare(5, noise, K=60, few=20)
    full, saved = found["winner"]
    assert torch.equal(full, saved) and (full >= 0).float().mean() > 0.8
    assert found["T"][0] == found["T"][1] and torch.equal(found["alone"], saved[:20])
    assert found["kernel_steps"][0] > 3 * found["kernel_steps"][1]


def test_a_T_beyond_the_time_of_the_other_runs_is_the_same_too():
    found = saving.compare(1137, 0.3, few=1)
    assert 300 < found["T"][0] == found["T"][1] <= 400 and torch.equal(*found["winner"])


def test_kernels_that_leave_too_early_end_elsewhere():
    found = [saving.too_early(seed, 0.3, K=100) for seed in range(2)]
    assert sum(int(f["same"]) for f in found) < 0.97 * sum(int(f["kernels"]) for f in found)


def test_a_run_that_is_ended_at_T_has_the_T_and_the_winners_of_the_longer_one():
    whole, ended = (capture.race(5, 0.3, K=60, to_T=to_T) for to_T in (False, True))
    assert whole["T"] == ended["T"] and torch.equal(whole["winner"], ended["winner"])
    assert all(whole[name] == ended[name] for name in ("count_T", "single_T", "one_class_T"))
    assert ended["kernel_steps"] < whole["kernel_steps"]


def test_kernel_steps_count_what_was_computed():
    alone = capture.race(5, K=10, time=100, limit=100, patience=0)
    assert alone["kernel_steps"] == 10 * 50
    followed = capture.race(5, K=10, time=100, limit=100, patience=240)
    assert 10 * 50 < followed["kernel_steps"] <= 10 * (50 + 120)


def test_rounding_keeps_as_many_bits_as_it_says():
    x = torch.tensor([1 + 2.0**-10, 1 + 2.0**-11, 1 + 2.0**-12, -3.0, 0.0])
    assert saving.round_to(x, 10).tolist() == [1 + 2.0**-10, 1 + 2.0**-10, 1.0, -3.0, 0.0]
    many = torch.from_numpy(np.random.default_rng(0).normal(size=1000).astype(np.float32))
    # torch rounds ties to even, this to away from zero: random numbers have no ties
    assert torch.equal(saving.round_to(many, 7), many.bfloat16().float())


def test_a_rounded_objective_with_all_bits_is_the_normalised_teacher():
    _, act, _, S, w0 = capture.setting(0, 0.1, 20, N=30)
    exact = NormalisedTeacher().descent(w0, S.X, act)
    near = saving.Rounded(22).descent(w0, S.X, act)
    far = saving.Rounded(7).descent(w0, S.X, act)
    assert (near - exact).abs().max() < 1e-5 * exact.abs().max() < (far - exact).abs().max()


def test_every_precision_sees_the_same_draw():
    found = saving.precisions(3, 0.3, K=40, steps=80)
    assert found["winner"].shape == (5, 40) and found["T"].shape == found["single"].shape == (5,)
    assert torch.equal(found["winner"][0], found["winner"][1])
    assert (found["winner"][4] >= 0).any() and not torch.equal(found["winner"][0], found["winner"][4])
