import numpy as np
import pytest
import torch

from mrpbook.images import probes
from mrpbook.studies import evidence, pictures

HALVES = evidence.KEPT == 2


@pytest.fixture(scope="module")
def nets():
    """The smallest that shows something: from scratch with 20 labels per class, with and without hidden patches."""
    return {"whole": pictures.learn(3, 20), "hidden": evidence.occluded(3, 20), "untrained": evidence.untrained(3, 20)}


@pytest.fixture(scope="module")
def cells(nets):
    return {(name, fill): evidence.parts(3, net["weights"], fill, most=200) for name, net in nets.items()
            for fill in evidence.FILLS[:1 if name == "untrained" else 3]}


def test_every_set_is_answered_for_the_same_pictures_and_the_whole_as_by_the_network(nets, cells):
    for (name, fill), cell in cells.items():
        assert cell["right"].shape == (200, 15) and cell["default"].shape == (200, 9)
        assert np.array_equal(cell["index"], cells["whole", "dropped"]["index"]) and len(set(cell["index"])) == 200
        assert np.array_equal(cell["right"][:, -1], nets[name]["correct"][cell["index"]]), fill
        assert np.array_equal(cell["removed"][:, 0], cell["right"][:, -1])


def test_what_matters_most_costs_more_than_what_matters_in_another_picture(cells):
    for name in ("whole", "hidden"):
        for fill in evidence.FILLS:
            cell = cells[name, fill]
            known = cell["right"][:, -1]
            own, other = cell["removed"][known, 1].mean(), cell["shuffled"][known, 1].mean()
            anywhere = cell["right"][known][:, evidence.KEPT == 3].mean()
            assert own < other - 0.1
            assert abs(other - anywhere) < 0.1  # the control: importance of another picture is as good as none


def test_views_are_parts_that_do_not_overlap_and_none_is_the_whole(cells):
    cell = cells["hidden", "dropped"]
    assert cell["views"].max() <= 4
    proper = cell["right"][:, :-1]
    assert np.array_equal(cell["views"] > 0, proper.any(1))
    assert (cell["views"] >= proper[:, [0, 1, 3, 7]].sum(1)).all()  # at least the quarters that are right alone


def test_training_with_hidden_patches_helps_where_they_are_hidden_and_not_on_whole_pictures(cells):
    gain = {fill: evidence.accuracy(cells["hidden", fill]["right"]) - evidence.accuracy(cells["whole", fill]["right"])
            for fill in evidence.FILLS}
    assert gain["dropped"][2] > 0.05 and gain["mean"][3] > 0.05
    assert gain["dropped"][0] < 0.06
    assert gain["scraps"][3] < 0.05  # the control: a kind of hiding that it was not trained with


def test_the_untrained_control_is_better_than_chance_and_its_encoder_is_untrained(nets):
    assert 0.5 < nets["untrained"]["correct"].mean() < 0.9
    net = pictures.classifier(nets["untrained"]["weights"])
    assert torch.equal(net.encoder.embed.weight, pictures.encoder(3).embed.weight)


def test_occluded_training_starts_where_supervised_learning_starts_and_is_repeatable():
    short = [evidence.Occluded(probes.Classifier(pictures.encoder(0), 10), torch.zeros(1, 1, 8, 8)) for _ in range(2)]
    x, y = torch.rand(16, 1, 8, 8), torch.arange(16) % 10
    visible, hidden = torch.arange(4).expand(16, -1), torch.arange(4, 16).expand(16, -1)
    losses = [one(x, y, visible, hidden).item() for one in short]
    assert losses[0] == losses[1] == pytest.approx(np.log(10), abs=1e-5)  # the head starts at 0


def test_dropping_what_a_map_names_costs_more_than_dropping_what_another_pictures_map_names(nets):
    cell = evidence.maps(3, nets["whole"]["weights"], most=200)
    assert cell["maps"].shape == (3, 200, 16) and cell["removed"].shape == (5, 200)
    left = dict(zip(evidence.MAPS, cell["removed"][:, cell["right"]].mean(1), strict=True))
    assert left["occlusion"] < left["shuffled"] - 0.2
    assert left["Grad-CAM"] > left["shuffled"] - 0.1  # fails: outputs of a transformer are not about their own places


def test_log_odds_are_corrected_for_guessing_and_stay_finite():
    middle, good, better = evidence.odds(np.array([0.55, 0.9, 0.99]), 10)
    assert middle == pytest.approx(0) and better > good > 0  # 0.55 is half of what lies above chance
    assert np.isfinite(evidence.odds(np.array([0.0, 0.1, 1.0]), 10)).all()


def test_spread_counts_equal_patches_and_ignores_negative_ones():
    maps = np.zeros((3, 16))
    maps[0, :5], maps[1, 2] = 2.0, 7.0
    maps[1, 3:] = -1
    assert evidence.spread(maps).tolist() == [5, 1, 0]


def test_another_fill_is_refused(nets):
    with pytest.raises(ValueError, match="fill = 'black': expected one of 'dropped', 'mean', 'scraps'"):
        evidence.parts(0, nets["whole"]["weights"], "black")
