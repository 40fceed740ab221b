from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from mrpbook.images import vit
from mrpbook.images.patches import random_masks

SHAPE = (2, 6, 8)  # 12 patches of side 2


@pytest.fixture
def encoder():
    return vit.ViT(SHAPE, patch=2, width=16, depth=3, heads=4, seed=1)


@pytest.fixture
def pictures():
    return torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def masks():
    return random_masks(5, 12, 0.75, seed=0)


def attending(monkeypatch, visible, P):
    """From here on no token of any block attends to a patch that is not visible."""
    allowed = torch.zeros(len(visible), P, dtype=bool).scatter(1, visible, True)[:, None, None]
    monkeypatch.setattr(vit.functional, "scaled_dot_product_attention",
                        partial(functional.scaled_dot_product_attention, attn_mask=allowed))


def test_encoding_visible_patches_alone_equals_encoding_all_with_attention_masked(encoder, pictures, masks, monkeypatch):
    visible, _ = masks
    alone = encoder(pictures, visible)
    everywhere = encoder(pictures)
    attending(monkeypatch, visible, 12)
    masked = encoder(pictures)
    picked = masked[torch.arange(5)[:, None], visible]
    torch.testing.assert_close(alone, picked, rtol=1e-5, atol=1e-6)
    assert (everywhere - masked).abs().max() > 0.01  # attention matters here at all


@pytest.mark.parametrize("token", [None, torch.linspace(-1, 1, 16)])
def test_pixels_of_hidden_patches_change_no_output(encoder, pictures, masks, token):
    visible, _ = masks
    shown = torch.zeros(5, 12).scatter(1, visible, 1).view(5, 1, 3, 1, 4, 1).expand(-1, 2, -1, 2, -1, 2).reshape(5, *SHAPE)
    other = torch.rand(pictures.shape, generator=torch.Generator().manual_seed(1))
    changed = torch.where(shown.bool(), pictures, other)
    assert torch.equal(encoder(pictures, visible, token), encoder(changed, visible, token))
    assert not torch.equal(encoder(pictures), encoder(changed))


def test_outputs_do_not_depend_on_the_order_in_which_visible_patches_are_named(encoder, pictures, masks):
    visible, _ = masks
    torch.testing.assert_close(encoder(pictures, visible.flip(1)), encoder(pictures, visible).flip(1), rtol=1e-5, atol=1e-6)


def test_a_token_in_place_gives_outputs_for_all_patches_and_enters_at_hidden_places_only(encoder, pictures, masks):
    visible, hidden = masks
    token = torch.linspace(-1, 1, 16)
    tokens = encoder.tokens(pictures, visible, token)
    rows = torch.arange(5)[:, None]
    assert tokens.shape == (5, 12, 16)
    assert torch.equal(tokens[rows, hidden], token + encoder.positions[hidden])
    torch.testing.assert_close(tokens[rows, visible], encoder.tokens(pictures)[rows, visible])


def test_a_block_computes_what_the_transformer_layer_of_torch_computes():
    torch.manual_seed(0)
    ours = vit.Block(12, 3)
    theirs = nn.TransformerEncoderLayer(12, 3, 48, 0.0, nn.GELU(), batch_first=True, norm_first=True)
    names = {"self_attn.in_proj_weight": "qkv.weight", "self_attn.out_proj.weight": "out.weight", "self_attn.out_proj.bias":
             "out.bias", "linear1.weight": "mlp.0.weight", "linear1.bias": "mlp.0.bias", "linear2.weight": "mlp.2.weight",
             "linear2.bias": "mlp.2.bias"}
    weights = ours.state_dict() | {"self_attn.in_proj_bias": torch.zeros(36)}
    theirs.load_state_dict({name: weights[names.get(name, name)] for name in theirs.state_dict()})
    x = torch.randn(4, 7, 12)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


def test_every_place_has_its_own_position_and_positions_have_one_length():
    places = vit.positions(3, 4, 16)
    assert (torch.cdist(places, places) + 9 * torch.eye(12)).min() > 0.3
    torch.testing.assert_close(places.norm(dim=1), torch.full((12,), 8**0.5))


def test_positions_of_neighbours_are_nearer_than_positions_far_apart():
    places = vit.positions(8, 8, 32).view(8, 8, 32)
    for axis in (places[0], places[:, 0]):
        distance = torch.cdist(axis, axis)
        assert distance.diagonal(1).max() < distance.diagonal(3).min()


def test_weights_depend_on_the_seed_alone_and_building_leaves_the_state_of_torch_as_it_was():
    torch.manual_seed(3)
    first = vit.ViT(SHAPE, 2, 16, 1, 4, seed=1)
    drawn = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(3))
    again, other = vit.ViT(SHAPE, 2, 16, 1, 4, seed=1), vit.ViT(SHAPE, 2, 16, 1, 4, seed=2)
    assert torch.equal(first.blocks[0].qkv.weight, again.blocks[0].qkv.weight)
    assert not torch.equal(first.blocks[0].qkv.weight, other.blocks[0].qkv.weight)


def test_predictions_of_the_decoder_depend_on_the_picture_and_on_the_place(encoder, pictures, masks):
    visible, hidden = masks
    decoder = vit.Decoder(encoder, out=8, width=12, depth=1, heads=3)
    predicted = decoder(encoder(pictures, visible), visible, hidden)
    assert predicted.shape == (5, 9, 8)
    assert (predicted[:, 0] - predicted[:, 1]).abs().max() > 1e-3
    same_mask = visible[:1].expand(5, -1), hidden[:1].expand(5, -1)
    predicted = decoder(encoder(pictures, same_mask[0]), *same_mask)
    assert (predicted[0] - predicted[1]).abs().max() > 1e-3


@pytest.mark.parametrize("options, complaint", [
    ({"patch": 4}, "patch = 4"), ({"width": 18, "heads": 3}, "width = 18"), ({"heads": 5}, "heads = 5"),
    ({"depth": 0}, "depth = 0")])
def test_sizes_that_do_not_fit_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        vit.ViT(SHAPE, **{"patch": 2, "width": 16, "depth": 1, "heads": 4} | options)


def test_pictures_of_another_size_are_refused(encoder):
    with pytest.raises(ValueError, match=r"pictures \(5, 2, 8, 6\): expected \[N, 2, 6, 8\]"):
        encoder(torch.rand(5, 2, 8, 6))
