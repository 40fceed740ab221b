"""Execute one page at one tier: python -m tools.execute 03-kernel-capture --tier smoke

With --scheduler tcp://host:8786 the workers of that Dask scheduler compute the draws (mrpbook.sweep).

Writes results/executed/<tier>/<page>.ipynb (only if every cell ran) and results/logs/<page>.log, which holds
cell times, bars and messages while the page runs.
"""

import argparse
import json
import logging
import os
import re
import sys
import time
from pathlib import Path

import nbformat

from tools import pages

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def environment(root: Path) -> dict[str, str]:
    """For the kernel: one level of parallelism, no settings of the user, the same bytes each time."""
    import joblib

    return {
        "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "MRPBOOK_JOBS": os.environ.get("MRPBOOK_JOBS", str(joblib.cpu_count())),
        "SOURCE_DATE_EPOCH": "0", "TQDM_MININTERVAL": "5", "PYTHONHASHSEED": "0",
        "IPYTHONDIR": str(root / "results" / "ipython"), "JUPYTER_PREFER_ENV_PATH": "1",
    }


def normalise(notebook, root: Path):
    """Remove what differs between two equal runs: times, ids, addresses, bars, pieces of output."""
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i:03d}"
        cell.metadata = {k: v for k, v in cell.metadata.items() if k not in ("papermill", "execution")}
        if cell.cell_type != "code":
            continue
        outputs = []
        for out in cell.outputs:
            if out.output_type == "stream":
                out.text = _clean(out.text, root, warnings_only=out.name == "stderr")
                if outputs and outputs[-1].output_type == "stream" and outputs[-1].name == out.name:
                    outputs[-1].text += out.text
                elif out.text:
                    outputs.append(out)
            else:
                for kind, data in out.get("data", {}).items():
                    if kind.startswith("text/") and isinstance(data, str):
                        out.data[kind] = _clean(data, root)
                outputs.append(out)
        cell.outputs = outputs
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
    }
    return notebook


def _clean(text: str, root: Path, warnings_only: bool = False) -> str:
    if warnings_only:  # stderr holds bars, which are in the log, and warnings, which nobody may hide
        text = "".join(line + "\n" for line in re.split(r"[\r\n]+", text) if "Warning" in line)
        text = re.sub(r"\S*ipykernel_\d+/\d+\.py", "cell", text)  # also an unfinished bar right before the path
    if "ipykernel_" in text:
        # only path characters before the name: \S* would rescan a figure's base64 from every position
        text = re.sub(r"(?:/[\w.-]+)*/ipykernel_\d+/\d+\.py", "cell", text)
    text = re.sub(r" at 0x[0-9a-f]{6,}", "", text)
    return text.replace(f"{root}/", "")


def _line(path: Path, cell_source: str) -> str:
    """`notebooks/page.md:57`, so far as the cell is found in the file."""
    at = path.read_text().find(cell_source)
    return f":{path.read_text()[:at].count(chr(10)) + 1}" if at >= 0 else ""


def run(root: Path, page: str, tier: str) -> None:
    """Execute `page`; ends with one line on stderr if it cannot be done."""
    notebook = pages.load(root, page, tier)
    made_from = {"key": pages.key(root, page, notebook), "raw": pages.raw(root, page)}
    began = time.time()
    log_path = root / "results" / "logs" / f"{page}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    os.environ.update(environment(root))
    say = os.dup(2)  # the kernel writes to file descriptor 2, which becomes the log
    shown = log_path.relative_to(root)
    print(f"{page:<28} runs; follow it with: tail -f {shown}", flush=True)
    with open(log_path, "w", buffering=1) as log:
        log.write(f"{page}, tier {tier}\n")
        os.dup2(log.fileno(), 2)
        try:
            result = _papermill(notebook, root, log)
        except _errors() as error:
            os.dup2(say, 2)
            log.write(COLOUR.sub("", "\n".join(getattr(error, "traceback", None) or [str(error)])) + "\n")
            _explain(root, page, notebook, error, shown)
        finally:
            os.dup2(say, 2)
    _save(root, page, tier, normalise(result, root), made_from, time.time() - began)
    warned = sum(out.get("name") == "stderr" for c in pages.code_cells(result) for out in c.outputs)
    note = f"; {warned} cells with warnings" if warned else ""
    print(f"{page:<28} done in {time.time() - began:.1f} s{note}", flush=True)


def _errors() -> tuple:
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillException

    return PapermillException, DeadKernelError, RuntimeError


def _papermill(notebook, root: Path, log):
    import papermill

    handler = logging.StreamHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    handler.addFilter(lambda record: bool(str(record.msg).strip()))
    logger = logging.getLogger("papermill")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    try:
        return papermill.execute_notebook(
            notebook, None, cwd=root / "notebooks", kernel_name="python3", progress_bar=False, log_output=True
        )
    finally:
        logger.removeHandler(handler)


def _explain(root, page, notebook, error, log):
    index = getattr(error, "cell_index", None)
    if index is None:
        pages.stop(f"FAILED page {page}: {' '.join(str(error).split())[:200]}; log: {log}")
    source = error.source.strip()
    number = sum(c.cell_type == "code" for c in notebook.cells[: index + 1])
    where = f"notebooks/{page}.md{_line(pages.source(root, page), source)}"
    what = " ".join(COLOUR.sub("", f"{error.ename}: {error.evalue}").split())[:300]
    first = source.splitlines()[0]
    pages.stop(f"FAILED page {page}, code cell {number} ({where}, `{first}`): {what}; log: {log}")


def _save(root, page, tier, result, made_from, seconds):
    path = pages.executed(root, page, tier)
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [claim["id"] for claim in pages.claims(root, page)]
    settled = [name for name in ids if (root / "results" / "claims" / tier / f"{name}.json").exists()]
    temporary = path.with_suffix(".part")
    nbformat.write(result, temporary)
    temporary.replace(path)
    record = made_from | {"seconds": round(seconds, 1), "claims": settled}
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page")
    parser.add_argument("--tier", default="book")
    parser.add_argument("--scheduler", help="tcp://host:8786: the workers of this Dask scheduler compute the draws")
    given = parser.parse_args(arguments)
    if given.scheduler:
        os.environ["MRPBOOK_SCHEDULER"] = given.scheduler  # the kernel inherits it
    try:
        run(pages.ROOT, given.page, given.tier)
    except KeyboardInterrupt:
        sys.exit(f"stopped page {given.page}; finished simulation cells are kept")


if __name__ == "__main__":
    main()
