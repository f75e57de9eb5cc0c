"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before any test imports TensorFlow: what the command line sets, and quiet logs.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

# The table that `make conformance` ends with.
pytest_plugins = ["matrix"]

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans beside the checkout; tests that ask for it skip without it."""
    folder = Path(os.environ.get("TFSEG_TEST_DATA", REAL_DATA))
    if not folder.is_dir():
        pytest.skip(f"real scans are absent: no folder {folder} (set TFSEG_TEST_DATA)")
    return folder
