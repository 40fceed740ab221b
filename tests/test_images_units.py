"""Masks of squares of patches: places, counts, limits."""
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mrpbook.images.batches import Batches
from mrpbook.images.patches import to_patches
from mrpbook.images.units import UnitBatches, squares

PICTURES = torch.arange(40 * 64).view(40, 1, 8, 8) / (40 * 64)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_squares_share_out_all_patches_and_each_is_a_square(rows, columns, side):
    found = squares(rows * side, columns * side, side)
    assert found.shape == (rows * columns, side**2) and sorted(found.flatten().tolist()) == list(range(found.numel()))
    row, column = found // (columns * side), found % (columns * side)
    for places in (row, column):
        assert ((places.max(1).values - places.min(1).values) == side - 1).all()


@pytest.mark.parametrize("side, ratio, hidden", [(1, 0.75, 12), (2, 0.5, 8), (2, 0.75, 12)])
def test_a_mask_hides_whole_squares_and_as_many_as_asked(side, ratio, hidden):
    batches = UnitBatches(PICTURES, 6, 3, masks=((4 // side)**2, ratio), patch=2, side=side)
    x, seen, unseen = batches(5)
    both = torch.cat([seen, unseen], 1).sort(1).values
    assert unseen.shape == (6, hidden) and torch.equal(both, torch.arange(16).expand(6, -1))
    taken = torch.zeros(6, 16).scatter(1, unseen, 1.0)
    blocks = to_patches(taken.view(6, 1, 4, 4), side).mean(2)
    assert set(blocks.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(seen, seen.sort(1).values) and len({tuple(row) for row in unseen.tolist()}) > 1


def test_units_of_one_patch_are_the_masks_of_all_other_chapters():
    ours = UnitBatches(PICTURES, 6, 3, masks=(16, 0.75), patch=2, crop=1, flip=True)(7)
    theirs = Batches(PICTURES, 6, 3, masks=(16, 0.75), crop=1, flip=True)(7)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_shares_of_a_batch_make_up_the_batch():
    batches = UnitBatches(PICTURES, 6, 3, masks=(4, 0.5), patch=2, side=2)
    whole, parts = batches(2), [batches(2, part, 3) for part in range(3)]
    assert all(torch.equal(a, torch.cat(b)) for a, b in zip(whole, zip(*parts, strict=True), strict=True))


def test_bad_numbers_are_named():
    with pytest.raises(ValueError, match="side = 3: expected a divisor of 4 rows and 4 columns"):
        squares(4, 4, 3)
    with pytest.raises(ValueError, match=r"masks = \(16, 0.75\): expected \(4, ratio\), for 4 squares of side = 2"):
        UnitBatches(PICTURES, 6, 3, masks=(16, 0.75), patch=2, side=2)
    with pytest.raises(ValueError, match="masks = None"):
        UnitBatches(PICTURES, 6, 3, patch=2)


def test_checkpoints_tell_units_apart():
    one, two = (UnitBatches(PICTURES, 6, 3, masks=(n, 0.75), patch=p, side=s).identity() for n, p, s in ((4, 2, 2), (4, 4, 1)))
    assert one != two and {k for k in one if one[k] != two[k]} == {"patch", "side"}
