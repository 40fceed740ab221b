"""Pretraining on colour pictures, varied: with few steps, on digits."""
from functools import partial

import numpy as np
import pytest
import torch

from mrpbook import sweep
from mrpbook.studies import agreement, colour, colour_axes, pictures, planted, plenty, seen, transfer


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return partial(sweep.run, store=tmp_path_factory.mktemp("cells"), jobs=1)


@pytest.fixture(scope="module")
def draws(run):
    return colour.Draws(run, "digits", [3, 4], steps=20, tuning=6)


def test_each_axis_is_the_accuracy_of_its_network(draws):
    found = colour_axes.axes(draws, 5, 10, [0.5, 0.75], 4)
    for ratio, column in ((0.5, 0), (0.75, 1)):
        w = pictures.pretrain(4, steps=10, ratio=ratio)["weights"]
        assert found["ratio"][1, column] == pictures.frozen(4, 5, w)["correct"].mean()
    assert found["head first"][1] == pictures.learn(4, 5, w, steps=6, head_first=True)["correct"].mean()
    w = pictures.pretrain(3, steps=10, patch=4)["weights"]
    assert found["patch"][0] == pictures.frozen(3, 5, w, patch=4)["correct"].mean()
    assert found["patch untrained"][0] == pictures.frozen(3, 5, patch=4)["correct"].mean()


def test_each_fine_tuned_axis_is_the_accuracy_of_its_network(draws):
    found = colour_axes.tuned(draws, 5, 10, [0.5], 4)
    gentle = dict(steps=6, head_first=True)
    w = pictures.pretrain(4, steps=10, ratio=0.5)["weights"]
    assert found["ratio"].shape == (2, 1) and found["ratio"][1, 0] == pictures.learn(4, 5, w, **gentle)["correct"].mean()
    w = pictures.pretrain(3, steps=10, patch=4)["weights"]
    assert found["patch"][0] == pictures.learn(3, 5, w, patch=4, **gentle)["correct"].mean()
    assert found["patch scratch"][0] == pictures.learn(3, 5, patch=4, steps=6)["correct"].mean()


def test_patient_networks_have_so_many_times_the_steps(draws):
    found = colour_axes.patient(draws, [5, 20], 3)["from scratch"]
    assert found.shape == (2, 2) and found[1, 0] == pictures.learn(4, 5, steps=18)["correct"].mean()
    assert found[0, 1] == pictures.learn(3, 20, steps=18)["correct"].mean()


def test_with_all_labels_each_accuracy_is_that_of_its_network(draws):
    found = colour_axes.all_labels(draws, 100, 2)
    assert {v.shape for v in found.values()} == {(2,)}
    assert found["from scratch"][0] == pictures.learn(3, 100, steps=6)["correct"].mean()
    assert found["longer"][1] == pictures.learn(4, 100, steps=12)["correct"].mean()
    truth = pictures.data()[1].labels.numpy()
    for name, start in (("", draws.weights[1]), (" untrained", None)):
        answers = agreement.frozen(4, 4, 100, start)["probabilities"].argmax(1)
        assert found[f"frozen{name}"][1] == (answers == truth).mean()


def test_networks_with_the_head_first_start_from_the_frozen_answers(draws, monkeypatch):
    monkeypatch.setattr(plenty.probes, "finetune", lambda start, batches, classes, plan, head: still(start, classes, head))
    cell = plenty.head_first(4, 20, "digits", 6, draws.weights[1])
    assert np.array_equal(cell["correct"], cell["frozen"]) and 0.3 < cell["frozen"].mean() < 1


def still(start, classes, head):
    net = plenty.probes.Classifier(start, classes)
    with torch.no_grad():
        net.head.weight.copy_(head.matrix)
        net.head.bias.copy_(head.bias)
    return net, None


def test_a_frozen_encoder_is_tested_on_the_classes_that_it_was_shown_and_on_the_others(draws):
    found = colour_axes.classes(draws, 5, 30, ["first half", "second half", "nothing"])
    assert all(v.shape == (2, 2) and (v > 0.2).all() for v in found.values())
    one, two = (seen.halves(4, what, 5, "digits", 30)["accuracy"] for what in transfer.SHOWN[:2])
    assert found["first half"][1].tolist() == one != two == found["second half"][1].tolist()
    again = seen.halves(3, "nothing", 5, "digits", 9)["accuracy"]
    assert found["nothing"][0].tolist() == again  # the steps do not matter where nothing is shown


def test_textures_are_counted_as_on_their_own_page(run):
    found = colour_axes.textures(run, "photographs", [2])
    assert np.array_equal(found["supervised"][0], planted.supervised(2)["correct"])
    kernels = planted.masked(2, theta=0.5)["kernels"].numpy()
    assert np.array_equal(found["tuned"][0], planted.downstream(2, kernels)["fine"])
    assert found["bare captured"][0] < found["captured"][0] <= 1 and found["tuned"].shape == (1, 2)
