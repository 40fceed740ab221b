"""The README: its example runs, its commands and paths exist."""
import re
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
CODE = re.search(r"^```python\n(.*?)^```", README, re.M | re.S).group(1)


@pytest.fixture(scope="module")
def run():
    began, names = time.process_time(), {}
    exec(compile(CODE, "README.md", "exec"), names)
    return names, time.process_time() - began


def accuracy(names, network):
    return float(network.correct(names["test"].X, names["test"].y).float().mean())


def test_the_example_costs_less_than_20_seconds(run):
    assert run[1] < 20


def test_the_example_captures_every_semantic(run):
    assert bool(run[0]["held"].semantics.all())


def test_the_example_ranks_pretrained_kernels_above_untrained_ones_and_above_supervised_learning(run):
    names, _ = run
    pretrained = accuracy(names, names["heads"]["pretrained"])
    assert pretrained > accuracy(names, names["heads"]["untrained"]) + 0.02
    assert pretrained > accuracy(names, names["supervised"]) + 0.02


@pytest.mark.parametrize("name", ["k", "views", "C_p", "theta", "K"])
def test_the_example_shows_the_parameters_a_reader_will_change(name):
    assert re.search(rf"\b{name}=", CODE)


def test_the_commands_of_the_readme_are_targets_of_the_makefile():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:^ {4}|`)make (\w+)", README, re.M))
    assert {"book", "test", "claims"} <= named <= targets


def paths():
    block = README.split("## Map", 1)[1].split("## ", 1)[0]
    return re.findall(r"^ {4}(\S+)  ", block, re.M) + re.findall(r"\]\((?!https)([^)]+)\)", README)


@pytest.mark.parametrize("path", [path for path in paths() if path != "results/"])
def test_a_path_named_in_the_readme_exists(path):
    assert (ROOT / path).exists()
