"""The ledger: results are whole, errors are plain, windows and tiers are judged."""

import json
import subprocess
import sys

import numpy as np
import pytest
from ledger_cases import HIGH_SHARE, ONES, ZEROS, book, claim

from mrpbook import ledger


def test_a_settled_claim_is_written_as_json_that_says_all_about_it(tmp_path):
    verdict = book(tmp_path, claim()).settle("a.claim", **ONES, seeds=np.arange(128))
    record = json.loads((tmp_path / "results/claims/book/a.claim.json").read_text())
    assert record == verdict.record
    assert set(record) == set(
        "id statement source tag page tier n units estimate low high decided_low decided_high "
        "level note rule verdict expected as_expected control seeds commit code_key hardware "
        "versions wall_s peak_memory_MiB made_at".split()
    )
    assert (record["n"], record["units"], record["level"], record["seeds"][:2]) == (128, 12800, 1e-6, [0, 1])
    assert record["decided_low"] < record["low"] <= record["estimate"] == 1.0
    assert record["commit"] is None and record["peak_memory_MiB"] > 10 and record["hardware"]["cores"] >= 1
    assert not ledger.is_stale(record, ledger.code_key()) and ledger.is_stale(record, "another key")


def test_ends_without_bound_are_null_in_json(tmp_path):
    verdict = book(tmp_path, claim(rule={"kind": "mean", "low": 0})).settle("a.claim", values=[1.0])
    record = json.loads((tmp_path / "results/claims/book/a.claim.json").read_text())
    assert record["decided_low"] is None and "unbounded" in str(verdict)


@pytest.mark.parametrize(
    "tier, data, as_expected",
    [
        ("book", ONES, True),
        ("book", ZEROS, False),
        ("smoke", ZEROS, False),
        ("smoke", {"successes": [95], "totals": [100]}, True),
        ("paper", {"successes": [95], "totals": [100]}, False),
    ],
)
def test_undecided_passes_at_smoke_alone_and_the_unexpected_is_shown(tmp_path, tier, data, as_expected):
    verdict = book(tmp_path, claim(), tier=tier).settle("a.claim", **data)
    assert verdict.as_expected is as_expected
    assert ("✗" in str(verdict)) is not as_expected


def test_a_control_that_fails_is_as_expected(tmp_path):
    verdict = book(tmp_path, claim(expected="fails")).settle("a.claim", **ZEROS)
    assert verdict.as_expected and str(verdict).startswith("✓ fails, as expected")


def test_a_window_keeps_the_numbers_of_both_sides(tmp_path):
    entry = claim(rule=HIGH_SHARE | {"window": True}, expected="holds within a window")
    verdict = book(tmp_path, entry).settle("a.claim", inside=ONES, outside=ZEROS)
    assert verdict.as_expected and verdict.verdict == "holds within a window"
    assert (verdict.record["estimate"], verdict.record["outside"]["estimate"]) == (1.0, 0.0)


def test_a_verdict_and_the_colophon_render_with_words_and_escaped_text(tmp_path):
    opened = book(tmp_path, claim())
    shown = opened.settle("a.claim", **ONES)._repr_html_()
    assert "holds, as expected" in shown and "A &lt; B &amp; C." in shown and "n = 128" in shown
    assert "\n" not in shown
    text, table = str(opened.colophon()), opened.colophon()._repr_html_()
    for word in ("book, 128 draws", "claim a.claim", "holds, as expected", "numpy", "peak memory"):
        assert word in text and word in table
    assert str(book(tmp_path, claim()).colophon())  # nothing settled yet


def test_a_claim_in_the_file_of_another_page_is_refused(tmp_path):
    book(tmp_path, claim())
    (tmp_path / "claims" / "a-page.yml").rename(tmp_path / "claims" / "b-page.yml")
    with pytest.raises(ValueError, match="claim a.claim: page is 'a-page'; allowed: b-page, the name of its file"):
        ledger.load_claims(tmp_path / "claims")


def test_a_folder_without_claims_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no claims"):
        ledger.load_claims(tmp_path)


def test_an_interrupted_write_leaves_the_old_result_whole(tmp_path, monkeypatch):
    opened = book(tmp_path, claim())
    opened.settle("a.claim", **ONES)
    before = (tmp_path / "results/claims/book/a.claim.json").read_text()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        opened.settle("a.claim", **ZEROS)
    files = list((tmp_path / "results/claims/book").iterdir())
    assert [f.name for f in files] == ["a.claim.json"] and files[0].read_text() == before


def test_the_ledger_refuses_unknown_tiers_and_claims_of_other_pages(tmp_path):
    with pytest.raises(ValueError, match="tier is 'tiny'; allowed: smoke, book, paper"):
        book(tmp_path, claim(), tier="tiny")
    opened = book(tmp_path, claim(), claim(id="other", page="elsewhere"))
    with pytest.raises(ValueError, match="a claim of page 'elsewhere'; allowed on page 'a-page': a.claim"):
        opened.settle("other", **ONES)
    with pytest.raises(ValueError, match="id is 'nobody', no claim"):
        opened.settle("nobody", **ONES)
    with pytest.raises(ValueError, match="claim a.claim: the rule is .* window"):
        opened.settle("a.claim", inside=ONES, outside=ZEROS)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"id": "A claim"}, "claim A claim: id is 'A claim'; allowed: letters"),
        ({"tag": "guess"}, "claim a.claim: tag is 'guess'; allowed: found, recalled, derived, ours"),
        ({"expected": "holds within a window"}, "claim a.claim: expected is .* allowed: holds, fails"),
        ({"control": "no-such-claim"}, "claim a.claim: control is 'no-such-claim'; allowed: the id of"),
        ({"control": "a.claim"}, "claim a.claim: control is 'a.claim'"),
        ({"statement": ""}, "claim a.claim: statement is ''; allowed: text"),
        ({"assumptions": []}, r"claim a.claim: assumptions is \[\]"),
        ({"extra": 1}, "claim a.claim: set of fields .*extra.* allowed: exactly id, page"),
        ({"rule": {"kind": "mode"}}, "claim a.claim: rule is .*allowed: proportion"),
        ({"rule": "at least 0.95"}, "claim a.claim: rule is 'at least 0.95'"),
    ],
)
def test_a_malformed_claim_is_named_with_field_value_and_what_is_allowed(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        book(tmp_path, claim(**change))


def test_two_claims_cannot_share_an_id(tmp_path):
    with pytest.raises(ValueError, match="an id that no other claim has"):
        book(tmp_path, claim(), claim())


def test_the_root_is_the_nearest_folder_with_a_pyproject(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    with pytest.raises(ValueError, match="pyproject.toml"):
        ledger.find_root(inner)
    (tmp_path / "pyproject.toml").touch()
    assert ledger.find_root(inner) == tmp_path.resolve()


def test_the_ledger_opens_without_importing_torch():
    code = "import sys, types; p = types.ModuleType('mrpbook'); p.__path__ = sys.argv[1:]; "
    code += "sys.modules['mrpbook'] = p; import mrpbook.ledger; sys.exit('torch' in sys.modules)"
    package = str(ledger.Path(ledger.__file__).parent)
    assert subprocess.run([sys.executable, "-c", code, package]).returncode == 0
