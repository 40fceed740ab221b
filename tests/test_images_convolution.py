import pytest
import torch
from sklearn.datasets import load_digits

from mrpbook.images import probes
from mrpbook.images.batches import Batches
from mrpbook.images.convolution import Convolution, MaskedConvolution
from mrpbook.images.patches import from_patches, random_masks, to_patches
from mrpbook.images.training import Plan, train


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    return torch.from_numpy(found.images).float()[:, None] / 16, torch.from_numpy(found.target).long()


def small(seed=0, **options):
    return Convolution((1, 8, 8), 2, **({"width": 16, "groups": 2} | options), seed=seed)


def moved(pictures, places, patch=2):
    """The pictures with other pixels in these patches."""
    patches = to_patches(pictures, patch)
    index = places[..., None].expand(-1, -1, patches.shape[2])
    noise = torch.rand(index.shape, generator=torch.Generator().manual_seed(3))
    return from_patches(patches.scatter(1, index, noise), pictures.shape[1:], patch)


def test_there_is_one_output_for_each_patch_in_the_order_of_the_patches(digits):
    for shape, patch, width in (((1, 8, 8), 2, 16), ((3, 32, 32), 4, 32), ((3, 12, 8), 1, 8)):
        encoder = Convolution(shape, patch, width, groups=2)
        assert encoder.width == width
        assert encoder(torch.rand(2, *shape)).shape == (2, encoder.cells, width)
        assert encoder.cells == shape[1] * shape[2] // patch**2
    with torch.no_grad():  # a change far away moves an output less than one in its own patch
        x, encoder = digits[0][:20], small()
        change = [(encoder(moved(x, torch.full((20, 1), place))) - encoder(x)).norm(dim=2).mean(0) for place in (0, 15)]
    assert change[0][0] > 2 * change[0][15] and change[1][15] > 2 * change[1][0]


def test_a_picture_is_encoded_the_same_alone_and_in_any_batch_trained_or_not(digits):
    x, encoder = digits[0][:9], small()
    for mode in (encoder.train(), encoder.eval()):
        torch.testing.assert_close(mode(x)[4:5], mode(x[4:5]), rtol=1e-4, atol=1e-5)
    assert not list(encoder.buffers())


def test_no_hidden_pixel_reaches_a_prediction(digits):
    x, model = digits[0][:8], MaskedConvolution(small())
    visible, hidden = random_masks(8, 16, 0.5, seed=0)
    with torch.no_grad():
        model.token += 0.3
        before = model.predict(x, visible, hidden)
        assert before.shape == (8, 8, 4)
        assert torch.equal(model.predict(moved(x, hidden), visible, hidden), before)
        assert not torch.equal(model.predict(moved(x, visible), visible, hidden), before)
    pixels = x.clone().requires_grad_()
    model.predict(pixels, visible, hidden).square().sum().backward()
    reached = to_patches(pixels.grad, 2).abs().sum(2)
    assert not reached.gather(1, hidden).any() and (reached.gather(1, visible) > 0).all()


def test_the_token_stands_where_patches_are_hidden_and_nowhere_else(digits):
    x, encoder = digits[0][:3], small()
    visible, hidden = random_masks(3, 16, 0.25, seed=1)
    token = torch.tensor([-2.0, 0.4, 0.8, 2.0])
    patches = to_patches(x, 2)
    replaced = patches.scatter(1, hidden[..., None].expand(-1, -1, 4), ((token + 2) / 4).expand(3, 4, 4))
    torch.testing.assert_close(encoder(x, visible, token), encoder(from_patches(replaced, (1, 8, 8), 2)))


def test_the_loss_counts_hidden_patches_alone_against_normalised_pixels(digits):
    x, model = digits[0][:8], MaskedConvolution(small())
    visible, hidden = random_masks(8, 16, 0.5, seed=0)
    target = to_patches(x, 2)
    target = (target - target.mean(2, keepdim=True)) / (target.var(2, keepdim=True) + 1e-6).sqrt()
    target = target.gather(1, hidden[..., None].expand(-1, -1, 4))
    expected = (model.predict(x, visible, hidden) - target).square().mean()
    torch.testing.assert_close(model(x, visible, hidden), expected)
    raw = MaskedConvolution(small(), normalise=False)
    assert torch.equal(raw.targets(x), to_patches(x, 2))
    shown = model.reconstruct(x, visible, hidden)
    assert torch.equal(to_patches(shown, 2).gather(1, visible[..., None].expand(-1, -1, 4)),
                       to_patches(x, 2).gather(1, visible[..., None].expand(-1, -1, 4)))


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    one = MaskedConvolution(small(3), seed=3).state_dict()
    torch.manual_seed(6)
    state = torch.random.get_rng_state()
    same, other = MaskedConvolution(small(3), seed=3).state_dict(), MaskedConvolution(small(4), seed=4).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["decoder.weight"], other["decoder.weight"])
    assert not torch.equal(one["encoder.layers.0.weight"], other["encoder.layers.0.weight"])


@pytest.fixture(scope="module")
def pretrained(digits):
    model = MaskedConvolution(small(1, width=32, groups=4), seed=1)
    return model, train(model, Batches(digits[0][:1200], 32, 1, masks=(16, 0.5)), Plan(120, 3e-3))


def test_pretraining_lowers_the_loss_below_guessing_and_every_weight_learns(digits, pretrained):
    model, losses = pretrained
    guess = model.targets(digits[0]).square().mean()  # of the mean of each patch
    assert losses[-10:].mean() < 0.8 * guess and losses[-10:].mean() < 0.7 * losses[:5].mean()
    fresh = MaskedConvolution(small(1, width=32, groups=4), seed=1)
    assert all(not torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))


def test_training_it_twice_gives_the_same_bits(digits):
    ends = []
    for _ in range(2):
        model = MaskedConvolution(small(), seed=0)
        ends.append((train(model, Batches(digits[0][:200], 16, 0, masks=(16, 0.5)), Plan(5)), model.encoder.layers[0].weight))
    assert torch.equal(ends[0][0], ends[1][0]) and torch.equal(ends[0][1], ends[1][1])


def test_probes_and_fine_tuning_take_it_unchanged(digits, pretrained):
    x, y = digits
    model, some = pretrained[0].encoder, slice(0, 200)
    assert probes.probe(model, x[some], y[some], x[1200:], y[1200:]).accuracy > 0.6
    classifier, losses = probes.finetune(model, Batches(x[some], 32, 1, labels=y[some]), 10, Plan(60, 1e-2))
    assert probes.accuracy(classifier.predict(x[1200:]), y[1200:]) > 0.55 and losses[-5:].mean() < 0.5 * losses[0]


def test_bad_numbers_are_named(digits):
    for options, text in (({"patch": 3, "shape": (1, 9, 9)}, "patch = 3: expected a power of 2"),
                          ({"patch": 4, "shape": (1, 6, 6)}, "divisor"),
                          ({"width": 20, "groups": 4}, "multiple of patch x groups = 8"), ({"depth": 0}, "depth = 0"),
                          ({"groups": 0}, "groups = 0"), ({"width": 0}, "width = 0")):
        with pytest.raises(ValueError, match=text):
            Convolution(**({"shape": (1, 8, 8), "patch": 2, "width": 16} | options))
    encoder = small()
    with pytest.raises(ValueError, match=r"expected \[N, 1, 8, 8\]"):
        encoder(torch.rand(2, 3, 8, 8))
    with pytest.raises(ValueError, match="expected both or neither"):
        encoder(digits[0][:2], torch.arange(8).expand(2, 8))
