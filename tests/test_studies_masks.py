"""Closed forms against every mask, and what the pull on a kernel is made of."""
import pytest
import torch

from mrpbook import NormalisedTeacher, PlainDecoder, RescaledTeacher, SmoothedReLU
from mrpbook.studies import masks

ACT = SmoothedReLU()
EXACT = ("closed_form", "fixed_count", "ratio", "coactivation")
FALSE = ("variance_forgotten", "fixed_as_independent", "ratio_rescaled", "coactivation_unbiased")


@pytest.fixture(scope="module")
def found():
    return [masks.identities(seed) for seed in range(8)]


@pytest.mark.parametrize("name", EXACT)
def test_an_identity_holds_to_rounding_in_every_random_setting(found, name):
    assert max(errors[name] for errors in found) < 1e-12


@pytest.mark.parametrize("name", FALSE)
def test_a_false_identity_is_off_by_more_than_rounding_in_every_random_setting(found, name):
    assert min(errors[name] for errors in found) > 1e-8


def test_random_settings_reach_all_three_parts_of_the_activation():
    parts = torch.zeros(3)
    for seed in range(8):
        s = masks.case(seed)
        a = torch.from_numpy(s["X"] @ s["w"].T)
        parts += torch.stack([(a <= 0).sum(), ((a > 0) & (a < 0.3)).sum(), (a >= 0.3).sum()]) / a.numel() / 8
    assert (parts > 0.15).all()


@pytest.mark.parametrize("objective", [NormalisedTeacher(0.75), RescaledTeacher(0.5, tau=1.2), PlainDecoder(0.75),
                                       NormalisedTeacher(0.75, mask="fixed count")])
def test_the_terms_of_the_pull_add_up_to_the_descent_direction(objective):
    draw = torch.Generator().manual_seed(0)
    X, w, V = (torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((20, 8, 6), (3, 6), (4, 6)))
    terms = masks.pull_terms(objective, w, X, V, ACT)
    total = terms["teacher"] + terms["answer"] + terms["mask"]
    torch.testing.assert_close(total, objective.descent(w, X, ACT) @ V.T)


def test_the_mask_brakes_the_view_a_kernel_holds_and_hardly_touches_the_other():
    held, other, _ = masks.pull(0)["at_rest"][:, 2].T
    assert (held < -0.01).all() and (other.abs() < 1e-3 * held.abs()).all()


def test_more_masking_ends_the_pull_sooner_and_leaves_more_for_the_other_view():
    out = masks.pull(1)
    assert (out["rest"].diff() < 0).all()
    left = out["at_rest"][:, 3]
    assert (left[:, 0].abs() < 1e-5).all()
    assert left[0, 1] > 0 and (left[:, 1].diff() > 0).all() and (left[:, 2].abs() < 0.02 * left[:, 1]).all()


def test_a_pull_that_does_not_end_within_the_overlaps_has_no_resting_point():
    out = masks.pull(1, overlaps=(0.5, 1.0, 3))
    assert out["rest"].isnan().all() and out["at_rest"].isnan().all()


def test_loss_and_coactivation_rise_along_the_plain_decoders_path():
    out = masks.along(0, K=4, steps=80)
    assert out["fell"] == 0
    assert (out["energy"].diff() > 0).all() and (out["loss"].diff() > 0).all()
    assert out["normalised"][1] < out["normalised"][0]
