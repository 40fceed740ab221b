"""The schedule: execute the pages whose code, values, modules, claims or lock changed, then build the site.

    python -m doit -f tools/dodo.py -d . tier=smoke into=results/smoke-site

Two pages run at once, each with half of the cores: while one starts or draws a figure, the other computes.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import joblib  # noqa: E402
from doit import get_var  # noqa: E402
from doit.action import CmdAction  # noqa: E402
from doit.reporter import ZeroReporter  # noqa: E402

from tools import pages  # noqa: E402

TIER = pages.check_tier(get_var("tier", "book"))
INTO = get_var("into", ".")
WHERE = ["--scheduler", get_var("scheduler")] if get_var("scheduler") else []
JOBS = os.environ.get("MRPBOOK_JOBS") or str(joblib.cpu_count())  # processes in all
if not JOBS.isdecimal() or int(JOBS) < 1:
    pages.stop(f"MRPBOOK_JOBS = {JOBS!r}: expected an integer >= 1")
AT_ONCE = min(2, int(JOBS))  # pages
# chapters 4, 5 and 7 read draws that chapter 3 simulates, 5 some of 4's, and chapter 8 the networks of its first page: at the
# same time both would simulate them
AFTER = {"04-one-semantic-per-kernel": ["03-kernel-capture"], "05-downstream": ["04-one-semantic-per-kernel"],
         "07-labels": ["03-kernel-capture"], "08-evidence": ["08-real-images"], "08-seeds": ["08-real-images"]}
ALONE = "how-fast"  # it measures times: last, when nothing else runs
# a page that must wait when its turn comes goes to the end of the queue; in this order none has to, and no core idles
LONG_BEFORE = ["03-kernel-capture", "08-real-images"]
WELL_AFTER = ["04-one-semantic-per-kernel", "07-level", "07-what-teaches", "05-downstream"]


class Reporter(ZeroReporter):
    """A line for each page that needs no execution; the other lines come from the tools themselves."""

    def skip_uptodate(self, task):
        if task.name.startswith("execute:"):
            self.write(f"{task.name.removeprefix('execute:'):<28} unchanged\n")


(ROOT / "results").mkdir(exist_ok=True)
DOIT_CONFIG = {
    "default_tasks": ["site"], "continue": True, "verbosity": 2, "reporter": Reporter,
    "num_process": AT_ONCE, "par_type": "thread", "dep_file": str(ROOT / "results" / "doit.json"), "backend": "json",
}


def in_turn(every: list[str]) -> list[str]:
    """Pages in the order in which they start: what others read; what needs nothing, to the end of chapter 6; the rest."""
    early = [page for page in every if page not in LONG_BEFORE + WELL_AFTER and page < "07"]
    return LONG_BEFORE + early + WELL_AFTER + [page for page in every if page not in LONG_BEFORE + WELL_AFTER + early]


def task_execute():
    every = in_turn(pages.pages(ROOT))
    for page in every:
        jobs = JOBS if page == ALONE else str(int(JOBS) // AT_ONCE)
        before = [other for other in every if other != ALONE] if page == ALONE else AFTER.get(page, [])
        yield {
            "name": page,
            "actions": [CmdAction([sys.executable, "-m", "tools.execute", page, "--tier", TIER, *WHERE], shell=False,
                                  env=os.environ | {"MRPBOOK_JOBS": jobs})],
            "uptodate": [lambda page=page: pages.is_fresh(ROOT, page, TIER)],
            "task_dep": [f"execute:{other}" for other in before],
        }


def task_site():
    return {
        "actions": [[sys.executable, "-m", "tools.site", "--tier", TIER, "--into", INTO]],
        "task_dep": ["execute"],
    }
