"""NIfTI against nibabel and SimpleITK: place, values, and files that are not what they say."""

from __future__ import annotations

import gzip
import itertools
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.spatial.transform import Rotation

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.io import nifti
from tfseg.volume import Volume

SHAPE_XYZ = (5, 6, 7)


def signed_permutations() -> list[np.ndarray]:
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[list(order), range(3)] = signs
            found.append(matrix)
    return found


def oblique(angle: float = 0.3) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, cos, -sin], [0, sin, cos]]
    )


DIRECTIONS = [*signed_permutations(), *[oblique() @ matrix for matrix in signed_permutations()]]


def ras_affine(direction: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = direction * [0.75, 1.5, 4.0]
    affine[:3, 3] = [-31.5, 12.25, 7.0]
    return affine


def test_every_axis_order_lies_where_nibabel_and_simpleitk_say(tmp_path: Path) -> None:
    values = np.arange(np.prod(SHAPE_XYZ), dtype=np.int16).reshape(SHAPE_XYZ)
    for number, direction in enumerate(DIRECTIONS):
        path = tmp_path / f"{number}.nii"
        nib.save(nib.Nifti1Image(values, ras_affine(direction)), path)
        volume = nifti.read(path)
        stored = nib.load(path)
        image = sitk.ReadImage(str(path))
        for x, y, z in ((0, 0, 0), (4, 5, 6), (1, 3, 2)):
            place = (volume.affine @ [z, y, x, 1])[:3]
            ras = (stored.affine @ [x, y, z, 1])[:3]
            np.testing.assert_allclose(place, ras * [-1, -1, 1], atol=1e-5)
            np.testing.assert_allclose(
                place, image.TransformIndexToPhysicalPoint((x, y, z)), atol=1e-4
            )
            assert volume.array[z, y, x] == image.GetPixel(x, y, z) == values[x, y, z]


def test_what_is_written_lies_there_for_nibabel_and_simpleitk(tmp_path: Path) -> None:
    array = np.arange(np.prod(SHAPE_XYZ), dtype=np.int16).reshape(SHAPE_XYZ[::-1])
    for number, direction in enumerate(DIRECTIONS):
        affine = geometry.affine_from_ras_xyz(ras_affine(direction))
        path = tmp_path / f"{number}.nii.gz"
        nifti.write(Volume(array, affine), path)
        stored, image = nib.load(path), sitk.ReadImage(str(path))
        for x, y, z in ((0, 0, 0), (4, 5, 6), (1, 3, 2)):
            place = (affine @ [z, y, x, 1])[:3]
            ras = (stored.affine @ [x, y, z, 1])[:3]
            np.testing.assert_allclose(ras * [-1, -1, 1], place, atol=1e-5)
            np.testing.assert_allclose(
                image.TransformIndexToPhysicalPoint((x, y, z)), place, atol=1e-4
            )
            assert stored.dataobj[x, y, z] == image.GetPixel(x, y, z) == array[z, y, x]


def coded(path: Path, sform: tuple | None, qform: tuple | None, unit: str = "mm") -> Path:
    """Save a scan whose forms, given as (affine, code), are set one by one."""
    image = nib.Nifti1Image(np.zeros(SHAPE_XYZ, np.float32), None)
    image.header.set_xyzt_units(unit)
    if qform:
        image.header.set_qform(*qform)
    if sform:
        image.header.set_sform(*sform)
    path.write_bytes(image.to_bytes())
    return path


MOVED = ras_affine(oblique())
MOVED = MOVED + 50 * np.outer([0, 0, 1, 0], [0, 0, 0, 1])
PLACES = {
    "sform alone": ((ras_affine(oblique()), 2), None, "mm"),
    "qform alone": (None, (ras_affine(oblique()), 1), "mm"),
    "both": ((ras_affine(oblique()), 4), (ras_affine(oblique()), 1), "mm"),
    "apart (spinalcordtoolbox#2106)": ((ras_affine(oblique()), 2), (MOVED, 1), "mm"),
    "left-handed": (None, (ras_affine(oblique() @ np.diag([1, 1, -1])), 3), "mm"),
    "microns": ((ras_affine(oblique()), 2), (MOVED, 1), "micron"),
    "neither": (None, None, "mm"),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_label_is_placed_by_the_fields_of_its_source(tmp_path, place, suffix: str) -> None:
    source = coded(tmp_path / "scan.nii", *place)
    scan = nifti.read(source)
    target = tmp_path / f"label{suffix}"
    nifti.write(scan.with_array(np.ones(scan.shape, np.uint8)), target)
    before, after = nib.load(source), nib.load(target)
    rows = [f"srow_{axis}" for axis in "xyz"]
    quaternion = [f"quatern_{axis}" for axis in "bcd"]
    offset = [f"qoffset_{axis}" for axis in "xyz"]
    for name in ("sform_code", "qform_code", "xyzt_units", *rows, *quaternion, *offset):
        assert np.array_equal(before.header[name], after.header[name]), name
    assert np.array_equal(before.header["pixdim"][:4], after.header["pixdim"][:4])
    np.testing.assert_array_equal(before.affine, after.affine)
    first, second = sitk.ReadImage(str(source)), sitk.ReadImage(str(target))
    assert first.GetOrigin() == second.GetOrigin()
    assert first.GetSpacing() == second.GetSpacing()
    assert first.GetDirection() == second.GetDirection()
    assert after.get_data_dtype() == np.uint8


def test_sizes_that_contradict_the_sform_are_said(tmp_path: Path, caplog) -> None:
    image = nib.Nifti1Image(np.zeros(SHAPE_XYZ, np.float32), None)
    image.header.set_sform(np.diag([2.0, 2, 3, 1]), 1)
    image.header["pixdim"][1:4] = 1, 1, 3
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    assert nifti.read(tmp_path / "a.nii").spacing_mm == (3, 2, 2)
    assert "2 x 2 x 3 mm by the sform and 1 x 1 x 3 mm by pixdim" in caplog.text


def test_a_unit_that_is_none_is_said(tmp_path: Path, caplog) -> None:
    path = save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.int16))
    content = bytearray(path.read_bytes())
    content[123] = 7  # xyzt_units
    path.write_bytes(content)
    assert nifti.read(path).spacing_mm == (1, 1, 1)
    assert "unit of length 7 (xyzt_units) is none; mm are assumed" in caplog.text


def test_forms_hold_for_their_grid_alone(tmp_path: Path) -> None:
    scan = nifti.read(coded(tmp_path / "scan.nii", *PLACES["apart (spinalcordtoolbox#2106)"]))
    turned, _ = scan.canonical()
    nifti.write(turned, tmp_path / "turned.nii")
    header = nib.load(tmp_path / "turned.nii").header
    assert (header["sform_code"], header["qform_code"]) == (1, 1)
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-4)
    np.testing.assert_allclose(nifti.read(tmp_path / "turned.nii").affine, turned.affine, atol=1e-5)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("apart (spinalcordtoolbox#2106)", r"sform \(code 2\) and qform \(code 1\) .* 50 mm apart"),
        ("microns", r"up to 0.05 mm apart"),
        ("neither", "neither sform nor qform"),
        ("both", ""),
    ],
)
def test_what_a_header_leaves_open_is_said(tmp_path, place: str, said: str, caplog) -> None:
    nifti.read(coded(tmp_path / "scan.nii", *PLACES[place]))
    if said:
        assert re.search(said, caplog.text)
    else:
        assert caplog.text == ""


@pytest.mark.parametrize(
    ("changes", "quaternion"),
    [
        ({"quatern_d": np.float32(1.0000005)}, (0, 0, 1)),  # sct#3703, fmriprep#845
        ({"quatern_b": np.float32(0.70710697), "quatern_c": np.float32(0.7071072)}, (1, 1, 0)),
        ({"pixdim": [0, 1, 2, 3, 1, 1, 1, 1], "quatern_c": 1}, (0, 1, 0)),  # nifti1.h: qfac 1
        ({"pixdim": [-1, 1, 2, 3, 1, 1, 1, 1], "quatern_c": 0.5}, (0, 0.5, 0)),
        ({"pixdim": [7, 1, 2, 3, 1, 1, 1, 1], "quatern_c": 0.6, "quatern_d": 0.8}, (0, 0.6, 0.8)),
    ],
)
def test_a_qform_is_a_rotation_sizes_and_a_side(tmp_path: Path, changes, quaternion) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((3, 4, 5))
    header.set_data_dtype(np.uint8)
    header["qform_code"], header["vox_offset"] = 1, 352
    header["pixdim"][1:4] = 1, 2, 3
    header["qoffset_x"], header["qoffset_y"] = 7, 8
    for name, value in changes.items():
        header[name] = value
    path = tmp_path / "a.nii"
    path.write_bytes(header.binaryblock + bytes(64))
    volume = nifti.read(path)
    imaginary = np.array(quaternion, float)
    imaginary /= max(1, np.linalg.norm(imaginary))
    real = np.sqrt(max(0, 1 - imaginary @ imaginary))
    rotation = Rotation.from_quat([*imaginary, real]).as_matrix()
    side = -1 if header["pixdim"][0] < 0 else 1
    expected = np.eye(4)
    expected[:3, :3] = rotation @ np.diag([1, 2, 3 * side])
    expected[:3, 3] = 7, 8, 0
    np.testing.assert_allclose(geometry.affine_to_ras_xyz(volume.affine), expected, atol=2e-6)
    image = sitk.ReadImage(str(path))
    np.testing.assert_allclose(image.GetOrigin(), volume.origin_mm, atol=1e-6)
    np.testing.assert_allclose(
        np.reshape(image.GetDirection(), (3, 3)), volume.direction[:, ::-1], atol=1e-3
    )


def test_a_sheared_affine_goes_into_the_sform_alone(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[1, 0] = 0.3
    nifti.write(Volume(np.zeros((2, 3, 4), np.uint8), affine), tmp_path / "a.nii")
    header = nib.load(tmp_path / "a.nii").header
    assert (header["sform_code"], header["qform_code"]) == (1, 0)
    np.testing.assert_allclose(nifti.read(tmp_path / "a.nii").affine, affine, atol=1e-7)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
)
@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 2)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_round_trip(tmp_path: Path, dtype: str, shape: tuple[int, ...], suffix: str) -> None:
    rng = np.random.default_rng(1)
    array = rng.integers(0, 100, shape).astype(dtype)
    volume = Volume.from_geometry(array, (4, 0.75, 0.5), (1, 2, 3))
    nifti.write(volume, tmp_path / f"a{suffix}")
    again = nifti.read(tmp_path / f"a{suffix}")
    assert again.array.dtype == np.dtype(dtype)
    assert np.array_equal(again.array, array)
    np.testing.assert_allclose(again.affine, volume.affine)


def test_bool_is_written_as_uint8_and_half_as_float32(tmp_path: Path) -> None:
    for given, stored in ((np.bool_, np.uint8), (np.float16, np.float32)):
        nifti.write(Volume.from_geometry(np.ones((2, 2, 2), given)), tmp_path / "a.nii")
        assert nifti.read(tmp_path / "a.nii").array.dtype == stored


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    volume = Volume.from_geometry(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    nifti.write(volume, tmp_path / "first.nii.gz")
    nifti.write(volume, tmp_path / "second.nii.gz")
    assert (tmp_path / "first.nii.gz").read_bytes() == (tmp_path / "second.nii.gz").read_bytes()


def save(path: Path, array: np.ndarray, change: object = None) -> Path:
    image = nib.Nifti1Image(array, np.eye(4))
    if change:
        change(image)  # type: ignore[operator]
    nib.save(image, path)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
def test_slope_intercept_and_byte_order(tmp_path: Path, order: str) -> None:
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.int16)
    header.set_data_shape((2, 3, 4))
    header.set_sform(np.eye(4), 1)
    header["scl_slope"], header["scl_inter"], header["vox_offset"] = 0.5, -1024, 352
    stored = np.arange(24, dtype=f"{order}i2").reshape(2, 3, 4)
    path = tmp_path / "a.nii"
    path.write_bytes(header.binaryblock + bytes(4) + stored.tobytes(order="F"))
    volume = nifti.read(path)
    expected = stored.astype(float) * 0.5 - 1024
    assert np.array_equal(volume.array, expected.transpose(2, 1, 0))
    assert volume.array.dtype == np.float32


def test_four_dimensions_give_channels_last_and_trailing_ones_vanish(tmp_path: Path) -> None:
    array = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    volume = nifti.read(save(tmp_path / "a.nii", array))
    assert volume.array.shape == (4, 3, 2, 5)
    assert np.array_equal(volume.array[1, 2, 0], array[0, 2, 1])
    assert nifti.read(save(tmp_path / "b.nii", array[..., :1])).array.shape == (4, 3, 2)
    assert nifti.read(save(tmp_path / "c.nii", array[..., 0, 0])).array.shape == (1, 3, 2)


def test_sform_wins_over_qform_and_qform_over_nothing(tmp_path: Path) -> None:
    sform, qform = np.diag([2.0, 2, 2, 1]), np.diag([3.0, 3, 3, 1])

    def both(image: nib.Nifti1Image) -> None:
        image.set_sform(sform, 2)
        image.set_qform(qform, 1)

    def only_qform(image: nib.Nifti1Image) -> None:
        image.set_sform(sform, 0)
        image.set_qform(qform, 1)

    array = np.zeros((2, 2, 2), np.uint8)
    assert nifti.read(save(tmp_path / "a.nii", array, both)).spacing_mm == (2, 2, 2)
    assert nifti.read(save(tmp_path / "b.nii", array, only_qform)).spacing_mm == (3, 3, 3)


def test_units_other_than_mm_are_converted(tmp_path: Path) -> None:
    array = np.zeros((2, 2, 2), np.uint8)
    path = save(tmp_path / "a.nii", array, lambda i: i.header.set_xyzt_units("micron"))
    np.testing.assert_allclose(nifti.read(path).spacing_mm, 1e-3)


@pytest.mark.parametrize("slope", [0, np.nan])
def test_no_slope_is_no_scaling(tmp_path: Path, slope: float, caplog) -> None:
    path = patched(tmp_path, "scl_slope", slope)
    assert nifti.read(path).array.dtype == np.int16
    assert caplog.text == ""


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["int8", "uint64", "int64", "uint32", "float64"])
def test_types_in_both_byte_orders(tmp_path: Path, name: str, order: str) -> None:
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(name).newbyteorder(order))
    header.set_data_shape((2, 3, 4))
    header.set_sform(np.eye(4), 1)
    header["vox_offset"] = 352
    values = (np.arange(24) * (2**58 if name.endswith("64") else 5)).astype(name)
    stored = values.reshape(2, 3, 4, order="F").astype(np.dtype(name).newbyteorder(order))
    path = tmp_path / "a.nii"
    path.write_bytes(header.binaryblock + bytes(4) + stored.tobytes(order="F"))
    array = nifti.read(path).array
    assert array.dtype == np.dtype(name)
    assert np.array_equal(array.ravel(), values)


def test_vector_components_are_channels_and_time_is_said(tmp_path: Path, caplog) -> None:
    array = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 1, 5)
    volume = nifti.read(save(tmp_path / "a.nii", array))
    assert np.array_equal(volume.array, array[:, :, :, 0].transpose(2, 1, 0, 3))
    sitk.WriteImage(sitk.GetImageFromArray(volume.array, isVector=True), str(tmp_path / "b.nii"))
    assert np.array_equal(nifti.read(tmp_path / "b.nii").array, volume.array)
    assert caplog.text == ""

    def timed(image: nib.Nifti1Image) -> None:
        image.header.set_xyzt_units("mm", "sec")
        image.header["pixdim"][4] = 2.5

    nifti.read(save(tmp_path / "c.nii", array[:, :, :, 0], timed))
    assert "5 points in time, 2.5 s apart; they are taken as channels" in caplog.text


def test_bytes_behind_the_voxels_are_said(tmp_path: Path, caplog) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    plain = save(tmp_path / "a.nii", array).read_bytes()
    packed = gzip.compress(plain)
    path = tmp_path / "b.nii.gz"
    for content, said in (
        (packed + b"scifio-imageio#57 has 32 bytes..", "32 bytes follow the gzip data"),
        (gzip.compress(plain + b"1234"), "4 bytes follow the voxels"),
        (plain + b"1234", "4 bytes follow the voxels"),
        (packed + bytes(512), ""),
        (gzip.compress(plain[:370]) + gzip.compress(plain[370:]), ""),
    ):
        path.write_bytes(content)
        caplog.clear()
        assert np.array_equal(nifti.read(path).array, array.transpose(2, 1, 0))
        assert said in caplog.text
        assert said or caplog.text == ""


def test_nifti2_and_a_gzip_without_the_suffix(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nib.save(nib.Nifti2Image(array, np.eye(4)), tmp_path / "a.nii")
    packed = tmp_path / "b.nii"
    packed.write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    for path in (tmp_path / "a.nii", packed):
        assert np.array_equal(nifti.read(path).array, array.transpose(2, 1, 0))


# -- files that are not what they say ----------------------------------------------------------


def patched(tmp_path: Path, field: str, value: object) -> Path:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((4, 4, 4))
    header.set_sform(np.eye(4), 1)
    header["vox_offset"] = 352
    header[field] = value
    path = tmp_path / "a.nii"
    path.write_bytes(header.binaryblock + bytes(4) + bytes(128))
    return path


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("dim", [3, 30000, 30000, 30000, 1, 1, 1, 1], "more than a file of 480 bytes holds"),
        ("dim", [3, 4, 4, 5, 1, 1, 1, 1], "truncated: 160 bytes of voxels expected, 128 found"),
        ("dim", [3, 4, 8, 5, 1, 1, 1, 1], "4 x 8 x 5 voxels .* more than a file"),
        ("dim", [3, 4, -4, 4, 1, 1, 1, 1], "every size must be at least 1"),
        ("dim", [9, 4, 4, 4, 1, 1, 1, 1], "1 to 7 dimensions; this one says 9"),
        ("dim", [5, 2, 2, 2, 2, 3, 1, 1], "5 dimensions"),
        ("datatype", 32, "real numbers of up to 64 bits; this file stores complex64"),
        ("datatype", 128, "this file stores RGB"),
        ("srow_x", [np.nan, 0, 0, 0], "affine must be 4x4 and finite"),
        ("srow_x", [0, 0, 0, 0], "affine is singular"),
        ("magic", b"ni1", "must be in one .nii file"),
        ("vox_offset", 17, "cannot start at byte 17"),
        ("vox_offset", np.nan, "cannot start at byte nan"),
        ("vox_offset", -np.inf, "cannot start at byte -inf"),
        ("vox_offset", 352.5, "cannot start at byte 352.5"),
        ("vox_offset", 1e30, r"cannot start at byte 1e\+30|more than a file"),
        ("datatype", 1536, "this file stores float128"),
        ("datatype", 2304, "this file stores RGBA"),
        ("datatype", 0, "this file stores"),
        ("datatype", 77, "this file stores type 77"),
        ("scl_slope", np.inf, "scl_slope and scl_inter must be finite"),
    ],
)
def test_headers_are_not_believed(tmp_path: Path, field: str, value: object, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        nifti.read(patched(tmp_path, field, value))


def test_truncated_and_corrupt_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 1000, (20, 20, 20)).astype(np.int16)
    whole = save(tmp_path / "whole.nii.gz", array).read_bytes()
    plain = gzip.decompress(whole)
    checksum = whole[:-8] + bytes(4) + whole[-4:]
    for content, rule in (
        (b"", "the file is empty"),
        (plain[:200], "header has 348 bytes; the file ends after 200"),
        (plain[:5000], "more than a file of 5000 bytes holds"),
        (whole[: len(whole) // 2], "gzip data end too early"),
        (gzip.compress(plain[:-100]), "truncated: 16000 bytes of voxels expected, 15900 found"),
        (whole[:3000] + bytes(200) + whole[3200:], "gzip data are corrupt|truncated"),
        (checksum, "gzip data are corrupt"),
        (b"not an image at all", "no NIfTI file"),
    ):
        path = tmp_path / "broken.nii.gz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=rule) as caught:
            nifti.read(path)
        assert "\n" not in str(caught.value)


def test_little_that_would_become_endless_is_refused(tmp_path: Path) -> None:
    plain = save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.int16)).read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(plain + bytes(80_000_000), 1))
    with pytest.raises(DataError, match="far more than the header tells of"):
        nifti.read(tmp_path / "b.nii.gz")


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        nifti.read(tmp_path / "none.nii")
    with pytest.raises(DataError, match="this is a folder"):
        nifti.read(tmp_path)
