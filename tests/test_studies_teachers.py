"""One draw of what teaches: what is counted along paths and in common time."""
import pytest
import torch

from mrpbook.studies import teachers

SMALL = dict(K=24, N=60)


@pytest.fixture(scope="module")
def cells():
    return {(name, theta): teachers.cell(5, name, theta, **SMALL) for name, theta in
            (("normalised", 0.75), ("plain", 0.75), ("plain", 1.0), ("EMA, c = 1", 1.0), ("EMA, c = 1/theta", 0.75))}


def test_targets_that_are_the_student_itself_have_no_signal_without_a_mask(cells):
    for name in ("plain", "EMA, c = 1"):
        c = cells[name, 1.0]
        assert c["own_far"] == 0 and c["own_captured"] == 0 and c["t"] == torch.inf
        assert torch.isnan(c["captured"]).all()


def test_an_averaged_teacher_with_c_of_one_over_theta_captures_nothing(cells):
    c = cells["EMA, c = 1/theta", 0.75]
    assert c["own_captured"] == 0 and c["own_grew"] == 0 and c["own_far"] > 0


def test_every_kernel_captures_with_a_target_that_learns(cells):
    for name in ("normalised", "plain"):
        c = cells[name, 0.75]
        assert c["own_captured"] >= 22 and c["own_held"].sum() >= 10 and c["t"] < torch.inf


def test_at_a_common_time_kernels_are_single_with_the_normalised_teacher_and_not_with_the_plain_decoder(cells):
    for name, low, high in (("normalised", 0.8, 1.0), ("plain", 0.0, 0.2)):
        c = cells[name, 0.75]
        assert c["best_count"] >= 24 / 10 and low <= c["best_single"] / c["best_count"] <= high


def test_a_quarter_of_the_semantics_is_held_at_t_and_less_before(cells):
    c = cells["normalised", 0.75]
    at = int((teachers.AFTER["normalised"] >= 1).int().argmax())
    assert c["semantics"][at] >= teachers.QUARTER > c["semantics"][0]


def test_competition_holds_more_semantics_than_kernels_alone():
    together, alone = (teachers.few(5, kind, steps=150, N=40) for kind in ("together", "alone"))
    assert together["semantics"] > alone["semantics"] and together["captured"] <= 20


def test_copies_shrink_with_c_of_one_over_theta_and_grow_with_c_of_one():
    shrinks, grows = (teachers.copies(5, decoder, rounds=4) for decoder in ("1/theta", "1"))
    assert shrinks["rise"] == 0 and shrinks["end"] < 1 < grows["end"] and grows["rise"] > 0
