import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mrpbook.images.patches import chosen, from_patches, hidden_count, random_masks, to_patches, whitening


def pictures(N=3, C=2, H=6, W=4, seed=0):
    return torch.rand(N, C, H, W, generator=torch.Generator().manual_seed(seed))


def test_patches_put_together_are_the_pictures():
    x = pictures()
    assert torch.equal(from_patches(to_patches(x, 2), (2, 6, 4), 2), x)


def test_a_patch_is_a_square_of_its_picture_and_patches_go_row_by_row():
    x = pictures()
    patches = to_patches(x, 2)
    assert patches.shape == (3, 6, 8)
    assert torch.equal(patches[1, 3], x[1, :, 2:4, 2:4].flatten())


@pytest.mark.parametrize("patch, complaint", [(0, "patch = 0"), (4, "patch = 4"), (3, "patch = 3")])
def test_a_patch_that_does_not_divide_the_picture_is_refused(patch, complaint):
    with pytest.raises(ValueError, match=complaint):
        to_patches(pictures(), patch)


def test_patches_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"patches \(3, 6, 8\): expected \[N, 24, 2\]"):
        from_patches(to_patches(pictures(), 2), (2, 6, 4), 1)


@given(P=st.integers(2, 80), ratio=st.floats(0, 1), seed=st.integers(0, 2**32), step=st.integers(0, 10**6))
def test_a_mask_hides_exactly_the_asked_number_of_patches_and_every_patch_is_visible_or_hidden(P, ratio, seed, step):
    count = round(ratio * P)
    if not 1 <= count < P:
        with pytest.raises(ValueError, match=f"would hide {count} of P = {P}"):
            random_masks(5, P, ratio, seed, step)
        return
    visible, hidden = random_masks(5, P, ratio, seed, step)
    assert hidden.shape == (5, count) and hidden_count(P, ratio) == count
    assert torch.equal(torch.cat([visible, hidden], 1).sort(1).values, torch.arange(P).expand(5, P))
    assert (visible.diff() > 0).all() and (hidden.diff() > 0).all()


def test_masks_depend_on_seed_and_step_and_on_nothing_else():
    first = random_masks(50, 16, 0.75, seed=1, step=2)
    torch.manual_seed(99)
    assert torch.equal(first[1], random_masks(50, 16, 0.75, seed=1, step=2)[1])
    assert not torch.equal(first[1], random_masks(50, 16, 0.75, seed=2, step=2)[1])
    assert not torch.equal(first[1], random_masks(50, 16, 0.75, seed=1, step=3)[1])


def test_every_pair_of_patches_is_hidden_equally_often():
    N, P, hide = 20_000, 6, 3
    _, hidden = random_masks(N, P, hide / P, seed=0)
    masks = torch.zeros(N, P).scatter(1, hidden, 1)
    pairs = (masks.T @ masks / N)[~torch.eye(P, dtype=bool)]
    expected = hide * (hide - 1) / (P * (P - 1))
    assert (pairs - expected).abs().max() < 5 * (expected * (1 - expected) / N) ** 0.5


def test_the_chosen_patches_are_those_the_index_names():
    patches = to_patches(pictures(), 2)
    found = chosen(patches, torch.tensor([[0, 5], [4, 2], [3, 3]]))
    assert torch.equal(found[1], patches[1, [4, 2]]) and torch.equal(found[2], patches[2, [3, 3]])


def test_whitened_patches_have_mean_zero_and_unit_covariance():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(100, 8, 5, generator=g, dtype=torch.float64) @ torch.randn(5, 5, generator=g, dtype=torch.float64) + 3
    white = whitening(x, ridge=0)(x).reshape(-1, 5)
    assert white.mean(0).abs().max() < 1e-10
    torch.testing.assert_close(white.T @ white / len(white), torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-10)


def test_the_ridge_keeps_directions_without_variance_small():
    x = torch.randn(100, 8, 4, generator=torch.Generator().manual_seed(0))
    x[..., 3] = 0.5
    with pytest.raises(ValueError, match="ridge = 0"):
        whitening(x, ridge=0)
    white = whitening(x, ridge=0.01)(x)
    assert white[..., 3].abs().max() < 1e-4
    assert (white[..., :3].std((0, 1)) - 1).abs().max() < 0.05


def test_patches_that_are_all_alike_cannot_be_whitened():
    with pytest.raises(ValueError, match="all alike"):
        whitening(torch.full((3, 4, 2), 0.5))
