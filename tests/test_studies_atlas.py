"""One point of the map: what is counted, what is predicted, and where the two part."""

import numpy as np
import pytest
import torch

from mrpbook import regions
from mrpbook.studies import atlas


@pytest.fixture(scope="module")
def line():
    """One draw across the four regions at theta = 0.75, and where all run away."""
    return {tau: atlas.cell(3, tau=tau) for tau in (1.012, 1.026, 1.044, 1.07, 1.12)}


def test_one_draw_shows_all_four_regions_in_their_order(line):
    assert [cell["region"] for cell in line.values()] == [0, 1, 2, 3, 3] == [cell["measured"] for cell in line.values()]
    assert line[1.012]["grown"] == 0 and line[1.07]["grown"] == line[1.07]["kernels"]


def test_where_only_pairs_grow_every_kernel_that_grows_is_fused_within_its_class(line):
    cell = line[1.026]
    assert cell["grown"] > 0.7 * cell["kernels"] and cell["grown"] == cell["fused"] == cell["same"]
    assert cell["lone"] == 0 and cell["even"] == 20 and line[1.07]["fused"] <= 3


def test_kernels_run_away_only_beyond_the_last_boundary(line):
    edge = regions.boundaries(0.75, *atlas.predicted(), 4)["single runaway"]
    assert 1.07 < edge < 1.12
    assert line[1.07]["runaway"] <= 3 and line[1.12]["runaway"] == line[1.12]["kernels"]


def test_in_the_bistable_band_the_ratio_goes_where_the_separatrix_says(line):
    cell = line[1.044]
    assert 0 < cell["r_star"] < 1
    start, end, far = cell["start"], cell["end"], torch.from_numpy(cell["margin"]) > 0.2
    assert far.sum() > 10 and (start > cell["r_star"])[far].any()
    assert ((end > start) == (start > cell["r_star"]))[far].float().mean() > 0.85


def test_the_reduced_equation_tells_single_from_fused_kernels(line):
    for tau in (1.044, 1.07):
        cell = line[tau]
        wrong = [int((torch.from_numpy(cell[f"{name}_fuses"]) != cell["fused_each"]).sum()) for name in ("draw", "population")]
        assert wrong[0] <= 1 and wrong[1] <= 6
    assert line[1.044]["fused_each"].any()


def test_with_one_patch_per_part_a_view_alone_does_not_grow_and_pairs_fuse():
    cell = atlas.cell(3, tau=None, C_p=1)
    assert cell["measured"] == cell["region"] == 1 and cell["beta"] == pytest.approx(1)
    assert cell["lone"] == 0 and cell["fused"] == cell["grown"]


def test_at_q_two_ratios_rise_and_at_q_three_with_the_same_data_they_fall():
    for q, region, rises in ((2, 1, True), (3, 3, False)):
        cell = atlas.cell(3, tau=None, q=q)
        assert cell["region"] == cell["measured"] == region
        some = torch.from_numpy(cell["margin"]) > 0.2
        assert ((cell["end"] > cell["start"])[some] == rises).float().mean() > 0.9


def test_the_coordinates_of_the_semantics_give_what_the_full_space_gives(line):
    full = atlas.cell(3, tau=1.044, noise=1e-7, length=0.015)
    for name in ("grown", "lone", "even", "captured"):
        assert abs(int(full[name]) - int(line[1.044][name])) <= 1
    both = full["start"].isfinite() & line[1.044]["start"].isfinite()
    assert both.sum() > 15
    assert (full["end"] - line[1.044]["end"])[both].abs().median() < 0.05


def test_margins_and_starts_belong_to_kernels_that_grew_with_both_views(line):
    for cell in line.values():
        assert (cell["start"].isnan() | cell["grew"]).all() and ((cell["start"] <= 1) | cell["start"].isnan()).all()
        np.testing.assert_array_equal(np.isnan(cell["margin"]), cell["start"].isnan().numpy())


def test_probes_are_views_alone_and_uneven_pairs_of_every_class():
    p = atlas.probes(3, 0.1)
    assert p.shape == (12, 6) and torch.equal(p[:6], 0.1 * torch.eye(6))
    assert p[7].tolist() == pytest.approx([0, 0, 0.1, 0.097, 0, 0])
    assert p[11].tolist() == pytest.approx([0, 0, 0, 0, 0.097, 0.1])


@pytest.mark.parametrize("grown, region", [((0, 10, 0), 0), ((10, 11, 0), 1), ((11, 20, 5), 2), ((11, 20, 6), 3)])
def test_a_region_is_read_from_the_majority_of_the_probes(grown, region):
    counts = dict(zip(("lone", "even", "parted"), grown, strict=True))
    assert atlas.measured(counts, 10, 4) == region
    assert atlas.measured(counts, 10, 2) == (1 if region == 2 else region)


def test_pairs_have_parted_where_their_two_orders_end_further_apart():
    held = atlas.probes(2, 0.1)[4:].clone()
    assert atlas._parted(held * 7) == 0
    held[0, 1], held[2, 0] = 0.05, 0.05  # class 0 from both sides
    held[1, 3], held[3, 2] = 0.0999, 0.0999
    assert atlas._parted(held) == 1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="theta = 1.4"):
        atlas.cell(0, theta=1.4)
    with pytest.raises(ValueError, match="tau = -1"):
        atlas.cell(0, tau=-1.0)
