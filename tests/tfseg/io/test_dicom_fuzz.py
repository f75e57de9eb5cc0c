"""Damaged DICOM files end in a volume or in one line of refusal."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FUZZER = Path(__file__).resolve().parents[2] / "fuzz/fuzz_dicom.py"
Write = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_dicom", FUZZER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_few_hundred_damaged_slices(
    write_series: Write, tmp_path: Path, fuzzer: ModuleType
) -> None:
    array = np.random.default_rng(0).integers(0, 1000, (1, 8, 8)).astype(np.uint16)
    whole = write_series(array, Modality="PT", Units="BQML")[0].read_bytes()
    results = set()
    for number in range(300):
        content = fuzzer.damaged(whole, np.random.default_rng([7, number]))
        (tmp_path / "damaged").write_bytes(content)
        results.add(fuzzer.read_all(tmp_path / "damaged"))
    assert results == {"volume", "refused"}


@pytest.mark.slow
def test_two_thousand_damaged_real_files(real_data: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(FUZZER), "--inputs", "2000", "--seed", "99"],
        capture_output=True, text=True, env={"TFSEG_TEST_DATA": str(real_data)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "2000 inputs" in done.stdout
