"""One draw with a second layer on top."""
import pytest
import torch

from mrpbook.studies import encoders


@pytest.fixture(scope="module")
def layers():
    return {rule: encoders.layered(7, rule, N=80, steps=60) for rule in encoders.RATES}


def test_kernels_below_a_second_layer_are_captured_only_if_none_is_left_behind(layers):
    assert layers["descent"]["captured"].float().mean() < 0.2
    assert layers["one length per kernel"]["captured"].float().mean() > 0.8


def test_captured_kernels_below_a_second_layer_hold_one_semantic(layers):
    cell = layers["one length per kernel"]
    assert cell["single"].sum() > 0.8 * cell["captured"].sum()
    assert cell["semantics"] >= 10


def test_units_start_alike_whatever_trains_the_kernels(layers):
    assert torch.equal(*(layers[rule]["ratio"][0] for rule in encoders.RATES))


def test_silent_units_are_not_counted_as_units_for_one_class():
    cell = {"ratio": torch.tensor([[0.1, 0.5, 0.2], [0.1, float("nan"), 0.9]])}
    assert encoders.one_class([cell], 0) == ([2], [3])
    assert encoders.one_class([cell, cell], 1) == ([1, 1], [2, 2])
