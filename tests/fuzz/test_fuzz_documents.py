"""Some damaged documents of each kind; `make fuzz` throws many more."""

from __future__ import annotations

from pathlib import Path

import fuzz_documents
import harness
import numpy as np
import pytest


@pytest.mark.parametrize("name", fuzz_documents.READERS)
def test_damaged_documents_are_read_or_refused(tmp_path: Path, name: str) -> None:
    reader = fuzz_documents.READERS[name]
    sources = reader.sources()
    results = set()
    for number in range(150):
        rng = np.random.default_rng([8, number])
        source = sources[number % len(sources)]
        path, _ = harness.write_damaged(tmp_path, source, reader, rng)
        results.add(harness.attempt(reader, path, source))
    assert results <= {"answered", "refused"}
    assert "refused" in results


@pytest.mark.parametrize("name", fuzz_documents.READERS)
def test_good_documents_are_read(tmp_path: Path, name: str) -> None:
    reader = fuzz_documents.READERS[name]
    for source in reader.sources():
        for file, content in {**source.beside, source.name: source.content}.items():
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_bytes(content)
        assert reader.read(tmp_path / source.name) is not None
