"""Sphinx extension: the ledger's verdicts on the site, read from results/claims.json when the site is built.

    {verdict}`capture.all-semantics`    a badge with verdict, n and interval that leads to the ledger page
    ```{ledger}```                      every claim: statement, source, rule, estimate, verdict, control
    ```{ledger-summary}```              how many claims stand as expected, and those that do not
    ```{paper-tier} 06-where-it-stops```  what the committed run with large samples gave, beside this site's

An id that is not in claims.json is a warning, and the site is built with warnings as errors.
"""

import json
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from tools.claims import interval, summary

log = logging.getLogger(__name__)


def load(app):
    path = Path(app.confdir) / app.config.verdicts_path
    if not path.exists():
        log.warning("no verdicts at %s: run `make book`", app.config.verdicts_path, type="verdicts")
        app.env.verdicts = {}
        return
    app.env.verdicts = {entry["id"]: entry for entry in json.loads(path.read_text())}
    files = sorted((Path(app.confdir) / "results" / "paper").glob("*.json"))
    app.env.paper_tier = {file.stem: json.loads(file.read_text()) for file in files}


def word(entry: dict) -> str:
    """The verdict in words; colour only repeats them."""
    verdict, suffix = entry["verdict"], ""
    if not entry["as_expected"]:
        suffix = f", {entry['expected']} expected"
    elif verdict == entry["expected"] == "fails":
        suffix = ", as expected"
    return verdict + suffix + (", stale" if entry["stale"] else "")


def style(entry: dict) -> str:
    if entry["verdict"] in ("undecided", "not run"):
        return "open"
    return "good" if entry["as_expected"] else "bad"


def link(name: str, text: str) -> nodes.Node:
    """A reference to the claim's row on the ledger page, checked by Sphinx as any other."""
    ref = addnodes.pending_xref("", refdomain="std", reftype="ref", reftarget=f"claim-{name}".lower(),
                                refexplicit=True, refwarn=True)
    ref += nodes.inline("", text, classes=["std", "std-ref"])
    return ref


def badge(entry: dict, figures: bool = True) -> nodes.Node:
    text = word(entry)
    if figures and entry["estimate"] is not None:
        text += f" · n = {entry['n']} · {interval(entry)}"
    if figures and entry["tier"] != "book":
        text += f" · {entry['tier']} tier"
    return nodes.inline("", "", link(entry["id"], text), classes=["verdict-badge", f"verdict-{style(entry)}"])


def rule_text(rule: dict) -> str:
    """The decision rule as a phrase."""
    kind, get = rule["kind"], rule.get
    if kind == "mean":
        bounds = [f"at least {get('low')}"] * (get("low") is not None)
        text = "mean " + " and ".join(bounds + [f"at most {get('high')}"] * (get("high") is not None))
    elif kind == "equivalence":
        text = f"difference within ±{get('margin')}"
    elif kind == "maximal error":
        text = f"largest error at most {get('at_most')}"
    elif kind == "ordering":
        text = f"better by at least {get('at_least')}"
    else:
        side = "at least" if get("at_least") is not None else "at most"
        text = f"{kind} {side} {get('at_least', get('at_most'))}"
    return text + (" inside the window, and not outside it" if get("window") else "")


class VerdictRole(SphinxRole):
    def run(self):
        entry = self.env.verdicts.get(self.text)
        if entry is None:
            at = self.get_location()
            log.warning("unknown claim %r in {verdict}", self.text, location=at, type="verdicts")
            return [nodes.inline("", f"unknown claim {self.text}")], []
        return [badge(entry)], []


class Ledger(SphinxDirective):
    """The table of all claims, one per page of the book; each row is the target of the badges."""

    titles = ("Claim", "Rule", "Result", "Verdict", "Control")
    widths = (38, 16, 16, 14, 16)

    def run(self):
        entries = list(self.env.verdicts.values())
        made = [nodes.paragraph("", f"Results of the {entries[0]['tier']} tier.")] if entries else []
        for page in dict.fromkeys(entry["page"] for entry in entries):
            heading = nodes.rubric()
            xref = addnodes.pending_xref("", refdomain="std", reftype="doc", reftarget=f"/chapters/{page}",
                                         refexplicit=False, refwarn=True)
            heading += xref
            xref += nodes.inline("", page)
            table = nodes.table(classes=["ledger"])
            group = nodes.tgroup(cols=len(self.titles))
            group += [nodes.colspec(colwidth=width) for width in self.widths]
            group += nodes.thead("", self.row([[nodes.Text(title)] for title in self.titles]))
            group += nodes.tbody("", *[self.claim(entry) for entry in entries if entry["page"] == page])
            table += group
            made += [heading, nodes.container("", table, classes=["wide", "full-width"])]
        return made

    def row(self, cells) -> nodes.row:
        return nodes.row("", *[nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells])

    def text(self, source) -> list:
        parsed, messages = self.state.inline_text(str(source), self.lineno)
        return parsed + messages

    def claim(self, entry: dict) -> nodes.row:
        name = entry["id"]
        target = nodes.target("", "", ids=[nodes.make_id(f"claim-{name}")], names=[f"claim-{name}".lower()])
        self.state.document.note_explicit_target(target)
        control = str(entry.get("control") or "")
        known = control in self.env.verdicts
        result = "-" if entry["estimate"] is None else f"{interval(entry)}, n = {entry['n']}"
        return self.row([
            [target, *self.text(entry["statement"]), nodes.Text(" "), nodes.literal("", name),
             nodes.Text(f" {entry['tag']}: "), *self.text(entry["source"])],
            [nodes.Text(rule_text(entry["rule"]))],
            [nodes.Text(result)],
            [badge(entry, figures=False)],
            [link(control, control)] if known else self.text(control),
        ])


class PaperTier(Ledger):
    """The claims of one page at the paper tier, from book/results/paper."""

    required_arguments = 1
    titles = ("Claim", "This site", "Large samples", "Verdict")
    widths = (46, 20, 20, 14)

    def run(self):
        page = self.arguments[0]
        found = getattr(self.env, "paper_tier", {}).get(page)
        if found is None:
            return [nodes.paragraph("", f"Not run yet: make paper PAGES={page}")]
        group = nodes.tgroup(cols=len(self.titles))
        group += [nodes.colspec(colwidth=width) for width in self.widths]
        group += nodes.thead("", self.row([[nodes.Text(title)] for title in self.titles]))
        group += nodes.tbody("", *[self.pair(large) for large in found["claims"]])
        table = nodes.table("", group, classes=["ledger"])
        machine = found["hardware"]
        text = (f"Large samples: made on {found['made_at']}, {machine['cpu']}, {machine['cores']} cores, "
                f"GPU: {machine['gpu'] or 'none'}, code key {found['code_key'][:12]}. Again, on your machine: ")
        again = nodes.paragraph("", text, nodes.literal("", f"make paper PAGES={page}"))
        return [nodes.container("", table, classes=["wide", "full-width"]), again]

    def pair(self, large: dict) -> nodes.row:
        name = large["id"]
        small = self.env.verdicts.get(name)
        known = [link(name, name)] if small else [nodes.literal("", name)]
        here = f"{interval(small)}, n = {small['n']}" if small and small["estimate"] is not None else "-"
        mark = nodes.inline("", word(large | {"stale": False}), classes=["verdict-badge", f"verdict-{style(large)}"])
        return self.row([known, [nodes.Text(here)], [nodes.Text(f"{interval(large)}, n = {large['n']}")], [mark]])


class LedgerSummary(SphinxDirective):
    def run(self):
        entries = list(self.env.verdicts.values())
        if not entries:
            return []
        controls = sum(entry["expected"] == "fails" for entry in entries)
        text = f"{summary(entries)}. Expected to fail: {controls} of them, the controls and limits."
        box = nodes.container(classes=["ledger-summary"])
        box += nodes.paragraph("", text)
        for entry in entries:
            if not entry["as_expected"]:
                box += nodes.paragraph("", "", nodes.literal("", entry["id"]), nodes.Text(" "), badge(entry))
        return [box]


def setup(app):
    app.add_config_value("verdicts_path", "../results/claims.json", "env")
    app.connect("builder-inited", load)
    app.add_role("verdict", VerdictRole())
    app.add_directive("ledger", Ledger)
    app.add_directive("ledger-summary", LedgerSummary)
    app.add_directive("paper-tier", PaperTier)
    return {"parallel_read_safe": True}
