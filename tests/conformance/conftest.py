"""What the long list of networks needs of every test."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before TensorFlow starts its threads: every worker has one core.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

from tests.keras_memory import forget_networks, keep_libraries

__all__ = ["forget_networks", "keep_libraries"]
