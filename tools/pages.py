"""The notebooks as they are written: where they are, what a tier changes in them, and what they depend on."""

import ast
import hashlib
import json
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
TIERS = ("smoke", "book", "paper")
FORMAT = 1  # raise it when executed notebooks made by an older execute.py must not be reused


def stop(message: str):
    """End with one line on stderr and exit status 1."""
    raise SystemExit(message)


def check_tier(tier: str) -> str:
    if tier not in TIERS:
        stop(f"unknown tier {tier!r}: use one of {', '.join(TIERS)}")
    return tier


def table(root: Path) -> dict:
    """tools/tiers.yml: {page: {tier: {parameter: value}}}, with its pages and tiers checked."""
    pages = yaml.safe_load((root / "tools" / "tiers.yml").read_text())
    for page, tiers in pages.items():
        for tier in tiers or {}:
            if tier not in ("smoke", "paper"):
                stop(f"tools/tiers.yml: {page} has {tier!r}; allowed: smoke and paper")
    return pages


def pages(root: Path) -> list[str]:
    """The pages in reading order; each must have its notebook."""
    names = list(table(root))
    for name in names:
        source(root, name)
    return names


def source(root: Path, page: str) -> Path:
    path = root / "notebooks" / f"{page}.md"
    if page not in table(root):
        stop(f"unknown page {page!r}: tools/tiers.yml has {', '.join(table(root))}")
    if not path.exists():
        stop(f"page {page}: notebooks/{page}.md is missing")
    return path


def set_values(code: str, values: dict, where: str) -> str:
    """`code` with the right-hand sides of its assignments replaced by `values`; comments stay."""
    spans = {}
    for node in ast.parse(code).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            spans[node.targets[0].id] = node.value
    for name in values:
        if name not in spans:
            stop(f"{where}: unknown parameter {name!r}; the page's parameters are {', '.join(spans)}")
    lines = [line.encode() for line in code.split("\n")]  # syntax trees count columns in bytes
    for name in sorted(values, key=lambda n: -spans[n].lineno):
        node, text = spans[name], _literal(values[name]).encode()
        first, last = node.lineno - 1, node.end_lineno - 1
        new = lines[first][: node.col_offset] + text + lines[last][node.end_col_offset :]
        lines[first : last + 1] = [new]
    return b"\n".join(lines).decode()


def _literal(value) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def load(root: Path, page: str, tier: str):
    """The notebook of `page` with the values of `tier` in its parameters cell."""
    import jupytext

    check_tier(tier)
    path = source(root, page)
    try:
        notebook = jupytext.read(path)
    except Exception as error:
        stop(f"page {page}: notebooks/{page}.md cannot be read: {error}")
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(tagged) != 1:
        stop(f"page {page}: {len(tagged)} cells are tagged `parameters`, one is needed")
    values = {"tier": tier} | ((table(root)[page] or {}).get(tier) or {})
    try:
        tagged[0].source = set_values(tagged[0].source, values, f"page {page}, tier {tier} (tools/tiers.yml)")
    except SyntaxError as error:
        stop(f"page {page}: the parameters cell is not Python: {error.msg} (line {error.lineno})")
    return notebook


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def key(root: Path, page: str, notebook) -> str:
    """A hash of all that decides what the page computes: its code cells with the values of the tier, the
    modules they use, the page's claims, the lock, and the files of book/results that they name. Prose, and comments in
    modules, do not count."""
    from mrpbook import closure  # brings PyTorch: only when something changed

    code = [cell.source for cell in code_cells(notebook)]
    lines = "\n".join(code).split("\n")
    plain = "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
    try:
        files = closure.closure(plain, root / "mrpbook")
        modules = closure.code_hash(files)
    except SyntaxError as error:
        at = Path(error.filename).name if error.filename not in (None, "<unknown>") else "its code"
        stop(f"page {page}: {at} is not Python: {error.msg} ({(error.text or '').strip()})")
    measured = [path.read_text() for path in _measured(root) if path.name in plain]
    parts = [FORMAT, code, modules, claims(root, page),
             (root / "constraints.txt").read_text(), measured]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def claims(root: Path, page: str) -> list[dict]:
    """The entries of book/claims/<page>.yml, unchecked; none if the page has no claims."""
    return [claim for path in _claims(root, page) for claim in yaml.safe_load(path.read_text()) or []]


def _claims(root: Path, page: str) -> list[Path]:
    path = root / "book" / "claims" / f"{page}.yml"
    return [path] if path.exists() else []


def _measured(root: Path) -> list[Path]:
    """Results that were measured elsewhere and are part of the source."""
    return sorted((root / "book" / "results").glob("*.json"))


def executed(root: Path, page: str, tier: str) -> Path:
    return root / "results" / "executed" / tier / f"{page}.ipynb"


def raw(root: Path, page: str) -> str:
    """A hash of the files behind `key` as they are: while it stays the same, nothing needs to be parsed."""
    files = [source(root, page), root / "tools" / "tiers.yml", *_claims(root, page)]
    files += [root / "constraints.txt", *sorted((root / "mrpbook").rglob("*.py")), *_measured(root)]
    return hashlib.sha256(b"\0".join(str(f).encode() + b"\0" + f.read_bytes() for f in files)).hexdigest()


def is_fresh(root: Path, page: str, tier: str) -> bool:
    """Whether the page's execution at `tier` is there, with its claims, and made by the present code."""
    record = executed(root, page, tier).with_suffix(".json")
    if not (record.exists() and executed(root, page, tier).exists()):
        return False
    made = json.loads(record.read_text())
    if not all((root / "results" / "claims" / tier / f"{name}.json").exists() for name in made["claims"]):
        return False
    now = raw(root, page)
    if made.get("raw") == now:
        return True
    if made["key"] != key(root, page, load(root, page, tier)):
        return False
    record.write_text(json.dumps(made | {"raw": now}, indent=1) + "\n")
    return True
