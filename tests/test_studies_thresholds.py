"""One semantic: the threshold decides the sign of the force, and counting patches does not."""
import numpy as np
import torch

from mrpbook import regions
from mrpbook.studies import atlas_tables as tables
from mrpbook.studies import thresholds


def test_one_per_cent_around_both_thresholds_the_force_has_the_sign_they_give():
    assert all(thresholds.one(seed)["right"] == 4 for seed in range(25))


def test_with_unequal_strengths_counting_patches_gets_signs_wrong():
    cases = [thresholds.one(seed) for seed in range(25)]
    uneven = [c["by_count"] for c in cases if c["unequal"] > 0.3]
    assert len(uneven) > 5 and np.mean(uneven) < 3


CELL = {"gap": 0.2, "measured": 3, "region": 3, "beta": 0.5, "r_star": 0.5, "grew": np.array([True, True, False]),
        "fused_each": np.array([True, False, False]), "draw_grows": np.array([True, True, True]),
        "draw_fuses": np.array([True, False, False]), "start": np.array([0.9, 0.2, np.nan]),
        "end": np.array([0.95, 0.3, np.nan]), "runaway_each": torch.tensor([True, False, False])}


def counts(found):
    return found["successes"].tolist(), found["totals"].tolist()


def test_cells_near_an_edge_are_left_out_of_the_count_of_regions():
    assert counts(tables.right_regions([CELL, CELL | {"gap": 0.01, "measured": 0}, CELL | {"measured": 2}])) == ([1, 0], [1, 1])


def test_a_fate_is_right_if_growth_and_fusion_are():
    assert counts(tables.right_fates([CELL], "draw")) == ([2], [3])
    assert counts(tables.right_fates([CELL], "one view")) == ([1], [3])  # says: all grow, none fuses
    assert counts(tables.right_fates([CELL | {"beta": 2.0}], "one view")) == ([1], [3])  # says: none grows


def test_only_kernels_clear_of_the_threshold_and_of_one_are_asked_which_way_they_moved():
    assert counts(tables.moved_as_told([CELL])) == ([0], [1])  # 0.9 is near 1; 0.2 rose though below r*
    assert counts(tables.moved_as_told([CELL], [0.1])) == ([1], [1])
    assert counts(tables.ratios_rise([CELL])) == ([1], [1])


def test_runaway_is_asked_of_single_kernels_away_from_the_threshold():
    edge = float(regions.boundaries(0.75, *tables.predicted(), 4)["single runaway"])
    near, far = 1 + (edge - 1) * 1.05, 1 + (edge - 1) * 0.5
    assert counts(tables.runs_away([CELL, CELL], [0.75, 0.75], [near, far])) == ([1], [1])
    assert counts(tables.runs_away([CELL], [0.75], [far], all_of_them=True)) == ([0], [1])


def test_the_areas_of_the_map_are_those_of_the_theorem_and_places_lie_inside():
    tau, theta, x, y = tables.teacher_places(4, 3)
    panel = tables.teacher_panel([{"measured": np.array(0)}] * 24, 4, 3)
    assert panel["shown"].shape == (3, 4, 2) and set(np.ravel(panel["predicted"])) == {0, 1, 2, 3}
    assert np.all((0 < x) & (x < 1)) and tau[0] < tau[-1] and theta[0] < theta[-1]
