"""Merge the claims of one tier into results/claims.json and say whether each stands: python -m tools.claims

At the book and paper tiers a claim stands if its verdict is the expected one. At smoke the samples are small:
a claim stands unless a decided verdict contradicts the expectation.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from tools import pages

NUMBERS = ("n", "estimate", "low", "high")


def listed(root: Path) -> list[dict]:
    """The claims of book/claims as dictionaries, checked by mrpbook.ledger."""
    from mrpbook import ledger

    try:
        claims = ledger.load_claims(root / "book" / "claims")
    except ValueError as error:
        pages.stop(f"book/claims: {error}")
    return [dataclasses.asdict(claim) for claim in claims.values()]


def stands(entry: dict, tier: str) -> bool:
    """Whether the entry's verdict is good enough at `tier`."""
    if tier == "smoke" and entry["verdict"] == "undecided":
        return True
    return entry["verdict"] == entry["expected"]


def merge(root: Path, tier: str, claims: list[dict], fresh: dict[str, bool]) -> list[dict]:
    """One entry per claim: what the run found, then what the book says about it. `fresh` says for each page
    whether its results were made by the present code; a claim of another page is stale."""
    entries = []
    for claim in claims:
        path = root / "results" / "claims" / tier / f"{claim['id']}.json"
        found = json.loads(path.read_text()) if path.exists() else {"verdict": "not run"}
        entry = dict.fromkeys(NUMBERS) | found | claim | {"tier": tier}
        entry["stale"] = path.exists() and not fresh.get(claim["page"], False)
        entry["as_expected"] = stands(entry, tier)
        entries.append(entry)
    return entries


def write(root: Path, tier: str, into: Path) -> list[dict]:
    """Merge and write `into`/results/claims.json."""
    fresh = {page: pages.is_fresh(root, page, tier) for page in pages.pages(root)}
    entries = merge(root, tier, listed(root), fresh)
    path = into / "results" / "claims.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=1) + "\n")
    return entries


def number(value) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, int | float) else str(value)


def interval(entry: dict) -> str:
    if entry["estimate"] is None:
        return "-"
    low = "-∞" if entry["low"] is None else number(entry["low"])
    high = "∞" if entry["high"] is None else number(entry["high"])
    return f"{number(entry['estimate'])} [{low}, {high}]"


def table(entries: list[dict]) -> str:
    """The ledger as text: one line per claim, those that do not stand marked."""
    width = max([len(e["id"]) for e in entries] + [5])
    head = f"   {'claim':<{width}}  {'verdict':<22} {'expected':<22} {'n':>5}  estimate [low, high]"
    lines, page = [head], None
    for entry in entries:
        if entry["page"] != page:
            page = entry["page"]
            lines.append(f"{page}")
        mark = "  " if entry["as_expected"] else "! "
        stale = "  (stale: the code has changed since)" if entry["stale"] else ""
        n = number(entry["n"])
        lines.append(f" {mark}{entry['id']:<{width}}  {entry['verdict']:<22} {entry['expected']:<22} {n:>5}  "
                     f"{interval(entry)}{stale}")
    return "\n".join(lines)


def summary(entries: list[dict]) -> str:
    good, tier = sum(e["as_expected"] for e in entries), entries[0]["tier"] if entries else "?"
    undecided = sum(e["verdict"] in ("undecided", "not run") for e in entries)
    note = f" ({undecided} undecided or not run)" if tier == "smoke" and undecided else ""
    return f"{good} of {len(entries)} claims stand as expected at the {tier} tier{note}"


def main(root: Path, tier: str | None, into: Path) -> int:
    marker = root / "results" / "last_tier"
    if tier is None and not marker.exists():
        pages.stop("no claim has been settled yet: run `make book` (quick: `make book TIER=smoke`)")
    tier = pages.check_tier(tier or marker.read_text().strip())
    entries = write(root, tier, into)
    print(table(entries))
    print(summary(entries) + f"; written to {(into / 'results' / 'claims.json').relative_to(root)}")
    bad = [entry["id"] for entry in entries if not entry["as_expected"]]
    if bad:
        print("NOT as expected: " + ", ".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tier", help="default: the last tier that `make book` ran")
    parser.add_argument("--into", default=".", help="folder whose results/claims.json is written")
    given = parser.parse_args()
    raise SystemExit(main(pages.ROOT, given.tier, (pages.ROOT / given.into).resolve()))
