"""book/claims itself: it loads, its pages and controls exist, and controls are expected to fail."""

from pathlib import Path

import pytest
import yaml

from mrpbook import ledger
from tools import pages

ROOT = ledger.find_root(Path(__file__).parent)
FOLDER = ROOT / "book" / "claims"
PAGES = tuple(pages.table(ROOT))


@pytest.fixture(scope="module")
def claims():
    return ledger.load_claims(FOLDER)


def test_every_entry_of_the_file_is_a_claim_of_its_own(claims):
    ids = [entry["id"] for file in FOLDER.glob("*.yml") for entry in yaml.safe_load(file.read_text())]
    assert ids and sorted(ids) == sorted(claims)


def test_every_claim_belongs_to_a_page_of_the_book(claims):
    assert {claim.id: claim.page for claim in claims.values() if claim.page not in PAGES} == {}


def test_every_control_exists_and_is_expected_to_fail(claims):
    named = {c.id: c.control for c in claims.values() if not c.control.startswith("none, because ")}
    assert named, "no claim has a control"
    assert {id: control for id, control in named.items() if control not in claims} == {}
    assert {id: control for id, control in named.items() if claims[control].expected != "fails"} == {}


def test_every_reason_for_having_no_control_is_given(claims):
    reasons = {c.id: c.control[len("none, because ") :] for c in claims.values() if c.control not in claims}
    assert {id: reason for id, reason in reasons.items() if len(reason.split()) < 3} == {}


def test_every_expected_verdict_is_one_that_its_rule_can_give(claims):
    windowed = {True: {"holds within a window", "holds", "fails"}, False: {"holds", "fails"}}
    expected = {c.id: c.expected in windowed[c.rule.get("window", False)] for c in claims.values()}
    assert [id for id, legal in expected.items() if not legal] == []


def test_every_control_judges_the_same_kind_of_rule_as_its_claim(claims):
    pairs = [(claim, claims[claim.control]) for claim in claims.values() if claim.control in claims]
    assert {a.id: b.id for a, b in pairs if a.rule["kind"] != b.rule["kind"]} == {}
