"""Shapes and types of everything annotated in mrpbook are checked in every test."""

import jaxtyping
import pytest
import torch
from beartype import BeartypeConf, beartype
from hypothesis import settings

# an int is welcome where a float is annotated, as type checkers read it (PEP 484)
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
jaxtyping.install_import_hook("mrpbook", "conftest.checked")

torch.set_num_threads(1)
settings.register_profile("book", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("book")


@pytest.fixture
def unchecked():
    """No type checks: what a user sees who passes a wrong shape."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
