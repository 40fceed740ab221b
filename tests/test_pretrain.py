"""Descent in common time, arcs with recovered common time, and who may use which clock."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mrpbook import reference
from mrpbook.data import MultiView
from mrpbook.network import SmoothedReLU, initial_kernels
from mrpbook.objectives import NormalisedTeacher, PlainDecoder, RescaledTeacher
from mrpbook.pretrain import ArcTrajectory, Diverged, pretrain, pretrain_along_arcs, pretrain_each
from mrpbook.semantics import holding

ACT = SmoothedReLU()
MODEL = MultiView(k=4, d=12, noise=0.1)


@pytest.fixture(scope="module")
def data():
    return MODEL.sample(60, 0).X


@pytest.fixture(scope="module")
def kernels():
    return initial_kernels(50, MODEL.d, 0, sigma_0=0.1)


@dataclass(frozen=True)
class Coupled:
    """Kernels share what is left to explain, so none may have a clock of its own."""

    independent = False

    def descent(self, w, X, act):
        return RescaledTeacher(0.75).descent(w, X, act) - 0.01 * w.mean(0)


def test_one_step_is_the_reference_step(data, kernels):
    w, X = kernels[:5].double(), data.double()
    H = reference.normalised_target(w.numpy(), X.numpy())
    expected = reference.descent_step(w.numpy(), reference.closed_form_direction(w.numpy(), X.numpy(), H, 0.9, 1 / 0.9), 0.7)
    found = pretrain(NormalisedTeacher(), X, w, lr=0.7, steps=1).last
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_snapshots_are_the_states_of_one_run_at_the_times_they_say(data, kernels):
    every = pretrain(NormalisedTeacher(), data, kernels, lr=0.5, steps=12, snapshots=1)
    assert every.times.tolist() == pytest.approx([0.5 * step for step in range(13)])
    assert torch.equal(every.kernels[0], kernels) and torch.equal(every.last, every.kernels[12])
    for snapshots, steps in ((5, [0, 5, 10, 12]), ([3, 7], [0, 3, 7, 12]), (50, [0, 12])):
        some = pretrain(NormalisedTeacher(), data, kernels, lr=0.5, steps=12, snapshots=snapshots)
        assert some.times.tolist() == [0.5 * step for step in steps]
        assert torch.equal(some.kernels, every.kernels[steps])


def test_the_initial_kernels_are_not_changed(data, kernels):
    before = kernels.clone()
    pretrain(NormalisedTeacher(), data, kernels, steps=3)
    pretrain_along_arcs(RescaledTeacher(0.75), data, kernels, steps=3)
    pretrain_each(NormalisedTeacher(), data, kernels, steps=20, settled=lambda w: w.norm(dim=1) > 0.4)
    assert torch.equal(kernels, before)


def test_a_run_stops_at_the_first_snapshot_that_satisfies(data, kernels):
    asked = []

    def stop(w):
        asked.append(w.clone())
        return len(asked) == 3

    path = pretrain(NormalisedTeacher(), data, kernels, steps=50, snapshots=4, stop=stop)
    assert path.times.tolist() == [0, 4, 8, 12] and torch.equal(path.last, asked[-1])


def test_the_same_run_gives_the_same_bits(data, kernels):
    runs = [pretrain(NormalisedTeacher(), data, kernels, steps=30).kernels for _ in range(2)]
    arcs = [pretrain_along_arcs(PlainDecoder(), data, kernels, steps=30) for _ in range(2)]
    assert torch.equal(*runs) and torch.equal(arcs[0].kernels, arcs[1].kernels)
    assert torch.equal(arcs[0].times, arcs[1].times)


def test_runaway_growth_is_named_with_its_step(data, kernels):
    with pytest.raises(Diverged, match="not finite after 40 steps"):
        pretrain(RescaledTeacher(0.75, tau=9.0), data, kernels * 20, lr=50.0, steps=40, snapshots=40)


def test_five_kernels_of_a_run_of_fifty_go_where_they_go_alone(data, kernels):
    many = pretrain(NormalisedTeacher(), data, kernels, steps=60).kernels[:, 10:15]
    few = pretrain(NormalisedTeacher(), data, kernels[10:15], steps=60).kernels
    torch.testing.assert_close(many, few, rtol=1e-4, atol=1e-5)
    assert (few[-1] - few[0]).norm(dim=1).min() > 0.05  # it is not that nothing moved


def test_the_rate_is_a_unit_of_time(data, kernels):
    slow = pretrain(NormalisedTeacher(), data, kernels, lr=0.05, steps=1000, snapshots=1000)
    fast = pretrain(NormalisedTeacher(), data, kernels, lr=0.1, steps=500, snapshots=500)
    assert slow.times[-1] == fast.times[-1] == 50
    assert (slow.last - fast.last).norm() < 0.02 * (fast.last - kernels).norm()


@pytest.mark.parametrize("objective", [RescaledTeacher(0.75), PlainDecoder(0.5), NormalisedTeacher(0.75)])
def test_paths_along_arcs_pass_where_plain_descent_is_at_the_recovered_time(objective):
    X = MultiView(k=2, d=5, P=8, C_p=2, s=0.5, noise=0.0).sample(30, 1).X.double()
    w0 = initial_kernels(3, 5, 0, sigma_0=1.0).double()
    plain = pretrain(objective, X, w0, lr=0.02, steps=150, snapshots=50)
    moved = (plain.kernels[1:] - w0).norm(dim=-1)

    def error(length, steps):
        arcs = pretrain_along_arcs(objective, X, w0, length=length, steps=steps)
        assert (arcs.times.diff(dim=0) > 0).all() and arcs.reached(plain.times).min() == 1
        return ((arcs.at_common_time(plain.times).kernels - plain.kernels)[1:].norm(dim=-1) / moved).max()

    assert moved.min() > 0.01 and error(0.004, 300) < 0.03
    assert error(0.004, 300) < error(0.08, 15) / 3  # first order in the length of a step


def test_steps_along_an_arc_have_the_same_relative_length(data, kernels):
    path = pretrain_along_arcs(RescaledTeacher(0.75), data, kernels, length=0.03, steps=20)
    share = path.kernels.diff(dim=0).norm(dim=-1) / path.kernels[:-1].norm(dim=-1)
    torch.testing.assert_close(share, torch.full_like(share, 0.03), rtol=1e-3, atol=0)


def test_kernels_along_an_arc_are_at_different_times(data, kernels):
    """Why a row of an arc trajectory is not a state of a network."""
    times = pretrain_along_arcs(RescaledTeacher(0.75), data, kernels, steps=40).times[-1]
    assert times[times.isfinite()].max() > 10 * times.min()


def test_states_between_steps_are_on_the_line_between_them():
    path = ArcTrajectory(torch.tensor([[0.0, 0], [1, 10], [3, 30]]).double(),
                         torch.tensor([[0.0, 0], [2, 5], [4, 6]]).double()[..., None])
    found = path.at_common_time(torch.tensor([0.0, 0.5, 2.0, 20.0, 99.0]))
    assert found.kernels[..., 0].T.tolist() == [[0, 1, 3, 4, 4], [0, 0.25, 1.0, 5.5, 6]]
    assert path.reached(torch.tensor([0.0, 3.0, 4.0, 31.0])).tolist() == [1, 1, 0.5, 0]


def test_a_kernel_without_a_push_stays_where_it_is_for_ever(data, kernels):
    w0 = kernels[:3].clone()
    w0[1] = 0  # silent, and of no size
    path = pretrain_along_arcs(RescaledTeacher(0.75), data, w0, steps=5)
    assert (path.kernels[:, 1] == 0).all() and path.times[1:, 1].isinf().all() and path.times[:, 0].isfinite().all()
    still = pretrain_along_arcs(PlainDecoder(1.0), data.double(), kernels[:3].double() * 0, steps=5)
    assert (still.kernels == 0).all()


def test_the_time_of_a_very_small_kernel_is_not_lost_to_underflow(data):
    """Directions go like |w|^7: at |w| = 1e-3 their squares leave the range of float32."""
    w0 = initial_kernels(20, MODEL.d, 1, sigma_0=1e-3)
    single, double = (pretrain_along_arcs(RescaledTeacher(0.75), data.to(t), w0.to(t), steps=3) for t in
                      (torch.float32, torch.float64))
    assert double.times[-1].isfinite().all()
    torch.testing.assert_close(single.times[-1], double.times[-1], rtol=1e-3, atol=0)


def test_kernels_left_alone_once_captured_end_on_the_semantics_of_the_full_run(data, kernels):
    V, objective = MODEL.semantics(0), NormalisedTeacher()

    def held(w):
        return holding(w, V, MODEL, ACT)

    path = pretrain(objective, data, kernels, steps=300, snapshots=20)
    early = held(pretrain_each(objective, data, kernels, steps=300, settled=lambda w: held(w).captured)[0])
    every = held(path.kernels)
    ever = every.captured.any(0)
    first = every.captured.int().argmax(0)
    assert ever.float().mean() > 0.8 and torch.equal(early.captured, ever)
    assert torch.equal(early.winner[ever], every.winner.gather(0, first[None])[0][ever])


def test_a_settled_kernel_is_not_moved_and_an_unsettled_one_gets_all_its_steps(data, kernels):
    none, taken = pretrain_each(NormalisedTeacher(), data, kernels, steps=45, settled=lambda w: torch.zeros(len(w)).bool())
    torch.testing.assert_close(none, pretrain(NormalisedTeacher(), data, kernels, steps=45).last)
    every, at_once = pretrain_each(NormalisedTeacher(), data, kernels, steps=45, settled=lambda w: torch.ones(len(w)).bool())
    assert torch.equal(every, kernels)
    assert (taken == 45).all() and (at_once == 0).all()


def test_a_clock_per_kernel_is_refused_where_kernels_are_coupled(data, kernels):
    with pytest.raises(ValueError, match=r"objective = Coupled: its kernels are coupled.*Use pretrain \(common time\)"):
        pretrain_along_arcs(Coupled(), data, kernels)
    with pytest.raises(ValueError, match="objective = Coupled: its kernels are coupled.*none may leave early"):
        pretrain_each(Coupled(), data, kernels, settled=lambda w: w[:, 0] > 1)
    w = kernels[:3]
    expected = w + Coupled().descent(w, data, ACT)
    torch.testing.assert_close(pretrain(Coupled(), data, w, steps=1).last, expected)  # common time is open to it


@dataclass(frozen=True)
class Short:
    independent = True

    def descent(self, w, X, act):
        return w[:1]


@pytest.mark.parametrize("change, message", [
    ({"lr": 0.0}, "lr = 0.0"), ({"steps": 0}, "steps = 0"), ({"snapshots": 0}, "snapshots = 0"),
    ({"w0": torch.zeros(4, 11)}, r"X \(60, 16, 12\) and w0 \(4, 11\): expected \[N, P, d\] and \[K, d\] with the same d"),
    ({"w0": torch.zeros(12)}, r"w0 \(12,\)"),
    ({"objective": Short()}, r"descent of Short has shape \(1, 12\): expected \(50, 12\)")])
def test_a_run_without_rate_steps_shape_or_direction_is_refused(change, message, data, kernels, unchecked):
    with pytest.raises(ValueError, match=message):
        pretrain(**({"objective": PlainDecoder(), "X": data, "w0": kernels} | change))


@pytest.mark.parametrize("change, message", [({"length": 0.0}, "length = 0.0"), ({"steps": 0}, "steps = 0")])
def test_an_arc_without_length_is_refused(change, message, data, kernels):
    with pytest.raises(ValueError, match=message):
        pretrain_along_arcs(PlainDecoder(), data, kernels, **change)
    with pytest.raises(ValueError, match="check_every = 0"):
        pretrain_each(PlainDecoder(), data, kernels, settled=lambda w: w[:, 0] > 9, check_every=0)


def test_data_and_kernels_of_different_number_types_are_refused(data, kernels):
    with pytest.raises(ValueError, match="X is torch.float64 and w0 torch.float32"):
        pretrain(PlainDecoder(), data.double(), kernels)


def test_no_samples_or_no_kernels_are_refused(data, kernels):
    for X, w in ((data[:0], kernels), (data, kernels[:0])):
        with pytest.raises(ValueError, match="expected at least one sample and one kernel"):
            pretrain(NormalisedTeacher(), X, w)


def test_parameters_that_ask_for_gradients_are_followed_by_none(data, kernels):
    parameter = torch.nn.Parameter(kernels.clone())
    found = pretrain(NormalisedTeacher(), data, parameter, steps=3).last
    assert not found.requires_grad and torch.equal(found, pretrain(NormalisedTeacher(), data, kernels, steps=3).last)
