"""Run pages at the paper tier and keep their verdicts: python -m tools.paper 06-where-it-stops

Stop it when you like: finished cells are kept, and the next call goes on. What is settled goes, with machine and date, to
book/results/paper/<page>.json, which is committed; the site shows it beside the book tier's results.
"""

import json
import sys
from pathlib import Path

from tools import execute, pages

KEPT = ("id", "n", "estimate", "low", "high", "verdict", "expected", "as_expected")


def path(root: Path, page: str) -> Path:
    return root / "book" / "results" / "paper" / f"{page}.json"


def record(root: Path, page: str) -> dict:
    """What results/claims/paper holds of the claims of `page`, and how it was made."""
    made = json.loads(pages.executed(root, page, "paper").with_suffix(".json").read_text())
    found = [json.loads((root / "results" / "claims" / "paper" / f"{name}.json").read_text()) for name in made["claims"]]
    if not found:
        pages.stop(f"page {page} settles no claims: nothing to keep")
    first = found[0]
    return {"page": page, "made_at": first["made_at"], "code_key": first["code_key"], "key": made["key"],
            "hardware": first["hardware"], "versions": first["versions"], "minutes": round(made["seconds"] / 60, 1),
            "claims": [{name: claim[name] for name in KEPT} for claim in found]}


def main(root: Path, names: list[str]) -> None:
    if not names:
        pages.stop(f"which pages? {', '.join(pages.pages(root))}")
    for page in names:
        if not pages.is_fresh(root, page, "paper"):
            execute.run(root, page, "paper")
        file = path(root, page)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record(root, page), indent=1) + "\n")
        print(f"{page:<28} kept in {file.relative_to(root)}")


if __name__ == "__main__":
    main(pages.ROOT, sys.argv[1:])
