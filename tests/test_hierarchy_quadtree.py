"""The quadtree in closed form, beside simulation and beside the graph."""
import numpy as np
import pytest

from mrpbook.hierarchy import graphs, quadtree
from mrpbook.hierarchy.quadtree import Quadtree


def test_the_covariance_is_that_of_simulated_draws():
    tree = Quadtree(2, 0.7)
    x = tree.sample(200_000, seed=1)
    assert np.abs(np.cov(x.T) - tree.covariance).max() < 0.02
    assert tree.latents == 5 and x.shape[1] == 21


def test_neighbours_in_a_block_of_four_have_one_parent():
    tree = Quadtree(3, 0.8)
    pixels = tree.ancestors[tree.latents:].reshape(8, 8, 4)
    for level in range(3):
        block = 2 ** (3 - level)
        corners = pixels[::block, ::block, level]
        assert np.array_equal(pixels[..., level], corners.repeat(block, 0).repeat(block, 1))
        assert len(np.unique(corners)) == 4**level


@pytest.mark.parametrize("unit", [1, 2, 4])
def test_masks_hide_whole_squares_and_the_share_asked_for(unit):
    tree = Quadtree()
    hidden = quadtree.masks(tree, 50, 0.5, unit, seed=2)
    squares = hidden.reshape(50, 8 // unit, unit, 8 // unit, unit).mean((2, 4))
    assert set(np.unique(squares)) == {0.0, 1.0} and (hidden.mean(1) == 0.5).all()
    assert len(np.unique(hidden, axis=0)) > 4
    assert (quadtree.masks(tree, 50, 0.01, unit, seed=2).sum(1) == unit**2).all()  # at least one


def test_the_predictor_is_the_regression_of_simulated_pixels_and_leaves_the_error_it_says():
    tree = Quadtree(2, 0.8)
    hidden = quadtree.masks(tree, 1, 0.5, 1, seed=3)[0]
    x = tree.sample(200_000, seed=4)[:, tree.latents:]
    B = quadtree.predictor(tree, hidden)
    assert np.abs(np.linalg.lstsq(x[:, ~hidden], x[:, hidden], rcond=None)[0].T - B).max() < 0.02
    left = ((x[:, hidden] - x[:, ~hidden] @ B.T) ** 2).mean()
    assert left == pytest.approx(quadtree.unexplained(tree, hidden), rel=0.01)


def test_no_other_code_of_equal_size_predicts_the_masked_pixels_better():
    tree = Quadtree()
    hidden = quadtree.masks(tree, 1, 0.5, 2, seed=5)[0]
    S = tree.covariance[tree.latents:, tree.latents:]
    def explained(W):
        C = W.T @ S[np.ix_(~hidden, ~hidden)] @ W
        with_code = W.T @ S[np.ix_(~hidden, hidden)]
        return np.trace(with_code.T @ np.linalg.solve(C, with_code))
    W, g = quadtree.code(tree, hidden, 3), np.random.default_rng(0)
    assert np.allclose(W.T @ S[np.ix_(~hidden, ~hidden)] @ W, np.eye(3), atol=1e-8)
    for _ in range(50):
        assert explained(W) > max(explained(W + 0.1 * g.standard_normal(W.shape)), explained(g.standard_normal(W.shape)))
    full = quadtree.code(tree, hidden)
    assert explained(full) / hidden.sum() == pytest.approx(1 - quadtree.unexplained(tree, hidden))


def test_a_full_code_says_of_the_root_what_all_visible_pixels_say():
    tree = Quadtree()
    hidden = quadtree.masks(tree, 1, 0.5, 1, seed=6)[0]
    S, with_root = tree.covariance[tree.latents:, tree.latents:], tree.covariance[0, tree.latents:]
    best = with_root[~hidden] @ np.linalg.solve(S[np.ix_(~hidden, ~hidden)], with_root[~hidden])
    assert quadtree.code(tree, hidden).shape[1] < 32  # fewer numbers, and nothing of the root is lost
    assert quadtree.readout(tree, hidden)[0] == pytest.approx(best)
    assert quadtree.readout(tree, hidden, 1)[0] < best - 0.001


def test_two_sides_that_one_latent_separates_have_one_direction_in_common():
    tree = Quadtree()
    for hidden in quadtree.masks(tree, 5, 0.5, 4, seed=8):
        assert quadtree.code(tree, hidden).shape[1] == 1 == quadtree.code(tree, hidden, 4).shape[1]
    one = quadtree.masks(tree, 5, 0.01, 1, seed=8)
    assert [quadtree.code(tree, hidden).shape[1] for hidden in one] == [1] * 5


def test_the_readouts_are_those_of_an_independent_calculation():
    """R^2 of the root with codes of 4 directions and single hidden pixels, from throw-away code of another hand."""
    tree, expected = Quadtree(), {0.1: 0.752, 0.25: 0.797, 0.5: 0.798, 0.75: 0.757, 0.9: 0.626}
    for ratio, value in expected.items():
        found = np.mean([quadtree.readout(tree, hidden, 4)[0] for hidden in quadtree.masks(tree, 30, ratio, 1, seed=9)])
        assert found == pytest.approx(value, abs=0.02)


def test_no_shared_latent_of_a_unit_stands_below_it():
    """The graph's answer for squares of 1, 2 and 4 pixels: the tree's levels above them, or higher."""
    tree = Quadtree()
    for unit, level in {1: 2, 2: 1, 4: 0}.items():
        for hidden in quadtree.masks(tree, 5, 0.5, unit, seed=7):
            c = graphs.shared(tree.graph, (tree.latents + np.flatnonzero(hidden)).tolist())
            assert max(tree.levels[list(c)]) <= level


@pytest.mark.parametrize("make, message", [
    (lambda: Quadtree(6), "depth = 6"), (lambda: Quadtree(3, 1.0), "a = 1"),
    (lambda: quadtree.masks(Quadtree(), 1, 0.5, 3, 0), "unit = 3"),
    (lambda: quadtree.masks(Quadtree(), 1, 0.5, 8, 0), "unit = 8"), (lambda: quadtree.masks(Quadtree(), 1, 1.5, 1, 0), "ratio"),
    (lambda: quadtree.code(Quadtree(2), np.arange(16) < 4, 0), "k = 0"),
])
def test_bad_numbers_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
