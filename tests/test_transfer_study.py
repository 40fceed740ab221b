import numpy as np
import pytest
import torch

from mrpbook.studies import pictures, transfer
from mrpbook.studies.transfer import SHOWN, halves, learned, network, of, shown, tasks


@pytest.fixture(scope="module")
def parts():
    return tasks(3, "digits")


def test_the_halves_share_no_class_leave_none_out_and_differ_by_seed():
    for seed in range(5):
        one, two = halves(seed, 10)
        assert sorted([*one, *two]) == list(range(10)) and len(one) == len(two) == 5
    assert len({tuple(halves(seed, 10)[0]) for seed in range(10)}) > 7
    with pytest.raises(ValueError, match="classes = 3"):
        halves(0, 3)


def test_classes_are_numbered_anew_and_keep_their_names_and_their_pictures():
    train, _ = pictures.data()
    some = of(train, np.array([2, 7]))
    assert some.names == ("2", "7") and set(some.labels.tolist()) == {0, 1}
    assert torch.equal(some.pictures, train.pictures[(train.labels == 2) | (train.labels == 7)])
    assert int((some.labels == 1).sum()) == int((train.labels == 7).sum())


def rows(x):
    return {tuple(picture.flatten().tolist()) for picture in x}


def test_pretraining_on_one_half_is_shown_no_picture_of_the_other(parts):
    one, two = (half[0] for half in parts)
    seen = {what: shown(what, 3, one, two) for what in SHOWN[:3]}
    N = min(len(one), len(two))
    assert {len(x) for x in seen.values()} == {N}
    assert rows(seen["first half"]) <= rows(one.tensor()) and rows(seen["second half"]) <= rows(two.tensor())
    assert not rows(seen["first half"]) & rows(two.tensor())
    from_one = sum(tuple(p.flatten().tolist()) in rows(one.tensor()) for p in seen["both halves"])
    assert from_one == N // 2


def test_no_test_picture_is_shown(parts):
    tests = rows(torch.cat([half[1].tensor() for half in parts]))
    assert not any(rows(shown(what, 3, parts[0][0], parts[1][0])) & tests for what in SHOWN[:4])


def test_few_pictures_are_of_both_halves(parts):
    few = shown("few pictures", 3, parts[0][0], parts[1][0])
    assert len(few) == transfer.FEW
    assert sum(tuple(p.flatten().tolist()) in rows(parts[0][0].tensor()) for p in few) == transfer.FEW // 2


def test_shuffled_pixels_keep_the_grey_levels_of_each_picture_and_no_place(parts):
    one, two = parts[0][0], parts[1][0]
    before, after = shown("both halves", 3, one, two).flatten(1), shown("shuffled pixels", 3, one, two).flatten(1)
    assert torch.equal(before.sort(1).values, after.sort(1).values)
    spread = [x.mean(0).std() for x in (before, after)]  # of the mean picture over places
    assert spread[1] < 0.1 * spread[0]


def test_what_cannot_be_shown_is_named(parts):
    for what in ("nothing", "everything"):
        with pytest.raises(ValueError, match=f"what = '{what}'"):
            shown(what, 0, parts[0][0], parts[1][0])


@pytest.fixture(scope="module")
def cells():
    return {what: transfer.cell(3, what, steps=120, tuning=20) for what in ("first half", "shuffled pixels", "nothing")}


def test_an_encoder_reconstructs_the_half_it_was_shown_better_and_both_better_than_by_guessing(cells):
    error, guess = np.array(cells["first half"]["error"]), np.array(cells["first half"]["guess"])
    assert error[0] + 0.02 < error[1] < guess[1] - 0.1


def test_the_control_fails_pretraining_on_shuffled_pixels_is_no_better_than_guessing(cells):
    error, guess = np.array(cells["shuffled pixels"]["error"]), np.array(cells["shuffled pixels"]["guess"])
    assert (error > guess - 0.03).all()


def test_a_cell_depends_on_its_arguments_alone_and_conditions_share_all_but_pretraining(cells):
    again = transfer.cell(3, "nothing", steps=7, tuning=20)  # without pretraining its steps do not count
    assert again == cells["nothing"]
    assert cells["first half"]["total"] == cells["nothing"]["total"] and sum(again["total"]) == len(pictures.data()[1])
    assert cells["first half"]["guess"] == cells["nothing"]["guess"]
    assert cells["first half"]["correct"] != cells["nothing"]["correct"]


def test_labels_of_five_classes_are_learned_well_beyond_chance(parts):
    encoder = network(parts[0][0], 3, "digits").encoder
    assert learned(encoder, 3, 10, *parts[0], 60, 16) / len(parts[0][1]) > 0.5  # chance 0.2


def test_the_chapters_transformer_can_take_the_place_of_the_convolution():
    found = transfer.cell(3, "first half", kind="transformer", steps=3, tuning=3)
    assert np.isfinite(found["error"]).all() and found["total"] == transfer.cell(3, "nothing", tuning=1)["total"]
    with pytest.raises(ValueError, match="kind = 'resnet'"):
        transfer.cell(3, "first half", kind="resnet")


def test_random_order_of_weights_keeps_their_sizes_and_is_another_encoder(monkeypatch):
    encoders = []
    monkeypatch.setattr(transfer, "learned", lambda encoder, *rest: encoders.append(encoder) or len(encoders))
    found = transfer.whole(0, steps=3)
    assert found["correct"] == [1, 2, 3] and found["total"] == len(pictures.data()[1])
    pretrained, scratch, jumbled = encoders
    for a, b, c in zip(pretrained.parameters(), scratch.parameters(), jumbled.parameters(), strict=True):
        assert torch.equal(a.flatten().sort().values, c.flatten().sort().values)
        assert not torch.equal(a, b)
    assert not torch.equal(pretrained.layers[0].weight, jumbled.layers[0].weight)
