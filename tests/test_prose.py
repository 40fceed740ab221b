"""The site's hand-written pages say what the package does."""
import doctest
import inspect
import re
from pathlib import Path

import pytest

import mrpbook as mb
from mrpbook.finetune import finetune, fit_head
from mrpbook.network import initial_kernels
from mrpbook.studies import capture, downstream

BOOK = Path(__file__).resolve().parents[1] / "book"
DEVIATIONS, GLOSSARY = (BOOK / "deviations.md").read_text(), (BOOK / "glossary.md").read_text()


def default(function, name):
    return inspect.signature(function).parameters[name].default


MODEL, ACT = mb.MultiView(), mb.SmoothedReLU()
VALUES = {
    "$k$": MODEL.k, "views": MODEL.views, "$d$": MODEL.d, "$P$": MODEL.P, "$C_p$": MODEL.C_p,
    "own": list(MODEL.own), "off": list(MODEL.off), "$s$": MODEL.s, "$\\rho$": MODEL.rho,
    "$\\Gamma$": MODEL.Gamma, "$\\gamma$": MODEL.gamma,
    "noise": [default(capture.race, "noise"), default(downstream.error_law, "noise")],
    "$\\mu$": default(capture.setting, "mu"), "$N$": default(capture.setting, "N"),
    "labels": max(default(downstream.heads, "labels")), "$K$": default(capture.race, "K"),
    "$m$": default(downstream.supervised, "m_per_class"), "$q$": ACT.q, "$\\varrho$": ACT.varrho,
    "$\\sigma_0$": default(initial_kernels, "sigma_0"), "$\\theta$": mb.NormalisedTeacher().theta,
    "$A$": mb.NormalisedTeacher().A, "$\\tau$": mb.RescaledTeacher().tau, "$\\eta$": default(capture.race, "lr"),
}
GLOSSARY_NAMES = {"$l$, views": "views", "$w_r$, $K$": "$K$", "$\\sigma_p$": "noise"}


def rows(text, columns):
    found = re.findall(r"^\| (.*) \|$", text, re.M)
    return [cells for row in found if len(cells := [c.strip() for c in row.split(" | ")]) == columns]


def numbers(text):
    return [float(x) for x in re.findall(r"\d+(?:\.\d+)?", text)]


def as_list(value):
    return [float(v) for v in value] if isinstance(value, list) else [float(value)]


def constants():
    table = DEVIATIONS.split("(deviations-constants)=")[1].split("(deviations-order)=")[0]
    return {name: here for name, _, here, _ in rows(table, 4)[2:]}


@pytest.mark.parametrize("name", VALUES)
def test_a_constant_on_the_deviations_page_is_the_one_the_code_uses(name):
    assert numbers(constants()[name]) == as_list(VALUES[name])


def test_every_constant_on_the_deviations_page_is_compared_with_the_code():
    assert set(constants()) == set(VALUES)


def test_the_letters_of_the_glossary_have_the_values_the_code_uses():
    letters = {GLOSSARY_NAMES.get(row[0], row[0]): row[2] for row in rows(GLOSSARY, 4)[2:]}
    assert set(VALUES) - set(letters) == {"labels"}
    for name in set(VALUES) & set(letters):
        assert numbers(letters[name]) == as_list(VALUES[name]), name


def test_other_numbers_of_the_deviations_page_are_those_of_the_code():
    assert f"gets {default(downstream.supervised, 'N')} |" in DEVIATIONS
    assert f"| ridge in the head | {default(fit_head, 'ridge'):.4f};" in DEVIATIONS
    rates = downstream.RATE, default(finetune, "lr"), default(finetune, "lr_head")
    assert "supervised {:g}; fine-tuning {:g} for kernels, {:g} for the head".format(*rates) in DEVIATIONS
    assert f"at loss {default(downstream.supervised, 'loss'):g} |" in DEVIATIONS


def test_the_calculations_on_the_deviations_page_give_what_it_says():
    blocks = re.findall(r"^```python\n(.*?)^```", DEVIATIONS, re.M | re.S)
    runner = doctest.DocTestRunner(verbose=False)
    for block in blocks:
        examples = doctest.DocTestParser().get_doctest(block, {}, "deviations.md", None, None)
        runner.run(examples, out=lambda text: None)
    assert blocks and runner.tries > 0 and runner.failures == 0
