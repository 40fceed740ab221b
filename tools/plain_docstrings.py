"""Sphinx extension: show docstrings as the plain text that they are, not as reStructuredText.

|w|, x_p and a * b are mathematics in our docstrings. Paragraphs flow; a paragraph with indented lines keeps
its lines; `names` are set as code.
"""

import re


def plain(app, what, name, obj, options, lines):
    out = []
    for block in "\n".join(lines).strip().split("\n\n"):
        rows = block.split("\n")
        if any(row.startswith(" ") for row in rows):
            out += ["::", "", *("    " + row for row in rows), ""]
        else:
            out += [_escape(row.strip()) for row in rows] + [""]
    lines[:] = out


def _escape(text: str) -> str:
    """Escape all but `names`, which become literals; a name must not touch a letter in reStructuredText."""
    parts = re.split(r"`([^`]+)`", text)
    for i, part in enumerate(parts):
        parts[i] = rf"\ ``{part}``\ " if i % 2 else re.sub(r"([\\*_|`<>\[\]])", r"\\\1", part)
    line = "".join(parts)
    return "\\" + line if re.match(r"([-+.:=~#^\"']|\d+\.|\(?[a-z]\))", line) else line


def skip_fields(app, what, name, obj, skip, options):
    """Fields of a NamedTuple are described in its docstring."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("autodoc-process-docstring", plain)
    return {"parallel_read_safe": True}
