"""Sphinx extension: MathJax as one file of the site itself.

The package sphinx-mathjax-offline carries MathJax 3.2.2; used as an extension it copies 24 MB, of which the
site needs one file. (Jupyter Book would load a file in book/_static on every page, so it cannot lie there.)
"""

import shutil
from importlib.metadata import distribution
from pathlib import Path

FILE = "mathjax/tex-svg-full.js"


def copy(app, error):
    if error is None and app.builder.format == "html":
        source = distribution("sphinx-mathjax-offline").locate_file(f"sphinx-mathjax-offline/static/{FILE}")
        target = Path(app.outdir) / "_static" / FILE
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def setup(app):
    app.connect("config-inited", lambda app, config: setattr(config, "mathjax_path", FILE))
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True}
