import numpy as np
import pytest
import torch

from mrpbook.images.batches import Batches
from mrpbook.images.patches import random_masks
from mrpbook.images.segments import Layout, RankedBatches, blobs, centres, places
from mrpbook.rng import generator

LAYOUTS = {
    "raster": Layout("raster", 4, 4),
    "random": Layout("square", 4, 4, size=1),
    "square": Layout("square", 4, 8, size=2),
    "blob": Layout("blob", 4, 4, size=5),
    "square in square": Layout("square", 8, 8, size=2, within=4),
    "blob in blob": Layout("blob", 6, 5, size=7, within=3),
    "shuffled blob": Layout("blob", 4, 4, size=5, shuffled=True),
    "two": Layout("two", 4, 4, size=4),
}


def sizes(ranks):
    """Patches of each rank, [N, K]."""
    return (ranks[:, :, None] == torch.arange(int(ranks.max()) + 1)).sum(1)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_picture_has_all_segments_and_each_patch_is_in_one(name):
    layout = LAYOUTS[name]
    ranks = layout(50, seed=1)
    assert ranks.shape == (50, layout.rows * layout.columns) and ranks.dtype == torch.int64
    assert ranks.min() == 0 and ranks.max() == layout.segments - 1 and (sizes(ranks) > 0).all()


@pytest.mark.parametrize("name", LAYOUTS)
def test_ranks_depend_on_seed_and_step_alone(name):
    layout = LAYOUTS[name]
    assert torch.equal(layout(20, seed=1, step=3), layout(20, seed=1, step=3))
    for other in (layout(20, seed=2, step=3), layout(20, seed=1, step=4)):
        assert torch.equal(layout(20, seed=1, step=3), other) == (name == "raster")


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "raster"])
def test_each_picture_has_an_order_of_its_own(name):
    ranks = LAYOUTS[name](20, seed=1)
    assert len(ranks.unique(dim=0)) > 15


def test_raster_goes_row_by_row_in_every_picture():
    assert torch.equal(LAYOUTS["raster"](3, seed=5, step=7), torch.arange(16).expand(3, -1))


def test_a_square_segment_is_a_square_and_each_comes_first_equally_often():
    ranks = LAYOUTS["square"](4000, seed=0).view(-1, 2, 2, 4, 2).transpose(2, 3)  # [N, 2, 4 squares, 2, 2 patches]
    corner = ranks[..., 0, 0]
    assert (ranks == corner[..., None, None]).all()
    assert ((corner == 0).double().mean(0) - 1 / 8).abs().max() < 5 * (7 / 64 / 4000) ** 0.5


def test_squares_of_side_one_are_permutations_of_the_patches():
    assert torch.equal(LAYOUTS["random"](30, seed=2).sort(1).values, torch.arange(16).expand(30, -1))


def test_a_blob_is_the_patches_nearest_to_its_gaussian():
    points = np.broadcast_to(places(5, 6), (40, 30, 2))
    labels = blobs(points, 4, np.random.default_rng(3))
    g = np.random.default_rng(3)
    own = g.random((40, 30)).argsort(1)[:, :4]
    deviation = g.uniform(1, 3, (40, 1, 4, 2))[:, 0]
    for n in range(40):
        for p in range(30):
            distance = [(((points[n, p] - points[n, own[n, k]]) / deviation[n, k]) ** 2).sum() for k in range(4)]
            assert distance[labels[n, p]] == pytest.approx(min(distance))


def test_blobs_of_points_that_coincide_are_not_empty():
    labels = blobs(np.zeros((3, 6, 2)), 4, np.random.default_rng(0))
    assert (np.sort(labels, 1)[:, -1] == 3).all() and all(len(set(row)) == 4 for row in labels)


@pytest.mark.parametrize("name, groups", [("square in square", 4), ("blob in blob", 3)])
def test_in_a_hierarchy_a_group_ends_before_the_next_begins_and_both_orders_are_random(name, groups):
    layout = LAYOUTS[name]
    labels, ranks = layout.labels(60, 4), layout(60, seed=4).numpy()
    centre = centres(labels, np.broadcast_to(places(layout.rows, layout.columns), (*labels.shape, 2)))
    by_corner = (centre[..., 0] // 4 * 2 + centre[..., 1] // 4).astype(int)
    group = by_corner if layout.shape == "square" else blobs(centre, groups, generator(4, "groups of blobs"))
    order = np.zeros((60, layout.segments), dtype=int)  # number of the segment of each rank
    np.put_along_axis(order, ranks, labels, 1)
    assert (np.sort(order, 1) == np.arange(layout.segments)).all()
    runs = np.take_along_axis(group, order, 1)
    assert ((np.diff(runs, axis=1) != 0).sum(1) == groups - 1).all()
    assert len({tuple(dict.fromkeys(row)) for row in runs}) > 5  # orders of groups: 24, and 6 of blobs
    assert len(np.unique(order, axis=0)) > 55
    flat = Layout(layout.shape, layout.rows, layout.columns, layout.size)
    np.put_along_axis(order, flat(60, seed=4).numpy(), labels, 1)  # the same segments, not grouped
    assert ((np.diff(np.take_along_axis(group, order, 1), axis=1) != 0).sum(1) > groups - 1).any()


def test_shuffled_segments_have_the_same_sizes_in_the_same_order_and_are_no_regions():
    shuffled, coherent = LAYOUTS["shuffled blob"](200, 3), LAYOUTS["blob"](200, 3)
    assert torch.equal(sizes(shuffled), sizes(coherent)) and not torch.equal(shuffled, coherent)

    def neighbours(ranks):  # share of patches with the same segment as their right neighbour
        grid = ranks.view(-1, 4, 4)
        return (grid[:, :, 1:] == grid[:, :, :-1]).double().mean()

    assert neighbours(coherent) > 0.45 > 0.25 > neighbours(shuffled)


def test_two_segments_are_the_masks_of_a_masked_autoencoder():
    ranks = LAYOUTS["two"](9, seed=6, step=2)
    visible, hidden = random_masks(9, 16, 0.75, seed=6, step=2)
    assert (ranks.gather(1, visible) == 0).all() and (ranks.gather(1, hidden) == 1).all()


def test_batches_with_ranks_have_the_pictures_of_plain_ones_and_shares_of_one_batch():
    pictures = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    ranked, plain = RankedBatches(pictures, 8, seed=3, layout=LAYOUTS["blob"]), Batches(pictures, 8, seed=3)
    whole = ranked(5)
    assert torch.equal(whole[0], plain(5)[0]) and torch.equal(whole[1], LAYOUTS["blob"](8, 3, 5))
    shares = [ranked(5, part, 2) for part in range(2)]
    assert all(torch.equal(torch.cat(parts), one) for parts, one in zip(zip(*shares, strict=True), whole, strict=True))
    other = RankedBatches(pictures, 8, seed=3, layout=LAYOUTS["shuffled blob"])
    assert ranked.identity() != other.identity() and ranked.identity()["pictures"] == plain.identity()["pictures"]
    with pytest.raises(ValueError, match="expected a layout"):
        RankedBatches(pictures, 8)


@pytest.mark.parametrize("options, complaint", [
    ({"shape": "ring"}, "shape = 'ring'"), ({"shape": "square", "size": 3}, r"size = 3: expected one of \[1, 2\]"),
    ({"shape": "square", "size": 4}, "size = 4"), ({"shape": "square", "within": 3}, r"within = 3: expected one of \[0, 2\]"),
    ({"shape": "square", "size": 2, "within": 2}, "within = 2"), ({"shape": "square", "size": 0}, "size = 0"),
    ({"shape": "blob", "size": 1}, "size = 1"), ({"shape": "blob", "size": 17}, "size = 17"),
    ({"shape": "blob", "size": 4, "within": 4}, r"within = 4: expected one of \[0, 2, 3\]"),
    ({"shape": "two", "size": 16}, "size = 16"), ({"shape": "raster", "within": 2}, "within = 2"),
    ({"shape": "raster", "rows": 0}, "rows = 0")])
def test_layouts_that_do_not_fit_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        Layout(**{"rows": 4, "columns": 4} | options)
