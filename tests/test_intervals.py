"""Intervals cover what they say, and rules can be contradicted."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ledger_cases import HIGH_SHARE, ONES, RULES, ZEROS, draws_of_counts, numbers
from scipy import stats

from mrpbook import ledger
from mrpbook.intervals import judge_window, mean_interval, proportion_interval


@pytest.mark.parametrize("kind", RULES)
def test_four_draws_of_a_control_contradict_every_rule_at_the_smoke_level(kind):
    rule, data = RULES[kind]
    assert ledger.judge(rule, data, 1e-3).verdict == "fails"


@pytest.mark.parametrize("kind", [k for k in RULES if k != "maximal error"])
def test_one_draw_is_always_undecided(kind):
    rule, data = RULES[kind]
    assert ledger.judge(rule, {name: values[:1] for name, values in data.items()}, 0.3).verdict == "undecided"


@pytest.mark.parametrize(
    "rule, data, verdict",
    [
        (HIGH_SHARE, ONES, "holds"),
        ({"kind": "proportion", "at_least": 0.98}, ONES, "holds"),
        ({"kind": "proportion", "at_least": 0.99}, ONES, "undecided"),
        ({"kind": "proportion", "at_most": 0.02}, ZEROS, "holds"),
        (HIGH_SHARE, {"successes": [95, 96] * 64, "totals": [100] * 128}, "undecided"),
        ({"kind": "mean", "low": 0.5}, {"values": np.linspace(0.6, 0.7, 48)}, "holds"),
        ({"kind": "mean", "high": 0.65}, {"values": np.linspace(0.6, 0.7, 48)}, "undecided"),
        ({"kind": "equivalence", "margin": 0.1}, {"values": np.linspace(-0.02, 0.02, 40)}, "holds"),
        ({"kind": "maximal error", "at_most": 0.5}, {"values": [0.5]}, "holds"),
        (
            {"kind": "ordering", "at_least": 0.1},
            {"better": np.linspace(1, 2, 40), "worse": np.linspace(0.8, 1.7, 40)},
            "holds",
        ),
    ],
)
def test_the_interval_against_the_region_decides_at_the_book_level(rule, data, verdict):
    assert ledger.judge(rule, data, 1e-6).verdict == verdict


def test_equivalence_judges_every_column_at_its_share_of_the_level():
    rng, rule = np.random.default_rng(0), {"kind": "equivalence", "margin": 0.05}
    values = rng.normal(0, 0.01, (40, 8))
    assert ledger.judge(rule, {"values": values}, 1e-6).verdict == "holds"
    values[:, 3] += 0.2
    judged = ledger.judge(rule, {"values": values}, 1e-6)
    assert judged.verdict == "fails" and judged.estimate == pytest.approx(values[:, 3].mean())
    assert (judged.low, judged.high) == mean_interval(values[:, 3], 1e-6 / 8)[1:3]


def test_a_window_needs_the_inside_to_hold_and_the_outside_to_fail():
    half = {"successes": [95] * 128, "totals": [100] * 128}
    rule = HIGH_SHARE | {"window": True}
    wanted = {("in", "out"): "holds within a window", ("in", "in"): "holds", ("out", "in"): "fails",
              ("out", "out"): "fails", ("in", "?"): "undecided", ("?", "out"): "undecided"}  # fmt: skip
    data = {"in": ONES, "out": ZEROS, "?": half}
    assert {pair: judge_window(rule, data[pair[0]], data[pair[1]], 1e-6)[0] for pair in wanted} == wanted


def test_identical_values_decide_only_when_the_sign_test_would():
    rule = {"kind": "mean", "low": 0.5}
    verdicts = {
        n: [ledger.judge(rule, {"values": [v] * n}, 1e-6).verdict for v in (1.0, 0.0)] for n in (2, 20, 21)
    }
    assert verdicts == {2: ["undecided"] * 2, 20: ["undecided"] * 2, 21: ["holds", "fails"]}
    assert "degenerate" in ledger.judge(rule, {"values": [0.1] * 128}, 1e-6).note


@pytest.mark.parametrize(
    "rule, data, message",
    [
        ({"kind": "median"}, {}, "kind is 'median'; allowed: proportion, mean"),
        ({"kind": "mean"}, {"values": [1]}, "give low or high"),
        ({"kind": "mean", "low": 2, "high": 1}, {"values": [1]}, "lower end"),
        ({"kind": "mean", "above": 2}, {"values": [1]}, "above"),
        ({"kind": "proportion", "at_least": 95}, {}, "at_least is 95; allowed: a number between 0 and 1"),
        ({"kind": "maximal error", "at_most": "1e-10"}, {}, "write 1.0e-6"),
        ({"kind": "equivalence", "margin": math.nan}, {}, "margin is nan"),
        (HIGH_SHARE | {"window": "yes"}, ONES, "window is 'yes'"),
        (HIGH_SHARE, {"values": [1]}, "exactly successes, totals"),
        (HIGH_SHARE, {"successes": [], "totals": []}, "at least one draw"),
        (HIGH_SHARE, {"successes": [1, 2], "totals": [3]}, r"lengths \[2, 1\]"),
        (HIGH_SHARE, {"successes": [1, 4], "totals": [3, 3]}, r"successes\[1\] is 4 of 3"),
        (HIGH_SHARE, {"successes": [0.5], "totals": [3]}, "whole counts"),
        (HIGH_SHARE, {"successes": [0, 0], "totals": [0, 0]}, "share of nothing"),
        ({"kind": "mean", "low": 0}, {"values": [1, math.nan]}, "values has 1 values that are not finite"),
        ({"kind": "mean", "low": 0}, {"values": [[1, 2]]}, r"shape \(1, 2\)"),
        ({"kind": "maximal error", "at_most": 1.0}, {"values": [-0.1]}, "at least 0"),
    ],
)
def test_a_bad_rule_or_bad_data_say_what_is_allowed(rule, data, message):
    with pytest.raises(ValueError, match=message):
        ledger.judge(rule, data, 1e-3)


# --- intervals


@pytest.mark.parametrize(
    "share, correlation, units", [(0.5, 0, 1), (0.95, 0, 1), (0.9, 0, 50), (0.9, 0.1, 50), (0.98, 0.1, 50)]
)
def test_the_interval_of_a_share_misses_no_more_often_than_it_says(share, correlation, units):
    rng, repetitions, draws = np.random.default_rng(1), 600, 128
    shares = np.full((repetitions, draws), share)
    if correlation:
        strength = (1 - correlation) / correlation
        shares = rng.beta(share * strength, (1 - share) * strength, shares.shape)
    successes = rng.binomial(units, shares)
    intervals = [proportion_interval(row, np.full(draws, units), 0.05) for row in successes]
    missed = np.mean([not i.low <= share <= i.high for i in intervals])
    assert missed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repetitions)
    assert missed > 0.002  # an interval that never misses would be of no use


def test_the_interval_of_a_mean_misses_as_often_as_it_says():
    values = np.random.default_rng(2).normal(3, 2, (1200, 6))
    missed = np.mean([not i.low <= 3 <= i.high for i in (mean_interval(row, 0.05) for row in values)])
    assert abs(missed - 0.05) <= 3.5 * math.sqrt(0.05 * 0.95 / 1200)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 1), min_size=2, max_size=40), st.sampled_from([0.05, 1e-3, 1e-6]))
def test_one_unit_per_draw_gives_clopper_pearson(successes, level):
    interval = proportion_interval(successes, [1] * len(successes), level)
    exact = stats.binomtest(sum(successes), len(successes)).proportion_ci(1 - level, method="exact")
    assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_draws_that_are_all_or_nothing_count_as_one_unit_each():
    one = proportion_interval([1] * 20 + [0] * 12, [1] * 32, 0.05)
    many = proportion_interval([50] * 20 + [0] * 12, [50] * 32, 0.05)
    assert many[:3] == pytest.approx(one[:3], rel=0.05)


def test_unanimous_clusters_are_worth_more_than_draws_and_less_than_units():
    low = proportion_interval([100] * 128, [100] * 128, 1e-6).low
    assert (5e-7) ** (1 / 128) < 0.95 < low < (5e-7) ** (1 / 12800)
    note = proportion_interval([100] * 128, [100] * 128, 1e-6).note
    assert "[0.893, 1.000]" in note


@pytest.mark.parametrize("lost", [1, 5, 20, 100])
def test_a_stray_failure_in_one_draw_does_not_make_the_interval_much_more_confident(lost):
    whole = proportion_interval([100] * 128, [100] * 128, 1e-6).low
    assert proportion_interval([100 - lost] + [100] * 127, [100] * 128, 1e-6).low < whole + 0.001


def test_a_draw_without_units_changes_nothing():
    assert proportion_interval([3, 4, 0], [5, 5, 0], 0.05) == proportion_interval([3, 4], [5, 5], 0.05)


@settings(deadline=None, max_examples=60)
@given(draws_of_counts)
def test_swapping_successes_and_failures_mirrors_the_interval_of_a_share(draws):
    successes, totals = np.array(draws).T
    assume(2 * successes.sum() != totals.sum())  # at one half the rarer outcome is a matter of taste
    one, other = (proportion_interval(s, totals, 0.01) for s in (successes, totals - successes))
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(draws_of_counts)
def test_a_stricter_level_widens_the_interval_of_a_share_around_its_estimate(draws):
    wide, narrow = (proportion_interval(*np.array(draws).T, level) for level in (1e-6, 0.05))
    assert 0 <= wide.low <= narrow.low <= narrow.estimate <= narrow.high <= wide.high <= 1


@settings(deadline=None, max_examples=60)
@given(draws_of_counts)
def test_the_order_of_draws_does_not_matter(draws):
    one, other = (proportion_interval(*np.array(d).T, 0.01) for d in (draws, draws[::-1]))
    assert one[:3] == pytest.approx(other[:3], abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(numbers)
def test_the_interval_of_a_mean_widens_with_the_level_and_mirrors_with_the_sign(values):
    wide, narrow = mean_interval(values, 1e-6), mean_interval(values, 0.05)
    assert wide.low <= narrow.low <= narrow.estimate + 1e-9 and narrow.high <= wide.high
    mirrored = mean_interval([-value for value in values], 0.05)
    assert (mirrored.low, mirrored.high) == pytest.approx((-narrow.high, -narrow.low), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(numbers, st.integers(-100, 100))
def test_more_of_everything_never_turns_a_mean_that_is_high_enough_into_one_that_is_not(values, more):
    order = ("fails", "undecided", "holds")
    at, moved = (ledger.judge({"kind": "mean", "low": 0}, {"values": v}, 1e-3).verdict
                 for v in (values, [value + abs(more) for value in values]))  # fmt: skip
    assert order.index(moved) >= order.index(at)
