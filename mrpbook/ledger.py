"""Claims and verdicts: a notebook settles a claim in one call (rules and intervals: mrpbook.intervals).

Decided at 1e-6 per claim at the book and paper tiers, at 1e-3 at smoke; published with 95 % intervals. At
smoke a claim passes unless its interval contradicts what is expected; at book and paper it must be decided.
"""

import hashlib
import html
import json
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import yaml

from mrpbook import intervals

LEVELS = {"smoke": 1e-3, "book": 1e-6, "paper": 1e-6}
PUBLISHED = 0.05
TAGS = ("found", "recalled", "derived", "ours")
EXPECTED = ("holds", "fails", intervals.WINDOW)
judge = intervals.judge
COLOURS = {"✓": "#1a7f37", "✗": "#b42318", "?": "#7a5c00"}  # white text on each reads in light and dark mode


def find_root(start=None):
    """The nearest folder at or above `start` (default: the working directory) that holds pyproject.toml."""
    start = Path(start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "pyproject.toml").is_file():
            return folder
    raise ValueError(f"start is {str(start)!r}; allowed: a folder with pyproject.toml at or above it")


@dataclass(frozen=True)
class Claim:
    """One entry of book/claims/<page>.yml."""

    id: str
    page: str
    statement: str
    source: str
    tag: str  # found / recalled / derived / ours
    assumptions: str | list
    statistic: str
    rule: dict
    expected: str  # holds / fails / holds within a window
    control: str  # id of the claim with one assumption removed, or "none, because ..."


def load_claims(path):
    """The claims of the folder `path`, by id: a YAML list for each page, named after it.

    ValueError names claim, field, value and what is allowed.
    """
    entries = []
    for file in sorted(Path(path).glob("*.yml")):
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(found, list):
            raise ValueError(f"{file.name} holds a {type(found).__name__}; allowed: a list of claims")
        entries += [(file.stem, entry) for entry in found]
    if not entries:
        raise ValueError(f"{path} holds no claims; allowed: a folder with <page>.yml files")
    names, claims, name = [field.name for field in fields(Claim)], {}, ""

    def check(fine, field, value, allowed, claim=None):
        if not fine:
            raise ValueError(f"claim {claim or name}: {field} is {value!r}; allowed: {allowed}")

    for position, (page, entry) in enumerate(entries, 1):
        name = f"number {position}"
        check(isinstance(entry, dict), "entry", entry, "a mapping")
        name = entry.get("id", name)
        check(set(entry) == set(names), "set of fields", list(entry), f"exactly {', '.join(names)}")
        check(re.fullmatch(r"[a-z0-9][A-Za-z0-9.-]*", str(name)), "id", name, "letters, digits, . and -, starting small")
        check(name not in claims, "id", name, "an id that no other claim has")
        for field in ("page", "statement", "source", "statistic", "control"):
            check(isinstance(entry[field], str) and entry[field].strip(), field, entry[field], "text")
        check(entry["page"] == page, "page", entry["page"], f"{page}, the name of its file")
        texts = entry["assumptions"]
        check(texts and isinstance(texts, str | list), "assumptions", texts, "text, or a list of texts")
        check(entry["tag"] in TAGS, "tag", entry["tag"], ", ".join(TAGS))
        try:
            intervals.region(entry["rule"])
        except ValueError as error:
            raise ValueError(f"claim {name}: rule is {entry['rule']!r}: {error}") from None
        legal = EXPECTED if entry["rule"].get("window") else EXPECTED[:2]
        check(entry["expected"] in legal, "expected", entry["expected"], f"{', '.join(legal)} for its rule")
        claims[name] = Claim(**entry)
    for claim in claims.values():
        known = claim.control in claims and claim.control != claim.id
        fine = known or claim.control.startswith("none, because ")
        check(fine, "control", claim.control, "the id of another claim, or 'none, because ...'", claim.id)
    return claims


def code_key():
    """SHA-256 over names and contents of the package's Python files, for `is_stale`."""
    package, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_stale(result, code_key):
    """True if the result (a dict as written by `settle`) was made by code other than `code_key`'s."""
    return result.get("code_key") != code_key


@dataclass(frozen=True)
class Verdict:
    """What a claim came to. An unexpected verdict is shown, never raised: the gate is `make claims`."""

    verdict: str  # holds / fails / holds within a window / undecided
    as_expected: bool
    record: dict  # as written to results/claims/<tier>/<id>.json

    def _parts(self):
        r = self.record
        same = self.verdict == r["expected"]
        mark = "✓" if same else "?" if self.as_expected else "✗"
        word = f"{self.verdict}, " + ("as expected" if same else f"expected: {r['expected']}")
        numbers = f"{_text(r['estimate'])} [{_text(r['low'])}, {_text(r['high'])}], n = {r['n']}"
        return mark, word, r["statement"], numbers

    def __str__(self):
        return "{} {}: {} {}".format(*self._parts())

    def _repr_html_(self):
        mark, *parts = self._parts()
        word, statement, numbers = map(html.escape, parts)
        style = f"background:{COLOURS[mark]};color:#fff;padding:0.1em 0.5em;border-radius:0.3em"
        return (f'<div class="verdict"><span style="{style}">{mark} {word}</span> {statement} '
                f'<span style="white-space:nowrap">{numbers}</span></div>')


@dataclass(frozen=True)
class Colophon:
    rows: list  # of (name, text), shown as a small table

    def __str__(self):
        width = max(len(name) for name, _ in self.rows)
        return "\n".join(f"{name:{width}}  {value}" for name, value in self.rows)

    def _repr_html_(self):
        rows = (f'<tr><th scope="row">{name}</th><td>{html.escape(t)}</td></tr>' for name, t in self.rows)
        return f'<table class="colophon">{"".join(rows)}</table>'


class Ledger:
    """The claims of one page, settled at one tier; results go to results_path/claims/<tier>/<id>.json.

    level: at which its claims are decided, in place of the tier's: for pages whose draws are dear.
    """

    def __init__(self, claims_path, results_path, page, tier, level=None):
        if tier not in LEVELS:
            raise ValueError(f"tier is {tier!r}; allowed: {', '.join(LEVELS)}")
        self.claims, self.page, self.tier = load_claims(claims_path), page, tier
        self.level = LEVELS[tier] if level is None else level
        self.root, self.folder = Path(results_path).parent, Path(results_path) / "claims" / tier
        self.settled, self._opened = {}, time.monotonic()
        self._made_by = {"commit": _commit(Path(claims_path).parent), "code_key": code_key()}

    def settle(self, id, *, seeds=None, inside=None, outside=None, **data):
        """Judge one claim and write its result; returns a Verdict, whatever it says.

        data: what the rule's kind wants, per independent draw (see `judge`); for a rule with `window: true`
        given twice, as inside=dict(...), outside=dict(...). seeds: a sequence of integers, kept as given.
        ValueError: unknown id, a claim of another page, data that don't fit the rule.
        """
        claim, level = self.claims.get(id), self.level
        if claim is None or claim.page != self.page:
            mine = ", ".join(c.id for c in self.claims.values() if c.page == self.page) or "none"
            what = f"a claim of page {claim.page!r}" if claim else "no claim"
            raise ValueError(f"id is {id!r}, {what}; allowed on page {self.page!r}: {mine}")
        try:
            given = {"inside": inside, "outside": outside} | data
            verdict, numbers = intervals.settle(claim.rule, level, PUBLISHED, **given)
        except ValueError as error:
            raise ValueError(f"claim {id}: {error}") from None
        as_expected = verdict == claim.expected or (self.tier == "smoke" and verdict == "undecided")
        record = {name: getattr(claim, name) for name in ("id", "statement", "source", "tag", "page")}
        record |= {"tier": self.tier} | numbers | {"level": level, "rule": claim.rule, "verdict": verdict}
        record |= {"expected": claim.expected, "as_expected": as_expected, "control": claim.control}
        record |= {"seeds": None if seeds is None else [int(seed) for seed in seeds]} | self.provenance()
        write(self.folder / f"{id}.json", record)
        self.settled[id] = Verdict(verdict, as_expected, record)
        return self.settled[id]

    def provenance(self):
        """Commit, code, machine, versions, time and memory so far, date: what tells a reader who made a number."""
        versions = {package: metadata.version(package) for package in ("numpy", "torch", "scipy")}
        return self._made_by | {
            "hardware": _hardware(), "versions": {"python": platform.python_version()} | versions,
            "wall_s": round(time.monotonic() - self._opened, 3), "peak_memory_MiB": _peak_memory(),
            "made_at": datetime.now(UTC).date().isoformat(),
        }

    def colophon(self):
        """How this page was made, as a table: tier, draws, code, hardware, time, memory, and its verdicts."""
        made, draws = self.provenance(), [v.record["n"] for v in self.settled.values()]
        machine = made["hardware"]
        rows = [
            ("tier", f"{self.tier}, {sum(draws)} draws settled in {len(draws)} claims"),
            ("code", f"commit {made['commit'] or 'unknown'}, code key {made['code_key'][:12]}"),
            ("hardware", f"{machine['cpu']}, {machine['cores']} cores, GPU: {machine['gpu'] or 'none'}"),
            ("versions", ", ".join(f"{name} {version}" for name, version in made["versions"].items())),
            ("cost", f"wall time {made['wall_s']:.1f} s, peak memory {made['peak_memory_MiB']} MiB"),
        ]
        return Colophon(rows + [(f"claim {id}", " ".join(v._parts()[:2])) for id, v in self.settled.items()])


def _text(number):
    return "unbounded" if number is None else f"{number:.3g}" if abs(number) < 0.01 else f"{number:.3f}"


def write(path, record):
    """Write beside its place, then rename: a reader sees the old result or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _commit(folder):
    """Hash of the checked-out commit, '+dirty' if files differ from it; None outside git."""
    try:
        options = {"cwd": folder, "text": True, "stderr": subprocess.DEVNULL}
        head = subprocess.check_output(["git", "rev-parse", "HEAD"], **options)
        changes = subprocess.check_output(["git", "status", "--porcelain"], **options)
        return head.strip() + ("+dirty" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _hardware():
    info = Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else ""
    model = re.search(r"model name\s*:\s*(.+)", info)
    torch = sys.modules.get("torch")  # a page that never imported torch has used no GPU
    gpu = torch.cuda.get_device_name(0) if torch and torch.cuda.is_available() else None
    cpu = model[1] if model else platform.processor() or platform.machine()
    return {"cpu": cpu, "cores": os.cpu_count(), "gpu": gpu}


def _peak_memory():
    """Peak resident memory in MiB of this process or of its largest finished child, whichever is larger."""
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
