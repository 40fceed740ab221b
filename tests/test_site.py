"""The site: its checks find what they should, verdicts are shown, and a broken site replaces nothing."""

import ast
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from tools import browser_check, check_site, plain_docstrings, site

ROOT = Path(__file__).resolve().parents[1]
GOOD = '<html><body><article><h1 id="top">A</h1>{}</article></body></html>'


def page(folder, body, name="a.html"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(GOOD.format(body))
    return folder


@pytest.mark.parametrize("body", [
    '<a href="a.html#top">x</a> <a href="https://example.org">y</a> <a href="#top">z</a>',
    '<img src="data:image/png;base64,AA" alt="a rising line">', "<pre><code>```{prf:ref}`x`</code></pre>",
    '<div class="cell_output"><img src="data:,x" alt="curves"></div>', '<div class="cell_output">3</div>',
])
def test_a_sound_page_has_no_fault(tmp_path, body):
    assert check_site.problems(page(tmp_path / "site", body)) == []


@pytest.mark.parametrize("body, fault", [
    ('<a href="b.html">x</a>', "link to a missing file: b.html"),
    ('<a href="a.html#nowhere">x</a>', "link to a missing anchor"),
    ('<a href="../../x">x</a>', "link to a missing file"),
    ('<img src="b.png" alt="a line">', "missing file: b.png"),
    ('<img src="https://example.org/b.png" alt="a line">', "loaded from the network"),
    ('<script src="//cdn.example.org/x.js"></script>', "loaded from the network"),
    ('<link rel="stylesheet" href="https://example.org/x.css">', "loaded from the network"),
    ('<style>a { background: url("https://example.org/x.png") }</style>', "loads from the network"),
    ('<img src="data:,x">', "image without alt text"),
    ('<img src="data:,x" alt=" ">', "image without alt text"),
    ('<img src="data:,x" alt="_images/0a.png">', "alt text is a file name"),
    ('<div class="cell_output"> <pre></pre></div>', "empty output"),
    ('<div class="cell_output traceback">boom</div>', "traceback"),
    ("<pre>Traceback (most recent call last)</pre>", "traceback in an output"),
    ("<p>see {prf:ref}`thm`</p>", "markup that was not rendered"),
    ("<p>```{prf:proof} of x</p>", "markup that was not rendered"), ("<p>$$x$$</p>", "not rendered"),
    ('<span class="math">x</span>', "formulas without MathJax"),
    ("<p>/home/somebody/project/x.py</p>", "path of this machine"),
])
def test_each_fault_is_found(tmp_path, body, fault):
    found = check_site.problems(page(tmp_path / "site", body), Path("/home/somebody/project"))
    assert any(fault in line and line.startswith("a.html") for line in found), found


def test_a_site_without_pages_is_a_fault(tmp_path):
    assert check_site.problems(tmp_path)


@pytest.mark.parametrize("body, kept", [("<img src='no.png'>", True), ("fine", False)])
def test_a_faulty_site_never_replaces_the_old_one(tmp_path, monkeypatch, body, kept):
    old = tmp_path / "book" / "_build" / "html"
    old.mkdir(parents=True)
    page(old, "old")

    def built(root, source, output, log):
        (output / "_build").mkdir(parents=True)
        page(output / "_build" / "html", body)

    monkeypatch.setattr(site, "sphinx", built)
    if kept:
        with pytest.raises(SystemExit, match="the old one stays"):
            site.make(tmp_path, tmp_path / "book", old)
    else:
        site.make(tmp_path, tmp_path / "book", old)
    assert ("old" in (old / "a.html").read_text()) is kept


ENTRY = {"id": "a.b", "page": "one", "statement": "Mean of $x$ is small.", "source": "ours", "tag": "ours",
         "tier": "book", "n": 12, "estimate": 0.97, "low": 0.95, "high": None, "verdict": "holds",
         "stale": False, "rule": {"kind": "proportion", "at_least": 0.9}, "expected": "holds",
         "control": "a.control",
         "as_expected": True}
CONTROL = ENTRY | {"id": "a.control", "control": "none, because it is one", "verdict": "holds",
                   "expected": "fails", "as_expected": False}


def build(folder, text, entries):
    """The pages `index` (holding `text`) and `ledger` as HTML, and the warnings."""
    source = folder / "book"
    (source / "chapters").mkdir(parents=True, exist_ok=True)
    (folder / "results").mkdir()
    (folder / "results" / "claims.json").write_text(json.dumps(entries))
    (source / "conf.py").write_text("extensions = ['myst_parser', 'tools.verdicts']\n")
    (source / "index.md").write_text(f"# A\n\n{text}\n\n```{{toctree}}\nledger\nchapters/one\n```\n")
    (source / "ledger.md").write_text("# Ledger\n\n```{ledger}\n```\n")
    (source / "chapters" / "one.md").write_text("# One\n")
    warnings = open(folder / "warnings", "w+")
    with docutils_namespace():
        app = Sphinx(source, source, folder / "out", folder / "trees", "html", status=None, warning=warnings)
        app.build()
    warnings.seek(0)
    pages = [(folder / "out" / f"{name}.html").read_text() for name in ("index", "ledger")]
    return *pages, re.sub(r"\x1b\[[0-9;]*m", "", warnings.read())


def test_a_badge_shows_verdict_n_and_interval_and_leads_to_the_ledger(tmp_path):
    text = "{verdict}`a.b` {verdict}`a.control`\n\n```{ledger-summary}\n```"
    index, ledger, warnings = build(tmp_path, text, [ENTRY, CONTROL])
    assert warnings == ""
    assert "holds · n = 12 · 0.97 [0.95, ∞]" in index and 'href="ledger.html#claim-a-b"' in index
    assert "verdict-bad" in index and "holds, fails expected" in index
    assert "1 of 2 claims stand as expected" in index
    assert 'id="claim-a-b"' in ledger and 'href="#claim-a-control"' in ledger
    assert "proportion at least 0.9" in ledger
    assert "none, because it is one" in ledger and "chapters/one.html" in ledger


def test_an_unknown_claim_is_a_warning_and_so_a_build_error(tmp_path):
    *_, warnings = build(tmp_path, "{verdict}`a.c`", [ENTRY, CONTROL])
    assert "unknown claim 'a.c'" in warnings


def test_docstrings_are_shown_as_plain_text():
    lines = ["|w| and x_p * y of `mu`.", "- not a list", "", "low:", "    a  b"]
    plain_docstrings.plain(None, None, None, None, None, lines)
    assert lines == [r"\|w\| and x\_p \* y of \ ``mu``\ .", r"\- not a list", "", "::", "", "    low:",
                     "        a  b", ""]


@pytest.mark.skipif(browser_check.chromium() is None, reason="no Chromium found")
def test_the_browser_check_sees_overflow_broken_images_and_formulas(tmp_path):
    wide, mathjax = '<main><div style="width:600px">x</div></main>', '<span class="math">x</span>'
    page(tmp_path, wide, "wide.html")
    page(tmp_path, "<img src='no.png' alt='x' width=9 height=9>" + mathjax, "bad.html")
    page(tmp_path, f'<div style="overflow-x:auto">{wide}</div>', "ok.html")
    found = browser_check.check(tmp_path)
    assert [line.split(":")[0] for line in found if line.startswith("wide")] == ["wide.html at 390 px"]
    assert sum("broken image" in line for line in found) == 2
    assert sum("none typeset" in line for line in found) == 2
    assert not any(line.startswith("ok.html") for line in found)


def test_every_room_of_the_package_is_on_the_api_page():
    text = (ROOT / "book" / "api.md").read_text()
    tree = ast.parse((ROOT / "mrpbook" / "__init__.py").read_text())
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and not node.module]
    rooms = [alias.name for node in imports for alias in node.names]
    assert len(rooms) > 5
    for name in rooms:
        assert re.search(rf"automodule:: mrpbook\.{name}\b", text), f"{name} is missing"


def test_every_page_has_its_tiers_its_notebook_and_its_line_in_the_table_of_contents():
    listed = {path.stem for path in (ROOT / "notebooks").glob("*.md")}
    toc = set(re.findall(r"chapters/(\S+)", (ROOT / "book" / "_toc.yml").read_text()))
    assert listed == toc == set(yaml.safe_load((ROOT / "tools" / "tiers.yml").read_text()))


def test_the_conda_environment_repeats_nothing_and_the_lock_holds_torch():
    *_, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[book,test]"]}
    lock = (ROOT / "constraints.txt").read_text()
    if not lock.strip():
        pytest.skip("the lock is empty: this run asks for the newest versions")
    assert "torch==2.13.0\n" in lock and "jupyter-book==1.0.4.post1\n" in lock
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in sum(project["optional-dependencies"].values(), project["dependencies"]):
        name = re.match(r"[\w-]+", requirement)[0]
        if name == "triton":  # PyTorch's CUDA build pins its own
            continue
        either = re.sub("[-_]", "[-_]", name)
        assert re.search(rf"^{either}==", lock, re.M | re.I), f"{name} is not in the lock"


@pytest.mark.parametrize("says, message", [
    ("echo 3.9", "is Python 3.9"), ("echo 3.14", "is Python 3.14"),
    ('case "$2" in *ensurepip*) exit 1;; *) echo 3.11;; esac', "venv module"),
])
def test_an_unsuitable_python_is_one_clear_line(tmp_path, says, message):
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{says}\n")
    python.chmod(0o755)
    command = ["sh", ROOT / "tools" / "setup.sh", python]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / ".venv").exists()


LARGE = {"page": "one", "made_at": "2026-01-01", "code_key": "abc" * 9, "minutes": 3,
         "hardware": {"cpu": "a processor", "cores": 2, "gpu": None},
         "claims": [{"id": "a.b", "n": 640, "estimate": 0.981, "low": 0.97, "high": 0.99, "verdict": "holds",
                     "expected": "holds", "as_expected": True}]}


def test_results_of_the_paper_tier_stand_beside_those_of_the_site_with_their_machine(tmp_path):
    kept = tmp_path / "book" / "results" / "paper"
    kept.mkdir(parents=True)
    (kept / "one.json").write_text(json.dumps(LARGE))
    index, _, warned = build(tmp_path, "```{paper-tier} one\n```\n\n```{paper-tier} two\n```", [ENTRY, CONTROL])
    index = re.sub("<[^>]*>", "", index)
    for text in ("0.981 [0.97, 0.99], n = 640", "0.97 [0.95", "n = 12", "a processor", "make paper PAGES=one",
                 "Not run yet: make paper PAGES=two"):
        assert text in index, text
    assert warned == ""
