"""What tests that build networks at their published widths need."""

import gc

import keras
import pytest


@pytest.fixture(autouse=True)
def _forget_networks():
    """Keras keeps the graphs of everything that was built; large networks would fill memory."""
    yield
    keras.backend.clear_session()
    gc.collect()
