"""Ratio and unit on pictures: with few steps, on digits."""
from functools import partial

import numpy as np
import pytest
import torch

from mrpbook import sweep
from mrpbook.images.patches import from_patches, to_patches
from mrpbook.studies import pictures, units


def test_squares_of_one_patch_give_the_pretraining_of_all_other_chapters_to_the_bit():
    ours, theirs = units.pretrain(3, 0.5, 1, steps=4), pictures.pretrain(3, ratio=0.5, steps=4)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ("weights", "decoder"))
    larger = units.pretrain(3, 0.5, 2, steps=4)
    assert not np.array_equal(larger["weights"], theirs["weights"])


def test_equal_pictures_are_alike_and_noise_makes_them_less_so():
    x = pictures.tensors()[1][:5]
    small, large = (units.likeness(x + size * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)), x)
                    for size in (0.05, 0.3))
    assert small[0] > large[0] and 1 > small[1] > large[1]
    flat, darker = torch.full_like(x, 0.5), torch.full_like(x, 0.4)
    assert units.likeness(darker, flat)[0] == pytest.approx(20, abs=1e-4)  # 10 log10(1 / 0.1^2)


def test_without_weights_each_patch_is_its_mean():
    model, x = units.Means(pictures.encoder(0)), pictures.tensors()[1][:4]
    patches = to_patches(x, 2)
    means = from_patches(patches.mean(2, keepdim=True).expand_as(patches), (1, 8, 8), 2)
    assert torch.allclose(units.reconstructed(model, x, "whole"), means, atol=1e-6)
    hidden = units.reconstructed(model, x, "hidden")
    changed = ((hidden - x).abs() > 1e-6).view(4, -1).sum(1)
    assert torch.allclose(to_patches(hidden, 2).mean(2), patches.mean(2), atol=1e-6) and (changed <= 48).all()


def test_the_table_holds_what_each_network_was_judged(tmp_path):
    run = partial(sweep.run, store=tmp_path, jobs=1)
    found = units.sweep(run, [3, 4], {1: [0.5, 0.75], 2: [0.5]}, 5, steps=12, most=40)
    assert found["1 accuracy"].shape == (2, 2) and found["2 whole ssim"].shape == found["0 hidden psnr"].shape == (2, 1)
    net = units.pretrain(4, 0.5, 2, steps=12)
    alone = units.judged(4, 5, net["weights"], net["decoder"], most=40)
    assert {what: found[f"2 {what}"][1, 0] for what in alone} == alone
    assert units.judged(4, 5, most=40)["accuracy"] == pictures.frozen(4, 5)["correct"].mean() == found["0 accuracy"][1, 0]


def test_another_view_is_named():
    with pytest.raises(ValueError, match="view = 'half'"):
        units.reconstructed(units.Means(pictures.encoder(0)), pictures.tensors()[1][:4], "half")


def test_longer_training_shows_hidden_patches_better():
    model = [units.pretrain(3, 0.75, 1, steps=n) for n in (5, 300)]
    short, long = (units.judged(3, 5, m["weights"], m["decoder"], most=100) for m in model)
    assert long["hidden psnr"] > short["hidden psnr"] and long["hidden ssim"] > short["hidden ssim"]
