"""Planted textures: gratings, backgrounds and their substitutes."""
import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from mrpbook.data import MultiView
from mrpbook.images.gallery import gallery
from mrpbook.images.patches import to_patches
from mrpbook.images.planted import GREY, KINDS, backgrounds, likeness, plant, replaced, tails, textures

MODEL = MultiView(d=64, noise=0.0)


def photographs(N=100, part="train", kind="as they are", seed=3):
    return backgrounds("photographs", N, seed, "tests", part, kind=kind).pictures


def centred(pictures):
    x = to_patches(pictures, 8)
    return x - x.mean((0, 1))


def test_textures_are_orthogonal_of_mean_0_and_root_mean_square_1():
    T = textures(20, 8, 5)
    assert torch.allclose(T @ T.T / 64, torch.eye(20), atol=1e-5)
    assert T.mean(1).abs().max() < 1e-5
    assert torch.equal(T, textures(20, 8, 5)) and not torch.equal(T, textures(20, 8, 6))


def test_no_more_textures_than_there_are():
    assert len(textures(25, 8, 0)) == 25
    with pytest.raises(ValueError, match="n = 26: expected at most 25"):
        textures(26, 8, 0)


def test_backgrounds_are_keyed_by_seed_and_purpose_and_say_where_they_come_from():
    one = backgrounds("photographs", 5, 1, "tests")
    assert one.pictures.shape == (5, 1, 32, 32) and one.pictures.min() >= 0 and one.pictures.max() <= 1
    assert torch.equal(one.pictures, photographs(5, seed=1))
    assert not torch.equal(one.pictures, backgrounds("photographs", 5, 1, "another").pictures)
    assert "scikit-learn" in one.source and "CC BY 2.0" in one.licence


def test_training_and_test_crops_come_from_halves_that_share_no_pixel():
    photos = [photo @ np.array(GREY) / 255 for photo in load_sample_images().images]
    for part, columns in (("train", slice(None, 320)), ("test", slice(320, None))):
        for crop in photographs(6, part)[:, 0].numpy():
            windows = [np.lib.stride_tricks.sliding_window_view(photo[:, columns], (32, 32)) for photo in photos]
            assert any((np.abs(w[..., ::8, ::8] - c[::8, ::8]).max((2, 3)) < 1e-6).any()
                       for w in windows for c in (crop, crop[:, ::-1]))


def test_other_sources_are_enlarged_and_made_grey():
    digits = backgrounds("digits", 30, 0, "tests", "test")
    assert digits.pictures.shape == (30, 1, 32, 32) and "Handwritten Digits" in digits.source
    assert len({p.numpy().tobytes() for p in digits.pictures}) == 30  # each once before any comes twice


@pytest.mark.parametrize("wrong", [dict(part="left"), dict(size=400), dict(kind="blurred")])
def test_what_cannot_be_drawn_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        backgrounds("photographs", 3, 0, "tests", **wrong)


def test_dealing_patches_anew_keeps_every_patch_and_takes_likeness_away():
    pictures = photographs(300)
    dealt = replaced(pictures, "patches dealt anew", 8, 0)
    sums = [to_patches(p, 8).flatten(0, 1).sum(1).sort().values for p in (pictures, dealt)]
    assert torch.allclose(*sums) and not torch.equal(pictures, dealt)
    assert likeness(centred(pictures)) > 0.15 > 0.05 > abs(likeness(centred(dealt)))


def test_random_phases_keep_the_spectrum_and_likeness():
    pictures = photographs(300)
    turned = replaced(pictures, "random phases", 8, 0)
    assert torch.allclose(torch.fft.fft2(pictures).abs(), torch.fft.fft2(turned).abs(), atol=1e-2)
    assert (pictures - turned).abs().mean() > 0.05 and likeness(centred(turned)) > 0.15


def test_gaussian_patches_keep_the_covariance_and_lose_the_tails():
    pictures = photographs(600)
    smooth = replaced(pictures, "Gaussian patches", 8, 0)
    before, after = (torch.cov(centred(p).flatten(0, 1).T) for p in (pictures, smooth))
    assert (before - after).abs().max() < 0.1 * before.abs().max()
    waves = textures(20, 8, 0).T
    assert tails(centred(pictures) @ waves) > 8 and tails(centred(smooth) @ waves) == pytest.approx(3, abs=0.2)
    assert abs(likeness(centred(smooth))) < 0.05


def test_every_kind_of_background_is_keyed_by_the_seed():
    for kind in KINDS:
        assert torch.equal(photographs(20, kind=kind), photographs(20, kind=kind))
        assert not torch.equal(photographs(20, kind=kind), photographs(20, kind=kind, seed=4))


def test_a_patch_gets_the_texture_it_is_to_hold_and_no_other():
    pictures, truth, T = photographs(20), MODEL.sample(20, 0, "tests"), 0.5 * textures(20, 8, 0)
    added = to_patches(plant(pictures, truth, T) - pictures, 8)
    empty = truth.patch_semantic < 0
    assert added[empty].abs().max() < 1e-5
    assert torch.allclose(added[~empty], truth.z[~empty][:, None] * T[truth.patch_semantic[~empty]], atol=1e-5)


def test_jitter_moves_textures_and_keeps_their_sum():
    flat, truth, T = torch.zeros(10, 1, 32, 32), MODEL.sample(10, 0, "tests"), textures(20, 8, 0) + 1.0
    still, moved = plant(flat, truth, T), plant(flat, truth, T, jitter=2)
    assert torch.allclose(still.sum((1, 2, 3)), moved.sum((1, 2, 3)), rtol=1e-4) and not torch.allclose(still, moved)


def test_truth_for_other_patches_is_refused(unchecked):
    with pytest.raises(ValueError, match="truth of"):
        plant(photographs(5), MODEL.sample(6, 0, "tests"), textures(20, 8, 0))


def test_likeness_tells_pictures_of_one_contrast_from_independent_patches():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 4, 3, generator=g)
    assert abs(likeness(x)) < 0.03
    assert likeness(x * torch.rand(2000, 1, 1, generator=g)) > 0.1
    assert tails(x) == pytest.approx(3, abs=0.15)


def test_a_gallery_refuses_more_pictures_than_columns_and_missing_captions():
    texts = dict(message="m", uncertainty="u", alt="a")
    assert gallery({"row": (np.zeros((3, 8, 8)), ["a", "b", "c"])}, **texts).narrow
    for pictures, captions in ((np.zeros((9, 8, 8)), None), (np.zeros((2, 8, 8)), ["a"]), (np.zeros((8, 8)), None)):
        with pytest.raises(ValueError, match="'row'"):
            gallery({"row": (pictures, captions)}, **texts)
