"""Each inequality holds where it must and fails where it is violated on purpose."""
import math

import pytest
import torch

import mrpbook as mb
from mrpbook import monitors
from mrpbook.monitors import Slack
from mrpbook.pretrain import Trajectory, pretrain, pretrain_along_arcs

MODEL, ACT = mb.MultiView(noise=0.0), mb.SmoothedReLU()
V = MODEL.semantics(3)
CAPTURE = ACT.varrho / MODEL.patch_strength  # the overlap at which a kernel has captured


def path(*states):
    """A trajectory through the given kernels, each state a list of K vectors."""
    return Trajectory(torch.arange(float(len(states))), torch.stack([torch.stack(list(w)) for w in states]))


@pytest.fixture(scope="module")
def quiet():
    return MODEL.sample(120, 3, mu=0.1)


@pytest.fixture(scope="module")
def run():
    """One real draw, few kernels: (path, model, semantics, samples, objective)."""
    m = mb.MultiView(noise=0.1)
    S, objective = m.sample(200, 5, "pretrain", mu=0.1), mb.NormalisedTeacher(0.9)
    states = pretrain(objective, S.X, mb.initial_kernels(12, m.d, 5), ACT, lr=2.0, steps=75, snapshots=5)
    return states, m, m.semantics(5), S, objective


def test_slack_needs_a_row_for_each_time(unchecked):
    with pytest.raises(ValueError, match=r"values \(2, 4\), times \(3,\)"):
        Slack("x", "x", torch.zeros(3), torch.zeros(2, 4), "ours")


def test_the_report_counts_only_where_an_inequality_speaks():
    nan = torch.nan
    slack = Slack("x", "x", torch.tensor([0.0, 5, 9]), torch.tensor([[nan] * 4, [1, 2, -1, nan], [-3, -1, 4, 0]]), "ours")
    row = monitors.report([slack]).iloc[0]
    assert (row.speaks, row.holds, row["first"], row.left, row.tightest, row["median"]) == (7, 3 / 7, 5, 5, -3, 0)
    assert monitors.report([slack], share=0.5).left[0] == 9
    assert slack.holds[0].isnan() and slack.holds[1:].tolist() == pytest.approx([2 / 3, 1 / 4])


def test_an_inequality_that_never_speaks_neither_holds_nor_fails():
    row = monitors.report([Slack("x", "x", torch.zeros(2), torch.full((2, 3), torch.nan), "ours")]).iloc[0]
    assert row.speaks == 0 and math.isnan(row.holds) and row["first"] == row.left == math.inf


def test_rows_of_an_arc_trajectory_are_refused_and_their_network_states_are_not(quiet, unchecked):
    arcs = pretrain_along_arcs(mb.NormalisedTeacher(0.9), quiet.X, mb.initial_kernels(4, MODEL.d, 3), steps=5)
    with pytest.raises(ValueError, match="at_common_time"):
        monitors.winners_grow(arcs, MODEL, V, ACT)
    assert (monitors.winners_grow(arcs.at_common_time(torch.tensor([0.0, 1.0])), MODEL, V, ACT).values > 0).all()


def test_growth_is_relative_and_no_longer_asked_for_after_capture():
    states = path([V[0]], [1.1 * V[0]], [0.99 * V[0]], [2 * V[0]], [V[0]])
    slack = monitors.winners_grow(states, MODEL, V, ACT)
    assert CAPTURE == pytest.approx(1.09, abs=0.005)  # the second state has captured
    assert slack.times.tolist() == [1, 2, 3, 4]
    assert slack.values[0].item() == pytest.approx(0.1, abs=1e-5) and slack.values[1:].isnan().all()
    shrinking = monitors.winners_grow(path([V[0]], [0.8 * V[0]]), MODEL, V, ACT)
    assert shrinking.values.item() == pytest.approx(-0.2, abs=1e-5)


def test_a_second_overlap_uses_up_the_losers_bound_and_the_largest_does_not():
    bound = monitors.C * 0.05 * math.sqrt(2 * math.log(20))  # K n = 20
    states = path([V[0]], [V[0] + bound / 4 * V[1]], [V[0] - 2 * bound * V[1]])
    assert monitors.losers_stay(states, V).values[:, 0].tolist() == pytest.approx([1, 0.75, -1], abs=1e-5)
    assert monitors.losers_stay(states, V, sigma_0=0.5).values.min() > 0
    with pytest.raises(ValueError, match="sigma_0 = 0"):
        monitors.losers_stay(states, V, sigma_0=0.0)


def test_a_winner_set_holds_the_kernels_near_the_best_for_a_semantic():
    near = 1 - 1 / math.log(10)
    w = torch.stack([V.sum(0), (near + 0.01) * V.sum(0), (near - 0.01) * V.sum(0)])
    assert monitors.winner_sets(w, MODEL, V).all(1).tolist() == [True, True, False]
    assert not monitors.winner_sets(w, MODEL, V)[2].any()
    with pytest.raises(ValueError, match="model.k = 2"):
        monitors.winner_sets(w, mb.MultiView(k=2, s=0.5), V)


def test_only_kernels_outside_all_winner_sets_are_asked_to_stay_small():
    start, bound = [V[:19].sum(0), V[19], 0.1 * V.sum(0)], monitors.C * 0.05 * math.sqrt(2 * math.log(60))  # K n = 60
    later = [[5 * V[0], 5 * V[1], size * bound * V[0]] for size in (0.5, 3, -3)]
    slack = monitors.outsiders_stay(path(start, *later), MODEL, V)
    assert slack.values[:, :2].isnan().all()
    assert slack.values[1:, 2].tolist() == pytest.approx([0.5, -2, -2], abs=1e-5)


def test_noise_is_small_without_noise_and_not_for_a_kernel_made_of_it(quiet):
    assert monitors.noise_stays_small(path([V[0]], [9 * V[1]]), V, quiet, ACT).values.min() == pytest.approx(1, abs=1e-4)
    S = MODEL.but(noise=1.0).sample(20, 3)
    empty = S.X[S.patch_semantic < 0][0]  # a patch of noise alone
    kernel = 3 * ACT.varrho / (empty @ empty) * empty
    values = monitors.noise_stays_small(path([kernel], [-kernel]), V, S, ACT).values
    assert values[:, 0].tolist() == pytest.approx([-2, -2], abs=1e-4)


def test_what_lies_outside_the_semantics_counts_as_memorised_and_what_lies_inside_does_not():
    outside = torch.linalg.svd(V).Vh[-1]
    bound = monitors.C * 0.05 * math.sqrt(40)  # d - n = 40
    slack = monitors.nothing_memorised(path([9 * V[0]], [9 * V[0] + 2 * bound * outside]), V)
    assert slack.values[:, 0].tolist() == pytest.approx([1, -1], abs=1e-5)
    with pytest.raises(ValueError, match="d - n = 0"):
        monitors.nothing_memorised(path([torch.ones(20)]), torch.eye(20))


@pytest.mark.parametrize("theta", [0.5, 0.9])
def test_the_normalised_bracket_is_at_least_what_the_size_of_the_answer_says(quiet, theta):
    w = torch.linspace(0.2, 1, 5)[:, None] * V[:5]
    slack = monitors.bracket_positive(path(w), MODEL, V, quiet, ACT, mb.NormalisedTeacher(theta, A=0.05))
    least = 1 - (mb.responses(w, quiet.X, ACT) ** 2).mean(0).sqrt() / (theta * 0.05)
    assert (slack.values[0] >= least - 1e-5).all() and (least[0] > 0 > least[-1])
    assert slack.values[0, 0] > 0 > slack.values[0, -1]


def test_an_exact_copy_as_teacher_pulls_winners_down_and_a_captured_kernel_is_not_asked(quiet):
    states, copy = path([0.5 * V[0], 2 * V[1]]), mb.RescaledTeacher(0.9, tau=1.0)
    values = monitors.bracket_positive(states, MODEL, V, quiet, ACT, copy).values[0]
    assert -1 / 9 - 1e-5 <= values[0] < 0 and values[1].isnan()  # - kappa sigma(a_p) / h
    ahead = monitors.bracket_positive(states, MODEL, V, quiet, ACT, mb.RescaledTeacher(0.9, tau=1.3)).values[0, 0]
    plain = monitors.bracket_positive(states, MODEL, V, quiet, ACT, mb.PlainDecoder(0.9)).values[0, 0]
    assert ahead > 0 and plain > 0


def test_a_kernel_that_changes_its_semantic_was_not_ahead():
    start = V[0] + 0.4 * V[1]
    slack = monitors.winners_were_ahead(path([0.1 * start] * 2, [2 * V[0], 2 * V[1]]), MODEL, V, ACT)
    assert slack.values[0].isnan().all()
    assert slack.values[1].tolist() == pytest.approx([1 / math.log(10), 0.4 - 1 + 1 / math.log(10)], abs=1e-4)
    assert slack.values[1, 0] > 0 > slack.values[1, 1]


def test_a_second_view_of_the_class_keeps_classes_apart_and_a_view_of_another_does_not():
    w = [2 * V[0] + 2 * V[1], 2 * V[0] + 0.9 * V[2], 0.1 * V[0] + 0.1 * V[2]]
    slack = monitors.classes_stay_apart(path(w), MODEL, V, ACT)
    assert slack.values[0, :2].tolist() == pytest.approx([1, -0.5], abs=1e-4) and slack.values[0, 2].isnan()


def test_the_loss_of_growing_kernels_rises_with_the_plain_decoder_and_falls_with_the_normalised_teacher(quiet):
    growing = path(*([s * V[0]] for s in (0.2, 0.4, 0.8)))
    plain = monitors.loss_falls(growing, quiet, ACT, mb.PlainDecoder(0.5)).values
    assert plain[0].item() == pytest.approx(1 - 2.0**8, rel=1e-3)  # homogeneous of degree 2q while small
    assert (plain < 0).all() and (monitors.loss_falls(growing, quiet, ACT, mb.NormalisedTeacher(0.5)).values > 0).all()


def test_labels_saturate_speaks_from_the_vanishing_gap_on_and_at_the_end():
    gap = torch.tensor([[0.9, 0.9, 0.9], [0.01, 0.01, 0.5], [0.04, 0.01, 0.5]])
    second = torch.tensor([[0.1, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 3.0, 0.1]])
    values = monitors.labels_saturate(torch.arange(3.0), gap, second).values
    assert values[0].isnan().all() and values[1, 2].isnan()
    assert values[1, :2].tolist() == pytest.approx([0.8, 0.1]) and values[2].tolist() == pytest.approx([0.2, -2, -9])
    with pytest.raises(ValueError, match="enough = 2"):
        monitors.labels_saturate(torch.arange(3.0), gap, second, enough=2)


def test_on_a_real_draw_winners_grow_and_everything_has_its_shape(run):
    states, m, V, S, objective = run
    T, K = len(states.times), 12
    grow = monitors.winners_grow(states, m, V, ACT)
    assert grow.values.shape == (T - 1, K) and (grow.values[0] > 0).all()
    assert (grow.values[~grow.values.isnan()] > 0).all()
    held = mb.holding(states.kernels, V, m, ACT)
    assert 0 < held.captured[-1].sum()
    assert (monitors.winners_were_ahead(states, m, V, ACT).values.isnan() == ~held.captured).all()
    for slack in (monitors.losers_stay(states, V), monitors.outsiders_stay(states, m, V), monitors.nothing_memorised(states, V),
                  monitors.noise_stays_small(states, V, S, ACT), monitors.bracket_positive(states, m, V, S, ACT, objective)):
        assert slack.values.shape == (T, K) and slack.times.equal(states.times)
        assert not (slack.values[0] <= 0).any()  # all hold at the start


def test_on_a_real_draw_the_loss_falls_in_true_descent_and_rises_in_the_semi_gradient_flow(run):
    states, m, _, S, objective = run
    assert (monitors.loss_falls(states, S, ACT, objective).values > 0).all()
    plain = mb.PlainDecoder(0.9)
    rising = pretrain(plain, S.X, mb.initial_kernels(12, m.d, 5, sigma_0=0.3), ACT, lr=2.0, steps=40, snapshots=10)
    assert (monitors.loss_falls(rising, S, ACT, plain).values < 0).all()
