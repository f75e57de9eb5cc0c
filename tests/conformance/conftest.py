"""What the long list of networks needs of every test."""

import gc
import os

import keras
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before TensorFlow starts its threads: every worker has one core.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _keep_libraries():
    """A million objects of imported modules, which no collection below need look at again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _forget_networks():
    """Keras keeps the graphs of everything that was built; over 96 networks they fill memory."""
    yield
    keras.backend.clear_session()
    gc.collect()
