"""Stacks that are no regular grid: what is corrected, what is refused, what is said."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tfseg.errors import DataError
from tfseg.io import dicom, read_volume
from tfseg.io.dicom.steps import usual_step

ARRAY = np.random.default_rng(0).integers(-1000, 2000, (8, 5, 6)).astype(np.int16)
Write = Callable[..., list[Path]]
Positions = list[tuple[float, ...]]


def straight(heights: Any) -> Positions:
    return [(10.0, 20.0, 30.0 + height) for height in heights]


def moved(index: int, by: tuple[float, float, float]) -> Positions:
    positions = straight(4 * np.arange(8))
    positions[index] = tuple(np.add(positions[index], by))
    return positions


def only(folder: Path, **options: Any) -> dicom.Loaded:
    """Load the one volume of a folder."""
    (series,) = dicom.scan_tree(folder).series
    (stack,) = dicom.split(series)
    return dicom.load(stack, **options)


# A function that is linear in space: linear interpolation must reproduce it exactly.
def ramp(places: np.ndarray) -> np.ndarray:
    return places @ np.array([3.0, -2.0, 5.0]) + 7


def ramp_planes(positions: Positions, shape: tuple[int, int]) -> np.ndarray:
    """Float planes of the ramp for slices with the fixture's spacing (0.5 rows, 0.75 columns)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    within = np.stack([0.75 * columns, 0.5 * rows, 0 * rows], -1)
    return np.stack([ramp(within + np.array(position)) for position in positions])


def places_of(volume: Any) -> np.ndarray:
    index = np.stack([*np.indices(volume.shape), np.ones(volume.shape)], -1)
    return (index @ volume.affine.T)[..., :3]


def stored(planes: np.ndarray) -> np.ndarray:
    """Fiftieths, so that the ramp survives as integers; RescaleSlope brings it back."""
    return np.rint(planes * 50).astype(np.int16)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("sideways", [0.0, 1.5])
def test_a_tilt_is_corrected(
    write_series: Write, caplog: pytest.LogCaptureFixture, sign: int, sideways: float
) -> None:
    positions = [(10.0 + sideways * n, 20.0 + sign * 1.5 * n, 30.0 + 4 * n) for n in range(6)]
    planes = ramp_planes(positions, (20, 24))
    folder = write_series(stored(planes), positions, RescaleSlope=0.02)[0].parent
    volume = read_volume(folder)
    tilt = np.degrees(np.arctan(np.hypot(1.5, sideways) / 4))
    assert f"gantry tilt of {tilt:.2f} degrees corrected" in caplog.text
    # 5 steps of 1.5 mm are 15 rows of 0.5 mm, or 10 columns of 0.75 mm.
    assert volume.shape == (6, 35, 24 + (10 if sideways else 0))
    np.testing.assert_allclose(volume.spacing_mm, (4, 0.5, 0.75))
    np.testing.assert_allclose(volume.direction, [[0, 0, 1], [0, 1, 0], [1, 0, 0]], atol=1e-12)
    lowest = volume.array.min()
    inside = volume.array != lowest
    np.testing.assert_allclose(volume.array[inside], ramp(places_of(volume))[inside], atol=0.02)
    assert inside.sum() == planes.size - 1  # the lowest value of all is no padding


def test_tilt_by_fractions_of_a_pixel_is_interpolated(write_series: Write) -> None:
    positions = [(10.0, 20.0 + 0.3 * n, 30.0 + 4 * n) for n in range(6)]
    planes = ramp_planes(positions, (20, 24))
    folder = write_series(stored(planes), positions, RescaleSlope=0.02)[0].parent
    volume = only(folder).volume
    assert volume.shape == (6, 23, 24)  # 5 x 0.3 mm are 3 rows
    expected = ramp(places_of(volume))
    # Away from a slice's edges, where nothing is extrapolated.
    np.testing.assert_allclose(volume.array[:, 4:19], expected[:, 4:19], atol=0.02)


def test_a_hair_of_tilt_is_kept_in_the_affine(write_series: Write) -> None:
    positions = [(10.0, 20.0 + 0.005 * n, 30.0 + 4 * n) for n in range(8)]
    loaded = only(write_series(ARRAY, positions)[0].parent)
    assert loaded.decisions == ()
    np.testing.assert_allclose((loaded.volume.affine @ [7, 0, 0, 1])[:3], positions[7])


def test_uneven_spacing_is_resampled(write_series: Write, caplog: pytest.LogCaptureFixture) -> None:
    heights = np.array([0, 2.5, 5.5, 9, 12, 16, 19.5, 24])
    planes = ramp_planes(straight(heights), (5, 6))
    folder = write_series(stored(planes), straight(heights), RescaleSlope=0.02)[0].parent
    volume = read_volume(folder)
    assert "uneven spacing of 2.5 to 4.5 mm resampled linearly: 8 slices became 11 of 2.4 mm" in (
        caplog.text
    )
    np.testing.assert_allclose(volume.spacing_mm[0], 2.4)
    np.testing.assert_allclose(volume.array, ramp(places_of(volume)), atol=0.02)
    # SciPy's map_coordinates, with the source index of each height worked out by hand.
    index = np.interp(np.arange(11) * 2.4, heights, np.arange(8))
    grid = np.meshgrid(index, np.arange(5), np.arange(6), indexing="ij")
    expected = ndimage.map_coordinates(stored(planes) * 0.02, grid, order=1)
    np.testing.assert_allclose(volume.array, expected, rtol=1e-5)


def test_integers_stay_integers_when_resampled(write_series: Write) -> None:
    heights = [0, 2.5, 5.5, 9, 12, 16, 19.5, 24]
    volume = only(write_series(ARRAY, straight(heights))[0].parent).volume
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array[0], ARRAY[0])
    assert np.array_equal(volume.array[-1], ARRAY[-1])


def test_tilt_and_uneven_spacing_together(write_series: Write) -> None:
    heights = np.array([0, 2.5, 5.5, 9, 12, 16, 19.5, 24])
    positions = [(10.0, 20 + 0.25 * height, 30 + height) for height in heights]
    planes = ramp_planes(positions, (40, 6))
    loaded = only(write_series(stored(planes), positions, RescaleSlope=0.02)[0].parent)
    assert [said[:20] for said in loaded.decisions] == [
        "gantry tilt of 14.04",
        "uneven spacing of 2.",
    ]
    inner = (slice(None), slice(14, 38))  # rows that every slice has
    expected = ramp(places_of(loaded.volume))
    np.testing.assert_allclose(loaded.volume.array[inner], expected[inner], atol=0.05)


GAPS = [0, 4, 8, 12, 20, 24, 28, 44]


def test_gaps_are_refused_with_their_positions(write_series: Write) -> None:
    folder = write_series(ARRAY, straight(GAPS))[0].parent
    with pytest.raises(DataError) as caught:
        read_volume(folder)
    for part in (
        "slices are missing: 1 after slice 4 of 8 (a step of 8 mm where 4 mm is usual, between "
        r"10\20\42 and 10\20\50)",
        "3 after slice 7 of 8 (a step of 16 mm",
        "--allow-gaps",
    ):
        assert part in str(caught.value)


def test_gaps_are_bridged_when_allowed(write_series: Write) -> None:
    planes = ramp_planes(straight(GAPS), (5, 6))
    folder = write_series(stored(planes), straight(GAPS), RescaleSlope=0.02)[0].parent
    loaded = only(folder, allow_gaps=True)
    assert loaded.decisions[0].startswith("missing slices interpolated as allowed: 1 after slice 4")
    assert loaded.volume.shape == (12, 5, 6)
    np.testing.assert_allclose(loaded.volume.array, ramp(places_of(loaded.volume)), atol=0.02)


def test_a_gap_that_is_no_multiple_of_the_distance(write_series: Write) -> None:
    folder = write_series(ARRAY, straight([0, 4, 8, 12, 22.6, 26.6, 30.6, 34.6]))[0].parent
    with pytest.raises(DataError, match=r"slices are missing: 2 after slice 4 of 8 \(a step of 10"):
        read_volume(folder)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"positions": moved(3, (0, 0, 4))}, r"slices are missing: 1 after slice 3 of 7"),
        ({"positions": moved(3, (2, 0, 0))}, "must lie on one line; one is 2 mm away"),
        (
            {"positions": [(10, 20 + 6 * n, 30 + 4 * n) for n in range(8)]},
            "tilted by at most 45 degrees; these are by 56",  # atan(6 / 4)
        ),
        (
            {"each": lambda i: {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]} if i == 2 else {}},
            r"slices are missing: 1 after slice 2",
        ),
        ({"each": lambda i: {"PixelSpacing": [1, 1]} if i == 2 else {}}, "must have one PixelSp"),
        ({"each": lambda i: {"ImagePositionPatient": None} if i == 2 else {}}, "image 98 has none"),
        (
            {"positions": [(10, 20, float(f"{n}e300")) for n in range(8)]},
            r"must be numbers of at most 1e\+06; image 93 has 10\\20\\7e\+300",
        ),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer is no volume"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "MOSAIC"]}, "is a mosaic"),
        ({"NumberOfFrames": 3}, "holds 3 frames and nothing says where they lie"),
        ({"SamplesPerPixel": 3}, "must be gray; image 93 has 3 samples"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, r"must be gray; .*PALETTE COLOR"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 0.5, 0]}, "unit vectors at right angles"),
        ({"PixelSpacing": [0, 1]}, "PixelSpacing positive"),
        ({"RescaleSlope": 0}, "slope not 0; image 100 has 0 and 0"),
        ({"Modality": "SEG"}, "holds no image"),
        ({"BitsStored": 20, "HighBit": 19}, "BitsStored must be at most BitsAllocated"),
    ],
)
def test_what_is_no_volume_is_refused(
    write_series: Write, arguments: dict[str, Any], rule: str
) -> None:
    folder = write_series(ARRAY, **arguments)[0].parent
    with pytest.raises(DataError, match=rule) as caught:
        read_volume(folder)
    assert "\n" not in str(caught.value)
    assert "Secret" not in str(caught.value)


def test_a_repeated_slice_is_left_out_and_said(
    write_series: Write, caplog: pytest.LogCaptureFixture
) -> None:
    positions = [*straight(4 * np.arange(8)), (10.0, 20.0, 42.0)]
    array = np.concatenate([ARRAY, ARRAY[:1]])
    folder = write_series(array, positions, each=lambda i: {"InstanceNumber": i + 1})[0].parent
    assert np.array_equal(read_volume(folder).array, ARRAY)
    assert "left out: series CT 1: every slice must have a place of its own; 1 of 9" in caplog.text


def test_copies_of_a_file_count_once(write_series: Write) -> None:
    paths = write_series(ARRAY)
    (paths[0].parent / "again").write_bytes(paths[3].read_bytes())
    loaded = only(paths[0].parent)
    assert np.array_equal(loaded.volume.array, ARRAY)
    assert loaded.decisions == ("copies of the same images left out: 1",)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0.5, 10), min_size=3, max_size=20),
    st.floats(0.5, 10),
)
def test_the_usual_step_is_one_of_the_steps(steps: list[float], more: float) -> None:
    usual = usual_step(np.array(steps))
    assert usual in steps
    # Once it is in the majority it is the usual one, whatever the others are.
    assert usual_step(np.array([*steps, *[more] * (len(steps) + 1)])) == pytest.approx(
        more, rel=0.03
    )


def test_nothing_is_logged_about_a_regular_stack(
    write_series: Write, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    read_volume(write_series(ARRAY)[0].parent)
    assert caplog.text == ""
