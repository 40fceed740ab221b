"""The long runs on colour pictures, with few steps, on digits."""
import json
from functools import partial

import numpy as np
import pytest
import torch

from mrpbook import sweep
from mrpbook.images import agreement
from mrpbook.studies import colour, evidence, pictures


@pytest.fixture(scope="module")
def draws(tmp_path_factory):
    run = partial(sweep.run, store=tmp_path_factory.mktemp("cells"), jobs=1)
    return colour.Draws(run, "digits", [3, 4], steps=20, tuning=6)


def test_every_arm_is_the_accuracy_of_its_network(draws):
    found = colour.labels(draws, [1, 5], 5, [5])
    tables = {name: (2, 2) for name in ("from scratch", "MRP, head first", "frozen", "untrained")}
    assert {name: np.shape(v) for name, v in found.items()} == tables | {"pixels": (2, 1), "MRP": (2,), "random order": (2,)}
    assert found["from scratch"][1, 0] == pictures.learn(4, 1, steps=6)["correct"].mean()
    w = pictures.pretrain(3, steps=20)["weights"]
    assert found["MRP, head first"][0, 1] == pictures.learn(3, 5, w, steps=6, head_first=True)["correct"].mean()
    mixed = pictures.permuted(3, w)
    assert found["random order"][0] == pictures.learn(3, 5, mixed, steps=6, head_first=True)["correct"].mean()
    assert found["untrained"][1, 1] == pictures.frozen(4, 5)["correct"].mean() and found["pixels"][0, 0] > 0.3


def test_parts_are_counted_on_pictures_that_the_network_knows_whole(draws):
    found = colour.parts(draws, 5, 60)
    assert len(found) == 5 * 3 * 6
    for name in (*colour.ARMS[:2], colour.SO, colour.MO, "untrained"):
        for fill in evidence.FILLS:
            assert (found[f"{name} {fill} removed"][:, 0] == 1).all() and found[f"{name} {fill} accuracy"].shape == (2, 4)
            assert ((0 <= found[f"{name} {fill} default"]) & (found[f"{name} {fill} two"] <= 1)).all()
    whole = found[f"{colour.SO} dropped accuracy"][:, 0]
    assert np.array_equal(whole, found[f"{colour.SO} scraps accuracy"][:, 0])  # nothing is hidden in a whole picture


def test_agreement_and_vote_are_those_of_all_pairs_and_all_networks(draws):
    found, truth = colour.together(draws, 5, 10), pictures.data()[1].labels
    nets = [torch.from_numpy(c["predicted"].astype(np.int64)) for c in draws.learned("MRP", 5)]
    assert found["MRP"] == pytest.approx([agreement.answers(*nets, truth, 10).kappa])
    assert set(found) >= {"frozen", "untrained", "from scratch, vote"}


def test_maps_are_shares_of_a_picture_and_all_numbers_fit_in_a_file(draws):
    found = colour.maps(draws, 5, 40, 4)
    for arm in colour.ARMS[:2]:
        assert found[f"{arm} removed"].shape == (2, 5) and found[f"{arm} map"].shape == (3, 16)
        assert found[f"{arm} map"][0].sum() == pytest.approx(1, abs=0.1) and found[f"{arm} spread"].shape == (2, 3)
    assert len(json.dumps({k: np.asarray(v).tolist() for k, v in found.items()})) < 10_000
