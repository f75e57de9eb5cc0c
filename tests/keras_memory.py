"""Fixtures that keep memory flat where tests build many networks, some at published widths."""

import gc

import keras
import pytest
from tensorflow.python.framework import ops


@pytest.fixture(autouse=True, scope="session")
def keep_libraries():
    """A million objects of imported modules, which no collection below need look at again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def forget_networks():
    """Keras keeps everything that was built, TensorFlow every graph with a gradient of our own."""
    yield
    registered = ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith("CustomGradient-")]:
        del registered[name]
    keras.backend.clear_session()  # collects the garbage, too
