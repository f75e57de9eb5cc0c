"""Phantoms: the same bytes for a seed, labels that agree with the values, geometry that varies."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from tfseg.datasets import open_dataset
from tfseg.datasets.phantom import make_phantom
from tfseg.errors import ConfigError, DataError
from tfseg.io import read_volume

# Type 1 elements of the modules of a CT image (PS3.3 A.3.3), and its type 2 elements.
NOT_EMPTY = (
    "StudyInstanceUID", "SeriesInstanceUID", "Modality", "FrameOfReferenceUID", "ImageType",
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing", "ImageOrientationPatient",
    "ImagePositionPatient", "RescaleIntercept", "RescaleSlope", "RescaleType", "PixelData",
)  # fmt: skip
PRESENT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "StudyID", "ReferringPhysicianName", "AccessionNumber", "SeriesNumber", "Manufacturer",
    "InstanceNumber", "PositionReferenceIndicator", "SliceThickness", "KVP",
    "AcquisitionNumber", "PatientPosition",
)  # fmt: skip


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantom(tmp_path_factory.mktemp("ct") / "set", cases=3, dicom=True, seed=5)


def test_the_same_seed_gives_the_same_bytes_and_a_larger_set_begins_alike(
    ct: Path, tmp_path: Path
) -> None:
    again = digests(make_phantom(tmp_path / "again", cases=2, dicom=True, seed=5))
    first = digests(ct)
    shared = set(again) - {"dataset.json"}
    assert len(shared) > 100  # slices, images and labels
    assert {name: first[name] for name in shared} == {name: again[name] for name in shared}
    other = digests(make_phantom(tmp_path / "other", cases=1, seed=6))
    assert other["imagesTr/abdomen_001.nii.gz"] != first["imagesTr/abdomen_001.nii.gz"]


def test_ct_values_are_those_of_the_tissues(ct: Path) -> None:
    dataset = open_dataset(ct)
    assert dataset.labels == ("background", "liver", "spleen", "kidneys", "lesion", "spine")
    for case in dataset.labelled:
        image, label = dataset.load(case)
        assert image.array.dtype == np.int16
        assert image.array.min() == -1024
        # Voxels away from every border: no partial volume, only noise around the tissue's HU.
        means = {}
        for value in (1, 2, 3):
            core = ndimage.binary_erosion(label.array == value, iterations=1)
            means[value] = image.array[core].mean()
        assert 100 < means[1] < 125  # liver, with its veins
        assert 115 < means[2] < 135  # spleen
        assert 140 < means[3] < 190  # kidneys
        lesion = image.array[label.array == 4].mean()
        assert lesion < means[1] - 25
        noise = image.array[ndimage.binary_erosion(label.array == 2)].std()
        assert 5 < noise < 30


def test_lesions_are_large_enough_to_be_learnt_and_inside_the_liver(ct: Path) -> None:
    dataset = open_dataset(ct)
    for case in dataset.labelled:
        _, label = dataset.load(case)
        lesions, count = ndimage.label(label.array == 4)
        assert 1 <= count <= 2
        millilitres = np.bincount(lesions.ravel())[1:] * np.prod(label.spacing_mm) / 1000
        diameters = 2 * (3 * 1000 * millilitres / (4 * np.pi)) ** (1 / 3)
        assert ((diameters > 12) & (diameters < 28)).all(), diameters
        around = ndimage.binary_dilation(label.array == 4) & (label.array != 4)
        assert (label.array[around] == 1).all()


def test_left_is_left(ct: Path) -> None:
    dataset = open_dataset(ct)
    for case in dataset.labelled:
        image, label = dataset.load(case)
        places = {}
        for value in (1, 2, 5):
            index = np.argwhere(label.array == value).mean(axis=0)
            places[value] = (label.affine @ [*index, 1])[:3]
        assert places[1][0] < places[2][0]  # LPS: the liver is right of the spleen
        assert places[5][1] > places[1][1]  # the spine is behind the liver
        assert image.canonical()[0].shape == image.shape


def test_grids_differ_and_some_are_oblique(ct: Path) -> None:
    dataset = open_dataset(ct)
    volumes = [dataset.read_image(case) for case in dataset.cases]
    assert len({volume.spacing_mm for volume in volumes}) == len(volumes)
    assert all(volume.spacing_mm[0] > 1.1 * volume.spacing_mm[1] for volume in volumes)
    oblique = [np.abs(volume.direction).max(axis=0).min() < 0.9999 for volume in volumes]
    assert any(oblique)
    assert not all(oblique)


def test_dicom_series_are_the_same_volumes(ct: Path) -> None:
    for number in (1, 2, 3):
        volume = read_volume(ct / f"imagesTr/abdomen_{number:03d}.nii.gz").canonical()[0]
        series = read_volume(ct / f"dicom/abdomen_{number:03d}").canonical()[0]
        assert np.array_equal(series.array, volume.array)
        assert series.array.dtype == np.int16
        assert series.modality == "CT"
        for corner in np.ndindex(2, 2, 2):
            index = [*(np.array(corner) * (np.array(volume.shape) - 1)), 1]
            np.testing.assert_allclose(series.affine @ index, volume.affine @ index, atol=1e-3)


def test_dicom_files_are_valid_ct_images(ct: Path) -> None:
    paths = sorted((ct / "dicom/abdomen_001").iterdir())
    headers = [pydicom.dcmread(path) for path in paths]
    assert paths[0].name == "001.dcm"
    assert len({header.SOPInstanceUID for header in headers}) == len(paths)
    assert len({header.SeriesInstanceUID for header in headers}) == 1
    for header in headers:
        assert pydicom.uid.UID(header.SOPInstanceUID).is_valid
        assert header.SOPClassUID == pydicom.uid.CTImageStorage
        assert str(header.PatientName) == "Phantom"
        for keyword in NOT_EMPTY:
            assert header[keyword].value not in (None, ""), keyword
        for keyword in PRESENT:
            assert keyword in header, keyword
    raw = pydicom.dcmread(paths[0])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        numbers = raw.get_item(keyword).value.split(b"\\")
        assert all(len(number.strip()) <= 16 for number in numbers)  # PS3.5 6.2, DS


def test_brain(tmp_path: Path) -> None:
    dataset = open_dataset(make_phantom(tmp_path / "mr", "mr-brain", cases=3))
    assert dataset.modalities == ("MRI",)
    assert dataset.labels == ("background", "csf", "grey matter", "white matter")
    for case in dataset.labelled:
        image, label = dataset.load(case)
        csf, grey, white = (image.array[label.array == value].mean() for value in (1, 2, 3))
        assert csf < grey < white  # T1 weighting
        share = np.bincount(label.array.ravel(), minlength=4) / label.array.size
        assert (share[1:] > 0.02).all()


def test_fundus(tmp_path: Path) -> None:
    dataset = open_dataset(make_phantom(tmp_path / "eye", "fundus", cases=3))
    assert dataset.adapter == "drive"
    assert [case.id for case in dataset.cases] == ["21", "22", "23", "01", "02"]
    assert dataset.read_mask is not None
    for case in dataset.labelled:
        image, label = dataset.load(case)
        mask = dataset.read_mask(case).array
        assert image.array.shape == (1, 292, 282, 3)
        assert image.array.dtype == np.uint8
        assert 0.08 < label.array[mask].mean() < 0.18  # DRIVE: 0.125
        assert not label.array[~mask].any()
        assert image.array[~mask].max() < 16
        green = image.array[..., 1]
        around = ndimage.binary_dilation(label.array[0], iterations=3)[None] & (label.array == 0)
        assert green[label.array == 1].mean() < 0.9 * green[around & mask].mean()


def test_fundus_is_deterministic(tmp_path: Path) -> None:
    first = digests(make_phantom(tmp_path / "a", "fundus", cases=1, seed=3))
    assert digests(make_phantom(tmp_path / "b", "fundus", cases=1, seed=3)) == first


def test_description_counts_and_progress(tmp_path: Path) -> None:
    seen: list[int] = []
    root = make_phantom(
        tmp_path / "a", cases=1, progress=lambda items: (seen.append(n) or n for n in items)
    )
    assert seen == [0, 1, 2]
    document = json.loads((root / "dataset.json").read_text())
    assert (document["numTraining"], document["numTest"]) == (1, 2)
    assert open_dataset(root).remarks == ()


def test_arguments_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown phantom kind 'ct'.*ct-abdomen"):
        make_phantom(tmp_path / "a", "ct")
    with pytest.raises(ConfigError, match="must be 1 to 900; got 0"):
        make_phantom(tmp_path / "a", cases=0)
    with pytest.raises(ConfigError, match="must not be negative; got -1"):
        make_phantom(tmp_path / "a", seed=-1)
    with pytest.raises(ConfigError, match="needs --kind ct-abdomen; got fundus"):
        make_phantom(tmp_path / "a", "fundus", dicom=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("")
    with pytest.raises(DataError, match="must be new or empty"):
        make_phantom(tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
