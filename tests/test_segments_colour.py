"""Segments on photographs with a small encoder: with few steps, on digits, whose pictures have 4 patches of 4 x 4 pixels."""
import numpy as np
import pytest
import torch

from mrpbook.images import probes
from mrpbook.images.training import Plan, train
from mrpbook.studies import pictures, segments
from mrpbook.studies import segments_colour as colour

FEW = dict(source="digits", per_class=(1, 5), tuned=5, tuning=3)


def test_an_untrained_encoder_is_probed_as_it_is():
    found = colour.cell(3, None, **FEW)
    assert found["frozen"].shape == (2,) and found["loss"] == 0
    _, x, y, test, truth = pictures.labelled(3, 5, "digits")
    assert found["frozen"][1] == probes.probe(colour.encoder(3, "digits"), x, y, test, truth, 3).accuracy


@pytest.mark.parametrize("kind", ["random", "raster", "MAE"])
def test_a_cell_pretrains_with_its_kind_and_reads_the_encoder_that_this_gave(kind):
    found, r = colour.cell(3, kind, steps=4, **FEW), colour.SMALL
    model = segments.around(colour.encoder(3, "digits"), kind, r, 3)
    losses = train(model, segments.shown(pictures.tensors()[0], kind, r, 3, r.patch), Plan(4, r.lr))
    assert found["loss"] == losses[-1]
    _, x, y, test, truth = pictures.labelled(3, 1, "digits")
    assert found["frozen"][0] == probes.probe(model.encoder, x, y, test, truth, 3).accuracy
    again = colour.cell(3, kind, steps=4, **FEW)
    assert np.array_equal(found["frozen"], again["frozen"]) and found["tuned"] == again["tuned"]


def test_every_kind_starts_from_the_same_encoder_and_sees_the_same_pictures():
    one, other = (segments.around(colour.encoder(3, "digits"), kind, colour.SMALL, 3).encoder.state_dict()
                  for kind in ("random", "MAE"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    first, second = (segments.shown(pictures.tensors()[0], kind, colour.SMALL, 3, 4)(5)[0] for kind in ("random", "MAE"))
    assert torch.equal(first, second)


def test_single_patches_cost_more_than_a_masked_autoencoder():
    assert colour.cost("random", "digits")["mflop"] > colour.cost("MAE", "digits")["mflop"] > 0
