"""Overlays: read back as pixels: where colours are, proportions, orientation."""

import io

import numpy as np
import pytest
from PIL import Image

from tfseg.artifact import label_colour
from tfseg.errors import DataError
from tfseg.report import overlay_png
from tfseg.report.overlay import _fullest
from tfseg.volume import Volume


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def close_to(picture: np.ndarray, colour: tuple[int, int, int], within: int = 30) -> np.ndarray:
    return np.abs(picture - np.array(colour)).max(axis=-1) <= within


def scan(shape=(6, 10, 12), spacing=(3.0, 1.0, 1.0), **geometry) -> Volume:
    return Volume.from_geometry(np.zeros(shape, np.float32), spacing, **geometry)


def with_box(volume: Volume, box: tuple[slice, ...], value: int = 1) -> Volume:
    array = np.zeros(volume.shape, np.uint8)
    array[box] = value
    return volume.with_array(array)


def test_classes_are_drawn_in_their_colours_and_the_reference_in_white():
    volume = scan()
    label = with_box(volume, np.s_[2:4, 3:6, 2:5], 1)
    label.array[2:4, 3:6, 7:10] = 2
    reference = with_box(volume, np.s_[2:4, 2:7, 2:10], 1)
    names = ("background", "a", "b")
    alone = pixels(overlay_png(volume, label, labels=names))
    both = pixels(overlay_png(volume, label, reference, labels=names))
    for value in (1, 2):
        assert close_to(alone, label_colour(value)).sum() > 50
    assert (
        close_to(both, (255, 255, 255), 8).sum() > close_to(alone, (255, 255, 255), 8).sum() + 100
    )
    assert close_to(alone, label_colour(3)).sum() == 0


def test_planes_have_true_proportions():
    # 6 x 3 mm by 10 mm by 12 mm: axial 10 high and 12 wide, coronal 18 x 12, sagittal 18 x 10.
    volume = Volume.from_geometry(np.full((6, 10, 12), 500.0), (3.0, 1.0, 1.0), modality="CT")
    label = volume.with_array(np.zeros(volume.shape, np.uint8))
    bright = close_to(pixels(overlay_png(volume, label)), (255, 255, 255), 0)
    columns = np.flatnonzero(bright.sum(axis=0) > 60)
    groups = np.split(columns, np.flatnonzero(np.diff(columns) > 5) + 1)
    sizes = [(int(bright[:, g].any(axis=1).sum()), len(g)) for g in groups]
    heights = [max(bright[:, g].sum(axis=0)) for g in groups]
    scale = heights[1] / 18
    for (_, width), height, expected in zip(
        sizes, heights, ((10, 12), (18, 12), (18, 10)), strict=True
    ):
        assert height == pytest.approx(expected[0] * scale, abs=3)
        assert width == pytest.approx(expected[1] * scale, abs=3)


def test_the_same_scan_in_another_orientation_gives_the_same_picture():
    rng = np.random.default_rng(0)
    array = rng.random((6, 10, 12)).astype(np.float32)
    volume = Volume.from_geometry(array, (3.0, 1.0, 1.0))
    label = with_box(volume, np.s_[2:4, 3:6, 2:9])
    # Axes x, z, y with y reversed: the affine says so, and nothing moves in space.
    moved, spacing = array.transpose(2, 0, 1)[:, :, ::-1], (1.0, 3.0, 1.0)
    direction = ((1, 0, 0), (0, 0, -1), (0, 1, 0))  # columns L, S, A
    other = Volume.from_geometry(moved, spacing, (0, 9, 0), direction)
    turned = other.with_array(label.array.transpose(2, 0, 1)[:, :, ::-1])
    assert other.canonical()[0].same_grid(volume)
    assert overlay_png(volume, label) == overlay_png(other, turned)


def changed(volume: Volume, index: int) -> Volume:
    """Change a corner of one axial slice, off the coronal and sagittal planes of the tests."""
    array = volume.array.copy()
    array[index, 7:, 7:] = 1000
    return volume.with_array(array)


def test_without_a_reference_the_fullest_slice_is_cut():
    volume = scan()
    label = with_box(volume, np.s_[1:2, 3:4, 3:4])
    label.array[4, 3:6, 3:6] = 1
    before = overlay_png(volume, label)
    assert overlay_png(changed(volume, 4), label) != before
    assert overlay_png(changed(volume, 1), label) == before


def test_the_planes_cross_where_the_maps_differ_most():
    volume = scan()
    # Most of the label is in slice 1, where it is right; in slice 4 a part is missing.
    reference = with_box(volume, np.s_[1, 1:9, 1:9])
    label = reference.with_array(reference.array.copy())
    reference.array[4, 3:6, 3:6] = 1
    before = overlay_png(volume, label, reference)
    assert overlay_png(changed(volume, 4), label, reference) != before
    assert overlay_png(changed(volume, 1), label, reference) == before


@pytest.mark.parametrize("case", ["somewhere", "one voxel", "two places", "everywhere"])
def test_the_crossing_is_the_voxel_whose_planes_hold_the_most(case):
    mask = np.zeros((5, 6, 7), bool)
    if case == "somewhere":
        mask[np.random.default_rng(0).random(mask.shape) < 0.2] = True
    elif case == "one voxel":
        mask[3, 4, 5] = True
    elif case == "two places":
        mask[0, 0, 0] = True
        mask[2:4, 3:5, 3:6] = True
    else:
        mask[:] = True
    z, y, x = _fullest(mask)
    held = {
        (i, j, k): mask[i].sum() + mask[:, j].sum() + mask[:, :, k].sum()
        for i, j, k in np.argwhere(mask)
    }
    assert held[z, y, x] == max(held.values())


def test_maps_that_are_the_same_are_cut_where_they_are_fullest():
    volume = scan()
    label = with_box(volume, np.s_[4, 3:6, 3:6])
    before = overlay_png(volume, label, label)
    assert overlay_png(changed(volume, 4), label, label) != before
    assert overlay_png(changed(volume, 1), label, label) == before


def test_photographs_show_colours_and_differences():
    photo = Volume.from_geometry(np.full((1, 40, 50, 3), (200, 100, 50), np.uint8))
    label = with_box(photo, np.s_[0, 5:15, 5:25])
    reference = with_box(photo, np.s_[0, 5:15, 15:35])
    picture = pixels(overlay_png(photo, label, reference))
    assert close_to(picture, (200, 100, 50), 2).sum() > 10_000
    only_label, only_reference = (
        close_to(picture, colour, 2).sum() for colour in ((230, 159, 0), (86, 180, 233))
    )
    assert only_label > 500
    assert only_reference == pytest.approx(only_label, rel=0.05)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_flat_and_empty_scans_are_drawn(value):
    volume = Volume.from_geometry(np.full((4, 5, 6), 7.0))
    volume.array[0] = value
    label = volume.with_array(np.zeros(volume.shape, np.uint8))
    assert pixels(overlay_png(volume, label, label)).size


def test_other_grids_are_refused():
    volume = scan()
    label = with_box(volume, np.s_[2:4, 3:6, 2:5])
    with pytest.raises(DataError, match="label map must lie on the scan's grid"):
        overlay_png(volume, with_box(scan((5, 10, 12)), np.s_[:1, :1, :1]))
    with pytest.raises(DataError, match="reference must lie on the scan's grid"):
        overlay_png(volume, label, with_box(scan(spacing=(3.0, 1.0, 2.0)), np.s_[:1, :1, :1]))
