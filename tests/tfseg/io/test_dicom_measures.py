"""The size of a projection's pixels, and what is said of where it is from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tfseg.io import dicom

ARRAY = np.arange(20, dtype=np.uint8).reshape(1, 4, 5)
NOWHERE = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
Write = Callable[..., list[Path]]


def load(write: Write, **elements: Any) -> dicom.Loaded:
    path = write(ARRAY, **(NOWHERE | {"PixelSpacing": None} | elements))[0]
    (stack,) = dicom.split(dicom.scan_tree(path).series[0])
    return dicom.load(stack)


@pytest.mark.parametrize(
    ("elements", "spacing", "said"),
    [
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "by the magnification"),
        (
            {"ImagerPixelSpacing": [0.2, 0.1], "EstimatedRadiographicMagnificationFactor": 1.5},
            (0.2, 0.1),
            "pixel spacing is that of the detector (ImagerPixelSpacing): in the patient it is "
            "smaller by the magnification of 1.5",
        ),
        (
            {"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.2, 0.2]},
            (0.2, 0.2),
            "pixel spacing is that of the detector",
        ),
        (
            {"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.13, 0.13]},
            (0.13, 0.13),
            "PixelSpacing 0.13\\0.13 mm is used, not ImagerPixelSpacing 0.2\\0.2",
        ),
        ({"NominalScannedPixelSpacing": [0.3, 0.4]}, (0.3, 0.4), "that of the film's scanner"),
        ({"PixelAspectRatio": [2, 1]}, (2, 1), "1 mm taken along rows, PixelAspectRatio 2\\1"),
        ({"PixelAspectRatio": [1, 1]}, (1, 1), "no pixel spacing: 1 mm taken"),
        ({}, (1, 1), "no pixel spacing: 1 mm taken"),
    ],
)
def test_projections(
    write_series: Write, elements: dict[str, Any], spacing: tuple[float, float], said: str
) -> None:
    loaded = load(write_series, Modality="DX", **elements)
    np.testing.assert_allclose(loaded.volume.spacing_mm[1:], spacing)
    assert any(said in caution for caution in loaded.cautions)
    assert set(loaded.cautions) <= set(loaded.decisions)


def region(**elements: Any) -> Dataset:
    item = Dataset()
    given = {
        "RegionSpatialFormat": 1, "PhysicalUnitsXDirection": 3, "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": 0.02, "PhysicalDeltaY": 0.03,
    }  # fmt: skip
    for keyword, value in (given | elements).items():
        setattr(item, keyword, value)
    return item


@pytest.mark.parametrize(
    ("regions", "spacing", "said"),
    [
        ([region()], (0.3, 0.2), "that of the ultrasound region (PhysicalDelta)"),
        ([region(PhysicalDeltaX=-0.02)], (0.3, 0.2), "that of the ultrasound region"),
        ([region(), region()], (0.3, 0.2), "that of the ultrasound region"),
        # An M-mode strip beside it: seconds along x.
        ([region(), region(RegionSpatialFormat=2, PhysicalUnitsXDirection=4, PhysicalDeltaX=1)],
         (0.3, 0.2), "that of the ultrasound region"),
        ([region(), region(PhysicalDeltaX=0.04)], (1, 1),
         "ultrasound regions have pixels of several sizes (0.3\\0.2, 0.3\\0.4 mm): none is taken"),
        ([region(PhysicalUnitsXDirection=4)], (1, 1), "no pixel spacing: 1 mm taken"),
        ([region(PhysicalUnitsXDirection=0, PhysicalUnitsYDirection=0)], (1, 1), "1 mm taken"),
        ([region(PhysicalDeltaX=0.0)], (1, 1), "no pixel spacing: 1 mm taken"),
        ([region(RegionSpatialFormat=3)], (1, 1), "no pixel spacing: 1 mm taken"),
        ([], (1, 1), "no pixel spacing: 1 mm taken"),
    ],
)  # fmt: skip
def test_ultrasound_regions(
    write_series: Write, regions: list[Dataset], spacing: tuple[float, float], said: str
) -> None:
    loaded = load(write_series, Modality="US", SequenceOfUltrasoundRegions=Sequence(regions))
    np.testing.assert_allclose(loaded.volume.spacing_mm[1:], spacing)
    assert any(said in caution for caution in loaded.cautions)


def test_a_spacing_beside_ultrasound_regions(write_series: Write) -> None:
    regions = Sequence([region()])
    loaded = load(
        write_series, Modality="US", PixelSpacing=[1, 2], SequenceOfUltrasoundRegions=regions
    )
    np.testing.assert_allclose(loaded.volume.spacing_mm[1:], (1, 2))
    assert "PixelSpacing is used, not 0.3\\0.2 mm of the ultrasound region" in loaded.cautions


@pytest.mark.parametrize(
    ("elements", "thickness", "said"),
    [
        ({"SliceThickness": 5, "SpacingBetweenSlices": 8}, 5, ""),
        ({"SliceThickness": None, "SpacingBetweenSlices": -8}, 8, ""),
        ({"SliceThickness": None}, 1, "no slice thickness: 1 mm taken"),
    ],
)
def test_a_lone_slice_is_as_thick_as_it_says(
    write_series: Write, elements: dict[str, Any], thickness: float, said: str
) -> None:
    path = write_series(ARRAY, **elements)[0]
    (stack,) = dicom.split(dicom.scan_tree(path).series[0])
    loaded = dicom.load(stack)
    np.testing.assert_allclose(loaded.volume.spacing_mm, (thickness, 0.5, 0.75))
    assert loaded.cautions == ((said,) if said else ())
