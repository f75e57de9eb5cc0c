"""Damaged DICOM files end in a volume or in one line of refusal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fuzz_dicom
import harness
import numpy as np
import pytest

FUZZER = Path(fuzz_dicom.__file__)
Write = Callable[..., list[Path]]


def test_a_few_hundred_damaged_slices(write_series: Write, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 1000, (1, 8, 8)).astype(np.uint16)
    whole = write_series(array, Modality="PT", Units="BQML")[0].read_bytes()
    source = harness.Source("damaged", whole)
    results = set()
    for number in range(300):
        content = harness.damaged(whole, np.random.default_rng([7, number]))
        (tmp_path / "damaged").write_bytes(content)
        reader = fuzz_dicom.READERS["images"]
        results.add(harness.attempt(reader, tmp_path / "damaged", source))
    assert results == {"answered", "refused"}


@pytest.mark.slow
def test_two_thousand_damaged_real_files(real_data: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(FUZZER), "--reader", "images", "--inputs", "2000", "--seed", "99"],
        capture_output=True, text=True, env={"TFSEG_TEST_DATA": str(real_data)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "2000 inputs" in done.stdout


def test_a_few_hundred_damaged_segmentations_and_structure_sets(tmp_path: Path) -> None:
    reader, results = fuzz_dicom.READERS["labels"], set()
    for number in range(100):
        source = fuzz_dicom.written()[number % 4]
        rng = np.random.default_rng([6, number])
        (tmp_path / "damaged.dcm").write_bytes(reader.damage(source.content, rng))
        results.add(harness.attempt(reader, tmp_path / "damaged.dcm", source))
    assert results == {"answered", "refused"}
