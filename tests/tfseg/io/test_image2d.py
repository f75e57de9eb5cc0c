"""Pictures: every pixel layout in, one slice out."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image, ImageOps

from tfseg.errors import DataError
from tfseg.io import image2d, read_volume, write_volume
from tfseg.volume import Volume

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (5, 7)).astype(np.uint8)
RGB = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".gif"])
def test_gray(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(GRAY).save(tmp_path / f"a{suffix}")
    volume = read_volume(tmp_path / f"a{suffix}")
    assert np.array_equal(volume.array, GRAY[np.newaxis])
    assert volume.spacing_mm == (1, 1, 1)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_rgb(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RGB).save(tmp_path / f"a{suffix}")
    assert np.array_equal(read_volume(tmp_path / f"a{suffix}").array, RGB[np.newaxis])


def test_jpeg_is_close(tmp_path: Path) -> None:
    smooth = np.tile(np.arange(0, 160, 5, dtype=np.uint8), (32, 1))
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    read = read_volume(tmp_path / "a.jpg").array[0]
    assert np.abs(read.astype(int) - smooth).max() <= 4


def test_alpha_is_dropped(tmp_path: Path) -> None:
    alpha = np.full((5, 7, 1), 9, np.uint8)
    Image.fromarray(np.concatenate([RGB, alpha], axis=2)).save(tmp_path / "rgba.png")
    Image.fromarray(np.stack([GRAY, alpha[..., 0]], axis=2), "LA").save(tmp_path / "la.png")
    assert np.array_equal(read_volume(tmp_path / "rgba.png").array[0], RGB)
    assert np.array_equal(read_volume(tmp_path / "la.png").array[0], GRAY)


def test_palettes(tmp_path: Path) -> None:
    coloured = Image.fromarray((GRAY % 4).astype(np.uint8), "P")
    coloured.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    coloured.save(tmp_path / "a.gif")
    red = read_volume(tmp_path / "a.gif").array[0][GRAY % 4 == 1]
    assert (red == [255, 0, 0]).all()
    shades = Image.fromarray((GRAY % 2).astype(np.uint8), "P")
    shades.putpalette([0, 0, 0, 255, 255, 255])
    shades.save(tmp_path / "b.gif")
    assert np.array_equal(read_volume(tmp_path / "b.gif").array[0], (GRAY % 2) * 255)


def test_one_bit_is_0_and_255(tmp_path: Path) -> None:
    Image.fromarray(GRAY > 128).save(tmp_path / "a.png")
    assert np.array_equal(read_volume(tmp_path / "a.png").array[0], (GRAY > 128) * 255)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_gray_and_colour_keep_their_bits(tmp_path: Path, suffix: str) -> None:
    gray = GRAY.astype(np.uint16) * 257 + 3
    colour = RGB.astype(np.uint16) * 257 + 3
    path = tmp_path / f"a{suffix}"
    for values, vector in ((gray, False), (colour, True)):
        sitk.WriteImage(sitk.GetImageFromArray(values, isVector=vector), str(path))
        read = read_volume(path).array[0]
        assert read.dtype == np.uint16
        assert np.array_equal(read, values)


def test_float_tiff(tmp_path: Path) -> None:
    values = GRAY.astype(np.float32) / 7
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert np.array_equal(read_volume(tmp_path / "a.tif").array[0], values)


def test_write_png_round_trip(tmp_path: Path) -> None:
    for values in (GRAY, GRAY.astype(np.uint16) * 200, RGB):
        write_volume(Volume.from_geometry(values[np.newaxis]), tmp_path / "a.png")
        assert np.array_equal(read_volume(tmp_path / "a.png").array[0], values)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 3, 4), np.uint8), np.zeros((1, 3, 4)), np.zeros((1, 3, 4, 2), np.uint8)]
)
def test_png_holds_one_slice(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(DataError, match="a PNG holds one slice"):
        image2d.write(Volume.from_geometry(array), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_broken_pictures(tmp_path: Path) -> None:
    Image.fromarray(RGB.repeat(40, 0).repeat(40, 1)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    for content, rule in (
        (b"", "the file is empty"),
        (b"text", "no PNG, JPEG, TIFF, GIF, BMP, PPM or PGM picture"),
        (whole[: len(whole) // 2], "it is truncated"),
    ):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(DataError, match=rule):
            image2d.read(tmp_path / "b.png")
    with pytest.raises(DataError, match="no such file"):
        image2d.read(tmp_path / "none.png")


def test_several_frames_are_refused(tmp_path: Path) -> None:
    first, second = Image.fromarray(GRAY), Image.fromarray(GRAY[::-1].copy())
    for name in ("a.gif", "a.tif"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
        with pytest.raises(DataError, match="must have one frame; this file has 2"):
            image2d.read(tmp_path / name)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(GRAY).save(tmp_path / "a.png")
    monkeypatch.setattr(image2d, "_MOST_PIXELS", 10)
    with pytest.raises(DataError, match="must have 1 to 10 pixels"):
        image2d.read(tmp_path / "a.png")


def png(values: np.ndarray, depth: int, colour: int, *, extra: bytes = b"") -> bytes:
    """A PNG by hand: rows of unfiltered samples (PNG specification)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    height, width = values.shape[:2]
    bits = np.unpackbits(values.reshape(height, -1, 1).astype(np.uint8), axis=2)[..., 8 - depth :]
    rows = [b"\0" + np.packbits(row.ravel()).tobytes() for row in bits]
    if depth == 16:
        rows = [b"\0" + row.astype(">u2").tobytes() for row in values]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_labels_are_the_stored_numbers(tmp_path: Path, depth: int) -> None:
    values = GRAY.astype(int) % 2**depth
    (tmp_path / "a.png").write_bytes(png(values, depth, 0))
    assert np.array_equal(image2d.read(tmp_path / "a.png", labels=True).array[0], values)


@pytest.mark.parametrize("suffix", [".png", ".gif", ".bmp", ".tif"])
@pytest.mark.parametrize(
    "palette", [[0, 0, 0, 128, 0, 0, 0, 128, 0], [0, 0, 0, 255, 255, 255, 128, 128, 128]]
)
def test_the_index_in_the_palette_is_the_class(
    tmp_path: Path, suffix: str, palette: list[int]
) -> None:
    image = Image.fromarray(GRAY % 3, "P")
    image.putpalette(palette)
    image.save(tmp_path / f"a{suffix}")
    assert np.array_equal(image2d.read(tmp_path / f"a{suffix}", labels=True).array[0], GRAY % 3)
    seen = image2d.read(tmp_path / f"a{suffix}").array[0]
    colours = np.reshape(palette, (3, 3))[GRAY % 3]
    assert np.array_equal(seen, colours if seen.ndim == 3 else colours[..., 0])


@pytest.mark.parametrize("most", [3, 100, 4095, 1000])
def test_numbers_of_a_pgm_are_not_stretched(tmp_path: Path, most: int) -> None:
    values = np.arange(most + 1).reshape(1, -1)
    form = "u1" if most < 256 else ">u2"
    head = f"P5 {values.size} 1 {most}\n".encode()
    (tmp_path / "a.pgm").write_bytes(head + values.astype(form).tobytes())
    assert np.array_equal(read_volume(tmp_path / "a.pgm").array[0], values)
    text = f"P2 {values.size} 1 {most}\n" + " ".join(map(str, values[0]))
    (tmp_path / "b.pgm").write_text(text)
    assert np.array_equal(read_volume(tmp_path / "b.pgm").array[0], values)


def test_masks_that_do_not_say_what_is_the_label_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GRAY).save(tmp_path / "a.jpg")
    Image.fromarray(GRAY).save(tmp_path / "b.png", format="JPEG")
    Image.fromarray(RGB).save(tmp_path / "c.png")
    Image.fromarray(np.stack([GRAY, GRAY], axis=2), "LA").save(tmp_path / "d.png")
    for name, rule in (
        ("a.jpg", "JPEG changes class numbers"),
        ("b.png", "JPEG changes class numbers"),
        ("c.png", "its numbers are the classes; got colours"),
        ("d.png", "alpha channel that differs"),
    ):
        with pytest.raises(DataError, match=rule):
            image2d.read(tmp_path / name, labels=True)
        image2d.read(tmp_path / name)
    Image.fromarray(np.stack([GRAY, np.full_like(GRAY, 255)], axis=2), "LA").save(
        tmp_path / "e.png"
    )
    assert np.array_equal(image2d.read(tmp_path / "e.png", labels=True).array[0], GRAY)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_pictures_of_a_turned_camera_are_set_upright(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, turn: int
) -> None:
    """Pillow's own transposition is the oracle."""
    stored = np.kron(RGB[:2, :3], np.ones((16, 16, 1), np.uint8))
    exif = Image.Exif()
    exif[274] = turn
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        Image.fromarray(stored).save(path, tiffinfo={274: turn})
    else:
        Image.fromarray(stored).save(path, exif=exif, quality=100, subsampling=0)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    image2d._said.clear()
    for _ in range(2):
        assert np.array_equal(read_volume(path).array[0], upright)
    said = [record.message for record in caplog.records]
    assert len(said) == (turn != 1)
    assert all(f"orientation tag is {turn}, so it is turned upright" in one for one in said)


def test_every_checksum_of_a_png_counts(tmp_path: Path) -> None:
    content = png(GRAY, 8, 0)
    for place in range(8, len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 4
        (tmp_path / "a.png").write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.png: "):
            image2d.read(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".gif", ".bmp", ".tif"])
def test_a_size_that_the_file_cannot_hold_is_refused_before_memory_is_taken(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(GRAY).save(path)
    content = bytearray(path.read_bytes())
    if suffix == ".gif":
        content[6:10] = struct.pack("<HH", 11000, 11000)
    elif suffix == ".bmp":
        content[18:26] = struct.pack("<ii", 11000, 11000)
    else:  # the value of a SHORT tag lies 8 bytes behind its number
        for tag in (256, 257):
            at = content.index(struct.pack("<HH", tag, 4)) + 8
            content[at : at + 4] = struct.pack("<I", 11000)
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"11000|damaged|truncated"):
        image2d.read(path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_real_pictures(real_data: Path) -> None:
    photo = read_volume(real_data / "DRIVE/training/images/21_training.tif")
    assert photo.array.shape == (1, 584, 565, 3)
    assert photo.array.dtype == np.uint8
    compared = 0
    for path in sorted((real_data / "ivadomed/data_test_png_tif").rglob("*.*")):
        if path.suffix not in {".png", ".tif", ".jpg"}:
            continue
        try:
            reference = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        except RuntimeError:
            continue  # SimpleITK cannot read gray with alpha
        colours = reference[..., :3] if reference.ndim == 3 else reference
        assert np.array_equal(read_volume(path).array[0], colours), path.name
        compared += 1
    assert compared >= 5
