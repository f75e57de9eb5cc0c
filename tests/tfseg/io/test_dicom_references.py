"""Real DICOM series against volumes made by dcm2niix, an independent converter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.io import dicom, read_volume
from tfseg.io.dicom.headers import read_header
from tfseg.io.dicom.pixels import decode
from tfseg.volume import Volume

BRAIN = "dicom/brain_tumor_progression/PGBM-001"
# dcm2niix name -> folder, below the real data.
SERIES = {
    "brain_tumor_PGBM-001_04-02-1992/11_T1post.nii.gz": (
        f"{BRAIN}/04-02-1992-FH-HEADBrain Protocols-79896/11-T1post-80644"
    ),
    "brain_tumor_PGBM-001_04-02-1992/5388_Mask_Tumor.nii.gz": (
        f"{BRAIN}/04-02-1992-FH-HEADBrain Protocols-79896/5388-MaskTumor-63335"
    ),
    "brain_tumor_PGBM-001_11-19-1991/11_T1post.nii.gz": (
        f"{BRAIN}/11-19-1991-FH-HEADBrain Protocols-40993/11-T1post-03326"
    ),
    "brain_tumor_PGBM-001_11-19-1991/5364_Mask_Tumor.nii.gz": (
        f"{BRAIN}/11-19-1991-FH-HEADBrain Protocols-40993/5364-MaskTumor-94345"
    ),
    "totalseg_dicom/0_CT_Body_3.0.nii.gz": "totalsegmentator_example/example_ct_dicom",
    "udacity_hcrop/2488760777_HippoCrop.nii.gz": (
        "dicom/udacity_TestVolumes/Study3/11_HCropVolume"
    ),
    "udacity_hcrop/2913632465_HippoCrop.nii.gz": (
        "dicom/udacity_TestVolumes/Study1/13_HCropVolume"
    ),
    "udacity_hcrop/3837003982_HippoCrop.nii.gz": (
        "dicom/udacity_TestVolumes/Study2/14_HCropVolume"
    ),
}
# The FLAIR series of the first date is not among the files. The Philips series is scanned with
# a tilted gantry: its plain volume is sheared and the other one resampled; both are refused.
ABSENT = {"brain_tumor_PGBM-001_04-02-1992/35623_FLAIR_reg.nii.gz"}
TILTED = {
    "dcm_qa_ct_Philips/301_STEREOTAXIS.nii.gz",
    "dcm_qa_ct_Philips/301_STEREOTAXIS_Tilt_1.nii.gz",
}


@pytest.fixture(scope="module")
def references(real_data: Path) -> dict[str, Any]:
    return json.loads((real_data / "dicom/refs.json").read_text())


def test_every_reference_is_accounted_for(references: dict[str, Any]) -> None:
    assert set(references) == set(SERIES) | ABSENT | TILTED


@pytest.mark.parametrize("name", sorted(SERIES))
def test_a_series_is_what_dcm2niix_makes_of_it(
    real_data: Path, references: dict[str, Any], name: str
) -> None:
    reference = references[name]
    volume = read_volume(real_data / SERIES[name])
    # dcm2niix stores rows from below; both are compared in the canonical orientation.
    empty = np.broadcast_to(np.int8(0), reference["shape"][::-1])
    other = Volume(empty, geometry.affine_from_ras_xyz(reference["affine"])).canonical()[0]
    ours = volume.canonical()[0]
    assert ours.shape == other.shape
    for corner in np.ndindex(2, 2, 2):
        index = [*(np.array(corner) * (np.array(ours.shape) - 1)), 1]
        np.testing.assert_allclose(ours.affine @ index, other.affine @ index, atol=1e-3)
    assert volume.array.min() == reference["min"]
    assert volume.array.max() == reference["max"]
    np.testing.assert_allclose(volume.array.mean(dtype=float), reference["mean"], rtol=1e-12)


def test_the_tilted_series_is_refused_with_its_angle(real_data: Path) -> None:
    with pytest.raises(DataError, match=r"CT 301: .*tilted by 16\.50 degrees"):
        read_volume(real_data / "dicom/dcm_qa_ct/In/Philips")


@pytest.mark.parametrize(
    ("folder", "rule"),
    [
        ("prostatex_picai_prep/ProstateX/ProstateX-0001", "one orientation, as a localizer"),
        ("dcm_qa_nih/In", "135 of 150 lie where another does"),
        ("dcm_qa_orientation/In/Orientation/cor", "is a mosaic"),
        ("brain_tumor_progression", "one series is needed; .* holds 4 series: MR 11"),
        ("highdicom_test_files", "one series is needed|image series is needed"),
    ],
)
def test_real_folders_that_are_no_volume(real_data: Path, folder: str, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        read_volume(real_data / "dicom" / folder)


def test_a_missing_slice_is_noticed_and_the_complete_series_read(real_data: Path) -> None:
    base = real_data / "dicom/prostatex_picai_prep"
    counts = {"complete": 0, "missing": 0}
    for root, kind in (("ProstateX", "complete"), ("ProstateX-missing-slice", "missing")):
        for series in dicom.list_series(base / root):
            if series.number != 8:
                continue
            counts[kind] = len(series.headers)
            if kind == "complete":
                assert dicom.read_series(series).shape[0] == 19
            else:
                with pytest.raises(DataError, match="slices are missing: 1 after slice"):
                    dicom.read_series(series)
    assert counts == {"complete": 19, "missing": 18}


def test_nine_transfer_syntaxes_decode_to_the_same_pixels(real_data: Path) -> None:
    sheets = []
    for number in range(1, 10):
        header = read_header(real_data / f"dicom/dcm_qa_ts/In/{number}.dcm")
        assert header is not None
        sheets.append(decode((header,), "sheet")[0])
    assert all(np.array_equal(sheet, sheets[0]) for sheet in sheets)
    # The sheet's 6 x 6 tiles are the reference's slices: the same values, in other places.
    stack = np.asanyarray(nib.load(real_data / "dicom/dcm_qa_ts/Ref/1.nii").dataobj)
    assert sheets[0].sum(dtype=int) == stack.sum(dtype=int)
    tile = sheets[0][:64, :64]
    slices = np.moveaxis(stack, -1, 0)
    assert any(np.array_equal(plane.T[::-1], tile) for plane in slices)


def test_a_lossless_twin(real_data: Path) -> None:
    folder = real_data / "dicom/pydicom_data"
    first, second = (read_volume(folder / f"693_{name}.dcm") for name in ("J2KR", "UNCR"))
    assert np.array_equal(first.array, second.array)
    assert first.same_grid(second)
