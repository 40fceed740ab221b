"""One draw under watch: what is summarised, and what must fail."""
import numpy as np
import pytest
import torch

import mrpbook as mb
from mrpbook import monitors
from mrpbook.studies import capture, monitored


@pytest.fixture(scope="module")
def kernels():
    return monitored.kernels(5, noise=0.1, K=12, time=120)


def test_a_summary_is_that_of_the_report_per_time_and_overall():
    values = torch.tensor([[1.0, torch.nan], [3.0, -1.0], [-2.0, -4.0]])
    out = monitored.summary(monitors.Slack("a thing", "x", torch.tensor([0.0, 4, 8]), values, "ours"))
    assert out["a_thing_holds"].tolist() == [1, 0.5, 0]
    assert (out["a_thing_share"], out["a_thing_first"], out["a_thing_left"], out["a_thing_tightest"]) == (0.4, 4, 4, -4)
    assert out["a_thing_median"].tolist() == [1, 1, -3] and out["a_thing_low"][2].item() == pytest.approx(-3.9)


def test_the_watched_run_is_that_of_the_race(kernels):
    race = capture.race(5, noise=0.1, K=12, time=120, patience=0, limit=120)
    assert kernels["T"] == race["T"] and torch.equal(kernels["times"], race["times"])
    assert torch.equal(kernels["semantics"], race["semantics"])
    captured = race["captured"] > 0
    assert torch.equal(~kernels["classes_stay_apart_holds"].isnan(), captured)
    assert kernels["classes_stay_apart_holds"][captured].tolist() == pytest.approx(race["one_class"][captured].tolist())


def test_every_inequality_on_kernels_is_there_with_a_row_per_time(kernels):
    names = ("winners_grow", "bracket_positive", "losers_stay", "outsiders_stay", "noise_stays_small", "nothing_memorised",
             "winners_were_ahead", "classes_stay_apart")
    for name in names:
        rows = 12 if name == "winners_grow" else 13
        assert kernels[f"{name}_holds"].shape == kernels[f"{name}_low"].shape == (rows,), name
    assert kernels["winners_grow_share"] == 1


def test_the_sets_counted_are_those_of_the_initial_kernels(kernels):
    m, _, V, _, w0 = capture.setting(5, 0.1, 12)
    assert kernels["sets"].equal(monitors.winner_sets(w0, m, V).sum(1)) and kernels["sets"].sum() >= m.n


def test_a_copy_as_teacher_is_never_ahead():
    assert monitored.kernels(5, K=12, time=20, objective="rescaled", tau=1.0)["bracket_positive_share"] == 0


def test_the_loss_falls_at_every_step_or_at_none():
    falls, rises = (monitored.loss(5, objective, K=12, time=60) for objective in ("normalised", "plain"))
    assert falls["the_loss_falls_share"] == 1 and rises["the_loss_falls_share"] == 0
    assert falls["change"].shape == falls["times"].shape == (6,)


@pytest.fixture(scope="module")
def labels():
    return monitored.labels(5, N=150, time=1600)


def test_labels_are_explained_with_one_view_unless_many_samples_show_one_view_alone(labels):
    assert labels["labels_saturate_holds"][-1] >= 0.6
    assert monitored.labels(5, N=150, time=1600, mu_train=0.5)["labels_saturate_holds"][-1] <= 0.4


def test_gap_and_second_view_are_those_of_the_network_at_their_time(labels):
    m, act, V, _, _ = capture.setting(5, 0.1, 1)
    S, head = m.sample(150, 5, "labels", mu=0.0), mb.supervised.fixed_head(m.k, 6)
    w0 = mb.initial_kernels(60, m.d, 5, purpose="supervised 0")
    w = mb.supervised.train(S.X, S.y, w0, head, act, lr=16.0, loss=1e-12, steps=100).w
    p = torch.softmax(mb.responses(w, S.X, act) @ head.T, 1)
    gap = [float(1 - p[S.y == i, i].mean()) for i in range(m.k)]
    second = [min(float((w[6 * i: 6 * i + 6] @ V[2 * i + view]).max()) for view in (0, 1)) for i in range(m.k)]
    assert labels["times"][20] == 1600
    assert labels["gap"][20].tolist() == pytest.approx(gap, abs=1e-4)
    assert np.allclose(labels["second"][20], np.array(second) * m.patch_strength / act.varrho, atol=1e-3)
    assert labels["gap"][0].min() > 0.85  # one of ten classes, by chance


def test_a_class_without_a_multi_view_sample_is_named():
    with pytest.raises(ValueError, match="mu_train = 1.0"):
        monitored.labels(5, N=50, mu_train=1.0)
