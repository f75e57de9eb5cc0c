"""TIFF: the numbers that were written come back, in every type and layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile

from tfseg.errors import DataError
from tfseg.io import image2d

RNG = np.random.default_rng(0)
SHAPE = (32, 48)


def numbers(dtype: str, *channels: int) -> np.ndarray:
    """Numbers over the whole range of a type."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return RNG.normal(0, 1e4, (*SHAPE, *channels)).astype(kind)
    bounds = np.iinfo(kind)
    return RNG.integers(bounds.min, bounds.max, (*SHAPE, *channels), kind, endpoint=True)


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
)
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_gray(tmp_path: Path, dtype: str, big: bool, order: str) -> None:
    values = numbers(dtype)
    tifffile.imwrite(
        tmp_path / "a.tif", values, bigtiff=big, byteorder=order, photometric="minisblack"
    )
    read = image2d.read(tmp_path / "a.tif").array[0]
    assert np.array_equal(read, values)
    assert read.dtype.isnative
    assert read.dtype == (np.float32 if dtype == "f2" else np.dtype(dtype))


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("channels", [2, 3, 5])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"tile": (16, 16)},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw", "bigtiff": True},
        {"rowsperstrip": 5},
    ],
)
def test_channels(
    tmp_path: Path, dtype: str, channels: int, planar: str, how: dict[str, Any]
) -> None:
    values = numbers(dtype, channels)
    stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        planarconfig=planar,
        photometric="rgb" if channels == 3 else "minisblack",
        **how,
    )
    read = image2d.read(tmp_path / "a.tif").array[0]
    assert np.array_equal(read, values)


def test_agrees_with_another_library(tmp_path: Path) -> None:
    """SimpleITK reads through libtiff."""
    for name, values, how in (
        ("white", numbers("u1"), {"photometric": "miniswhite"}),
        ("deep", numbers("u2", 3), {"photometric": "rgb", "compression": "lzw"}),
        ("packed", numbers("u1", 3), {"photometric": "rgb", "compression": "packbits"}),
    ):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, values, **how)
        other = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        assert np.array_equal(image2d.read(path).array[0], other), name


@pytest.mark.parametrize("photometric", ["miniswhite", "minisblack"])
@pytest.mark.parametrize("bits", [1, 8])
def test_masks_are_never_inverted(tmp_path: Path, photometric: str, bits: int) -> None:
    mask = numbers("u1") > 100
    stored = mask if bits == 1 else mask.astype(np.uint8) * 255
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric)
    read = image2d.read(tmp_path / "a.tif", labels=True).array[0]
    assert np.array_equal(read, stored)


def test_alpha_is_dropped_and_other_samples_are_kept(tmp_path: Path) -> None:
    values = numbers("u1", 4)
    constant = values.copy()
    constant[..., 3] = 255
    for stored, extra, channels in (
        (values, "unassalpha", 3),
        (values, "assocalpha", 3),
        (values, "unspecified", 4),
        (constant, "unspecified", 3),
    ):
        tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=[extra])
        read = image2d.read(tmp_path / "a.tif").array[0]
        assert np.array_equal(read, stored[..., :channels])


@pytest.mark.parametrize("how", [{"imagej": True}, {"photometric": "minisblack"}])
def test_stacks_are_refused(tmp_path: Path, how: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbers("u1", 4).transpose(2, 0, 1).copy(), **how)
    with pytest.raises(DataError, match="must have one frame; this file has 4"):
        image2d.read(tmp_path / "a.tif")


def test_a_thumbnail_is_no_frame(tmp_path: Path) -> None:
    values = numbers("u1")
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(values, photometric="minisblack")
        writer.write(values[::4, ::4], subfiletype=1, photometric="minisblack")
    assert np.array_equal(image2d.read(tmp_path / "a.tif").array[0], values)


def test_lossy_masks_and_unusual_colours_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbers("u1"), compression="jpeg")
    with pytest.raises(DataError, match="stored without loss; this TIFF is compressed with JPEG"):
        image2d.read(tmp_path / "a.tif", labels=True)
    image2d.read(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", numbers("u1", 4), photometric="separated")
    with pytest.raises(DataError, match="must be gray, RGB or palette; got TIFF's SEPARATED"):
        image2d.read(tmp_path / "b.tif")
    tifffile.imwrite(tmp_path / "c.tif", numbers("f4").astype(np.complex64))
    with pytest.raises(DataError, match="must be real numbers"):
        image2d.read(tmp_path / "c.tif")


def test_a_file_that_is_cut_is_refused(tmp_path: Path) -> None:
    for compression in (None, "lzw", "zlib"):
        tifffile.imwrite(tmp_path / "a.tif", numbers("u2"), compression=compression)
        content = (tmp_path / "a.tif").read_bytes()
        for left in (4, 100, len(content) // 2, len(content) - 3):
            (tmp_path / "b.tif").write_bytes(content[:left])
            with pytest.raises(DataError, match=r"b\.tif: "):
                image2d.read(tmp_path / "b.tif")
