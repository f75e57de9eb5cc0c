"""Fixtures that keep memory flat where tests build many networks, some at published widths."""

import gc

import keras
import pytest


@pytest.fixture(autouse=True, scope="session")
def keep_libraries():
    """A million objects of imported modules, which no collection below need look at again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def forget_networks():
    """Keras keeps the graphs of everything that was built."""
    yield
    keras.backend.clear_session()
    gc.collect()
