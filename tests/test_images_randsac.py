import pytest
import torch
from torch.nn import functional

from mrpbook.images import randsac
from mrpbook.images.mae import MAE
from mrpbook.images.patches import chosen, from_patches, random_masks, to_patches
from mrpbook.images.randsac import RandSAC, felt
from mrpbook.images.segments import Layout, RankedBatches
from mrpbook.images.training import Plan, train
from mrpbook.images.vit import ViT

SHAPE = (1, 8, 8)  # 4 x 4 patches of side 2
SMALL = {"decoder_width": 12, "decoder_heads": 3}
LAYOUTS = {
    "raster": Layout("raster", 4, 4),
    "random": Layout("square", 4, 4, size=1),
    "square": Layout("square", 4, 4, size=2),
    "blob": Layout("blob", 4, 4, size=5),
    "squares in squares": Layout("square", 4, 4, size=1, within=2),
    "blobs in blobs": Layout("blob", 4, 4, size=7, within=3),
    "shuffled square": Layout("square", 4, 4, size=2, shuffled=True),
    "shuffled blob": Layout("blob", 4, 4, size=5, shuffled=True),
    "two": Layout("two", 4, 4, size=4),
}


def encoder(seed=0, depth=3):
    return ViT(SHAPE, patch=2, width=16, depth=depth, heads=4, seed=seed)


@pytest.fixture
def pictures():
    return torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    """Its skip weights are random, so that every encoder block is read by every decoder layer."""
    found = RandSAC(encoder(), **SMALL)
    found.mix.data.normal_(generator=torch.Generator().manual_seed(1))
    return found


def earlier(ranks):
    """[N, P, P]: whether patch j (column) is in an earlier segment than patch i (row)."""
    return ranks[:, None] < ranks[:, :, None]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_prediction_has_a_gradient_in_exactly_the_pixels_of_earlier_segments(model, pictures, name):
    ranks = LAYOUTS[name](3, seed=0)
    assert earlier(ranks).any() and torch.equal(felt(model, pictures, ranks), earlier(ranks))


def everything(query, key):
    return torch.ones(len(query), 1, query.shape[1], key.shape[1], dtype=torch.bool)


@pytest.mark.parametrize("mask", ["cross", "encoder", "decoder"])
@pytest.mark.parametrize("name", ["random", "square", "blob"])
def test_a_wrong_mask_leaks(model, pictures, monkeypatch, mask, name):
    """Cross-attention to one's own segment (s(j) <= s(i)); an encoder, or a decoder, in which all see all."""
    ranks, decode = LAYOUTS[name](3, seed=0), model.decoder.forward
    if mask == "encoder":
        monkeypatch.setattr(model, "memories", _unmasked(model.memories, monkeypatch))
    if mask == "decoder":
        def open_to_all(memories, queries, own, cross):
            return decode(memories, queries, torch.ones_like(own), cross)
        monkeypatch.setattr(model.decoder, "forward", open_to_all)
    leaks = felt(model, pictures, ranks, randsac.until if mask == "cross" else randsac.before) & ~earlier(ranks)
    inner = (ranks > 0) & (ranks < ranks.amax(1, keepdim=True))  # the last segment is given to none
    own = inner[:, :, None] & (ranks[:, :, None] == ranks[:, None])
    assert own.any() and leaks[own].all()


def _unmasked(memories, monkeypatch):
    def inner(*given):
        with monkeypatch.context() as patch:
            patch.setattr(randsac, "until", everything)
            return memories(*given)
    return inner


def test_hidden_pixels_of_the_last_segment_change_the_loss_through_targets_alone(model, pictures):
    ranks = LAYOUTS["blob"](3, seed=0)
    last = ranks == ranks.amax(1, keepdim=True)
    noise = torch.rand(3, 16, 4, generator=torch.Generator().manual_seed(3))
    changed = from_patches(torch.where(last[..., None], noise, to_patches(pictures, 2)), SHAPE, 2)
    assert torch.equal(model.predict(pictures, ranks)[0], model.predict(changed, ranks)[0])
    assert model(pictures, ranks) != model(changed, ranks)


def test_predictions_of_a_picture_do_not_depend_on_what_else_is_in_its_batch(model, pictures):
    """First and last segments of blobs differ in size, so alone a picture has other numbers of tokens and queries."""
    ranks = LAYOUTS["blob"](3, seed=0)
    together, queries = model.predict(pictures, ranks)
    alone = [model.predict(pictures[n : n + 1], ranks[n : n + 1]) for n in range(3)]
    assert len({a[1].shape[1] for a in alone}) > 1
    for n, (values, numbers) in enumerate(alone):
        Q = values.shape[1]
        assert torch.equal(queries[n, -Q:], numbers[0])
        torch.testing.assert_close(together[n, -Q:], values[0], rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_mean_over_patches_of_all_segments_but_the_first(model, pictures):
    ranks = LAYOUTS["blob"](3, seed=0)
    errors = []
    for n in range(3):
        values, numbers = model.predict(pictures[n : n + 1], ranks[n : n + 1])
        for value, p in zip(values[0], numbers[0], strict=True):
            row, column = divmod(int(p), 4)
            x = pictures[n, 0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten()
            errors.append(((value - (x - x.mean()) / (x.var() + 1e-6).sqrt()) ** 2).mean())
    assert len(errors) == int((ranks > 0).sum())
    torch.testing.assert_close(model(pictures, ranks), torch.stack(errors).mean(), rtol=1e-4, atol=1e-5)


def test_with_two_segments_it_is_a_masked_autoencoder_but_for_the_decoder(pictures):
    """Equal: initial encoder, what it is given and answers, patches that count, targets; with one decoder for both, the loss.
    Not equal: the decoder. That of a masked autoencoder puts visible patches and a learned token in one attention, so that
    the visible ones change on their way; here queries are bare places that read a memory, which stays as it is."""
    visible, hidden = random_masks(3, 16, 0.75, seed=4)
    ranks = Layout("two", 4, 4, size=4)(3, seed=4)
    ours, mae = RandSAC(encoder(7), **SMALL, seed=7), MAE(encoder(7), **SMALL, seed=7)
    memory = ours.memories(pictures, visible, ranks.gather(1, visible))
    torch.testing.assert_close(memory[-1], mae.encoder(pictures, visible))
    predicted, queries = ours.predict(pictures, ranks)
    assert torch.equal(queries, hidden) and torch.equal(ours.targets(pictures), mae.targets(pictures))
    lent = mae.decoder(memory[-1], visible, queries)
    loss = functional.mse_loss(lent, chosen(ours.targets(pictures), queries))
    torch.testing.assert_close(loss, mae(pictures, visible, hidden))
    assert (predicted - lent).abs().max() > 0.01
    assert "token" in dict(mae.decoder.named_parameters()) and not any("token" in name for name, _ in ours.named_parameters())


def test_without_masks_the_encoder_that_is_used_afterwards_is_another_function(model, pictures):
    ranks = LAYOUTS["random"](3, seed=0)
    order = ranks.argsort(1)[:, :15]
    model.mix.data = torch.tensor([[0.0, 0, 1], [0, 0, 1]])
    memory = model.memories(pictures, order, ranks.gather(1, order))[0]
    plain = model.encoder(pictures, order)
    assert (memory - plain).abs().max() > 0.01
    whole = model.memories(pictures, order, torch.zeros_like(order))[0]
    torch.testing.assert_close(whole, plain)


def test_skip_weights_start_at_the_last_block_and_learn_only_if_asked(pictures):
    ranks = LAYOUTS["square"](3, seed=0)
    on, off = (RandSAC(encoder(), skip=skip, **SMALL) for skip in (True, False))
    torch.testing.assert_close(on(pictures, ranks), off(pictures, ranks))
    for model in (on, off):
        model(pictures, ranks).backward()
    assert (on.mix.grad != 0).all() and off.mix.grad is None


def test_training_by_the_common_loop_lowers_the_loss():
    plain = functional.interpolate(torch.rand(32, 1, 2, 2, generator=torch.Generator().manual_seed(5)), size=(8, 8))
    batches = RankedBatches(plain, 16, layout=LAYOUTS["square"])
    model = RandSAC(encoder(depth=1), normalise=False, **SMALL)
    losses = train(model, batches, Plan(40, 1e-2))
    assert losses[-5:].mean() < 0.6 * losses[:5].mean()


@pytest.mark.parametrize("normalise", [True, False])
def test_a_reconstruction_keeps_the_first_segment_and_shows_predictions_elsewhere(pictures, normalise):
    model, ranks = RandSAC(encoder(), normalise=normalise, **SMALL), LAYOUTS["blob"](3, seed=0)
    before, after = to_patches(pictures, 2), to_patches(model.reconstruct(pictures, ranks), 2)
    assert torch.equal((before == after).all(2), ranks == 0)


def test_one_segment_and_patches_of_one_number_with_normalisation_are_refused(pictures):
    with pytest.raises(ValueError, match="at least one more segment"):
        RandSAC(encoder(), **SMALL)(pictures, torch.zeros(3, 16, dtype=torch.int64))
    with pytest.raises(ValueError, match="a patch of one number"):
        RandSAC(ViT((1, 4, 4), 1, 8, 1, 2), **SMALL)
