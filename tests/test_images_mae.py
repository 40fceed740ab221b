import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from mrpbook.images import speed
from mrpbook.images.batches import Batches
from mrpbook.images.mae import MAE, FeatureTargets, MaskedPrediction
from mrpbook.images.patches import chosen, from_patches, random_masks, to_patches
from mrpbook.images.training import Plan, train
from mrpbook.images.vit import Block, ViT

SHAPE = (2, 6, 8)  # 12 patches of side 2
SMALL = {"decoder_width": 12, "decoder_heads": 3}


def encoder(seed=0):
    return ViT(SHAPE, patch=2, width=16, depth=3, heads=4, seed=seed)


@pytest.fixture
def batch():
    return torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0)), *random_masks(5, 12, 0.75, seed=0)


@pytest.fixture(scope="module")
def digits():
    return torch.from_numpy(load_digits().images).float()[:, None] / 16


def only(patches, index):
    """Noise in the patches that `index` names, the given patches elsewhere, as pictures of SHAPE."""
    noise = torch.rand(patches.shape, generator=torch.Generator().manual_seed(7))
    named = torch.zeros(patches.shape[:2], dtype=bool).scatter(1, index, True)[..., None]
    return from_patches(torch.where(named, noise, patches), SHAPE, 2)


def test_the_loss_is_the_mean_squared_error_of_normalised_hidden_patches(batch):
    pictures, visible, hidden = batch
    model = MAE(encoder(), **SMALL)
    total = 0
    for n in range(5):
        predicted = model.predict(pictures[n : n + 1], visible[n : n + 1], hidden[n : n + 1])[0]
        for q, p in enumerate(hidden[n]):
            row, column = divmod(int(p), 4)
            x = pictures[n, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten()
            total += ((predicted[q] - (x - x.mean()) / (x.var() + 1e-6).sqrt()) ** 2).mean() / 45
    torch.testing.assert_close(model(*batch), total)


@pytest.mark.parametrize("in_place", [False, True])
def test_hidden_pixels_change_the_targets_but_no_prediction(batch, in_place):
    pictures, visible, hidden = batch
    model = MAE(encoder(), in_place=in_place, **SMALL)
    changed = only(to_patches(pictures, 2), hidden)
    assert torch.equal(model.predict(pictures, visible, hidden), model.predict(changed, visible, hidden))
    assert model(pictures, visible, hidden) != model(changed, visible, hidden)


def test_visible_pixels_enter_through_the_predictions_alone(batch):
    pictures, visible, hidden = batch
    model = MAE(encoder(), **SMALL)
    changed = only(to_patches(pictures, 2), visible)
    torch.testing.assert_close(chosen(model.targets(changed), hidden), chosen(model.targets(pictures), hidden))
    assert (model.predict(pictures, visible, hidden) - model.predict(changed, visible, hidden)).abs().max() > 1e-3


def test_targets_without_normalisation_are_the_pixels_and_with_it_are_blind_to_brightness_and_contrast(batch):
    pictures = batch[0]
    assert torch.equal(MAE(encoder(), normalise=False, **SMALL).targets(pictures), to_patches(pictures, 2))
    targets = MAE(encoder(), **SMALL).targets
    torch.testing.assert_close(targets(0.5 * pictures + 0.25), targets(pictures), rtol=1e-3, atol=1e-3)
    assert targets(torch.full_like(pictures, 0.3)).abs().max() < 1e-3


def test_a_reconstruction_keeps_the_visible_patches_and_shows_the_predictions_in_the_others(batch):
    pictures, visible, hidden = batch
    for normalise in (False, True):
        model = MAE(encoder(), normalise=normalise, **SMALL)
        before, after = to_patches(pictures, 2), to_patches(model.reconstruct(*batch), 2)
        assert torch.equal(chosen(after, visible), chosen(before, visible))
        shown = chosen(after, hidden)
        if normalise:
            x = chosen(before, hidden)
            shown = (shown - x.mean(2, keepdim=True)) / (x.var(2, keepdim=True) + 1e-6).sqrt()
        torch.testing.assert_close(shown, model.predict(*batch).detach(), rtol=1e-4, atol=1e-4)


def test_the_teacher_sees_the_whole_picture_and_its_targets_are_means_of_normalised_blocks(batch):
    pictures, _, hidden = batch
    model = FeatureTargets(encoder(), top=2, **SMALL)
    outputs = model.teacher.layers(pictures)
    expected = (functional.layer_norm(outputs[-1], (16,)) + functional.layer_norm(outputs[-2], (16,))) / 2
    torch.testing.assert_close(model.targets(pictures), expected)
    assert not torch.allclose(model.targets(only(to_patches(pictures, 2), hidden[:, :1])), expected)


def test_the_teacher_moves_by_the_formula_of_the_moving_average_and_gets_no_gradient(batch):
    model = FeatureTargets(encoder(), decay=0.9, **SMALL)
    before = [p.clone() for p in model.teacher.parameters()]
    model(*batch).backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    with torch.no_grad():
        for p in model.encoder.parameters():
            p += torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        model.after_step()
    for old, now, student in zip(before, model.teacher.parameters(), model.encoder.parameters(), strict=True):
        torch.testing.assert_close(now, 0.9**3 * old + (1 - 0.9**3) * student)


@pytest.mark.parametrize("decay, moves", [(1.0, False), (0.0, True)])
def test_a_decay_of_one_leaves_the_teacher_and_of_zero_makes_it_the_student(batch, decay, moves):
    model = FeatureTargets(encoder(), decay=decay, **SMALL)
    before = model.teacher.blocks[0].qkv.weight.clone()
    torch.nn.init.ones_(model.encoder.blocks[0].qkv.weight)
    model.after_step()
    expected = model.encoder.blocks[0].qkv.weight if moves else before
    assert torch.equal(model.teacher.blocks[0].qkv.weight, expected)


def test_spread_is_zero_for_a_teacher_that_answers_every_picture_alike(batch):
    model = FeatureTargets(encoder(), **SMALL)
    assert model.spread(batch[0]) > 0.01
    torch.nn.init.zeros_(model.teacher.embed.weight)
    assert model.spread(batch[0]) < 1e-5


def test_pretraining_predicts_hidden_patches_better_than_untrained_and_than_the_mean_patch(digits):
    x, test = digits[:1200], digits[1200:]
    model = MAE(ViT((1, 8, 8), 2, 32, 1, 2), decoder_width=24, decoder_heads=2)
    masks = random_masks(len(test), 16, 0.25, seed=5)
    with torch.no_grad():
        untrained = model(test, *masks)
    mean = model.targets(x).mean(0)  # the best answer that looks at no visible patch
    guess = functional.mse_loss(mean[masks[1]], chosen(model.targets(test), masks[1]))
    train(model, Batches(x, 32, masks=(16, 0.25)), Plan(450, 1e-2))
    with torch.no_grad():
        trained = model(test, *masks)
    assert trained < 0.8 * guess < guess < untrained


def test_chasing_its_own_teacher_lowers_the_loss_and_does_not_collapse(digits):
    model = FeatureTargets(ViT((1, 8, 8), 2, 32, 2, 2), decay=0.98, decoder_width=24, decoder_heads=2)
    losses = train(model, Batches(digits, 32, masks=(16, 0.5)), Plan(100, 4e-3))
    assert losses[-20:].mean() < 0.5 * losses[:5].mean()
    assert model.spread(digits[:200]) > 0.1


def test_a_method_without_targets_says_so(batch):
    with pytest.raises(TypeError, match="use MAE or FeatureTargets"):
        MaskedPrediction(encoder(), 4, **SMALL)(*batch)


@pytest.mark.parametrize("options, complaint", [({"top": 4}, "top = 4: expected at most 3"), ({"top": 0}, "top = 0"),
                                                ({"decay": 1.2}, "decay = 1.2"), ({"decoder_depth": 0}, "depth = 0"),
                                                ({"decoder_heads": 5}, "heads = 5")])
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        FeatureTargets(encoder(), **SMALL | options)


def test_the_work_of_a_step_is_that_of_its_matrix_products():
    N, P, width = 3, 10, 32

    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block(width, 2)

        def forward(self, x):
            return self.block(x).sum()

    forward = 2 * N * P * 12 * width**2 + 4 * N * P**2 * width  # linear layers; queries with keys, weights with values
    assert speed.work(Step(), (torch.ones(N, P, width, requires_grad=True),)) == pytest.approx(3 * forward / 1e9)


def test_the_two_ways_that_are_timed_start_from_the_same_weights_and_do_the_work_that_tokens_imply():
    ways = speed.masked_steps(N=2, shape=(1, 8, 8), patch=2, width=16, depth=2, heads=2, decoder_width=12)
    (visible, batch), (in_place, same) = ways["visible only"], ways["in place"]
    assert all(torch.equal(a, b) for a, b in zip(batch, same, strict=True))
    theirs = in_place.state_dict()
    assert all(torch.equal(weight, theirs[name]) for name, weight in visible.state_dict().items())
    assert 2 < speed.work(in_place, batch) / speed.work(visible, batch) < 4
    once = speed.step(visible, batch)
    assert once() > once()  # a step descends


def test_a_patch_of_one_number_has_no_deviation_to_be_divided_by():
    encoder = ViT((1, 4, 4), patch=1, width=12, depth=1, heads=3)
    with pytest.raises(ValueError, match="normalise = True.*one number"):
        MAE(encoder)
    MAE(encoder, normalise=False, decoder_width=12)
