"""Weave the present prose of a page with the outputs of its execution: a prose edit re-executes nothing."""

from pathlib import Path

import nbformat

from tools import execute, pages


def weave(root: Path, page: str, tier: str):
    """What the site shows: cells and metadata of the source, outputs of the execution at `tier`."""
    path = pages.executed(root, page, tier)
    if not path.exists():
        pages.stop(f"page {page} has not been executed at tier {tier}: run `make book TIER={tier}`")
    notebook, ran = pages.load(root, page, tier), pages.code_cells(nbformat.read(path, as_version=4))
    shown = pages.code_cells(notebook)
    if [c.source for c in shown] != [c.source for c in ran]:
        pages.stop(f"page {page} was executed with other code: run `make book TIER={tier}`")
    for cell, old in zip(shown, ran, strict=True):
        cell.outputs, cell.execution_count = old.outputs, old.execution_count
    return execute.normalise(notebook, root)


def weave_all(root: Path, tier: str, chapters: Path) -> None:
    """Write every page to `chapters`; files of pages that no longer exist go, unchanged files stay."""
    chapters.mkdir(parents=True, exist_ok=True)
    names = pages.pages(root)
    for old in chapters.iterdir():
        if old.stem not in names:
            old.unlink()
    for page in names:
        text = nbformat.writes(weave(root, page, tier)) + "\n"
        path = chapters / f"{page}.ipynb"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
