"""One transformer block: what its parts hold."""
import pytest
import torch

from mrpbook.rng import generator
from mrpbook.studies import attention
from mrpbook.studies.capture import setting


@pytest.fixture(scope="module")
def trained():
    return attention.block(7)


@pytest.fixture(scope="module")
def sorted_samples():
    model, _, V, S, _ = setting(3, 0.0, 1, N=50, mu=0.0)
    return model, V, S, *attention.placed(S, model, 3, "test")


def net(places=True):
    torch.manual_seed(0)
    return attention.Block(60, 16, places, "q = 4", 64, 4, 32).eval()


def test_with_places_the_block_learns_what_the_mean_of_a_place_does_not_know(trained):
    assert trained["error"][1] < 0.4 * trained["mean"] < trained["error"][0]


def test_training_on_other_samples_teaches_no_more_than_the_mean_of_a_place():
    other = attention.block(7, shuffled=True, steps=60)
    assert other["error"][1] > other["mean"] - 0.01


def test_units_come_to_hold_single_semantics_and_value_directions_do_not(trained):
    assert trained["single"][1] > trained["single"][0] + 15
    assert trained["directions_single"].sum() <= 2 < 10 < trained["directions"].min()
    assert (trained["peak"] - trained["turned"]).abs().max() < 0.15
    assert trained["inside"][1] > trained["inside"][0] + 0.15


def test_the_start_does_not_depend_on_what_is_taught():
    one, other = attention.block(8, steps=1), attention.block(8, shuffled=True, steps=1)
    assert all(one[name][0] == other[name][0] for name in ("error", "single", "peak", "heads", "own"))
    assert one["error"][1] != other["error"][1]


def test_patches_of_a_part_stand_together_and_keep_their_content(sorted_samples):
    model, V, S, X, held = sorted_samples
    for view in range(model.views):
        part = held[:, view * model.C_p : (view + 1) * model.C_p]
        assert (part == (S.y * model.views + view)[:, None]).all()
    rest = held[:, model.views * model.C_p :]
    assert ((rest[:, 1:] >= 0) <= (rest[:, :-1] >= 0)).all()  # empty patches last
    assert torch.allclose((X @ V.T).sum(1), (S.X @ V.T).sum(1), atol=1e-5)
    assert torch.equal((X @ V.T).argmax(2)[held >= 0], held[held >= 0])


def test_one_whole_view_is_hidden_where_there_are_places_and_half_of_the_patches_where_not(sorted_samples):
    model = sorted_samples[0]
    parts = attention.hide(generator(0, "test"), 200, model, True)
    assert {tuple(row) for row in parts.tolist()} == {(0, 1, 2, 3), (4, 5, 6, 7)}
    half = attention.hide(generator(0, "test"), 200, model, False)
    assert half.shape == (200, 8) and all(len(set(row)) == 8 for row in half.tolist())


@pytest.mark.parametrize("places", [True, False])
def test_a_prediction_does_not_see_what_is_hidden(places):
    block, X, hidden = net(places), torch.randn(5, 16, 60), torch.arange(4).expand(5, 4)
    changed = X.index_fill(1, torch.arange(4), 9.0)
    assert torch.equal(block(X, hidden)[0], block(changed, hidden)[0])
    assert not torch.allclose(block(X, hidden)[0], block(X + 0.1 * torch.randn_like(X), hidden)[0])


def test_without_places_the_order_of_patches_does_not_matter():
    block, X = net(False), torch.randn(5, 16, 60)
    order = torch.cat([torch.arange(4), 4 + torch.randperm(12)])
    hidden = torch.arange(4).expand(5, 4)
    assert torch.allclose(block(X, hidden)[0], block(X[:, order], hidden)[0], atol=1e-6)


def test_value_matrices_say_how_a_head_moves_the_prediction():
    block = net()
    direct = block.values()
    with torch.no_grad():
        v = block.attend.in_proj_weight[128:][:16]  # the first head's values
        x = torch.randn(60)
        token = (block.embed.weight @ x - (block.embed.weight @ x).mean()) * block.before.weight
        expected = block.out.weight @ (block.attend.out_proj.weight[:, :16] @ (v @ token))
    assert torch.allclose(direct[0] @ x, expected, atol=1e-5)


def test_kernels_on_semantics_are_peaked_and_random_directions_are_not():
    peak, turned = attention.peaked(torch.eye(20)[:10] + 0.01, 0)
    assert peak < 0.02 and turned > 0.6
    peak, turned = attention.peaked(torch.randn(400, 20, generator=torch.Generator().manual_seed(1)), 0)
    assert abs(peak - turned) < 0.05 and peak > 0.7


def test_a_unit_that_is_silent_in_the_median_holds_nothing():
    model, answers = setting(0, 0.0, 1)[0], torch.zeros(4, 20)
    answers[1, 3], answers[2, [2, 3]], answers[3, [3, 7]] = 1.0, torch.tensor([0.9, 1.0]), 1.0
    single, one_class = attention._holds(answers, model)
    assert single.tolist() == [False, True, False, False]
    assert one_class.tolist() == [False, True, True, False]


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation"):
        attention.block(0, activation="tanh")
