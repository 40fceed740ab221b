from itertools import product

import pytest
import torch
from torch import nn

from mrpbook.images import evidence
from mrpbook.images.patches import to_patches
from mrpbook.images.probes import Classifier
from mrpbook.images.vit import ViT

WHOLE = 14  # column of the set of all four quarters


class Brightness(nn.Module):
    """A place's outputs: how bright it is, and three numbers that say nothing. 4 x 4 places of 2 x 2 pixels."""

    width, cells, patch, rows, columns = 4, 16, 2, 4, 4

    def forward(self, pictures, visible=None):
        x = to_patches(pictures, 2).mean(2, keepdim=True)
        x = torch.cat([x, torch.full_like(x, 0.1).expand(-1, -1, 3)], 2)
        return x if visible is None else x.gather(1, visible[..., None].expand(-1, -1, 4))


def lamp():
    """Says 1 where something in the picture is bright, and otherwise 0: one bright place is evidence, each for itself."""
    model = Classifier(Brightness(), 3)
    with torch.no_grad():
        model.head.weight[1, 0] = 1.0
        model.head.bias.copy_(torch.tensor([0.01, 0.0, -5.0]))
    return model


def lit(*places):
    """A picture that is bright at these places (row, column), of 4 x 4."""
    picture = torch.zeros(1, 1, 8, 8)
    for row, column in places:
        picture[..., 2 * row:2 * row + 2, 2 * column:2 * column + 2] = 1
    return picture


@pytest.fixture(scope="module")
def sets():
    return evidence.kept(evidence.quarters(4, 4))


def counted(pictures, sets, fill=None, label=1):
    labels = torch.full((len(pictures), 15), label)
    logits = evidence.answers(lamp(), pictures, sets, fill)
    return logits.argmax(2) == labels, evidence.margin(logits, labels)


def test_quarters_are_where_their_names_say_and_sets_are_their_bits(sets):
    regions = evidence.quarters(4, 6).view(4, 6)
    assert regions[0, 0] == 0 and regions[1, 3] == 1 and regions[2, 2] == 2 and regions[3, 5] == 3
    assert regions.flatten().bincount().tolist() == [6] * 4
    assert sets.shape == (15, 16) and sets[WHOLE].all() and sets[0].sum() == 4
    assert torch.equal(sets[0b0101 - 1], sets[0] | sets[0b0100 - 1])


def test_hidden_patches_are_painted_and_kept_ones_are_not_touched(sets):
    x, fill = torch.rand(3, 1, 8, 8), torch.rand(3, 1, 8, 8)
    shown = evidence.painted(x, sets[0].expand(3, -1), fill, 2)
    assert torch.equal(shown[..., :4, :4], x[..., :4, :4])
    assert torch.equal(shown[..., 4:], fill[..., 4:]) and torch.equal(shown[..., 4:, :], fill[..., 4:, :])


def test_what_is_dropped_changes_nothing_and_what_is_painted_does(sets):
    model, x = Classifier(ViT((1, 8, 8), 2, 16, 2, 2), 4), torch.rand(5, 1, 8, 8)
    nn.init.normal_(model.head.weight)
    other = evidence.painted(x, sets[0].expand(5, -1), torch.rand(5, 1, 8, 8), 2)
    assert torch.equal(evidence.answers(model, x, sets[:1]), evidence.answers(model, other, sets[:1]))
    mean = torch.full_like(x, 0.5)
    assert torch.equal(evidence.answers(model, x, sets[:1], mean), evidence.answers(model, other, sets[:1], mean))
    assert not torch.equal(evidence.answers(model, x, sets[:1], mean), evidence.answers(model, x, sets[:1], other))
    torch.testing.assert_close(evidence.answers(model, x, sets)[:, WHOLE], model.logits(x).detach())


@pytest.mark.parametrize("fill", ["dropped", "painted black"])
def test_two_lamps_in_two_quarters_are_two_parts_each_enough_and_one_lamp_is_one(sets, fill):
    x = torch.cat([lit((0, 0)), lit((0, 0), (3, 3)), lit((0, 0), (1, 1)), lit((0, 0), (0, 3), (3, 0), (3, 3))])
    right, margins = counted(x, sets, None if fill == "dropped" else torch.zeros_like(x))
    assert evidence.disjoint(right).tolist() == [1, 2, 1, 4]
    left = evidence.removal(margins)
    assert left[:, 0].tolist() == [15] * 4
    assert (15 - left[0, 1]).item() == 1  # the quarter with the lamp goes first
    survives = right.gather(1, left - 1)
    assert survives.sum(1).tolist() == [1, 2, 1, 4] and survives[:, 0].all()


def test_removing_what_is_important_in_another_picture_leaves_the_answer_right(sets):
    x = torch.cat([lit((0, 0)), lit((3, 3))])
    right, margins = counted(x, sets)
    left = evidence.removal(margins)
    assert not right.gather(1, left[:, 1:2] - 1).any()
    assert right.gather(1, left.flip(0)[:, 1:2] - 1).all()  # the control: importance of the other


def test_disjoint_parts_are_counted_as_by_trying_all_divisions():
    sufficient = torch.rand(40, 15, generator=torch.Generator().manual_seed(0)) < 0.3

    def tried(row):  # every way to give each of four regions one of four names, or none
        best = 0
        for names in product(range(5), repeat=4):
            parts = [sum(1 << r for r in range(4) if names[r] == name) for name in range(4)]
            best = max(best, sum(bool(part) and bool(row[part - 1]) for part in parts))
        return best

    assert evidence.disjoint(sufficient).tolist() == [tried(row) for row in sufficient]


def test_a_margin_is_positive_where_the_answer_is_right():
    logits, labels = torch.randn(50, 4), torch.arange(50) % 4
    assert torch.equal(evidence.margin(logits, labels) > 0, logits.argmax(1) == labels)
    assert evidence.margin(torch.tensor([[1.0, 3.0, 0.5]]), torch.tensor([0])).item() == -2


@pytest.mark.parametrize("name", ["occlusion", "painted occlusion", "Grad-CAM", "Eigen-CAM"])
def test_each_map_finds_the_lamp_where_places_do_not_exchange_anything(name):
    x, labels, model = torch.cat([lit((1, 2)), lit((3, 0))]), torch.tensor([1, 1]), lamp()
    found = {"occlusion": lambda: evidence.occlusion(model, x, labels),
             "painted occlusion": lambda: evidence.occlusion(model, x, labels, torch.zeros_like(x)),
             "Grad-CAM": lambda: evidence.grad_cam(model, x, labels),
             "Eigen-CAM": lambda: evidence.eigen_cam(model.encoder, x)}[name]()
    assert found.argmax(1).tolist() == [6, 12]
    assert evidence.top(found, 1).nonzero().tolist() == [[0, 6], [1, 12]]


def test_grad_cam_is_what_its_definition_gives_by_differentiation():
    model, x, labels = Classifier(ViT((1, 8, 8), 2, 16, 1, 2), 5), torch.rand(6, 1, 8, 8), torch.arange(6) % 5
    nn.init.normal_(model.head.weight)
    outputs = model.encoder(x).detach().requires_grad_()
    logits = model.head(outputs.mean(1))
    (logits.gather(1, labels[:, None])[:, 0] - logits.mean(1)).sum().backward()
    channels = outputs.grad.mean(1, keepdim=True)  # a weight for each number of the output map
    torch.testing.assert_close(evidence.grad_cam(model, x, labels), (channels * outputs).sum(2).relu().detach())


def test_eigen_cam_asks_for_no_label_has_a_sign_and_is_zero_for_outputs_that_are_alike():
    encoder, x = Brightness(), lit((1, 2), (2, 2))
    found = evidence.eigen_cam(encoder, x)[0]
    assert found.max() == 1 and found.min() == 0 and found[6] == pytest.approx(found[10].item())
    assert torch.equal(evidence.eigen_cam(encoder, lit()), torch.zeros(1, 16))


def test_bad_input_is_refused_by_name():
    with pytest.raises(ValueError, match="rows = 3: expected an even number"):
        evidence.quarters(3, 4)
    with pytest.raises(ValueError, match="regions: 9 of them; expected 2 to 8"):
        evidence.kept(torch.arange(9))
    with pytest.raises(ValueError, match="keep: 0 to 0 patches"):
        evidence.answers(lamp(), lit(), torch.zeros(1, 16, dtype=torch.bool))
    with pytest.raises(ValueError, match="keep: 1 to 2 patches.*one number for all"):
        keep = torch.zeros(2, 16, dtype=torch.bool)
        keep[0, 0] = keep[1, :2] = True
        evidence.answer(lamp(), torch.cat([lit(), lit()]), keep)
    with pytest.raises(ValueError, match="count = 16: expected 1 to 15"):
        evidence.top(torch.zeros(1, 16), 16)
