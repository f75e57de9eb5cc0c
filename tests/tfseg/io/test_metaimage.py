"""MetaImage against SimpleITK, and files that are not what they say."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from tfseg.errors import DataError
from tfseg.io import metaimage, read_volume, write_volume
from tfseg.volume import Volume

DIRECTIONS = {
    "oblique": (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0),
    "flipped": (0.0, 0.0, -1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
}
VALUES = np.arange(24, dtype="<i2").reshape(2, 3, 4)
HEADER = {
    "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
    "ElementSpacing": "1 2 3", "DimSize": "4 3 2", "ElementType": "MET_SHORT",
}  # fmt: skip


def write(path: Path, data: bytes = VALUES.tobytes(), where: str = "LOCAL", **fields: str) -> Path:
    """Write a header, in which a field without a text is left out, and the voxels behind it."""
    lines = [f"{key} = {text}" for key, text in {**HEADER, **fields}.items() if text]
    path.write_bytes("\n".join([*lines, f"ElementDataFile = {where}", ""]).encode() + data)
    return path


def compare(volume, image: sitk.Image) -> None:
    values = sitk.GetArrayViewFromImage(image)
    assert volume.array.dtype == values.dtype
    assert np.array_equal(volume.array, values)
    for x, y, z in ((0, 0, 0), (3, 2, 1), (1, 0, 1)):
        place = image.TransformIndexToPhysicalPoint((x, y, z))
        np.testing.assert_allclose((volume.affine @ [z, y, x, 1])[:3], place, atol=1e-6)


@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd", "a.nhdr"])
@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("vector", [False, True], ids=["scalar", "vector"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_voxels_lie_where_simpleitk_says(
    tmp_path: Path, name: str, direction: tuple[float, ...], vector: bool, packed: bool
) -> None:
    shape = (3, 4, 5, 2) if vector else (3, 4, 5)
    image = sitk.GetImageFromArray(np.arange(np.prod(shape), dtype="i2").reshape(shape), vector)
    image.SetSpacing((0.5, 1.5, 4.0))
    image.SetOrigin((-10.0, 20.0, 30.5))
    image.SetDirection(direction)
    sitk.WriteImage(image, str(tmp_path / name), packed)
    compare(read_volume(tmp_path / name), image)


SHEARED = np.reshape(DIRECTIONS["oblique"], (3, 3)) @ [[1, 0, 0], [0, 1, 0.2], [0, 0, 1]]


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 2)])
@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?", "f2", ">i2"]
)
@pytest.mark.parametrize("direction", [*DIRECTIONS.values(), SHEARED], ids=[*DIRECTIONS, "sheared"])
def test_what_is_written_is_read_here_and_by_simpleitk(
    tmp_path: Path, suffix: str, shape: tuple[int, ...], dtype: str, direction
) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    axes = np.reshape(direction, (3, 3))[:, ::-1]
    volume = Volume.from_geometry(array, (4, 0.7, 0.3), (1.5, -2, 1 / 3), axes)
    path = tmp_path / f"a{suffix}"
    write_volume(volume, path)
    again = read_volume(path)
    assert np.array_equal(again.array, array)
    kept = {"?": "u1", "f2": "f4"}.get(dtype, dtype.removeprefix(">"))
    assert again.array.dtype == np.dtype(kept)
    np.testing.assert_allclose(again.affine, volume.affine, rtol=1e-15, atol=1e-15)
    first = path.read_bytes()
    write_volume(volume, path)
    assert path.read_bytes() == first
    if direction is not SHEARED:
        compare(again, sitk.ReadImage(str(path)))


@pytest.mark.parametrize(
    ("fields", "unlike_itk"),
    [
        ({"TransformMatrix": "0 1 0 0 0 1 1 0 0", "Offset": "1 2 3"}, ""),
        ({"Rotation": "0 1 0 0 0 1 1 0 0", "Position": "1 2 3"}, ""),
        ({"Orientation": "2 0 0 0 1 0 0 0 1", "Origin": "1 2 3"}, ""),
        ({"ElementSpacing": "-1 2 3"}, ""),
        ({"ElementSpacing": "", "ElementSize": "2 3 4"}, ""),
        ({"ElementSize": "7 7 7"}, ""),
        ({"BinaryDataByteOrderMSB": "", "ElementByteOrderMSB": "True"}, ""),
        ({"BinaryData": ""}, ""),
        ({"Comment": "x" * 90_000, "ElementSpacing": "1 2 3"}, "ITK's lines are short"),
        ({"ElementType": "MET_LONG_LONG", "DimSize": "3 1 2"}, ""),
        ({"ElementType": "MET_UCHAR", "DimSize": "4 3 2", "ElementNumberOfChannels": "2"}, ""),
        ({"where": "Local"}, "MetaIO#141"),
        ({"ElementSpacing": "1e3 2e3 3e3", "DistanceUnits": "um"}, "ITK takes all for mm"),
        ({"ElementSpacing": "0.1 0.2 0.3", "DistanceUnits": "cm"}, "ITK takes all for mm"),
    ],
)
def test_headers_mean_what_itk_says(tmp_path: Path, fields, unlike_itk: str) -> None:
    volume = metaimage.read(write(tmp_path / "a.mha", **fields))
    if unlike_itk:
        assert np.array_equal(volume.array, VALUES)
        np.testing.assert_allclose(volume.spacing_mm, (3, 2, 1))
    else:
        compare(volume, sitk.ReadImage(str(tmp_path / "a.mha")))


@pytest.mark.parametrize(
    "content",
    [
        zlib.compress(VALUES.tobytes()),
        gzip.compress(VALUES.tobytes()),
        zlib.compress(VALUES.tobytes()) + bytes(100),
    ],
    ids=["zlib", "gzip", "filled up with zeros"],
)
@pytest.mark.parametrize("size", ["", "1", "999999"])
def test_a_compressed_stream_says_itself_where_it_ends(tmp_path, content: bytes, size) -> None:
    # MetaIO#142: without the size, ITK gives the memory of the file that was read before.
    path = write(tmp_path / "a.mha", content, CompressedData="True", CompressedDataSize=size)
    assert np.array_equal(metaimage.read(path).array, VALUES)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
def test_no_damaged_bit_of_a_compressed_stream_gives_other_voxels(
    tmp_path: Path, name: str
) -> None:
    values = np.random.default_rng(0).integers(0, 999, (6, 5, 4)).astype("i2")
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / name), True)
    whole = (tmp_path / name).read_bytes()
    begin = whole.index(b"LOCAL\n") + 6 if name == "a.mha" else whole.index(b"\n\n") + 2
    answered = 0
    for place in range(8 * begin, 8 * len(whole)):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        (tmp_path / name).write_bytes(content)
        try:
            array = read_volume(tmp_path / name).array
        except DataError:
            continue
        answered += 1
        assert np.array_equal(array, values)
    # Bits of gzip's time and system, and those behind the last code, mean nothing.
    assert answered <= (80 if name == "a.nrrd" else 8)
    for cut in range(begin, len(whole)):
        (tmp_path / name).write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"end too early|more than a file"):
            read_volume(tmp_path / name)


def test_voxels_in_files_of_their_own(tmp_path: Path) -> None:
    for place, plane in enumerate(VALUES, start=1):
        (tmp_path / f"{place:02d}.raw").write_bytes(plane.tobytes())
        (tmp_path / f"{place}.gz").write_bytes(zlib.compress(plane.tobytes()))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/x.raw").write_bytes(bytes(7) + VALUES.tobytes())
    for name in ("x.raw", "50% of x.raw"):
        (tmp_path / name).write_bytes(VALUES.tobytes())
    packed = {"CompressedData": "True"}
    for data, where, fields in (
        (b"", "x.raw", {}),
        (b"", "./x.raw", {}),
        (b"", "50% of x.raw", {}),
        (b"", ".\\x.raw", {}),
        (b"", "sub/x.raw", {"HeaderSize": "7"}),
        (b"", "sub/x.raw", {"HeaderSize": "-1"}),
        (b"01.raw\n02.raw\n", "LIST", {}),
        (b"01.raw\n\n02.raw", "LIST 2", {}),
        (b"x.raw\n", "LIST 3", {}),
        (b"1.gz\n2.gz\n", "LIST", packed),
        (b"", "%02d.raw 1 2 1", {}),
        (b"", "%d.gz 1 2 1", packed),
        (b" ".join(b"%d" % value for value in VALUES.ravel()), "LOCAL", {"BinaryData": "False"}),
    ):
        volume = metaimage.read(write(tmp_path / "a.mhd", data, where, **fields))
        assert np.array_equal(volume.array, VALUES), where


@pytest.mark.parametrize(
    ("data", "fields", "rule"),
    [
        (VALUES.tobytes()[:-4], {}, "truncated: 48 bytes of voxels expected, 44 found"),
        (b"", {"NDims": ""}, "no MetaImage file: its header must have NDims"),
        (b"", {"DimSize": "5 4"}, "must be NDims = 3 sizes"),
        (b"", {"DimSize": "5 4 -3"}, "DimSize must be whole numbers"),
        (b"", {"DimSize": "5 4 0"}, "every size must be at least 1"),
        (b"", {"DimSize": "30000 30000 30000"}, "30000 x 30000 x 1 voxels .* more than a file"),
        (b"", {"where": "/etc/hosts"}, "must be beside the header"),
        (b"", {"where": "../x.raw"}, "must be beside the header"),
        (b"", {"where": "none.raw"}, r"there is no file .*none\.raw"),
        (b"", {"where": "x" * 300}, "there is no file"),
        (b"", {"where": "a.mha"}, r"there is no file .*a\.mha"),
        (b"x.raw\n", {"where": "LIST"}, "2 files of voxels expected, 1 named"),
        (b"", {"where": "%s.raw 1 2 1"}, r"must be like slice%03d\.raw"),
        (b"", {"where": "%d.raw 1 2 0"}, r"must be like slice%03d\.raw"),
        (b"", {"where": "%d.raw 1 900000 1"}, "900000 files of voxels"),
        (b"1 2 3", {"BinaryData": "False"}, "more than a file|24 numbers of voxels expected"),
        (b"1 2 x " * 24, {"BinaryData": "False"}, "text of the voxels is damaged"),
        (VALUES.tobytes(), {"ElementType": "MET_OTHER"}, "ElementType must be one of MET_CHAR"),
        (VALUES.tobytes(), {"DistanceUnits": "inch"}, "DistanceUnits must be one of mm"),
        (VALUES.tobytes(), {"ElementSpacing": "1 2 nan"}, "ElementSpacing must be 3 numbers"),
        (VALUES.tobytes(), {"ElementSpacing": "1 2 0"}, "affine is singular"),
        (VALUES.tobytes(), {"Offset": "1 2 3", "Origin": "1 2 4"}, "Offset and Origin are names"),
        (VALUES.tobytes(), {"HeaderSize": "-2"}, "HeaderSize must be -1, 0 or more"),
        (VALUES.tobytes(), {"CompressedData": "True"}, "zlib data are corrupt"),
        (VALUES.tobytes(), {"ObjectType": "Tube"}, "must be of ObjectType Image"),
        (zlib.compress(bytes(1000)), {"CompressedData": "yes"}, "must be True or False"),
    ],
)
def test_broken_files_give_one_line(tmp_path: Path, data: bytes, fields, rule: str) -> None:
    fields = dict(fields)
    if "30000" in fields.get("DimSize", ""):
        rule = "30000 x 30000 x 30000 x 1 voxels .* more than a file"
    with pytest.raises(DataError, match=rule) as caught:
        metaimage.read(write(tmp_path / "a.mha", data, **fields))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("data", "fields", "said"),
    [
        (VALUES.tobytes(), {"ElementSpacing": ""}, "voxels of 1 mm are assumed"),
        (VALUES.tobytes(), {"BinaryDataByteOrderMSB": ""}, "little-endian is assumed"),
        (VALUES.tobytes(), {"ElementToIntensityFunctionSlope": "2"}, "is 2; it is not applied"),
        (VALUES.tobytes() + b"12", {}, "2 bytes follow the voxels"),
        (zlib.compress(VALUES.tobytes()) + b"12", {"CompressedData": "True"}, "2 bytes follow"),
        (zlib.compress(VALUES.tobytes() + b"12"), {"CompressedData": "True"}, "2 bytes follow"),
    ],
)
def test_what_is_assumed_is_said(tmp_path: Path, data: bytes, fields, said: str, caplog) -> None:
    assert np.array_equal(metaimage.read(write(tmp_path / "a.mha", data, **fields)).array, VALUES)
    assert said in caplog.text


def test_two_and_four_dimensions(tmp_path: Path) -> None:
    flat = metaimage.read(
        write(tmp_path / "a.mha", NDims="2", DimSize="4 6", ElementSpacing="0.25 0.5", Offset="7 8")
    )
    assert flat.shape == (1, 6, 4)
    assert flat.spacing_mm == (1, 0.5, 0.25)
    assert flat.origin_mm == (7, 8, 0)
    four = metaimage.read(
        write(tmp_path / "a.mha", NDims="4", DimSize="2 3 2 2", ElementSpacing="1 1 1 1")
    )
    assert np.array_equal(four.array, np.moveaxis(VALUES.reshape(2, 2, 3, 2), 0, -1))
    with pytest.raises(DataError, match="no such file"):
        metaimage.read(tmp_path / "none.mha")
