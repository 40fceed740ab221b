import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from mrpbook.images import probes
from mrpbook.images.batches import Batches
from mrpbook.images.probes import Classifier, accuracy, features, finetune, probe
from mrpbook.images.training import Plan
from mrpbook.images.vit import ViT


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    return torch.from_numpy(found.images).float()[:, None] / 16, torch.from_numpy(found.target).long()


def small(seed=0):
    return ViT((1, 8, 8), 2, 32, 1, 2, seed=seed)


class Quadrants(nn.Module):
    """An encoder that is not a transformer: cells are the quadrants, with their pixels and one number that says nothing."""

    width, cells = 17, 4

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, pictures):
        cells = pictures.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4).squeeze(1).flatten(1, 2)
        return self.scale * torch.cat([cells, torch.full_like(cells[..., :1], 3.0)], 2)


def test_features_are_means_over_the_places_and_leave_the_encoder_as_it_was(digits):
    x, encoder = digits[0][:70], small()
    before = [p.clone() for p in encoder.parameters()]
    found = features(encoder, x, size=32)
    torch.testing.assert_close(found, encoder(x).mean(1).detach())
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, encoder.parameters(), strict=True))
    assert encoder.training and not found.requires_grad


def test_a_probe_reads_what_features_hold_and_chance_where_labels_are_shuffled(digits):
    x, y = digits
    train, test = slice(0, 600), slice(900, None)
    found = probe(Quadrants(), x[train], y[train], x[test], y[test])
    shuffled = y[train][torch.randperm(600, generator=torch.Generator().manual_seed(0))]
    lost = probe(Quadrants(), x[train], shuffled, x[test], y[test])
    assert found.accuracy == accuracy(found.predicted, y[test]) > 0.6  # of quadrants' mean pixels
    assert lost.accuracy < 0.17  # chance 0.1


def test_the_penalty_is_chosen_on_labelled_pictures_alone_and_not_the_worst_is_chosen(digits, monkeypatch):
    x, y = digits
    train, test = slice(0, 300), slice(900, None)
    free = probe(Quadrants(), x[train], y[train], x[test], y[test])
    assert free.C == probe(Quadrants(), x[train], y[train], x[test], (y[test] + 1) % 10).C
    found = {}
    for C in probes.STRENGTHS:
        monkeypatch.setattr(probes, "STRENGTHS", (C,))
        found[C] = probe(Quadrants(), x[train], y[train], x[test], y[test]).accuracy
    assert found[free.C] == free.accuracy > min(found.values()) + 0.1


def test_one_picture_per_class_is_enough_for_a_probe_and_one_class_is_not(digits):
    x, y = digits
    one = torch.stack([(y == label).nonzero()[0, 0] for label in range(10)])
    assert probe(Quadrants(), x[one], y[one], x, y).C == 1
    with pytest.raises(ValueError, match="only class 3"):
        probe(Quadrants(), x[y == 3], y[y == 3], x, y)


@pytest.fixture(scope="module")
def run(digits):
    x, y = digits
    encoder = small()
    batches = Batches(x[:1200], 64, seed=1, labels=y[:1200])
    return encoder, batches, finetune(encoder, batches, 10, Plan(300, 1e-2))


def test_supervised_learning_from_scratch_learns_the_digits(digits, run):
    x, y = digits
    model, losses = run[2]
    assert accuracy(model.predict(x[1200:]), y[1200:]) > 0.75
    assert losses[0] == pytest.approx(2.302585, abs=1e-5)  # log 10: the head starts at 0
    assert losses[-10:].mean() < 0.5


def test_fine_tuning_leaves_the_encoder_it_is_given_and_moves_all_weights_of_its_own(run):
    encoder, _, (model, _) = run
    fresh = small()
    for name, weight in encoder.state_dict().items():
        assert torch.equal(weight, fresh.state_dict()[name])
        assert not torch.equal(weight, model.encoder.state_dict()[name]), name


def test_equal_encoders_and_seeds_give_equal_classifiers(run, digits):
    encoder, batches, (model, losses) = run
    short = Plan(5, 1e-2)
    first, second = (finetune(small(), batches, 10, short) for _ in range(2))
    other, _ = finetune(small(seed=1), batches, 10, short)
    assert torch.equal(first[1], second[1])
    assert torch.equal(first[0].logits(digits[0]), second[0].logits(digits[0]))
    assert not torch.equal(first[0].logits(digits[0]), other.logits(digits[0]))


def test_shuffled_labels_give_chance(digits):
    x, y = digits
    shuffled = y[:1200][torch.randperm(1200, generator=torch.Generator().manual_seed(0))]
    model, _ = finetune(small(), Batches(x[:1200], 64, seed=1, labels=shuffled), 10, Plan(100, 1e-2))
    assert accuracy(model.predict(x[1200:]), y[1200:]) < 0.2


def test_any_encoder_with_width_and_cells_is_fine_tuned(digits):
    x, y = digits
    model, losses = finetune(Quadrants(), Batches(x, 64, labels=y), 10, Plan(200, 0.1))
    assert model.encoder.scale != 1 and losses[-20:].mean() < 0.8 * losses[0]


def test_predictions_do_not_depend_on_how_many_pictures_are_looked_at_a_time(digits, run):
    model = run[2][0]
    assert torch.equal(model.predict(digits[0], size=7), model.predict(digits[0]))


def test_batches_without_labels_or_with_labels_out_of_range_are_refused(digits):
    x, y = digits
    with pytest.raises(ValueError, match="expected labels and no masks"):
        finetune(small(), Batches(x, 8), 10, Plan(1))
    with pytest.raises(ValueError, match="expected labels and no masks"):
        finetune(small(), Batches(x, 8, labels=y, masks=(16, 0.5)), 10, Plan(1))
    with pytest.raises(ValueError, match="classes = 9: expected labels 0 to 8, got up to 9"):
        finetune(small(), Batches(x, 8, labels=y), 9, Plan(1))
    with pytest.raises(ValueError, match="classes = 1"):
        Classifier(small(), 1)
