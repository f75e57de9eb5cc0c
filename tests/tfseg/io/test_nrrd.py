"""NRRD against SimpleITK where it reads the same, else against the format's own words."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from tfseg.errors import DataError
from tfseg.io import nrrd

VALUES = np.arange(24, dtype="<i2").reshape(2, 3, 4)
RAW = VALUES.tobytes()
BASE = "NRRD0005\ntype: short\ndimension: 3\nsizes: 4 3 2\nendian: little\n"
TEXT = b" ".join(b"%d" % value for value in VALUES.ravel())
PLACED = "space: LPS\nspace directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (7,8,9)\n"


def write(path: Path, fields: str, data: bytes = RAW, base: str = BASE) -> Path:
    path.write_bytes((base + fields + "\n").encode() + data)
    return path


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ("encoding: raw\n", RAW),
        ("encoding: gz\n", gzip.compress(RAW, mtime=0)),
        ("encoding: gzip\nbyte skip: 4\n", gzip.compress(b"1234" + RAW, mtime=0)),
        ("encoding: gzip\nbyteskip: -1\n", gzip.compress(b"1234" + RAW, mtime=0)),
        ("encoding: gzip\nline skip: 1\n", b"12345\n" + gzip.compress(RAW, mtime=0)),
        ("encoding: raw\nlineskip: 1\nbyte skip: 2\n", b"1234\n56" + RAW),
        ("encoding: raw\nbyte skip: -1\n", b"1234\n56" + RAW),
        ("encoding: ascii\n", TEXT),
        ("encoding: text\n", TEXT.replace(b" ", b"\n")),
        ("encoding: hex\n", RAW.hex().encode()),
        ("encoding: hex\n", RAW.hex(" ", 4).upper().encode()),
        ("ENCODING: RAW\n", RAW),
        ("encoding: raw\nspacings: 2 3 4\naxis mins: 10 20 30\n", RAW),
        ("encoding: raw\nspacings: 2 3 4\naxismins: 1 2 3\ncenters: node node node\n", RAW),
        ("encoding: raw\nspacings: 2 nan 4\n", RAW),
        ("encoding: raw\n" + PLACED, RAW),
        ("encoding: raw\n" + PLACED.replace("LPS", "right-anterior-superior"), RAW),
        ("encoding: raw\n" + PLACED.replace("LPS", "LAS"), RAW),
        ("encoding: raw\n" + PLACED.replace("LPS", "scanner-xyz"), RAW),
        ("encoding: raw\n" + PLACED.replace("space: LPS", "space dimension: 3"), RAW),
        ("encoding: raw\n# a comment\nkey:=value: of it\n" + PLACED, RAW),
        ("encoding: raw\ncontent: " + "x" * 90_000 + "\n", RAW),
    ],
)
def test_files_mean_what_simpleitk_says(tmp_path: Path, fields: str, data: bytes) -> None:
    volume = nrrd.read(write(tmp_path / "a.nrrd", fields, data))
    image = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    assert np.array_equal(volume.array, VALUES)
    assert np.array_equal(sitk.GetArrayViewFromImage(image), VALUES)
    for x, y, z in ((0, 0, 0), (3, 2, 1)):
        place = image.TransformIndexToPhysicalPoint((x, y, z))
        np.testing.assert_allclose((volume.affine @ [z, y, x, 1])[:3], place, atol=1e-6)


def test_what_simpleitk_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    for fields, data in (
        ("encoding: bz2\n", bz2.compress(RAW)),
        ("encoding: gzip\n", gzip.compress(RAW[:20], mtime=0) + gzip.compress(RAW[20:], mtime=0)),
    ):
        assert np.array_equal(nrrd.read(write(path, fields, data)).array, VALUES)
    with_time = PLACED.replace("LPS", "left-posterior-superior-time").replace(
        "(1,0,0) (0,2,0) (0,0,3)", "(1,0,0,0) (0,2,0,0) (0,0,3,0) (0,0,0,1)"
    )
    with_time = with_time.replace("(7,8,9)", "(7,8,9,0)")
    volume = nrrd.read(write(path, "encoding: raw\n" + with_time, RAW, BASE.replace(
        "dimension: 3\nsizes: 4 3 2", "dimension: 4\nsizes: 2 3 2 2"
    )))  # fmt: skip
    assert np.array_equal(volume.array, np.moveaxis(VALUES.reshape(2, 2, 3, 2), 0, -1))
    assert volume.spacing_mm == (3, 2, 1)
    assert volume.origin_mm == (7, 8, 9)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("name", ["int8", "uchar", "unsigned short", "int64_t", "float", "double"])
def test_types_and_byte_orders(tmp_path: Path, name: str, big: bool) -> None:
    dtype = {"int8": "i1", "uchar": "u1", "unsigned short": "u2", "int64_t": "i8",
             "float": "f4", "double": "f8"}[name]  # fmt: skip
    base = BASE.replace("short", name).replace("little", "big" if big else "little")
    data = VALUES.astype(f"{'>' if big else '<'}{dtype}").tobytes()
    for fields, content in (("encoding: raw\n", data), ("encoding: hex\n", data.hex().encode())):
        array = nrrd.read(write(tmp_path / "a.nrrd", fields, content, base)).array
        assert array.dtype == np.dtype(dtype)
        assert np.array_equal(array, VALUES)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", ["list", "vector", "RGB-color", "3-vector"])
def test_an_axis_that_is_not_of_space_becomes_channels(tmp_path, first: bool, kind: str) -> None:
    values = np.arange(72, dtype="<i2").reshape((2, 4, 3, 3) if first else (3, 2, 4, 3))
    base = BASE.replace("dimension: 3", "dimension: 4")
    base = base.replace("4 3 2", "3 3 4 2" if first else "3 4 2 3")
    kinds, steps = ["domain"] * 3, "(1,0,0) (0,2,0) (0,0,3)"
    kinds.insert(0 if first else 3, kind)
    for fields in (
        f"kinds: {' '.join(kinds)}\n",
        "space: LPS\nspace directions: " + (f"none {steps}\n" if first else f"{steps} none\n"),
    ):
        volume = nrrd.read(
            write(tmp_path / "a.nrrd", "encoding: raw\n" + fields, values.tobytes(), base)
        )
        assert np.array_equal(volume.array, values if first else np.moveaxis(values, 0, -1))


@pytest.mark.parametrize(
    ("unit", "mm"),
    [("mm", 1), ("cm", 10), ("m", 1000), ("um", 1e-3), ("microns", 1e-3), ("µm", 1e-3), ("", 1)],
)
def test_units_of_length_become_mm(tmp_path: Path, unit: str, mm: float) -> None:
    units = f'"{unit}" "{unit}" "{unit}"\n'
    for fields in (f"{PLACED}space units: {units}", f"spacings: 1 2 3\nunits: {units}"):
        volume = nrrd.read(write(tmp_path / "a.nrrd", f"encoding: raw\n{fields}"))
        np.testing.assert_allclose(volume.spacing_mm, (3 * mm, 2 * mm, mm))
        if "origin" in fields:
            np.testing.assert_allclose(volume.origin_mm, (7 * mm, 8 * mm, 9 * mm))


def test_voxels_in_files_of_their_own(tmp_path: Path) -> None:
    for place, plane in enumerate(VALUES, start=1):
        (tmp_path / f"{place:02d}.raw").write_bytes(plane.tobytes())
        (tmp_path / f"{place}.gz").write_bytes(gzip.compress(plane.tobytes()))
    (tmp_path / "x.raw").write_bytes(RAW)
    for fields in (
        "encoding: raw\ndata file: x.raw\n",
        "encoding: raw\ndatafile: ./x.raw\n",
        "encoding: raw\ndata file: %02d.raw 1 2 1\n",
        "encoding: gzip\ndata file: %d.gz 1 2 1 2\n",
        "encoding: raw\ndata file: LIST\n01.raw\n02.raw\n",
        "encoding: raw\ndata file: LIST 2\n01.raw\n02.raw",
        "encoding: raw\ndata file: LIST 3\n01.raw\n02.raw",
    ):
        for name in ("a.nhdr", "a.nrrd"):
            volume = nrrd.read(write(tmp_path / name, fields, b""))
            assert np.array_equal(volume.array, VALUES), fields


@pytest.mark.parametrize(
    ("fields", "data", "rule"),
    [
        ("encoding: raw\n", RAW[:-4], "truncated: 48 bytes of voxels expected, 44 found"),
        ("encoding: gzip\n", gzip.compress(RAW, mtime=0)[:-5], "gzip data end too early"),
        ("encoding: gzip\n", gzip.compress(RAW, mtime=0)[:-8] + bytes(8), "gzip data are corrupt"),
        ("encoding: bzip2\n", bz2.compress(RAW)[:-6] + bytes(6), "bzip2 data are corrupt"),
        ("encoding: bzip2\n", bz2.compress(RAW[:-4]), "truncated"),
        ("encoding: ascii\n", TEXT + b" 7", "24 numbers of voxels expected, 25 found"),
        ("encoding: ascii\n", TEXT.replace(b"7", b"x"), "text of the voxels is damaged"),
        ("encoding: hex\n", RAW.hex().encode()[:-2], "truncated: 96 bytes of voxels expected, 95"),
        ("encoding: zrl\n", RAW, "encoding must be one of raw"),
        ("encoding: raw\nencoding: gzip\n", RAW, "must say 'encoding' once"),
        ("encoding: raw\nkinds: complex domain domain\n", RAW, "this file stores complex ones"),
        ("encoding: raw\nkinds: list list domain\n", RAW, "2 or 3 axes of space"),
        ("encoding: raw\nspacings: 1 2\n", RAW, "spacings must have 3 entries"),
        ("encoding: raw\nspacings: 1 2 0\n", RAW, "affine is singular"),
        (f'encoding: raw\n{PLACED}space units: "inch" "inch" "inch"\n', RAW, "must be lengths"),
        (f"encoding: raw\n{PLACED}space units: mm\n", RAW, "must be texts in quotes"),
        ("encoding: raw\n" + PLACED.replace("LPS", "moon"), RAW, "space must be one of"),
        ("encoding: raw\n" + PLACED.replace("(7,8,9)", "(7,8,x)"), RAW, "space origin must be"),
        ("encoding: raw\n" + PLACED.replace("(0,0,3)", "(0,0,0)"), RAW, "affine is singular"),
        ("encoding: raw\ndata file: ../x.raw\n", b"", "must be beside the header"),
        ("encoding: raw\ndata file: none.raw\n", b"", "there is no file"),
        ("encoding: raw\nno field\n", RAW, "a line of the header is no field"),
        ("", RAW, "must have 'encoding'"),
    ],
)
def test_broken_files_give_one_line(tmp_path: Path, fields: str, data: bytes, rule: str) -> None:
    with pytest.raises(DataError, match=rule) as caught:
        nrrd.read(write(tmp_path / "a.nrrd", fields, data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (("sizes: 4 3 2", "sizes: 30000 30000 30000"), "30000 x 30000 voxels .* more than a file"),
        (("sizes: 4 3 2", "sizes: 4 3"), "sizes must have 3 entries"),
        (("sizes: 4 3 2", "sizes: 4 -3 2"), "sizes must be whole numbers"),
        (("dimension: 3", "dimension: x"), "dimension must be a whole number"),
        (("short", "block"), "type 'block' cannot be read"),
        (("endian: little\n", ""), "endian must be little or big"),
        (("NRRD0005", "PRRD0005"), "cannot be read as NRRD"),
    ],
)
def test_headers_are_not_believed(tmp_path: Path, change: tuple[str, str], rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        nrrd.read(write(tmp_path / "a.nrrd", "encoding: raw\n", base=BASE.replace(*change)))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("", "voxels of 1 mm are assumed"),
        (PLACED.replace("LPS", "scanner-xyz"), "its space is scanner-xyz"),
        (PLACED.replace("LPS", "3D-left-handed"), "left and right may be exchanged"),
        (PLACED.replace("space: LPS", "space dimension: 3"), "its space is not named"),
    ],
)
def test_what_is_assumed_is_said(tmp_path: Path, fields: str, said: str, caplog) -> None:
    nrrd.read(write(tmp_path / "a.nrrd", f"encoding: raw\n{fields}"))
    assert said in caplog.text


def test_two_dimensions_become_one_slice(tmp_path: Path) -> None:
    base = BASE.replace("dimension: 3\nsizes: 4 3 2", "dimension: 2\nsizes: 4 6")
    for fields in (
        "spacings: 0.25 0.5\n",
        "space dimension: 2\nspace directions: (0.25,0) (0,0.5)\n",
    ):
        volume = nrrd.read(write(tmp_path / "a.nrrd", f"encoding: raw\n{fields}", base=base))
        assert volume.shape == (1, 6, 4)
        assert volume.spacing_mm == (1, 0.5, 0.25)


def test_real_nrrd(real_data: Path) -> None:
    folder = real_data / "pyradiomics"
    scan = nrrd.read(folder / "brain1_image.nrrd")
    label = nrrd.read(folder / "brain1_label.nrrd")
    reference = sitk.ReadImage(str(folder / "brain1_image.nrrd"))
    assert scan.same_grid(label)
    assert np.array_equal(scan.array, sitk.GetArrayViewFromImage(reference))
    np.testing.assert_allclose(scan.origin_mm, reference.GetOrigin())
