"""A CT series written with pydicom alone: what the reader is tested against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

Write = Callable[..., list[Path]]


def slice_dataset(
    plane: np.ndarray, position: Sequence[float], series: str = "1", **elements: Any
) -> Dataset:
    """One CT slice; ``elements`` override, and remove where the value is ``None``."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=[series, str(position), str(elements)]
    )
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = f"1.2.3.{series}"
    dataset.SeriesNumber, dataset.Modality = int(series), "CT"
    dataset.PatientName, dataset.PatientID = "Secret^Name", "secret-id"
    dataset.ImagePositionPatient = [float(value) for value in position]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [0.5, 0.75]  # between rows, between columns
    dataset.SliceThickness = 9  # never to be believed
    dataset.Rows, dataset.Columns = plane.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = plane.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(plane.dtype.kind == "i")
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.PixelData = plane.tobytes()
    for keyword, value in elements.items():
        if value is None:
            dataset.pop(keyword, None)
        else:
            setattr(dataset, keyword, value)
    return dataset


@pytest.fixture
def write_series(tmp_path: Path) -> Write:
    """Write slices (z, y, x) 4 mm apart into ``tmp_path/scan`` under names that mislead."""

    def write(
        array: np.ndarray,
        positions: Sequence[Sequence[float]] | None = None,
        each: Callable[[int], dict[str, Any]] = lambda index: {},
        series: str = "1",
        folder: str = "scan",
        **elements: Any,
    ) -> list[Path]:
        target = tmp_path / folder
        target.mkdir(parents=True, exist_ok=True)
        paths = []
        for index, plane in enumerate(array):
            position = positions[index] if positions else (10, 20, 30 + 4 * index)
            values = {"InstanceNumber": 100 - index, **elements, **each(index)}
            # 7 and the number of slices have no common factor: an order that means nothing.
            path = target / f"{series}-{(index * 7) % 101:03d}"
            slice_dataset(plane, position, series, **values).save_as(path, enforce_file_format=True)
            paths.append(path)
        return paths

    return write


def misspell(path: Path, name: str) -> None:
    """Give the character set of a file in UTF-8 another name."""
    head = b"\x08\0\x05\0CS"
    right = head + b"\x0a\0ISO_IR 192"
    value = name.encode() + b" " * (len(name) % 2)
    data = path.read_bytes()
    assert data.count(right) == 1
    path.write_bytes(data.replace(right, head + bytes([len(value), 0]) + value))
