"""A few hundred damaged volumes; `make fuzz` throws many more."""

from __future__ import annotations

from pathlib import Path

import fuzz_volumes
import harness
import numpy as np
import pytest


@pytest.mark.parametrize("name", fuzz_volumes.READERS)
def test_a_few_hundred_damaged_volumes(tmp_path: Path, name: str) -> None:
    reader = fuzz_volumes.READERS[name]
    sources = reader.sources()
    results = set()
    for number in range(300):
        rng = np.random.default_rng([5, number])
        source = sources[number % len(sources)]
        path, _ = harness.write_damaged(tmp_path, source, reader, rng)
        results.add(harness.attempt(reader, path, source))
    assert results == {"answered", "refused"}


def test_good_files_are_read(tmp_path: Path) -> None:
    for reader in fuzz_volumes.READERS.values():
        for source in reader.sources():
            array, _ = fuzz_volumes.good(source)
            if array.shape == fuzz_volumes.VALUES.shape and not source.name.endswith(".seg.nrrd"):
                scaled = array.dtype == np.float32
                expected = fuzz_volumes.VALUES * 0.5 - 7 if scaled else fuzz_volumes.VALUES
                assert np.array_equal(array, expected), source.name
