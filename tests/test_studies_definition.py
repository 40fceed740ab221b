"""The data model's conditions are checked by something that can say no."""
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mrpbook import MultiView, reference
from mrpbook.studies import definition

MODEL = MultiView(mu=0.5)
V = MODEL.semantics(0)
SAMPLE = MODEL.sample(400, 0, "definition")
NOISE = torch.randn(SAMPLE.X.shape, generator=torch.Generator().manual_seed(0))


def broken(S, m=MODEL):
    """Names of the conditions that a sample breaks."""
    found = definition.conditions(S, m, V)
    return {name for name, (low, high, x) in found.items()
            if x.numel() == 0 or x.min() < low - 1e-5 or x.max() > high + 1e-5}


def test_what_is_sampled_breaks_no_condition_and_meets_each_of_them():
    assert broken(SAMPLE) == set()
    assert np.isfinite(definition.check(0, N=400)["violation"]).all()


def test_the_referee_finds_no_broken_condition_either():
    p = SimpleNamespace(**{name: getattr(MODEL, name) for name in MODEL.__dataclass_fields__})
    for i in range(0, 400, 7):
        parts = (SAMPLE.strengths[i].numpy(), SAMPLE.patch_semantic[i].numpy(), SAMPLE.z[i].numpy())
        assert reference.broken_conditions(p, int(SAMPLE.y[i]), int(SAMPLE.strong[i]), *parts) == []


def test_two_semantics_in_one_patch_break_exactly_the_condition_on_second_semantics():
    assert broken(definition.share_a_patch(SAMPLE, MODEL, V)) == {"second semantic in a patch"}


@pytest.mark.parametrize("change, name", [
    ({"strengths": 1.5 * SAMPLE.strengths}, "own views, multi-view data"),
    ({"y": (SAMPLE.y + 1) % 10}, "own views, multi-view data"),
    ({"single": torch.ones(400, dtype=torch.bool)}, "share of single-view data"),
    ({"strong": torch.where(SAMPLE.single, 0, -1)}, "share of view 0 among strong views"),
    ({"strong": torch.where(SAMPLE.single, 1 - SAMPLE.strong, -1)}, "weak view, single-view data"),
    ({"patch_semantic": SAMPLE.patch_semantic.roll(1, 1)}, "second semantic in a patch"),
    ({"patch_semantic": SAMPLE.patch_semantic.clamp_min(0)}, "patches of a semantic that is there"),
    ({"z": SAMPLE.z**2}, "sum over patches / strength"),
    ({"X": SAMPLE.X + 0.01 * NOISE}, "squared norm of a patch's noise"),
])
def test_a_spoiled_sample_breaks_the_condition_it_spoils(change, name):
    assert name in broken(replace(SAMPLE, **change))


def test_a_condition_that_no_sample_meets_is_no_success():
    names = list(definition.conditions(SAMPLE, MODEL, V))
    violation = definition.check(0, N=50, mu=0.0)["violation"]
    assert np.isinf(violation[names.index("weak view, single-view data")])


def test_strengths_in_patches_add_up_to_the_strengths_of_the_sample():
    torch.testing.assert_close(definition.strength_in_patches(SAMPLE).sum(1), SAMPLE.strengths)


def test_a_reader_of_one_view_errs_only_where_that_view_is_weak():
    wrong, single = definition.misread(SAMPLE, MODEL), MODEL.sample(500, 1, "single", mu=1.0)
    assert not wrong[~SAMPLE.single].any()
    missed = definition.misread(single, MODEL)
    assert missed.any() and (single.strong[missed] == 1).all()


@pytest.mark.parametrize("ratio", [0.02 / 0.3, 0.6, 0.8, 1.2])
@pytest.mark.parametrize("s, P", [(1.0, 16), (0.5, 16), (3.0, 64)])
def test_the_readers_error_follows_its_law(ratio, s, P):
    counts = np.array([definition.reader(seed, (ratio,), s, P, N=400)["wrong"][0] for seed in range(8)])
    law = definition.reader_law(ratio, s, P)
    assert abs(counts.mean() / 400 - law) <= 5 * np.sqrt(law * (1 - law) / 3200)


def test_with_room_for_all_the_law_is_half_the_chance_that_another_class_shows_its_view():
    assert definition.reader_law(0.02 / 0.3, 1.0, 64) == pytest.approx((1 - 0.9**9) / 2, rel=1e-9)
    assert definition.reader_law(1.0) == pytest.approx(0, abs=1e-12)
