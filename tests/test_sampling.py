"""Masks that are drawn, and how noisy that is."""
import pytest
import torch

import mrpbook as mb
from mrpbook.sampling import SampledMasks, mask_noise, masked_direction
from mrpbook.studies import capture, sampled


@pytest.fixture(scope="module")
def draw():
    return capture.setting(7, 0.3, 6, N=50)


def test_the_mean_over_many_fresh_masks_is_the_closed_form(draw):
    _, act, _, S, w0 = draw
    w, teacher = 20 * w0, mb.NormalisedTeacher(0.5)
    drawn = SampledMasks(teacher, seed=3)
    mean = torch.stack([drawn.descent(w, S.X, act) for _ in range(400)])
    error = (mean.mean(0) - teacher.descent(w, S.X, act)).norm(dim=1)
    assert (error < 5 * (mean.std(0).norm(dim=1) / 20)).all()
    assert drawn.step == 400


def test_a_keep_probability_of_one_leaves_nothing_to_draw(draw):
    _, act, _, S, w0 = draw
    teacher = mb.NormalisedTeacher(1.0)
    assert torch.allclose(SampledMasks(teacher).descent(w0, S.X, act), teacher.descent(w0, S.X, act), atol=1e-9)


def test_fixed_masks_repeat_and_fresh_ones_do_not():
    fresh, fixed = SampledMasks(masks="fresh"), SampledMasks(masks="fixed")
    first = fresh.draw(30, 16), fixed.draw(30, 16)
    fresh.step = fixed.step = 1
    assert not torch.equal(first[0], fresh.draw(30, 16)) and torch.equal(first[1], fixed.draw(30, 16))


def test_a_path_with_drawn_masks_is_reproducible_by_its_seed(draw):
    _, act, _, S, w0 = draw
    ends = [mb.pretrain.pretrain(SampledMasks(seed=seed, batch=10), S.X, w0, act, lr=2.0, steps=20).last for seed in (1, 1, 2)]
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


def test_averages_over_the_batch_differ_from_averages_over_all_data(draw):
    _, act, _, S, w0 = draw
    both = [SampledMasks(batch=5, averages=averages).descent(w0, S.X, act) for averages in ("all", "batch")]
    assert not torch.allclose(*both, rtol=0.01, atol=0)
    whole = [SampledMasks(averages=averages).descent(w0, S.X, act) for averages in ("all", "batch")]
    assert torch.equal(*whole)


def test_bad_ways_of_sampling_are_refused():
    with pytest.raises(ValueError, match="masks = 'once': expected one of 'fresh', 'fixed'"):
        SampledMasks(masks="once")
    with pytest.raises(ValueError, match="batch = 0: expected an integer >= 1"):
        SampledMasks(batch=0)
    with pytest.raises(ValueError, match="teacher.mask = 'fixed count'"):
        SampledMasks(mb.NormalisedTeacher(0.75, mask="fixed count"))


@pytest.mark.parametrize("seed", range(4))
def test_the_noise_formula_is_exact_and_knows_hidden_from_visible(seed):
    errors = sampled.enumerated(seed)
    assert errors["formula"] < 1e-9 < 1e-3 < errors["exchanged"]


def test_half_the_patches_are_quietest_for_one_semantic_whatever_its_strengths():
    z = torch.tensor([[0.1, 0.2, 0.05, 0.14, 0.0]], dtype=torch.float64)
    v = torch.nn.functional.normalize(torch.randn(1, 8, dtype=torch.float64))
    noise = mask_noise(1.3 * v, z[..., None] * v, mb.SmoothedReLU())
    assert float(noise.quietest) == pytest.approx(0.5, abs=1e-12)
    assert float(noise.variance(0.3)) == pytest.approx(float(noise.variance(0.7)), rel=1e-12)
    assert float(noise.variance(0.3)) > float(noise.variance(0.5))


def test_patch_noise_moves_the_quietest_theta_above_one_half():
    assert float(sampled.noise_curve(7, noise=0.3, thetas=(0.5,), K=20, N=100, draws=2)["quietest"].mean()) > 0.51


def test_the_direction_under_a_mask_is_minus_the_gradient_of_its_loss(draw):
    _, act, _, S, w0 = draw
    w, masks = (20 * w0).requires_grad_(), (torch.rand(50, 16) < 0.6).float()
    a = S.X @ w.T
    H = act(1.2 * a).sum(1).detach()
    loss = ((H - 1.5 * (act(a) * masks[..., None]).sum(1)) ** 2).sum() / 100
    g, = torch.autograd.grad(loss, w)
    assert torch.allclose(masked_direction(1.5, H, a.detach(), S.X, act, masks), -g, atol=1e-5)


def test_the_noise_formula_is_exact_also_where_one_patch_is_five_orders_louder_than_the_next():
    # 1e-2 beside 1e-7: sums over all patches less one of them would be wrong by 6e-5 here
    assert sampled.enumerated(4089)["formula"] < 1e-12
