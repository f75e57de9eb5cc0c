"""Real DICOM series against volumes made by dcm2niix, an independent converter."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.io import dicom, read_volume
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
# a tilted gantry: its plain volume ignores the tilt; the other one has a test of its own below.
ABSENT = {"brain_tumor_PGBM-001_04-02-1992/35623_FLAIR_reg.nii.gz"}
PLAIN = "dcm_qa_ct_Philips/301_STEREOTAXIS.nii.gz"
TILT = "dcm_qa_ct_Philips/301_STEREOTAXIS_Tilt_1.nii.gz"


@pytest.fixture(scope="module")
def references(real_data: Path) -> dict[str, Any]:
    return json.loads((real_data / "dicom/refs.json").read_text())


def raw_sha256(stored: np.ndarray) -> str:
    """Hash as in the references: x, y, z in Fortran order is z, y, x in C order."""
    return hashlib.sha256(np.ascontiguousarray(stored).tobytes()).hexdigest()


def assert_same_places(ours: Volume, affine: Any, shape: tuple[int, ...]) -> None:
    """Compare all eight corners with a NIfTI affine's, within a thousandth of a millimetre."""
    empty = np.broadcast_to(np.int8(0), shape[2::-1])
    other = Volume(empty, geometry.affine_from_ras_xyz(affine)).canonical()[0]
    ours = ours.canonical()[0]
    assert ours.shape == other.shape
    for corner in np.ndindex(2, 2, 2):
        index = [*(np.array(corner) * (np.array(ours.shape) - 1)), 1]
        np.testing.assert_allclose(ours.affine @ index, other.affine @ index, atol=1e-3)


def volumes(folder: Path) -> list[Volume]:
    tree = dicom.scan_tree(folder)
    return [dicom.load(stack).volume for one in tree.series for stack in dicom.split(one)]


def test_every_reference_is_accounted_for(references: dict[str, Any]) -> None:
    assert set(references) == set(SERIES) | ABSENT | {PLAIN, TILT}


@pytest.mark.parametrize("name", sorted(SERIES))
def test_a_series_is_what_dcm2niix_makes_of_it(
    real_data: Path, references: dict[str, Any], name: str
) -> None:
    reference = references[name]
    volume = read_volume(real_data / SERIES[name])
    assert_same_places(volume, reference["affine"], tuple(reference["shape"]))
    assert volume.array.min() == reference["min"]
    assert volume.array.max() == reference["max"]
    np.testing.assert_allclose(volume.array.mean(dtype=float), reference["mean"], rtol=1e-12)
    # dcm2niix stores rows from below and keeps slope and intercept apart.
    slope, intercept = reference["slope_inter"]
    stored = ((volume.array - intercept) / slope).astype(reference["dtype"])[:, ::-1]
    assert raw_sha256(stored) == reference["sha256_raw_F_order"]


def float32_shear(rows_from_below: np.ndarray) -> np.ndarray:
    """The Philips slices sheared as dcm2niix does it, in float32 and by the gantry's angle."""
    cosine = np.float32(0.95881981)  # of 16.5 degrees, the header's four orientation digits
    angle = float(np.float32(math.degrees(math.acos(cosine))))
    pixels_per_mm = np.float32(-math.tan(math.radians(angle)) / np.float32(0.40625))
    distance = np.float32(2.39704943)  # mm between slices, as in the reference's header
    out = np.full((8, 525, 512), rows_from_below.min(), np.int16)
    for number, plane in enumerate(rows_from_below.astype(np.float32)):
        shift = np.float32(
            pixels_per_mm * (np.float32(number) * distance - np.float32(7 * distance))
        )
        after = np.float32(np.ceil(shift) - shift)
        rows = np.arange(525, dtype=np.float32) - shift
        inside = (rows >= 0) & (rows < 512)
        low = np.floor(rows[inside]).astype(int)
        mixed = plane[low] * np.float32(1 - after) + plane[np.minimum(low + 1, 511)] * after
        out[number][inside] = np.floor(mixed.astype(float) + 0.5)
    return out


def test_the_tilted_series_after_correction(
    real_data: Path, references: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    folder = real_data / "dicom/dcm_qa_ct/In/Philips"
    volume = read_volume(folder)
    assert "CT 301: gantry tilt of 16.50 degrees corrected" in caplog.text
    frames = sorted(
        dicom.scan_tree(folder).series[0].sheets, key=lambda frame: frame.position or ()
    )
    stored = np.stack([dicom.decode((frame,), "slice")[0][0] for frame in frames]) + np.int16(1024)
    assert raw_sha256(stored[:, ::-1]) == references[PLAIN]["sha256_raw_F_order"]
    reference = references[TILT]
    assert volume.shape == tuple(reference["shape"][::-1])
    assert (volume.array.min(), volume.array.max()) == (reference["min"], reference["max"])
    # The reference's voxels, bit for bit, are those of a float32 shear; ours is in float64.
    expected = float32_shear(stored[:, ::-1])
    assert raw_sha256(expected) == reference["sha256_raw_F_order"]
    different = expected != volume.array[:, ::-1] + 1024
    assert different.sum() < 100  # of 2.15 million, at ties
    assert np.abs(expected.astype(int) - volume.array[:, ::-1] - 1024).max() == 1
    # Directions and spacing are the reference's.
    affine = geometry.affine_from_ras_xyz(reference["affine"])
    ours = volume.affine * [1, -1, 1, 1]  # rows from below
    np.testing.assert_allclose(ours[:3, :3], affine[:3, :3], atol=1e-5)
    # Its origin is 10 mm off: for 13 rows of padding it moves by 13 times the second row of its
    # matrix, where it should be the second column. Ours lies where the slices do: each slice's
    # first pixel, as its header places it, is found on the grid as far down as the gantry's
    # angle says, and the last slice's last row is the grid's last.
    pixels_per_slice = 2.5 * math.sin(math.radians(16.5)) / 0.40625
    for number, frame in enumerate(frames):
        index = np.linalg.solve(volume.affine, [*frame.position, 1])
        expected_row = 525 - 512 - (7 - number) * pixels_per_slice
        np.testing.assert_allclose(index[:3], [number, expected_row, 0], atol=1e-3)


@pytest.mark.parametrize(
    ("folder", "reference"),
    [
        ("dcm_qa_nih/In", "dcm_qa_nih/Ref/DCM2NIIX_regression_test_4.nii"),
        ("dcm_qa_orientation/In/Orientation/ax", "dcm_qa_orientation/Ref/ax_asc_35sl_6.nii"),
        ("dcm_qa_orientation/In/Orientation/cor", "dcm_qa_orientation/Ref/cor_asc_35sl_16.nii"),
        ("dcm_qa_orientation/In/Orientation/sag", "dcm_qa_orientation/Ref/sag_asc_35sl_22.nii"),
        (
            "dcm_qa_orientation/In/Orientation/axmb/AxAsc36mb2a",
            "dcm_qa_orientation/Ref/fMRI_MB_asc_25.nii",
        ),
        (
            "dcm_qa_orientation/In/Orientation/axmb/AxInt36mb",
            "dcm_qa_orientation/Ref/fMRI_MB_int_26.nii",
        ),
    ],
)
def test_several_volumes_of_one_series(real_data: Path, folder: str, reference: str) -> None:
    # GE: single slices at shared places. Siemens: mosaics in three planes, and compressed.
    image = nib.load(real_data / "dicom" / reference)
    found = volumes(real_data / "dicom" / folder)
    expected = np.asanyarray(image.dataobj)  # (x, y, z, time)
    assert len(found) == expected.shape[3]
    for number, volume in enumerate(found):
        assert_same_places(volume, image.affine, expected.shape)
        theirs = Volume(
            np.ascontiguousarray(expected[..., number].T),
            geometry.affine_from_ras_xyz(image.affine),
        ).canonical()[0]
        assert np.array_equal(volume.canonical()[0].array, theirs.array)


def test_nine_transfer_syntaxes_give_the_reference(real_data: Path) -> None:
    image = nib.load(real_data / "dicom/dcm_qa_ts/Ref/1.nii")
    theirs = Volume(
        np.ascontiguousarray(np.asanyarray(image.dataobj).T),
        geometry.affine_from_ras_xyz(image.affine),
    ).canonical()[0]
    for number in range(1, 10):
        volume = read_volume(real_data / f"dicom/dcm_qa_ts/In/{number}.dcm")
        assert_same_places(volume, image.affine, image.shape)
        assert np.array_equal(volume.canonical()[0].array, theirs.array)


def outcome(real_data: Path, folder: str) -> dict[str, int]:
    """Volumes and refusals below a folder: what is said -> how often."""
    said: dict[str, int] = {}
    for one in dicom.scan_tree(real_data / "dicom" / folder).series:
        for stack in dicom.split(one):
            try:
                volume = dicom.load(stack).volume
                text = f"{stack.name}: {' x '.join(map(str, volume.shape))}"
            except DataError as error:
                text = str(error)
            said[text] = said.get(text, 0) + 1
    return said


def test_b_values_and_a_localizer_are_parted(real_data: Path) -> None:
    said = outcome(real_data, "prostatex_picai_prep/ProstateX")
    assert said == {
        "MR 1 (sagittal): 3 x 256 x 256": 1,
        "MR 1 (coronal): 5 x 256 x 256": 1,
        "MR 1 (axial): 5 x 256 x 256": 1,
        "MR 6 (b 50): 19 x 128 x 84": 1,
        "MR 6 (b 400): 19 x 128 x 84": 1,
        "MR 6 (b 800): 19 x 128 x 84": 1,
        "MR 7: 19 x 128 x 84": 1,
        "MR 8: 19 x 128 x 84": 1,
        "MR 9: 16 x 128 x 128": 1,
    }


def test_b_values_are_parted_right(real_data: Path) -> None:
    (series,) = (
        one
        for one in dicom.scan_tree(real_data / "dicom/prostatex_picai_prep/ProstateX").series
        if one.number == 6
    )
    # The files are numbered by b-value: 1 to 19 are b 50, 20 to 38 b 400, 39 to 57 b 800.
    numbers = {
        stack.label: sorted(frame.header.instance for frame in stack.frames)
        for stack in dicom.split(series)
    }
    assert numbers == {
        "b 50": list(range(1, 20)),
        "b 400": list(range(20, 39)),
        "b 800": list(range(39, 58)),
    }


def test_a_missing_slice_is_named_and_the_complete_series_fills_it(real_data: Path) -> None:
    base = real_data / "dicom/prostatex_picai_prep"
    (stack,) = dicom.split(dicom.scan_tree(base / "ProstateX-missing-slice").series[0])
    with pytest.raises(DataError, match=r"slices are missing: 1 after slice 13 of 18 .*between"):
        dicom.load(stack)
    whole = next(one for one in dicom.scan_tree(base / "ProstateX").series if one.number == 8)
    complete = dicom.load(dicom.split(whole)[0]).volume
    bridged = dicom.load(stack, allow_gaps=True)
    assert "missing slices interpolated as allowed: 1 after slice 13" in bridged.decisions[0]
    assert bridged.volume.same_grid(complete)
    same = [
        np.array_equal(*pair) for pair in zip(bridged.volume.array, complete.array, strict=True)
    ]
    assert same.count(False) == 1


def test_what_is_no_volume_is_refused_with_the_reason(real_data: Path) -> None:
    said = outcome(real_data, "highdicom_test_files")
    assert sum("holds no image (modality SEG" in text for text in said for _ in range(said[text]))
    assert sum(count for text, count in said.items() if "modality SEG" in text) == 12
    assert "CT 1: 1 x 128 x 128" in said
    assert "DX 1001: 1 x 169 x 211" in said
    whole_slide = [text for text in said if "nothing says where they lie (modality SM)" in text]
    assert len(whole_slide) == 1
    assert set(outcome(real_data, "rt_utils_mock")) == {
        "CT 3: 2 x 512 x 512",
        "series RTSTRUCT 1: holds no image (modality RTSTRUCT, image 0).",
    }


def test_files_of_many_kinds(real_data: Path) -> None:
    said = outcome(real_data, "pydicom_data")
    read = sorted(text for text in said if not text.startswith("series"))
    assert read == [
        "CT 2 (kind DERIVED/PRIMARY): 1 x 512 x 512",  # lossy
        "CT 2 (kind ORIGINAL/PRIMARY): 1 x 512 x 512",
        "CT 3: 2 x 512 x 512",
        "MR 18: 1 x 484 x 484",
        "NM 1 (image 1): 1 x 1024 x 256",
        "NM 1 (image 2): 1 x 1024 x 256",
        "OT 0 (image 1): 1 x 128 x 128",  # JPEG-LS of 7 bits, which not every decoder takes
        "OT 0 (image 2): 1 x 128 x 128",
        "OT 18: 1 x 512 x 512",
        "OT 4: 1 x 512 x 512",
        "US 0: 1 x 768 x 1024",
    ]
    refused = " ".join(sorted(text for text in said if text.startswith("series")))
    assert "image 1 holds 10 frames and nothing says where they lie (modality MR)" in refused
    assert refused.count("series ") == 2  # and SEG


def test_a_lossless_twin(real_data: Path) -> None:
    folder = real_data / "dicom/pydicom_data"
    first, second = (read_volume(folder / f"693_{name}.dcm") for name in ("J2KR", "UNCR"))
    assert np.array_equal(first.array, second.array)
    assert first.same_grid(second)


@pytest.mark.parametrize("name", ["eCT_Supplemental", "mlut_18", "MR-SIEMENS-DICOM-WithOverlays"])
def test_values_are_what_pydicom_says(real_data: Path, name: str) -> None:
    import pydicom
    from pydicom.pixels import apply_modality_lut

    path = real_data / f"dicom/pydicom_data/{name}.dcm"
    dataset = pydicom.dcmread(path)
    stored = np.atleast_3d(dataset.pixel_array.T).T
    if name == "eCT_Supplemental":  # one slope for all frames, in the shared group
        shared = dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
        expected = stored * float(shared.RescaleSlope) + float(shared.RescaleIntercept)
        expected = expected[::-1]  # the first frame lies above the second
    else:
        expected = apply_modality_lut(stored, dataset)
    assert np.array_equal(read_volume(path).array, expected)
