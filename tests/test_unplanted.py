"""The theory's own network on digits: few kernels, few steps."""
import numpy as np
import pytest
import torch

from mrpbook.finetune import fit_head
from mrpbook.images.patches import to_patches
from mrpbook.network import SmoothedReLU, initial_kernels
from mrpbook.objectives import NormalisedTeacher
from mrpbook.pretrain import pretrain
from mrpbook.studies import pictures, unplanted

SMALL = dict(K=30, time=40)


@pytest.fixture(scope="module")
def banks():
    return unplanted.kernels(3, **SMALL)


def test_training_patches_are_white_and_have_the_length_asked_for():
    X = unplanted.view(pictures.tensors()[0]).flatten(0, 1).double()
    assert X.shape[1] == 16 and float(X.square().sum(1).mean().sqrt()) == pytest.approx(unplanted.LENGTH, rel=1e-5)
    values = torch.linalg.eigvalsh(torch.cov(X.T))
    assert values[-1] / values[3] < 1.5 and float(X.mean(0).abs().max()) < 1e-5  # the ridge leaves the smallest smaller


def test_what_a_kernel_looks_for_is_whitened_into_it():
    whiten, _ = unplanted.whitened()
    w = initial_kernels(5, 16, 2)
    assert torch.allclose(unplanted.patterns(w) @ whiten.matrix, w, atol=1e-5)


def test_pretrained_kernels_are_those_of_the_normalised_teacher(banks):
    X = unplanted.view(pictures.tensors()[0])
    found = pretrain(NormalisedTeacher(0.5), X, initial_kernels(30, 16, 3), SmoothedReLU(), lr=1.0, steps=40, snapshots=40).last
    assert torch.equal(banks["MRP"], found) and not torch.equal(banks["MRP, dealt anew"], found)


def test_the_controls_have_the_lengths_of_the_pretrained_kernels(banks):
    lengths = banks["MRP"].norm(dim=1)
    for name in ("lengthened", "patches", "MRP, turned"):
        assert torch.allclose(banks[name].norm(dim=1), lengths, rtol=1e-5)
    same = torch.nn.functional.cosine_similarity(banks["lengthened"], banks["untrained"])
    assert torch.allclose(same, torch.ones(30), atol=1e-5)
    turned, w = banks["MRP, turned"], banks["MRP"]
    assert torch.allclose(turned @ turned.T, w @ w.T, atol=1e-3) and not torch.allclose(turned, w, atol=0.1)


def test_patches_as_kernels_are_training_patches_with_ink(banks):
    x = pictures.tensors()[0]
    ink = to_patches(x, 4).flatten(0, 1).sum(1) > 0
    unit = [v / v.norm(dim=1, keepdim=True) for v in (banks["patches"], unplanted.view(x).flatten(0, 1))]
    match = unit[0] @ unit[1].T
    assert not ink.all() and float(match[:, ink].amax(1).min()) > 1 - 1e-5 > float(match[:, ~ink].max())


def test_a_cell_counts_what_its_kernels_get_right(banks):
    found = unplanted.cell(3, [2, 5], **SMALL)
    assert found["head"].shape == (6, 2) and found["pixels"].shape == (2, 2)
    assert found["adam"].shape == found["descent"].shape == (3, 2)
    _, x, y, tests, truth = pictures.labelled(3, 5, "digits")
    c = fit_head(banks["MRP"], unplanted.view(x), y, 10, SmoothedReLU())
    right = (c.scores(unplanted.view(tests)).argmax(1) == truth).double().mean()
    ours = found["head"][unplanted.KERNELS.index("MRP"), 1]
    assert ours == pytest.approx(float(right), abs=2 / len(truth))  # a tie is no right answer
    again = unplanted.cell(3, [2, 5], **SMALL)
    assert all(np.array_equal(found[name], again[name]) for name in found)


def test_twins_and_directions_are_counted():
    w = torch.eye(4)[[0, 0, 1, 2]] * torch.tensor([[1.0], [3.0], [2.0], [1.0]])
    assert unplanted.twins(w) == 0.5 and unplanted.directions(torch.eye(6)[:4]) == pytest.approx(4)
    assert unplanted.directions(w) == pytest.approx(2**1.5)  # shares 1/2, 1/4, 1/4


def test_patches_of_a_picture_are_those_of_the_picture():
    x = pictures.tensors()[0][:3]
    whiten, scale = unplanted.whitened()
    assert torch.allclose(unplanted.view(x), scale * (to_patches(x, 4) - whiten.mean) @ whiten.matrix)


def test_an_answer_is_shared_by_as_many_patches_as_give_it():
    one, all_four = torch.zeros(5, 4, 2), torch.ones(5, 4, 2)
    one[:, 1] = 2.0
    assert unplanted.shared(one) == 1 and unplanted.shared(all_four) == 4


def test_pretraining_raises_the_share_only_where_patches_belong_together():
    found = unplanted.cell(3, [2], K=60, time=200)
    share = dict(zip(unplanted.KERNELS, found["shared"], strict=True))
    assert share["MRP"] > share["lengthened"] + 0.1 > share["MRP, dealt anew"]
