"""One draw of pretraining by segments in order, with few steps."""
import numpy as np
import pytest
import torch

from mrpbook.studies import pictures, segments


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """scikit-learn and its digits take a second to load, once."""
    pictures.tensors()


def test_the_masked_autoencoder_beside_is_that_of_the_chapter_before_bit_for_bit():
    ours, theirs = segments.pretrain(3, "MAE", steps=4), pictures.pretrain(3, steps=4)
    for name in ("weights", "decoder", "loss"):
        assert np.array_equal(ours[name], theirs[name], equal_nan=True)  # fewer steps than pieces: some are empty


@pytest.mark.parametrize("kind, patch", [(kind, 2) for kind in segments.KINDS] + [("square in square", 1), ("MAE", 1)])
def test_every_kind_trains_and_moves_all_its_weights(kind, patch):
    found = segments.pretrain(3, kind, patch=patch, steps=1)
    start = segments.objective(3, kind, patch=patch)
    moved = segments.trained(3, kind, found["weights"], found["decoder"], patch=patch)
    before, after = start.state_dict(), moved.state_dict()
    assert np.isfinite(found["weights"]).all()
    assert [name for name in before if torch.equal(before[name], after[name])] == []


def test_operations_are_those_of_the_tokens_that_a_layout_feeds():
    price = {kind: segments.cost(kind, steps=[0]) for kind in ("random", "square", "two", "MAE")}
    blocks = pictures.DIGITS.depth
    assert price["random"]["tokens"] == blocks * 15 + 2 * 15  # all but the last patch, all but the first
    assert price["square"]["tokens"] == blocks * 12 + 2 * 12
    assert price["two"]["tokens"] == blocks * 4 + 2 * 12 and price["MAE"]["tokens"] == blocks * 4 + 16
    assert price["random"]["mflop"] > price["square"]["mflop"] > price["two"]["mflop"] > price["MAE"]["mflop"]


def test_squares_and_shuffled_squares_start_from_the_same_weights_and_see_the_same_pictures():
    one, other = (segments.batches(5, kind)(7) for kind in ("square", "shuffled square"))
    assert torch.equal(one[0], other[0]) and not torch.equal(one[1], other[1])
    one, other = (segments.objective(5, kind).state_dict() for kind in ("square", "shuffled square"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_error_of_each_rank_is_that_of_its_patches():
    found = segments.pretrain(3, "square", steps=2)
    error = segments.by_rank(3, "square", found["weights"], found["decoder"])["error"]
    assert len(error) == 3
    model, x = segments.trained(3, "square", found["weights"], found["decoder"]), pictures.tensors()[1]
    loss = model(x, segments.batches(3, "square").layout(len(x), 3, segments.AFTER))
    assert np.mean(error) == pytest.approx(float(loss.detach()), rel=1e-4)  # segments of one size


def test_the_encoder_goes_to_the_probes_of_the_chapter_before():
    found = segments.pretrain(3, "square", steps=2)
    assert pictures.frozen(3, 1, found["weights"])["correct"].shape == pictures.frozen(3, 1)["correct"].shape


@pytest.mark.parametrize("kind", ["random", "blob in blob", "two"])
def test_leaks_are_none_but_with_the_wrong_mask(kind):
    right, wrong = (segments.leaks(3, kind, wrong, count=2) for wrong in (False, True))
    assert right["leaks"] == 0 and right["pairs"] == wrong["pairs"] > 300
    assert (wrong["leaks"] > 0) == (kind != "two")  # with two segments nobody is asked for what the encoder is given
    assert not np.triu(right["felt"]).any()


def test_two_segments_are_a_masked_autoencoder_but_for_its_decoder():
    found = segments.family(3)
    assert max(found["encoder"], found["loss"]) < 1e-5 and found["decoder"] > 1e-3


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="kind = 'ring'"):
        segments.layout("ring", 4, 4)
