"""What tests that build networks at their published widths need."""

import gc

import keras
import pytest


@pytest.fixture(autouse=True, scope="session")
def _keep_libraries():
    """A million objects of imported modules, which no collection below need look at again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _forget_networks():
    """Keras keeps the graphs of everything that was built; large networks would fill memory."""
    yield
    keras.backend.clear_session()
    gc.collect()
