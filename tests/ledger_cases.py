"""Claims and data that the tests of intervals and ledger share."""


import yaml
from hypothesis import strategies as st

from mrpbook import ledger

HIGH_SHARE = {"kind": "proportion", "at_least": 0.95}
RULES = {  # kind: rule, four draws that its control would give
    "proportion": (HIGH_SHARE, {"successes": [40, 55, 61, 48], "totals": [100] * 4}),
    "proportion at most": (
        {"kind": "proportion", "at_most": 0.02},
        {"successes": [1] * 4, "totals": [1] * 4},
    ),
    "mean": ({"kind": "mean", "low": 0.48, "high": 0.68}, {"values": [0.97, 0.98, 0.985, 0.99]}),
    "equivalence": ({"kind": "equivalence", "margin": 0.03}, {"values": [0.2, 0.21, 0.19, 0.2]}),
    "maximal error": ({"kind": "maximal error", "at_most": 1.0e-10}, {"values": [1e-12, 1e-3, 0, 0]}),
    "ordering": (
        {"kind": "ordering", "at_least": 0.08},
        {"better": [0.9, 0.91, 0.9, 0.92], "worse": [0.9, 0.9, 0.91, 0.92]},
    ),
}


def claim(**changes):
    entry = {"id": "a.claim", "page": "a-page", "statement": "A < B & C.", "source": "ours", "tag": "ours",
             "assumptions": "none", "statistic": "share", "rule": dict(HIGH_SHARE), "expected": "holds",
             "control": "none, because this is a test"}  # fmt: skip
    return entry | changes


def book(folder, *claims, tier="book"):
    (folder / "claims").mkdir(exist_ok=True)
    for page in {str(c.get("page")) for c in claims}:
        (folder / "claims" / f"{page}.yml").write_text(yaml.safe_dump([c for c in claims if str(c.get("page")) == page]))
    return ledger.Ledger(folder / "claims", folder / "results", page="a-page", tier=tier)


def counts(draws):
    return {"successes": [s for s, _ in draws], "totals": [t for _, t in draws]}


ONES = {"successes": [100] * 128, "totals": [100] * 128}
ZEROS = {"successes": [0] * 128, "totals": [100] * 128}
draws_of_counts = st.lists(
    st.integers(1, 200).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))),
    min_size=2,
    max_size=12,
)
numbers = st.lists(st.integers(-1000, 1000).map(lambda i: i / 8), min_size=2, max_size=12)
