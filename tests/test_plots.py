"""The figures: what they insist on, and that people with other eyes, screens and days see the same."""

import base64
import inspect
import itertools
import re

import matplotlib as mpl
import numpy as np
import pytest
from bs4 import BeautifulSoup

from mrpbook import look, plots
from mrpbook.intervals import mean_interval

TEXTS = {"message": "MRP captures all.", "uncertainty": "95 %, 8 draws.", "alt": 'A "steep" rise & < 1.'}
AXES = {"xlabel": "steps", "ylabel": "share"}
X = np.array([1.0, 2.0, 3.0])
RISE = (X / 4, X / 4 - 0.1, X / 4 + 0.1)
MATRIX = np.eye(4)[[2, 0, 3, 1]]
# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
DEUTERANOPIA = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
PROTANOPIA = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
GREY = np.tile([0.2126, 0.7152, 0.0722], (3, 1))
MARKS = {"references": [("x", (1, 2), "window"), ("y", 0.5, "half")]}
HEAT = {"rows": "kernel", "columns": "semantic", "scale": "overlap", "classes": [0, 0, 1, 1]}
WINS = ([1, 2], [3, 4], [[0, -1], [1, 1]], [[0.1, 0], [0.2, 0.3]], ["MRP", "untrained"])
SAMPLES = (np.ones((2, 5, 4)), [0, 0, 1, 1], [0, 1], ["multi-view", "single-view"])
CASES = {
    "curves": ((X, {"MRP": RISE, "supervised": RISE}), AXES | MARKS),
    "law": ((X, RISE, X / 4), AXES | {"sd_band": (X / 5, X / 3)}),
    "dots": ((["a", "b", "c"], {"MRP": RISE, "untrained": RISE}), {"xlabel": "accuracy"}),
    "heatmaps": (({"MRP": MATRIX},), HEAT),
    "winner_map": (WINS, AXES),
    "patches": (SAMPLES, {}),
}


def drawn(name, **changes):
    arguments, options = CASES[name]
    return getattr(plots, name)(*arguments, **(options | TEXTS | changes))


def test_every_public_figure_function_is_tested_here():
    local = [f for _, f in inspect.getmembers(plots, inspect.isfunction) if f.__module__ == plots.__name__]
    assert set(CASES) | {"spans"} == {f.__name__ for f in local if not f.__name__.startswith("_")}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("text", TEXTS)
def test_a_figure_without_alt_text_uncertainty_or_message_is_refused(name, text):
    assert inspect.signature(getattr(plots, name)).parameters[text].default is inspect.Parameter.empty
    for empty in ("", "  "):
        with pytest.raises(ValueError, match=text):
            drawn(name, **{text: empty})


@pytest.mark.parametrize("name", CASES)
def test_the_same_data_give_the_same_bytes_with_alt_text_for_page_and_phone(name):
    figure = drawn(name)
    assert figure == drawn(name)  # also: no text is smaller than 9 points, or drawing would have failed
    page = BeautifulSoup(figure._repr_html_(), "html.parser")
    assert page.img["alt"] == TEXTS["alt"] and "max-width:100%" in page.img["style"]
    assert page.figcaption.text == TEXTS["message"] and TEXTS["uncertainty"] in page.text
    for uri, inches in ((page.img["src"], plots.WIDE), (page.source["srcset"], 3.6)):
        svg = base64.b64decode(uri.partition(",")[2]).decode()
        assert float(re.search(r'width="([\d.]+)pt"', svg)[1]) == pytest.approx(72 * inches)
        assert "<dc:date>" not in svg


def test_rows_and_columns_of_a_heat_map_can_have_names():
    named = {"MRP": (list("abcd"), ["w", "x", "y", "z"])}
    assert drawn("heatmaps", names=named).wide != drawn("heatmaps").wide
    with pytest.raises(ValueError, match=r"names\['MRP'\]"):
        drawn("heatmaps", names={"MRP": (["a"], ["b"])})
    with pytest.raises(ValueError, match="no order"):
        drawn("heatmaps", names=named, order=[3, 2, 1, 0])


def test_other_data_give_another_picture():
    (x, series), options = CASES["curves"]
    assert drawn("curves").wide != plots.curves(x**2, series, **options, **TEXTS).wide


def test_text_below_nine_points_is_refused(monkeypatch):
    monkeypatch.setitem(look.STYLE, "xtick.labelsize", 8)
    with pytest.raises(ValueError, match="smaller than 9 points"):
        drawn("curves")


def named() -> dict:
    """The roles that can meet in one figure and must not be taken for each other."""
    return {role: look for role, look in plots.ROLES.items() if role not in ("context", "measured")}


def linear(colour) -> np.ndarray:
    c = np.array(mpl.colors.to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb) -> np.ndarray:
    """CIELAB (D65) of linear RGB."""
    xyz = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]) @ rgb
    f = [np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz / [0.9505, 1, 1.0888]]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


EYES = [(np.eye(3), 30), (DEUTERANOPIA, 20), (PROTANOPIA, 18), (GREY, 6.5)]


@pytest.mark.parametrize(("eyes", "far"), EYES)
def test_any_two_roles_differ_to_colour_blind_eyes_and_in_grey(eyes, far):
    seen = {role: lab(np.clip(np.array(eyes) @ linear(look[0]), 0, 1)) for role, look in named().items()}
    distances = {(a, b): np.linalg.norm(seen[a] - seen[b]) for a, b in itertools.combinations(seen, 2)}
    assert min(distances.values()) > far, min(distances, key=distances.get)


def test_roles_stand_out_from_the_paper_and_have_line_styles_and_markers_of_their_own():
    for colour, _, _ in named().values():
        luminance = [linear(c) @ [0.2126, 0.7152, 0.0722] + 0.05 for c in (plots.PAPER, colour)]
        assert luminance[0] / luminance[1] > 3
    _, styles, markers = zip(*named().values(), strict=True)
    assert len(set(styles)) == len(set(markers)) == len(named()) == 6


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("curves", (X, {"MRP": (X, X)}), "estimate, low, high"),
        ("curves", (X, {"MRP": (X, X + 1, X)}), "low > high"),
        ("curves", (X, {"MPR": RISE}), "MPR|mpr"),
        ("heatmaps", ({"MRP": [[np.nan]]},), "finite"),
        ("winner_map", ([1], [1], [[2]], [[0.1]], ["MRP"]), "from -1 to 0"),
    ],
)
def test_bad_input_is_refused_with_its_name(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(plots, name)(*arguments, **CASES[name][1], **TEXTS)


def test_torch_tensors_draw_the_same_picture_as_arrays():
    torch = pytest.importorskip("torch")
    tensors = {name: tuple(torch.tensor(v) for v in RISE) for name in ("MRP", "supervised")}
    assert plots.curves(torch.tensor(X), tensors, **CASES["curves"][1], **TEXTS) == drawn("curves")


def test_drawing_leaves_the_readers_own_settings_alone():
    before = dict(mpl.rcParams)
    drawn("law")
    assert dict(mpl.rcParams) == before


def test_spans_are_the_t_intervals_of_the_columns_and_equal_values_have_no_width():
    values = np.array([[0.2, 1.0, 0.9], [0.4, 1.0, 1.0], [0.3, 1.0, 1.0]])
    mean, low, high = plots.spans(values, 0, 1)
    assert np.allclose(mean, [0.3, 1, 29 / 30]) and low[1] == high[1] == 1
    assert (low[0], high[0]) == pytest.approx(mean_interval(values[:, 0], 0.05)[1:3]) and high[2] == 1 > low[2]
    assert plots.spans(values[:1], 0, 1)[1:].tolist() == [[0, 0, 0], [1, 1, 1]]  # one draw shows no spread at all
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        plots.spans(values[:, 0])
