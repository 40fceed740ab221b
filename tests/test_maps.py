"""Maps: they refuse what does not fit, and draw what they are given."""
import numpy as np
import pytest

from mrpbook import maps, regions

TEXTS = dict(message="It lies there.", uncertainty="None.", alt="A map.")
PANEL = {"x": [0.25, 0.75], "y": [0.5], "predicted": [[0, 3]], "shown": np.array([[[0, 0], [3, 1]]]), "xlabel": "x",
         "ylabel": "y", "xticks": {0.5: "a"}, "yticks": {0.5: "b"}, "lines": {"beyond it": ([0, 1], [0, 1])}}


def test_a_map_is_drawn_for_page_and_phone_with_a_dot_per_draw():
    figure = maps.region_map({"one": PANEL, "two": PANEL}, regions.REGIONS, **TEXTS)
    assert figure.wide.count(b"<use") > 2 and figure.wide != figure.narrow


@pytest.mark.parametrize("change, fault", [
    ({"shown": np.zeros((1, 3, 2), int)}, r"shown of 'one' is \(1, 3, 2\); needed: \[1, 2, draws\]"),
    ({"predicted": [[4]]}, "'one' has region 4")])
def test_a_map_whose_parts_do_not_fit_is_refused(change, fault):
    with pytest.raises(ValueError, match=fault):
        maps.region_map({"one": PANEL | change}, regions.REGIONS, **TEXTS)


def test_a_kernel_that_moved_against_the_threshold_is_a_cross():
    start, end = np.array([0.2, 0.8, 0.3]), np.array([0.1, 0.9, 0.9])
    told = maps.before_after({"a": (start, end, 0.5)}, xlabel="x", ylabel="y", **TEXTS)
    right = maps.before_after({"a": (start[:2], end[:2], 0.5)}, xlabel="x", ylabel="y", **TEXTS)
    assert b"c2441a" in told.wide and right.wide.count(b"c2441a") < told.wide.count(b"c2441a")


def test_strips_leave_out_what_has_nothing_to_say_and_refuse_other_shapes():
    values = np.array([[1.0, 0.5, np.nan], [0.0, np.nan, np.nan]])
    figure = maps.strips({"a": values}, [0, 1, 2], ["one", "two"], xlabel="t", scale="share", marks={"a": (1, "T")}, **TEXTS)
    assert figure.wide and figure.narrow
    with pytest.raises(ValueError, match="panels have shapes"):
        maps.strips({"a": values}, [0, 1], ["one", "two"], xlabel="t", scale="share", **TEXTS)
