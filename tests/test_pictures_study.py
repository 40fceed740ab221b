"""One draw on real pictures, with few steps."""
import numpy as np
import pytest
import torch

from mrpbook.studies import pictures


@pytest.fixture(scope="module")
def pretrained():
    return pictures.pretrain(3, steps=300)


def test_pretraining_lowers_the_masked_error_and_depends_on_its_seed_alone(pretrained):
    assert np.mean(pretrained["loss"][-5:]) < 0.9 * np.mean(pretrained["loss"][:5])
    again = pictures.pretrain(3, steps=20)
    assert np.array_equal(again["weights"], pictures.pretrain(3, steps=20)["weights"])
    assert not np.array_equal(again["weights"], pictures.pretrain(4, steps=20)["weights"])


def test_scratch_starts_where_pretraining_started_and_sees_the_same_labels():
    start = pictures.flat(pictures.encoder(3))
    given = pictures.learn(3, 2, start, steps=3)
    assert np.array_equal(given["weights"], pictures.learn(3, 2, steps=3)["weights"])


def test_a_stored_classifier_gives_the_answers_it_was_stored_with(pretrained):
    found = pictures.learn(3, 5, pretrained["weights"], steps=30)
    net, test = pictures.classifier(found["weights"]), pictures.tensors()[1]
    assert np.array_equal(net.predict(test).numpy(), found["predicted"])
    assert 0.1 < found["correct"].mean() < 1


def test_permuted_weights_keep_their_sizes_and_lose_their_places(pretrained):
    w = pretrained["weights"]
    mixed = pictures.permuted(3, w)
    assert not np.array_equal(mixed, w)
    start = 0
    for part in pictures.encoder(0).parameters():
        piece = slice(start, start + part.numel())
        assert np.array_equal(np.sort(mixed[piece]), np.sort(w[piece]))
        start = piece.stop
    assert start == len(w)


def test_a_head_that_is_fitted_first_starts_as_the_probe(pretrained):
    w = pretrained["weights"]
    first = pictures.learn(3, 5, w, steps=1, lr=1e-9, head_first=True)
    assert np.array_equal(first["predicted"], pictures.frozen(3, 5, w)["predicted"])
    assert not np.array_equal(first["predicted"], pictures.learn(3, 5, w, steps=1, lr=1e-9)["predicted"])


def test_a_probe_with_one_label_per_class_gains_from_pretraining_and_not_from_its_weights_in_random_order():
    """The claim of the page and its control, in small."""
    w = pictures.pretrain(3, steps=800)["weights"]
    right = {name: pictures.frozen(3, 1, given)["correct"].mean()
             for name, given in {"MRP": w, "permuted": pictures.permuted(3, w), "untrained": None}.items()}
    assert right["MRP"] > right["untrained"] + 0.15
    assert right["permuted"] < right["untrained"] + 0.1


def test_another_target_than_pixels_or_features_is_refused():
    with pytest.raises(ValueError, match="target = 'colours': expected one of 'pixels', 'features'"):
        pictures.objective(0, target="colours")
    assert isinstance(pictures.objective(0, target="features").targets(torch.rand(2, 1, 8, 8)), torch.Tensor)
