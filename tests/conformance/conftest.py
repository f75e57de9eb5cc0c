"""What the long list of networks needs of every test."""

import gc

import keras
import pytest


@pytest.fixture(autouse=True)
def _forget_networks():
    """Keras keeps the graphs of everything that was built; over 96 networks they fill memory."""
    yield
    keras.backend.clear_session()
    gc.collect()
