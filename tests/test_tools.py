"""How pages are keyed, executed, woven and judged, on a project of two small pages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from mrpbook import closure
from tools import claims, execute, pages, paper, weave

ROOT = Path(__file__).resolve().parents[1]
PAGE = """---
kernelspec: {display_name: Python 3, name: python3}
---
# A page

Prose of the page.

```{code-cell} python
:tags: [parameters]
tier = "book"
draws = 128  # independent draws
```

```{code-cell} python
import sys
from warnings import warn
print("draws", draws)
sys.stderr.write("12%|bar")
warn("look out")
object()
```
"""


@pytest.fixture
def project(tmp_path):
    """A project with two equal pages, `one` and `two`, of which `one` has a smoke tier and a claim."""
    files = {
        "tools/tiers.yml": "one: {smoke: {draws: 4}}\ntwo: {}\n",
        "notebooks/one.md": PAGE, "notebooks/two.md": PAGE,
        "book/claims/one.yml": "- {id: one.a, page: one, expected: holds}\n",
        "book/claims/two.yml": "- {id: two.a, page: two, expected: fails}\n",
        "constraints.txt": "numpy==1\n",
        "mrpbook/__init__.py": "from . import alpha, beta\nfrom .alpha import f\n__version__ = '1'\n",
        "mrpbook/alpha.py": "def f():\n    return 1\n",
        "mrpbook/beta.py": "from .alpha import f\n",
        "mrpbook/inner/__init__.py": "",
        "mrpbook/inner/gamma.py": "from ..beta import f\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def run(project, page, tier):
    code = f"from tools.execute import Path, run; run(Path({str(project)!r}), {page!r}, {tier!r})"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def edit(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def key(project, page="one", tier="book"):
    return pages.key(project, page, pages.load(project, page, tier))


@pytest.mark.parametrize("code, expected", [
    ("import mrpbook as mb\nmb.alpha.f()", {"mrpbook.alpha"}),
    ("import mrpbook as mb\nmb.f()", {"mrpbook.alpha"}),
    ("import mrpbook as mb\nmb.__version__", {"mrpbook"}),
    ("import mrpbook\nmrpbook.beta.f()", {"mrpbook.alpha", "mrpbook.beta"}),
    ("from mrpbook import beta", {"mrpbook.alpha", "mrpbook.beta"}),
    ("from mrpbook.alpha import f", {"mrpbook.alpha"}),
    ("import mrpbook as mb\nmb.inner.gamma.f()", {"mrpbook.alpha", "mrpbook.beta", "mrpbook.inner.gamma"}),
    ("import numpy", set()),
])
def test_a_page_depends_on_the_modules_it_names_and_on_theirs(project, code, expected):
    assert set(closure.closure(code, project / "mrpbook")) == expected


@pytest.mark.parametrize("code", ["import mrpbook as mb\nprint(mb)", "from mrpbook import *"])
def test_a_use_that_cannot_be_read_counts_as_the_whole_package(project, code):
    assert len(closure.closure(code, project / "mrpbook")) == 5


def test_comments_and_docstrings_of_a_module_do_not_count(project):
    path = project / "mrpbook" / "alpha.py"
    path.write_text('"""One."""\n\ndef f():  # why\n    """One."""\n    return 1\n')
    before = closure.code_hash({"alpha": path})
    edit(path, "One", "Two")
    edit(path, "# why", "# because")
    assert closure.code_hash({"alpha": path}) == before
    edit(path, "return 1", "return 2")
    assert closure.code_hash({"alpha": path}) != before


def test_the_values_of_a_tier_replace_the_defaults_and_keep_the_comments(project):
    cell = pages.code_cells(pages.load(project, "one", "smoke"))[0]
    assert cell.source == 'tier = "smoke"\ndraws = 4  # independent draws'
    cell = pages.code_cells(pages.load(project, "one", "book"))[0]
    assert cell.source == 'tier = "book"\ndraws = 128  # independent draws'


def test_values_over_several_lines_are_replaced():
    code = 'a = [\n    1,\n    2,\n]  # list\nb = "ü"; c = 3'
    assert pages.set_values(code, {"a": [5], "c": 4}, "here") == 'a = [5]  # list\nb = "ü"; c = 4'


@pytest.mark.parametrize("page, tier, tiers, message", [
    ("one", "bok", None, "unknown tier 'bok'"),
    ("six", "book", None, "unknown page 'six'"),
    ("one", "smoke", "one: {smoke: {drws: 4}}", "unknown parameter 'drws'.*tier, draws"),
    ("one", "smoke", "one: {book: {draws: 4}}", "one has 'book'"),
])
def test_an_unknown_page_tier_or_parameter_is_one_clear_line(project, page, tier, tiers, message):
    if tiers:
        (project / "tools" / "tiers.yml").write_text(tiers)
    with pytest.raises(SystemExit, match=message) as stopped:
        pages.load(project, page, tier)
    assert "\n" not in str(stopped.value)


def test_the_key_of_a_page_changes_with_code_values_modules_claims_and_lock_but_not_with_prose(project):
    edit(project / "notebooks" / "one.md", "import sys", "import sys\nimport mrpbook as mb\nmb.alpha.f()")
    keys = [key(project)]
    edit(project / "notebooks" / "one.md", "Prose of", "Better prose of")
    edit(project / "mrpbook" / "beta.py", "import f", "import f as g")
    edit(project / "book" / "claims" / "two.yml", "expected: fails", "expected: holds")
    assert key(project) == keys[0]
    for name, old, new in [("notebooks/one.md", '"draws"', '"n"'), ("notebooks/one.md", "128", "64"),
                           ("mrpbook/alpha.py", "return 1", "return 2"), ("constraints.txt", "==1", "==2"),
                           ("book/claims/one.yml", "page: one,", "page: one, rule: {},")]:
        edit(project / name, old, new)
        keys.append(key(project))
    assert len(set(keys)) == len(keys)


def test_the_key_of_a_page_changes_with_a_measured_file_that_it_names_and_with_no_other(project):
    edit(project / "notebooks" / "one.md", "import sys", "import sys\nmeasured = 'bench.json'")
    (project / "book" / "results").mkdir()
    keys = []
    for name, text in [("bench.json", "[1]"), ("bench.json", "[2]"), ("other.json", "[1]")]:
        (project / "book" / "results" / name).write_text(text)
        keys.append(key(project))
    assert keys[0] != keys[1] == keys[2]


def test_two_runs_are_byte_equal_and_hide_bars_but_no_warnings(project):
    (project / "results" / "claims" / "smoke").mkdir(parents=True)
    (project / "results" / "claims" / "smoke" / "one.a.json").write_text("{}")
    texts = []
    for _ in range(2):
        done = run(project, "one", "smoke")
        assert done.returncode == 0 and "one" in done.stdout, done.stderr
        texts.append(pages.executed(project, "one", "smoke").read_text())
    assert texts[0] == texts[1]
    outputs = pages.code_cells(nbformat.reads(texts[0], 4))[1].outputs
    shown = "".join(out.get("text", "") for out in outputs)
    assert "draws 4" in shown and "UserWarning: look out" in shown and "bar" not in shown
    assert "12%|bar" in (project / "results" / "logs" / "one.log").read_text()
    assert pages.is_fresh(project, "one", "smoke") and not pages.is_fresh(project, "one", "book")

    edit(project / "notebooks" / "one.md", "Prose of", "New prose of")
    assert pages.is_fresh(project, "one", "smoke")
    woven = weave.weave(project, "one", "smoke")
    assert "New prose" in woven.cells[0].source and woven.cells[2].outputs == outputs

    (project / "results" / "claims" / "smoke" / "one.a.json").unlink()
    assert not pages.is_fresh(project, "one", "smoke")
    edit(project / "notebooks" / "one.md", '"draws"', '"n"')
    with pytest.raises(SystemExit, match="other code"):
        weave.weave(project, "one", "smoke")


def test_a_failing_cell_is_one_line_with_page_cell_cause_and_log(project):
    edit(project / "notebooks" / "two.md", "object()", "raise ValueError('mu is 3')")
    done = run(project, "two", "book")
    assert done.returncode == 1 and not pages.executed(project, "two", "book").exists()
    line, = [row for row in done.stderr.splitlines() if row]
    for part in ("page two", "code cell 2", "notebooks/two.md:15", "ValueError: mu is 3", "logs/two.log"):
        assert part in line
    assert "ValueError: mu is 3" in (project / "results" / "logs" / "two.log").read_text()


def test_the_scheduler_of_the_command_line_reaches_the_page(project, monkeypatch):
    edit(project / "notebooks" / "two.md", "object()", "import os; print(os.environ['MRPBOOK_SCHEDULER'])")
    monkeypatch.setattr(execute.pages, "ROOT", project)
    for name in (*execute.environment(project), "MRPBOOK_SCHEDULER"):
        monkeypatch.setenv(name, "")  # given back at the end
    execute.main(["two", "--tier", "smoke", "--scheduler", "tcp://here:1"])
    *_, cell = nbformat.read(pages.executed(project, "two", "smoke"), 4).cells
    assert "tcp://here:1\n" in "".join(out.get("text", "") for out in cell.outputs)


def entries(verdicts, tier="book"):
    made = []
    for i, (verdict, expected) in enumerate(verdicts):
        made.append({"id": f"c.{i}", "page": "one", "verdict": verdict, "expected": expected, "tier": tier,
                     "n": 3, "estimate": 0.5, "low": None, "high": 0.75, "stale": False})
        made[-1]["as_expected"] = claims.stands(made[-1], tier)
    return made


@pytest.mark.parametrize("tier, verdict, expected, good", [
    ("book", "holds", "holds", True), ("book", "fails", "fails", True), ("book", "holds", "fails", False),
    ("book", "undecided", "holds", False), ("book", "not run", "holds", False),
    ("smoke", "undecided", "holds", True), ("smoke", "fails", "holds", False),
    ("smoke", "holds", "holds within a window", False), ("smoke", "not run", "fails", False),
])
def test_a_claim_stands_if_as_expected_and_at_smoke_unless_contradicted(tier, verdict, expected, good):
    assert claims.stands({"verdict": verdict, "expected": expected}, tier) is good


def test_the_printed_ledger_marks_what_does_not_stand():
    text = claims.table(entries([("holds", "holds"), ("holds", "fails")]))
    marked, = [line for line in text.splitlines() if line.startswith(" !")]
    assert "c.1" in marked and "0.5 [-∞, 0.75]" in marked
    assert claims.summary(entries([("holds", "holds"), ("holds", "fails")])).startswith("1 of 2")


def test_merging_keeps_the_books_words_and_says_what_is_missing_or_stale(project):
    folder = project / "results" / "claims" / "book"
    folder.mkdir(parents=True)
    result = {"n": 3, "estimate": 1, "low": 0, "high": 2, "verdict": "holds", "statement": "old words"}
    (folder / "one.a.json").write_text(json.dumps(result))
    book = [{"id": "one.a", "page": "one", "expected": "holds", "statement": "new words"},
            {"id": "two.a", "page": "two", "expected": "fails", "statement": "w"}]
    first, second = claims.merge(project, "book", book, {"one": False, "two": True})
    assert first["statement"] == "new words" and first["stale"] and first["as_expected"]
    assert second["verdict"] == "not run" and second["n"] is None and not second["as_expected"]


def test_claims_without_a_run_say_which_command_to_run(project):
    with pytest.raises(SystemExit, match="make book"):
        claims.main(project, None, project)


def test_normalising_merges_pieces_of_output_and_removes_addresses():
    out = [nbformat.v4.new_output("stream", name="stdout", text=t) for t in ("a <o at 0x7f00aa11>", " b\n")]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=out)])
    only, = execute.normalise(made, Path("/nowhere")).cells[0].outputs
    assert only.text == "a <o> b\n"


def test_what_the_paper_tier_settled_is_kept_with_its_machine(project, monkeypatch, capsys):
    settled = {"id": "one.a", "n": 64, "estimate": 1.0, "low": 0.9, "high": 1.0, "verdict": "holds", "expected": "holds",
               "as_expected": True, "made_at": "2026-01-01", "code_key": "k", "hardware": {"cpu": "c"}, "versions": {},
               "seeds": [1]}

    def run(root, page, tier):
        for path, content in ((root / "results/claims" / tier / "one.a.json", settled),
                              (pages.executed(root, page, tier).with_suffix(".json"),
                               {"key": "k", "seconds": 90, "claims": ["one.a"]})):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))

    monkeypatch.setattr(paper.execute, "run", run)
    paper.main(project, ["one"])
    kept = json.loads((project / "book/results/paper/one.json").read_text())
    assert kept["minutes"] == 1.5 and kept["hardware"] == {"cpu": "c"}
    assert kept["claims"] == [{name: settled[name] for name in paper.KEPT}]
    with pytest.raises(SystemExit, match="which pages"):
        paper.main(project, [])


def test_shared_draws_are_simulated_once_and_times_are_measured_alone():
    from doit import doit_cmd

    doit_cmd.reset_vars()  # as without name=value on the command line
    from tools import dodo

    after = {task["name"]: {name.removeprefix("execute:") for name in task["task_dep"]} for task in dodo.task_execute()}
    assert sorted(after) == sorted(pages.pages(ROOT))
    readers = [page for page in after if "capture.default_cells" in pages.source(ROOT, page).read_text()]
    assert len(readers) > 2
    for page in set(readers) - {"03-kernel-capture"}:
        before = set(after[page])
        for _ in after:
            before |= {earlier for page in before for earlier in after[page]}
        assert "03-kernel-capture" in before
    assert after["how-fast"] == set(after) - {"how-fast"}
