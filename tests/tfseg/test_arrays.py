"""Archives of arrays: what is read is what was written, or nothing is."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from tfseg.arrays import DAMAGE, read_npz

ARRAYS = {"a": np.arange(24.0).reshape(2, 3, 4), "b": np.array("text"), "c": np.zeros((0, 3))}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_flipped_bit_is_found_or_does_no_harm(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, **ARRAYS)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, 8 * len(whole), 13):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            found = read_npz(path)
        except DAMAGE:
            refused += 1
            continue
        for name in set(found) & set(ARRAYS):
            np.testing.assert_array_equal(found[name], ARRAYS[name])
    assert refused > len(whole) // 4


def test_no_memory_for_more_than_the_file_has(tmp_path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 1 << 20)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", stream.getvalue())
    with pytest.raises(ValueError, match="shorter or longer than its header says"):
        read_npz(tmp_path / "a.npz")


def test_objects_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{}], object))
    with pytest.raises(DAMAGE):
        read_npz(tmp_path / "a.npz")
