"""Rules, and the confidence intervals that decide them.

A rule names a region that a number should lie in, the data give an interval for that number, and the
interval decides: inside the region -> "holds", disjoint from it -> "fails", else "undecided". All regions are
closed, all intervals two-sided.

Smallest n at which the smoke tier (level 1e-3) can contradict a rule, n being the independent draws:

    proportion      one unit per draw, all wrong: 1 - (level/2)**(1/n) < threshold, so n = 3 against 0.95,
                    n = 11 against 0.5; 100 units per draw, all wrong: n = 4 for thresholds from 0.2 up
    mean, ordering, n = 4 if the mean lies 6.5 standard deviations of one draw beyond the edge, n = 5 for 3.9,
    equivalence     n = 8 for 1.9; n = 11 if all values are identical (see `mean_interval`)
    maximal error   n = 1: nothing is random
    window          as its parts
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

WITHIN_DRAW_CORRELATION = 0.1  # ours: assumed where the data cannot show it (see `proportion_interval`)
WINDOW = "holds within a window"
SEVERITY = ("holds", "undecided", "fails")
DATA = {  # what each kind of rule wants to be given
    "proportion": ("successes", "totals"),
    "mean": ("values",),
    "equivalence": ("values",),
    "maximal error": ("values",),
    "ordering": ("better", "worse"),
}
LIMITS = {  # the numbers each kind of rule may carry, and the open range each must lie in
    "proportion": {"at_least": (0, 1), "at_most": (0, 1)},
    "mean": {"low": (-math.inf, math.inf), "high": (-math.inf, math.inf)},
    "equivalence": {"margin": (0, math.inf)},
    "maximal error": {"at_most": (0, math.inf)},
    "ordering": {"at_least": (-math.inf, math.inf)},
}


class Interval(NamedTuple):
    estimate: float
    low: float
    high: float
    note: str = ""


@dataclass(frozen=True)
class Judgement:
    """Estimate and interval [low, high] from n independent draws, and the verdict they give."""

    n: int
    estimate: float
    low: float
    high: float
    verdict: str  # holds / fails / undecided
    units: int | None = None  # kernels or samples pooled over the draws, for proportions
    note: str = ""  # what a reader must know to believe the interval


def region(rule):
    """The closed region [a, b] of a rule; ValueError where the rule is malformed."""
    kind = rule.get("kind") if isinstance(rule, dict) else None
    if kind not in LIMITS:
        raise ValueError(f"rule kind is {kind!r}; allowed: {', '.join(LIMITS)}")
    allowed = LIMITS[kind]
    if unknown := set(rule) - set(allowed) - {"kind", "window"}:
        raise ValueError(f"rule '{kind}' has {sorted(unknown)}; allowed: {', '.join(allowed)}, window")
    if not isinstance(rule.get("window", False), bool):
        raise ValueError(f"window is {rule['window']!r}; allowed: true, false")
    numbers = {name: rule[name] for name in allowed if name in rule}
    if not numbers:
        raise ValueError(f"rule '{kind}' has no number; give {' or '.join(allowed)}")
    for name, value in numbers.items():
        low, high = allowed[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
            hint = "; YAML reads 1e-6 as text, write 1.0e-6" if isinstance(value, str) else ""
            raise ValueError(f"{name} is {value!r}; allowed: a number between {low} and {high}{hint}")
    if kind == "equivalence":
        return -rule["margin"], rule["margin"]
    low = numbers.get("at_least", numbers.get("low", -math.inf))
    high = numbers.get("at_most", numbers.get("high", math.inf))
    if low >= high:
        raise ValueError(f"rule '{kind}' allows [{low}, {high}]; the lower end must be the smaller")
    return low, high


def proportion_interval(successes, totals, level):
    """Interval for a share of units that come in independent draws; successes, totals [n]: counts per draw.

    Clopper-Pearson at the effective number of units of Korn & Graubard (1998, Survey Methodology 24:193):
    p (1 - p) over the between-draw variance of the ratio estimator, times (t_{units-1} / t_{n-1})^2 for
    the few degrees of freedom. With size = sum totals^2 / sum totals, units of correlation r within a
    draw are worth units / (1 + (size - 1) r); the effective number is kept between r = 1 (a draw is one
    unit; with one unit per draw this is plain Clopper-Pearson) and r = 0. Draws with a total of 0 are
    left out; a single draw gives [0, 1].

    If the share is 0 or 1, that variance says nothing, and the customary r = 0 would be a false
    certainty. Then r = 0.1 is assumed (ours): a unanimous draw counts as at most ten units. 128 draws x
    100 kernels, all single, give at least 0.987 at level 1e-6; with nothing assumed (r = 1) it is 0.893,
    which the note states. So that one stray unit does not undo this, the variance always includes one
    imagined draw with a share 0.1 more of the rarer outcome.

    Limits (beta-binomial simulation, n = 128, shares up to 0.995): with r = 0.1 false alarms are about
    nominal at level 0.05 and up to 3 times nominal at 1e-3; with r = 0.3 and shares above 0.95, 3 times
    nominal at 0.05, as rare bad draws go unseen. 1e-6 cannot be simulated: read it as strict, not as exact.
    """
    successes, totals = (np.asarray(a, dtype=float)[np.asarray(totals) > 0] for a in (successes, totals))
    n, units = len(totals), totals.sum()
    share, size = float(successes.sum() / units), (totals**2).sum() / units
    if n == 1:
        return Interval(share, 0.0, 1.0, "one draw decides nothing")
    rare = totals - successes if share >= 0.5 else successes
    if rare.any():
        counts = np.append(rare, (rare.sum() / units + WITHIN_DRAW_CORRELATION) * size)
        sizes = np.append(totals, size)
        p = counts.sum() / sizes.sum()
        variance = (n + 1) / n * ((counts - p * sizes) ** 2).sum() / sizes.sum() ** 2
        few = stats.t.isf(level / 2, max(units - 1, 1)) / stats.t.isf(level / 2, n - 1)
        effective = float(np.clip(p * (1 - p) / variance * few**2, units / size, units))
        return Interval(share, *_clopper_pearson(share, effective, level))
    effective, note = units / (1 + (size - 1) * WITHIN_DRAW_CORRELATION), ""
    if size > 1:
        low, high = _clopper_pearson(share, units / size, level)
        note = (f"all units agree: assumes a correlation within a draw of at most {WITHIN_DRAW_CORRELATION}; "
                f"without it [{low:.3f}, {high:.3f}] at level {level:g}")
    return Interval(share, *_clopper_pearson(share, effective, level), note)


def _clopper_pearson(share, n, level):
    """The exact binomial interval, continued to n that are not whole (beta quantiles)."""
    x = share * n
    low = 0.0 if share == 0 else stats.beta.ppf(level / 2, x, n - x + 1)
    high = 1.0 if share == 1 else stats.beta.isf(level / 2, x + 1, n - x)
    return float(low), float(high)


def mean_interval(values, level):
    """Interval for the mean of values [n], one per independent draw: Student's t.

    If all values are the same, t has no scale and would collapse for n = 2 already. The sign test's
    interval stands in: under a symmetric law n draws fall on one side of its centre with probability
    2**(1 - n), so the interval is the whole line until that is at most the level (n = 11 at 1e-3, 21 at
    1e-6) and [min, max] from then on. One draw: the whole line. t at 1e-6 leans on normal tails: for
    shares with rare failures, use a proportion.
    """
    values = np.asarray(values, dtype=float)
    n, mean = len(values), float(np.mean(values))
    if n > 1 and np.ptp(values) > 1e-12 * np.abs(values).max():
        low, high = stats.ttest_1samp(values, 0.0).confidence_interval(1 - level)
        return Interval(mean, float(low), float(high))
    if 2.0 ** (1 - n) > level:
        note = "one draw decides nothing" if n == 1 else f"identical in only {n} draws"
        return Interval(mean, -math.inf, math.inf, note)
    differ = 1 - (level / 2) ** (1 / n)
    note = f"degenerate: identical in all {n} draws; up to {differ:.3f} of draws may differ (level {level:g})"
    return Interval(mean, float(values.min()), float(values.max()), note)


def judge(rule, data, level):
    """Judge data by a rule, with the interval at confidence 1 - level; for a window, see `judge_window`.

    data: proportion - successes, totals [n]; mean, maximal error - values [n]; equivalence - values [n]
    or [n, columns], every column at level / columns (Bonferroni), the largest estimate shown; ordering -
    better, worse [n], paired. n = 1 is undecided, except for maximal error, where nothing is random.
    ValueError: malformed rule, wrong or missing data, values that are not finite, no draws, lengths that
    differ, successes outside 0 ... totals, no units at all.
    """
    allowed, kind = region(rule), rule["kind"]
    if not 0 < level < 1:
        raise ValueError(f"level is {level!r}; allowed: between 0 and 1")
    arrays = _checked(kind, data)
    n, units = len(arrays[0]), None
    if kind == "proportion":
        units = int(arrays[1].sum())
        intervals = [proportion_interval(*arrays, level)]
    elif kind == "maximal error":
        intervals = [Interval(*[float(arrays[0].max())] * 3)]
    else:
        columns = (arrays[0] - arrays[1] if kind == "ordering" else arrays[0]).reshape(n, -1).T
        intervals = [mean_interval(column, level / len(columns)) for column in columns]
    verdict = max((_verdict(interval, *allowed) for interval in intervals), key=SEVERITY.index)
    shown = max(intervals, key=lambda interval: abs(interval.estimate))  # the same column at every level
    return Judgement(n, shown.estimate, shown.low, shown.high, verdict, units, shown.note)


def judge_window(rule, inside, outside, level):
    """Judge inside and outside a window: (verdict, Judgement inside, Judgement outside).

    Inside holds and outside fails: "holds within a window"; both hold: "holds" (there is no window); inside
    fails: "fails", whatever happens outside; else "undecided". Both parts at the full level: a false "holds
    within a window" needs a particular one of them to be wrong.
    """
    within, beyond = judge(rule, inside, level), judge(rule, outside, level)
    if within.verdict != "holds":
        return within.verdict, within, beyond
    return {"fails": WINDOW, "holds": "holds"}.get(beyond.verdict, "undecided"), within, beyond


def settle(rule, level, published, *, inside=None, outside=None, **data):
    """(verdict, numbers): judged at `level`, with the interval at `published` beside the deciding one.

    numbers: n, units, estimate, low, high, decided_low, decided_high, note; for a window those of the inside,
    and under "outside" those of the outside. Infinite ends become None, as JSON has no infinity.
    """
    given = inside is not None, outside is not None, bool(data)
    if given != ((True, True, False) if rule.get("window") else (False, False, True)):
        raise ValueError(f"the rule is {rule}; give its data as inside=dict(...) and outside=dict(...) if it "
                         "has window: true, and directly if not")
    if data:
        decided, shown = judge(rule, data, level), judge(rule, data, published)
        return decided.verdict, _numbers(decided, shown)
    verdict, *decided = judge_window(rule, inside, outside, level)
    _, *shown = judge_window(rule, inside, outside, published)
    within, beyond = map(_numbers, decided, shown)
    return verdict, within | {"outside": beyond}


def _numbers(decided, shown):
    ends = {"low": shown.low, "high": shown.high, "decided_low": decided.low, "decided_high": decided.high}
    ends = {name: end if math.isfinite(end) else None for name, end in ends.items()}
    counts = {"n": decided.n, "units": decided.units, "estimate": decided.estimate}
    return counts | ends | {"note": decided.note}


def _verdict(interval, a, b):
    if a <= interval.low and interval.high <= b:
        return "holds"
    return "fails" if interval.high < a or interval.low > b else "undecided"


def _checked(kind, data):
    names = DATA[kind]
    if set(data) != set(names):
        raise ValueError(f"data for rule '{kind}' are {sorted(data)}; allowed: exactly {', '.join(names)}")
    arrays = [np.asarray(data[name], dtype=float) for name in names]
    for name, array in zip(names, arrays, strict=True):
        if array.ndim not in ((1, 2) if kind == "equivalence" else (1,)):
            raise ValueError(f"{name} has shape {array.shape}; allowed: one value per independent draw, [n]")
        if array.size == 0:
            raise ValueError(f"{name} has shape {array.shape}; at least one draw is needed")
        if not np.isfinite(array).all():
            bad = np.count_nonzero(~np.isfinite(array))
            raise ValueError(f"{name} has {bad} values that are not finite (NaN or infinite); allowed: none")
    if len({len(array) for array in arrays}) > 1:
        raise ValueError(f"{' and '.join(names)} have lengths {[len(a) for a in arrays]}; they must be equal")
    if kind == "proportion":
        successes, totals = arrays
        if (wrong := (successes < 0) | (successes > totals)).any():
            at = int(np.argmax(wrong))
            raise ValueError(f"successes[{at}] is {successes[at]:g} of {totals[at]:g}; allowed: 0 ... totals")
        if (np.concatenate(arrays) % 1 != 0).any():
            raise ValueError("successes and totals must be whole counts")
        if totals.sum() == 0:
            raise ValueError("totals is 0 in every draw; a share of nothing is not defined")
    if kind == "maximal error" and (arrays[0] < 0).any():
        raise ValueError(f"values has {arrays[0].min()!r}; an error is at least 0 (give its absolute value)")
    return arrays
