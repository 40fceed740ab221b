"""Build the site of one tier: python -m tools.site --tier book [--into results/smoke-site]

Weaves the pages, merges the claims and builds with warnings as errors into a temporary folder. Only a site
that passes check_site.py takes the place of the old one.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools import check_site, claims, pages, weave

BUILT = ("_build", "chapters", "__pycache__")


def stage(root: Path, home: Path) -> Path:
    """The folder with the site's source: book/, or for another home a fresh copy of it."""
    source = home / "book"
    if home != root:
        for path in source.iterdir() if source.exists() else ():
            if path.name not in BUILT:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(root / "book", source, ignore=shutil.ignore_patterns(*BUILT), dirs_exist_ok=True)
    return source


def fingerprint(root: Path, tier: str, merged: Path) -> str:
    """A hash of all that the site is made from, and of the merged claims."""
    results = root / "results"
    folders = [root / "book", root / "notebooks", root / "mrpbook", root / "tools",
               results / "executed" / tier, results / "claims" / tier]
    files = [p for folder in folders for p in sorted(folder.rglob("*"))]
    files = [p for p in files if p.is_file() and not set(BUILT) & set(p.relative_to(root).parts)]
    digest = hashlib.sha256(tier.encode())
    for path in [*files, root / "constraints.txt", merged]:
        digest.update(f"{path}\0".encode() + (path.read_bytes() if path.exists() else b""))
    return digest.hexdigest()


def sphinx(root: Path, source: Path, output: Path, log: Path) -> None:
    """Run jupyter-book; ends with the warnings if there is one."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source),
               "--all", "-n", "-W", "--keep-going", "--path-output", str(output)]
    environment = os.environ | {"PYTHONPATH": str(root), "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text)
    if done.returncode:
        lines = [line.replace(f"{source}/", "") for line in text.splitlines()
                 if re.search(r"\b(WARNING|ERROR|CRITICAL)\b|Error:|exception", line)]
        for line in list(dict.fromkeys(lines))[:20]:  # 10000 * cell + line is how MyST-NB counts
            print("  " + re.sub(r"chapters/(\S+)\.ipynb:(\d+)\d{4}:", r"notebooks/\1.md, cell \2:", line))
        pages.stop(f"FAILED site: {len(set(lines))} warnings or errors; log: {log.relative_to(root)}")


def swap(new: Path, old: Path) -> None:
    """Put `new` in the place of `old`; two renames, so that a half-copied site is never there."""
    aside = old.with_name(old.name + ".old")
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)


def build(root: Path, tier: str, home: Path) -> Path:
    """The site of `tier`, in `home`/book/_build/html."""
    began, built, merged = time.time(), home / "book" / "_build", home / "results" / "claims.json"
    site, stamp = built / "html", built / "made-from"
    if home == root:  # what `make claims` reports on; the tests' site leaves it alone
        (root / "results" / "last_tier").write_text(tier + "\n")
    if site.exists() and stamp.exists() and stamp.read_text() == fingerprint(root, tier, merged):
        entries = json.loads(merged.read_text())
        print(f"{'site':<28} unchanged")
    else:
        source = stage(root, home)
        weave.weave_all(root, tier, source / "chapters")
        entries = claims.write(root, tier, home)
        make(root, source, site)
        stamp.write_text(fingerprint(root, tier, merged))
        print(f"{'site':<28} built and checked in {time.time() - began:.1f} s")
    print(f"{'claims':<28} {claims.summary(entries)}")
    return site


def make(root: Path, source: Path, site: Path) -> None:
    """Build into a temporary folder, check, and only then replace `site`."""
    new = site.with_name("next")
    sphinx(root, source, new, root / "results" / "logs" / "site.log")
    wrong = check_site.problems(new / "_build" / "html", root)
    if wrong:
        print("\n".join(f"  {line}" for line in wrong[:20]))
        pages.stop(f"FAILED site: {len(wrong)} faults found by tools/check_site.py; the rejected site is in "
                   f"{new.relative_to(root)}{', the old one stays' if site.exists() else ''}")
    site.with_name("made-from").unlink(missing_ok=True)
    swap(new / "_build" / "html", site)
    shutil.rmtree(new)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tier", default="book")
    parser.add_argument("--into", default=".", help="another home for book/ and results/claims.json")
    given = parser.parse_args()
    home = (pages.ROOT / given.into).resolve()
    build(pages.ROOT, pages.check_tier(given.tier), home)
