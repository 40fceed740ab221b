"""The schedule: execute the pages whose code, values, modules, claims or lock changed, then build the site.

    python -m doit -f tools/dodo.py -d . tier=smoke into=results/smoke-site
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from doit import get_var  # noqa: E402
from doit.reporter import ZeroReporter  # noqa: E402

from tools import pages  # noqa: E402

TIER = pages.check_tier(get_var("tier", "book"))
INTO = get_var("into", ".")
WHERE = ["--scheduler", get_var("scheduler")] if get_var("scheduler") else []


class Reporter(ZeroReporter):
    """A line for each page that needs no execution; the other lines come from the tools themselves."""

    def skip_uptodate(self, task):
        if task.name.startswith("execute:"):
            self.write(f"{task.name.removeprefix('execute:'):<28} unchanged\n")


(ROOT / "results").mkdir(exist_ok=True)
DOIT_CONFIG = {
    "default_tasks": ["site"], "continue": True, "verbosity": 2, "reporter": Reporter,
    "par_type": "thread", "dep_file": str(ROOT / "results" / "doit.json"), "backend": "json",
}


def task_execute():
    for page in pages.pages(ROOT):
        yield {
            "name": page,
            "actions": [[sys.executable, "-m", "tools.execute", page, "--tier", TIER, *WHERE]],
            "uptodate": [lambda page=page: pages.is_fresh(ROOT, page, TIER)],
        }


def task_site():
    return {
        "actions": [[sys.executable, "-m", "tools.site", "--tier", TIER, "--into", INTO]],
        "task_dep": ["execute"],
    }
