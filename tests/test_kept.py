"""Values of long runs, and a level of a page's own."""
import json

import numpy as np
import pytest
import yaml

from mrpbook import ledger
from mrpbook.kept import keep, kept

CLAIM = {"id": "one", "page": "page", "statement": "It is above 0.", "source": "ours", "tag": "ours", "assumptions": "none",
         "statistic": "mean", "rule": {"kind": "mean", "low": 0.0}, "expected": "holds",
         "control": "none, because it is a test"}


@pytest.fixture
def book(tmp_path):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "page.yml").write_text(yaml.safe_dump([CLAIM]))
    return lambda **options: ledger.Ledger(tmp_path / "claims", tmp_path / "results", page="page", tier="book", **options)


def test_what_is_kept_comes_back_with_a_sentence_on_who_computed_it(book):
    assert kept(book(), "curves") is None
    keep(book(), "curves", {"accuracy": np.array([[0.5, 0.25]]), "note": "two"})
    found = kept(book(), "curves")
    assert np.array_equal(found["accuracy"], [[0.5, 0.25]]) and found["note"] == "two"
    made = json.loads((book().root / "book" / "results" / "kept" / "page.curves.json").read_text())["made"]
    assert found["provenance"].startswith(f"Computed on {made['made_at']} with {made['hardware']['cores']} cores")


def test_values_that_are_not_finite_are_not_kept_and_leave_no_file(book):
    with pytest.raises(ValueError, match="not JSON compliant"):
        keep(book(), "curves", {"accuracy": np.array([np.nan])})
    assert kept(book(), "curves") is None


def test_a_page_with_dear_draws_may_be_decided_at_a_level_of_its_own(book):
    values = [0.9, 1.1, 1.0, 0.95, 1.05]
    strict, mild = (book(**options).settle("one", values=values) for options in ({}, {"level": 1e-3}))
    assert (strict.verdict, mild.verdict) == ("undecided", "holds")
    assert mild.record["level"] == 1e-3


@pytest.mark.parametrize("commit, ends", [("0123456789abcdef", "commit 0123456789."), (None, "commit unknown."),
                                          ("0123456789abcdef+dirty", "commit 0123456789 with files not yet committed.")])
def test_the_sentence_says_whether_the_commit_was_all_there_was(book, monkeypatch, commit, ends):
    made = book().provenance() | {"commit": commit}
    monkeypatch.setattr(ledger.Ledger, "provenance", lambda self: made)
    keep(book(), "curves", {"n": 1})
    assert kept(book(), "curves")["provenance"].endswith(ends)
