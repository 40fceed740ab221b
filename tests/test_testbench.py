"""The test bench: a reader's loss gets the report of a built-in one, and what goes wrong costs its own column."""
import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from objective_cases import Remembers, rewritten

import mrpbook as mb
from mrpbook import testbench
from mrpbook.studies import trial

SMALL = dict(K=20, N=60, steps=40, labels=100, jobs=1)
MODEL = mb.MultiView(noise=0.3)


def entangled(w, X, act):
    h = act(X @ w.T).sum(1)
    return ((h / h.pow(2).mean(0).sqrt().detach()).sum(1) ** 2).mean()


@pytest.fixture(scope="module")
def report():
    losses = {"rewritten": testbench.Loss(rewritten, rate=3.0, independent=True),
              "entangled": testbench.Loss(entangled, rate=1e-3)}
    beside = {"normalised teacher": mb.NormalisedTeacher()}
    return testbench.try_out(losses, seeds=[1, 2, 3], beside=beside, **SMALL)


def test_a_run_never_sees_the_past_of_another():
    objective = Remembers()
    one, two = (trial.trial(1, objective, 2.0, steps=5, K=5, N=30, labels=60) for _ in range(2))
    assert not objective.past and torch.equal(one["held"], two["held"]) and one["cosine"] == two["cosine"]


def test_a_sampler_of_ones_own_reaches_the_report(unchecked):
    class Plain:  # nothing of MultiView's but what it answers
        k, views, n, d, patch_strength = 10, 2, 20, 60, MODEL.patch_strength
        semantics, sample = staticmethod(MODEL.semantics), staticmethod(MODEL.sample)

    one, other = (testbench.try_out({}, model=m, seeds=[1], **SMALL | {"steps": 10}) for m in (Plain(), MODEL))
    assert one.table().equals(other.table())


def test_a_rewritten_loss_gets_the_report_of_the_built_in_objective():
    rates = {"same": testbench.Loss(rewritten, rate=3.0), "other": testbench.Loss(partial(rewritten, theta=0.3), rate=3.0)}
    cells = {name: trial.trial(5, loss, 3.0, steps=60, K=20, N=100) for name, loss in rates.items()}
    built = trial.trial(5, mb.NormalisedTeacher(), 3.0, steps=60, K=20, N=100)
    for name in ("semantics", "single", "one_class", "multi_view", "single_view"):
        assert built[name].tolist() == cells["same"][name].tolist()
    assert built["cosine"] == pytest.approx(float(cells["same"]["cosine"]), abs=1e-3)
    assert abs(built["cosine"] - cells["other"]["cosine"]) > 0.01


def test_the_search_brings_capture_into_the_run_from_either_side_and_says_where_it_could_not():
    scale = {"slow": 1e-4, "fast": 1e4}
    found = {name: trial.search(testbench.Loss(lambda w, X, act, s=s: s * rewritten(w, X, act)), steps=40, K=20, N=60)
             for name, s in scale.items()}
    assert all(f["settled"] and 0.25 <= f["at"][-1] <= 0.6 for f in found.values())
    assert found["slow"]["rate"] * 1e-4 == pytest.approx(found["fast"]["rate"] * 1e4, rel=1e-3)  # the scale of a loss drops out
    stuck = trial.search(mb.NormalisedTeacher(), rate=1e-9, steps=10, K=5, N=30)
    assert not stuck["settled"] and stuck["most"].max() == 0 and math.isnan(stuck["coarse"])
    given = trial.search(mb.NormalisedTeacher(), rate=3.0, steps=40, K=20, N=60)
    assert given["rate"] == 3.0 and len(given["tried"]) == 1


@dataclass(frozen=True)
class Lit(mb.MultiView):
    def sample(self, N, seed, purpose="train", *, mu=None):
        S = super().sample(N, seed, purpose, mu=mu)
        S.X.add_(torch.linalg.svd(self.semantics(seed))[2][-1])  # every patch holds the same
        return S


def test_a_rate_that_silences_kernels_is_seen_and_not_settled_on():
    options = dict(model=Lit(noise=0.1), steps=5, K=20, N=60)
    hush = testbench.Loss(lambda w, X, act: act(X @ w.T).mean(), rate=1e6)
    hushed, sound = (trial.trial(1, o, rate, labels=60, **options) for o, rate in ((hush, 1e6), (mb.NormalisedTeacher(), 1e-3)))
    assert hushed["silent"] > 0.3 and sound["silent"] == 0
    assert not trial.search(hush, rate=1e6, **options)["settled"]


def test_untrained_kernels_hold_nothing_and_their_head_is_the_control():
    cell = trial.trial(1, None, K=20, labels=100)
    assert math.isnan(cell["T"]) and cell["semantics"].tolist() == [0, 20] and cell["multi_view"][0] > 0


def explodes(w, X, act):
    return -w.pow(4).sum()


def raises_late(w, X, act):
    if w.norm() > 100:
        raise ArithmeticError("too long for me")
    return -1e3 * act(X @ w.T).sum() / act(X @ w.T).sum().detach()


def test_an_objective_that_diverges_or_raises_costs_its_own_column_only():
    losses = {"explodes": testbench.Loss(explodes, rate=1e6), "raises": testbench.Loss(raises_late, rate=10.0)}
    report = testbench.try_out(losses, seeds=[1, 2], **SMALL)
    assert "diverged" in report.outcome("explodes") and "ArithmeticError: too long for me" in report.outcome("raises")
    assert report.outcome("normalised teacher") == "ran" and np.isnan(report.values("explodes", "semantics")).all()
    assert "too long for me" in repr(report) and "diverged" in report.figure().uncertainty
    assert set(report.table().index.levels[0]) == {"normalised teacher", "untrained"}


def test_stopping_keeps_what_is_done(monkeypatch, capsys):
    real = testbench.sweep.run

    def stops(study, cells, **options):
        if any(isinstance(c.get("objective"), testbench.Loss) for c in cells) and study is testbench.trial:
            raise KeyboardInterrupt
        return real(study, cells, **options)

    monkeypatch.setattr(testbench.sweep, "run", stops)
    report = testbench.try_out({"mine": testbench.Loss(rewritten, rate=3.0)}, seeds=[1], **SMALL)
    assert list(report.cells) == ["normalised teacher", "untrained"] and "the others left out" in capsys.readouterr().out


def test_finished_draws_of_a_readers_code_are_never_read_again(tmp_path):
    options = SMALL | dict(seeds=[1], store=tmp_path, steps=10)

    def mine(w, X, act):
        return entangled(w, X, act)

    first = testbench.try_out({"mine": testbench.Loss(mine, rate=0.1)}, **options)
    stored = sorted(tmp_path.rglob("*.npz"))

    def mine(w, X, act):  # edited under the same name
        return rewritten(w, X, act)

    second = testbench.try_out({"mine": testbench.Loss(mine, rate=0.1)}, **options)
    assert len(stored) == 3 and sorted(tmp_path.rglob("*.npz")) == stored  # a search, the normalised teacher, untrained
    assert first.values("mine", "cosine") != second.values("mine", "cosine")
    assert first.values("untrained", "cosine") == second.values("untrained", "cosine")


def test_the_report_has_an_interval_for_every_quantity_and_the_draws_are_paired(report):
    table = report.table()
    assert len(table) == 4 * 9 and (table.n <= 3).all()
    shown = table.dropna()
    assert (shown.low <= shown.estimate).all() and (shown.estimate <= shown.high).all()
    gap = report.difference("rewritten", "untrained", "single_view")
    per_draw = report.values("rewritten", "single_view") - report.values("untrained", "single_view")
    assert gap.estimate == pytest.approx(per_draw.mean()) and gap.low < gap.estimate < gap.high
    assert report.counts("untrained", "semantics") == {"successes": pytest.approx([0] * 3), "totals": pytest.approx([20] * 3)}
    with pytest.raises(ValueError, match="quantity = 'speed'"):
        report.values("rewritten", "speed")


def test_the_report_renders_with_what_was_chosen_and_what_was_measured(report):
    text, page = repr(report), report._repr_html_()
    for part in ("rewritten", "untrained", "coupled", "independent", "learning rate", "not settled", "one class at the end"):
        assert part in text and part in page
    assert list(report.rates().columns) == ["rate", "held at most", "at, share of the run"] and report.rate("rewritten") == 3.0


def test_the_figures_say_what_the_report_says(report):
    figure, course = report.figure(), report.course()
    assert f"rewritten {report.interval('rewritten', 'single_view').estimate:.1%}" in figure.message
    assert "untrained -" in figure.alt and "nan" not in figure.alt  # a share of nothing
    assert "rewritten" in course.message and "untrained" not in course.message


def test_many_objectives_get_looks_of_their_own():
    cells = {name: [{"outcome": "diverged"}] for name in "abcdef"}
    from mrpbook import testbench_figures

    few = {name: cells[name] for name in "ab"}
    roles = [testbench_figures.looks(testbench.Report([1], some, {}, {}, 1)) for some in (cells, few)]
    assert roles == ["ordered", {"untrained": "untrained", "a": "mrp", "b": "supervised"}]
    with pytest.raises(ValueError, match="no objective captured anything"):
        testbench.Report([1], few, {}, {}, 1).course()


@pytest.mark.parametrize("wrong", [dict(seeds=[]), dict(seeds=[1, 1]), dict(seeds=[0, 1]), dict(seeds=[-1])])
def test_seeds_that_repeat_or_hold_the_pilot_are_refused(wrong):
    with pytest.raises(ValueError, match="seeds = "):
        testbench.try_out({}, **wrong)


def test_two_objectives_of_one_name_are_refused():
    with pytest.raises(ValueError, match="untrained also runs beside"):
        testbench.try_out({"untrained": rewritten}, seeds=[1])
