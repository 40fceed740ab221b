"""Digits, what Images holds, and subsets of it."""
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mrpbook.images import sources

CIFAR10 = os.environ.get("MRPBOOK_CIFAR10", "")


def test_the_default_is_scikit_learns_digits_with_their_seventeen_levels():
    digits = sources.load()
    assert digits.pictures.shape == (1797, 8, 8, 1) and digits.names == tuple("0123456789")
    from sklearn.datasets import load_digits
    exact = torch.from_numpy(load_digits().images / 16).float()
    assert (digits.tensor()[:, 0] - exact).abs().max() <= 0.5 / 255 + 1e-6
    assert len(torch.unique(digits.pictures)) == 17
    assert "names no licence" in digits.licence and "recalled" in digits.licence


def test_the_split_of_digits_is_fixed_disjoint_stratified_and_says_it_is_ours():
    train, test = (sources.load(split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (1200, 597)
    whole = sources.load()
    assert sorted(map(bytes, torch.cat([train.pictures, test.pictures]).numpy())) == sorted(map(bytes, whole.pictures.numpy()))
    shares = torch.bincount(whole.labels) * 597 / 1797
    assert (torch.bincount(test.labels) - shares).abs().max() < 1
    assert "split made here" in train.source and "split made here" not in whole.source
    # the same pictures on every machine and in every version
    assert zlib.crc32(test.pictures.numpy()) == 1140524339


def test_digits_have_no_validation_part():
    with pytest.raises(ValueError, match="split = 'validation': expected one of None, 'train', 'test'"):
        sources.load("digits", "val")


def test_tensor_puts_channels_first_and_the_range_from_zero_to_one():
    images = sources.Images(torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8), torch.tensor([0]), ("a",), "", "")
    assert images.tensor().shape == (1, 3, 1, 1)
    assert torch.allclose(images.tensor().flatten(), torch.tensor([0, 0.2, 1]))


def test_selecting_by_slice_mask_list_and_array_agree():
    digits = sources.load()
    mask = torch.zeros(1797, dtype=torch.bool)
    mask[:3] = True
    chosen = [digits.select(index) for index in (slice(3), mask, [0, 1, 2], np.arange(3), torch.arange(3))]
    assert all(torch.equal(one.pictures, digits.pictures[:3]) and torch.equal(one.labels, digits.labels[:3]) for one in chosen)
    assert chosen[0].names == digits.names and len(chosen[0]) == 3


@pytest.mark.parametrize("pictures, labels, message", [
    (torch.zeros(2, 4, 4, 1), torch.zeros(2, dtype=torch.int64), "pictures: torch.float32"),
    (torch.zeros(2, 4, 4, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), r"\[N, H, W, 1 or 3\]"),
    (torch.zeros(2, 4, 4, 1, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), r"expected torch.int64 \[2\]"),
    (torch.zeros(2, 4, 4, 1, dtype=torch.uint8), torch.tensor([0, 2]), r"labels lie in \[0, 2\]: expected 0 to 1"),
    (torch.zeros(2, 4, 4, 1, dtype=torch.uint8), torch.tensor([0, -1]), r"labels lie in \[-1, 0\]"),
])
def test_images_that_do_not_fit_together_are_refused(pictures, labels, message, unchecked):
    with pytest.raises(ValueError, match=message):
        sources.Images(pictures, labels, ("a", "b"), "", "")


def made(sizes):
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    pictures = torch.arange(len(labels)).reshape(-1, 1, 1, 1).to(torch.uint8)
    return sources.Images(pictures, labels, tuple(map(str, range(len(sizes)))), "", "")


@given(st.lists(st.integers(2, 40), min_size=2, max_size=5), st.integers(0, 9), st.data())
def test_splits_are_disjoint_exact_stratified_and_keep_their_test_part(sizes, seed, data):
    images, k = made(sizes), len(sizes)
    test = data.draw(st.integers(1, len(images) - 1))
    train = data.draw(st.integers(1, len(images) - test))
    try:
        one, two = sources.splits(images, train, test, seed)
    except ValueError as error:
        assert "too few for a picture of each of" in str(error)
        return
    ids = one.pictures.flatten().tolist(), two.pictures.flatten().tolist()
    assert (len(ids[0]), len(ids[1])) == (train, test) and not set(ids[0]) & set(ids[1])
    assert (torch.bincount(two.labels, minlength=k) - torch.tensor(sizes) * test / len(images)).abs().max() < 1
    left = torch.tensor(sizes) - torch.bincount(two.labels, minlength=k)
    assert (torch.bincount(one.labels, minlength=k) - left * train / (len(images) - test)).abs().max() < 1
    rest, same = sources.splits(images, None, test, seed)
    assert torch.equal(same.pictures, two.pictures) and set(ids[0]) <= set(rest.pictures.flatten().tolist())


@given(st.lists(st.integers(1, 30), min_size=2, max_size=5), st.integers(0, 9), st.data())
def test_fewer_labels_are_part_of_more_labels(sizes, seed, data):
    images = made(sizes)
    more = data.draw(st.integers(1, min(sizes)))
    fewer = data.draw(st.integers(1, more))
    large, small = (sources.labelled(images, m, seed) for m in (more, fewer))
    assert torch.bincount(large.labels).tolist() == [more] * len(sizes)
    assert torch.bincount(small.labels).tolist() == [fewer] * len(sizes)
    assert set(small.pictures.flatten().tolist()) <= set(large.pictures.flatten().tolist())


def test_other_seeds_draw_other_pictures_and_classes_do_not_move_each_other():
    images = made([30, 30, 30])
    one, two, again = (sources.labelled(images, 10, seed).pictures for seed in (0, 1, 0))
    assert torch.equal(one, again) and not torch.equal(one, two)
    part = sources.labelled(images.select(images.labels < 2), 10, 0)
    assert torch.equal(part.pictures, one[:20])


def test_too_few_pictures_for_a_subset_are_refused():
    with pytest.raises(ValueError, match="per_class = 5: class '1' has 4 pictures"):
        sources.labelled(made([9, 4]), 5)
    with pytest.raises(ValueError, match="train = 10, test = 4: there are 13 pictures"):
        sources.splits(made([9, 4]), 10, 4)
    with pytest.raises(ValueError, match="the smallest class has 4 of 13"):
        sources.splits(made([9, 4]), 10, 1)
    with pytest.raises(ValueError, match="test = 0"):
        sources.splits(made([9, 4]), None, 0)


@pytest.mark.skipif(not CIFAR10 or not Path(CIFAR10, "cifar10-train.parquet").is_file(),
                    reason="MRPBOOK_CIFAR10 names no folder with cifar10-train.parquet and cifar10-test.parquet")
def test_cifar_10_arrives_whole_and_with_what_is_known_of_it():
    test = sources.load(CIFAR10, "test")
    assert test.pictures.shape == (10000, 32, 32, 3) and test.names == sources.CIFAR10
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    assert "JPEG" in test.source and "taken for CIFAR-10" in test.source and "none known" in test.licence
