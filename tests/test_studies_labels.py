"""One draw against the number of labels."""
import pytest
import torch

from mrpbook.network import initial_kernels
from mrpbook.studies import downstream, labels
from mrpbook.studies.capture import setting

SEED = 5


@pytest.fixture(scope="module")
def bank():
    """Two kernels on each semantic, as pretraining would leave them."""
    m, _, V, _, _ = setting(SEED, 0.1, 1)
    return (4 * V.repeat(2, 1) + 0.01 * initial_kernels(40, m.d, SEED)).numpy()


@pytest.fixture(scope="module")
def draw(bank):
    return labels.curve(SEED, bank, Ns=(8, 40), fine=(8,), scratch=(8, 40))


def test_the_shapes_of_a_draw_are_as_documented(draw):
    assert draw["heads"].shape == (2, 2, 2, 2) and draw["fine"].shape == (1, 2) and draw["supervised"].shape == (2, 2)
    assert draw["labelled"].shape == (2, 2) and draw["known"].shape == (2,)


def test_a_limited_head_on_kernels_that_hold_everything_is_right_exactly_where_a_class_has_a_label(draw):
    assert torch.equal(draw["heads"][1, 1], draw["labelled"])
    assert (draw["labelled"][0] < 1000).all()  # eight labels leave a class out


def test_fine_tuned_kernels_are_right_exactly_there_as_well(draw):
    assert torch.equal(draw["fine"], draw["labelled"][:1])


def test_labels_are_nested_and_those_of_a_shorter_run_are_the_first_of_the_same_ones(bank, draw):
    again = labels.curve(SEED, bank, Ns=(8, 20, 40), scratch=(8,))
    assert torch.equal(again["heads"][:, :, [0, 2]], draw["heads"])
    assert torch.equal(again["supervised"][0], draw["supervised"][0])


def test_shuffled_labels_teach_nothing(draw):
    assert (draw["shuffled"] < 400).all() and (draw["heads"][1, 0, 1] > 900).all()


def test_supervised_learning_misses_single_views_that_it_did_not_learn(draw):
    assert draw["known"][1] < 900 and draw["supervised"][1, 0] < 900
    assert abs(int(draw["supervised"][1, 0] - draw["known"][1])) < 150


def test_learned_views_are_those_that_the_kernels_of_the_own_class_hold():
    m, act, V, _, _ = setting(SEED, 0.1, 1)
    w = torch.zeros(m.k * labels.PER_CLASS, m.d)
    w[0], w[labels.PER_CLASS] = 4 * V[1], 4 * V[0]  # class 0 holds its view 1; a kernel of class 1 holds a view of class 0
    assert labels.learned_views(w, V, m, act).nonzero().tolist() == [[0, 1]]


def test_more_steps_lower_the_loss_and_start_from_the_same_network():
    short, long = (labels.longer(0, N=10, steps=steps) for steps in (150, 300))
    assert long["loss"][1] < short["loss"][1] < 0.01 and long["correct"].shape == (2, 2)
    assert torch.equal(short["correct"][0], long["correct"][0]) and short["loss"][0] == long["loss"][0]


def test_the_head_is_that_of_chapter_05_where_both_have_the_same_labels(bank):
    ours = labels.curve(SEED, bank, Ns=(100,))["heads"]
    theirs = downstream.heads(SEED, bank, Ks=(40,), labels=(100,))["correct"]
    assert (ours[:, 0, 0] - theirs[:, 0, 0]).abs().max() <= 2
