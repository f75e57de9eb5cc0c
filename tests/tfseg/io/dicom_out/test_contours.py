"""Outlines and filling of one slice; the oracles are hand-made, SciPy's and Matplotlib's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.path import Path as Outline
from scipy import ndimage

from tfseg.io.dicom_out.contours import ON_EDGE, crossings, fill, trace

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
ALL_NEIGHBOURS = np.ones((3, 3))


def area(points):
    y, x = points.T
    return abs(y @ np.roll(x, -1) - x @ np.roll(y, -1)) / 2


@settings(max_examples=150, deadline=None)
@given(MASKS)
def test_outlines_fill_to_the_mask_they_come_from(mask):
    np.testing.assert_array_equal(fill(trace(mask), mask.shape), mask)


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_one_outline_a_region_holes_and_all(mask):
    outlines = trace(mask)
    count = ndimage.label(mask)[1]
    assert len(outlines) == count
    # By Euler: half a pixel less for each outline, half more for each hole, but for the drawing in.
    holes = ndimage.label(~np.pad(mask, 1), ALL_NEIGHBOURS)[1] - 1
    edge = sum(np.hypot(*(p - np.roll(p, 1, axis=0)).T).sum() for p in outlines)
    expected = mask.sum() - count / 2 + holes / 2
    assert sum(map(area, outlines)) == pytest.approx(expected, abs=0.006 * edge + 1e-9)


@settings(max_examples=100, deadline=None)
@given(MASKS, st.integers(0, 2**32 - 1))
def test_rounding_of_coordinates_changes_nothing(mask, seed):
    noise = np.random.default_rng(seed)
    shaken = [points + noise.uniform(-0.05, 0.05, points.shape) for points in trace(mask)]
    # Shaken apart, the two sides of a channel enclose a sliver between two rows of centres.
    np.testing.assert_array_equal(fill(shaken, mask.shape), mask)


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_readers_that_round_to_pixels_get_the_mask(mask):
    rounded = [np.rint(points) for points in trace(mask)]
    np.testing.assert_array_equal(fill(rounded, mask.shape), mask)


def test_a_pixel_is_a_diamond():
    (points,) = trace(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], bool))
    half = 0.5 - 0.005
    expected = {(1 - half, 1), (1 + half, 1), (1, 1 - half), (1, 1 + half)}
    assert {tuple(np.round(point, 9)) for point in points} == expected


def test_straight_edges_have_no_points_between_their_ends():
    (points,) = trace(np.ones((30, 40), bool))
    assert len(points) == 8  # four sides, four cut corners
    assert points.min() == pytest.approx(-0.495)
    assert points.max(axis=0) == pytest.approx([29.495, 39.495])


def test_a_hole_is_joined_by_a_channel_that_meets_no_centre():
    mask = np.ones((9, 9), bool)
    mask[3:6, 4:7] = False
    (points,) = trace(mask)
    ends = np.roll(points, -1, axis=0)
    sides, counts = np.unique(
        np.sort(np.stack([points, ends], axis=1).round(9), axis=1).reshape(-1, 4),
        axis=0, return_counts=True,
    )  # fmt: skip
    (channel,) = sides[counts == 2].reshape(-1, 2, 2)
    assert channel[:, 1].tolist() == pytest.approx([-0.5, 4.0], abs=0.01)
    assert np.all(np.abs(channel[:, 0] - 2.5) < 0.01)  # midway between two rows
    y, x = np.indices(mask.shape)
    assert not mask[3:6, 4:7].any()
    inside = Outline(points[:, ::-1]).contains_points(np.c_[x.ravel(), y.ravel()])
    np.testing.assert_array_equal(inside.reshape(mask.shape), mask)


@pytest.mark.parametrize("share", [0.45, 0.6, 0.75])
def test_thousands_of_holes(share):
    mask = np.random.default_rng(1).random((160, 200)) < share
    np.testing.assert_array_equal(fill(trace(mask), mask.shape), mask)


def test_shells_within_shells():
    y, x = np.indices((81, 81))
    distance = np.hypot(y - 40, x - 40)
    mask = (distance < 38) & (distance > 30) | (distance < 24) & (distance > 15) | (distance < 8)
    outlines = trace(mask)
    assert len(outlines) == 3
    np.testing.assert_array_equal(fill(outlines, mask.shape), mask)


def test_outlines_of_a_disc_are_nearer_to_it_than_its_pixels():
    # Drawn on pixels of 1, looked at in thirds of them.
    centre, radius, times = 20.37, 17.0, 3
    y, x = np.indices((42, 42))
    mask = np.hypot(y - centre, x - centre) < radius
    fine = [(points + 0.5) * times - 0.5 for points in trace(mask)]
    y, x = (np.indices((126, 126)) + 0.5) / times - 0.5
    disc = np.hypot(y - centre, x - centre) < radius

    def dice(found):
        return 2 * (found & disc).sum() / (found.sum() + disc.sum())

    assert dice(fill(fine, disc.shape)) > 0.99
    assert dice(fill(fine, disc.shape)) > dice(np.kron(mask, np.ones((times, times))) > 0)


@settings(max_examples=100, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(3, 12), st.just(2)),
           elements=st.floats(-4, 16, width=32)),
)  # fmt: skip
def test_filling_agrees_with_matplotlib(points):
    shape = (11, 13)
    y, x = np.indices(shape)
    centres = np.stack([y, x], axis=-1)
    start, end = points, np.roll(points, -1, axis=0)
    length = ((end - start) ** 2).sum(axis=1)
    along = ((centres[:, :, None] - start) * (end - start)).sum(axis=-1)
    share = np.clip(along / np.where(length > 0, length, 1), 0, 1)[..., None]
    away = np.hypot(*np.moveaxis(start + share * (end - start) - centres[:, :, None], -1, 0))
    away = away.min(axis=-1)
    # Matplotlib draws the two sides of self-crossing polygons by the even-odd rule, too.
    inside = Outline(points[:, ::-1]).contains_points(np.c_[x.ravel(), y.ravel()]).reshape(shape)
    found = fill([points], shape)
    far = away > 2 * ON_EDGE
    np.testing.assert_array_equal(found[far], inside[far])
    assert found[away < ON_EDGE / 2].all()


def test_centres_on_the_path_are_inside():
    square = np.array([[2, 2], [2, 6], [6, 6], [6, 2]], float)
    expected = np.zeros((9, 9), bool)
    expected[2:7, 2:7] = True
    for shaken in (0.0, 0.004, -0.004):
        np.testing.assert_array_equal(fill([square + shaken], (9, 9)), expected)
        np.testing.assert_array_equal(fill([square[::-1] + shaken], (9, 9)), expected)
    diamond = np.array([[0, 4], [4, 8], [8, 4], [4, 0]], float)
    y, x = np.indices((9, 9))
    np.testing.assert_array_equal(fill([diamond], (9, 9)), abs(y - 4) + abs(x - 4) <= 4)


def test_what_lies_outside_is_cut_off():
    big = np.array([[-50, -50], [-50, 50], [50, 50], [50, -50]], float)
    assert fill([big], (4, 5)).all()
    assert not fill([big + 60], (4, 5)).any()
    half = np.array([[-50, -50], [-50, 1.5], [50, 1.5], [50, -50]], float)
    np.testing.assert_array_equal(fill([half], (2, 4)), [[1, 1, 0, 0]] * 2)


def test_nothing_is_filled_by_nothing():
    assert trace(np.zeros((3, 4), bool)) == []
    assert not fill([], (3, 4)).any()
    assert not fill([np.zeros((0, 2))], (3, 4)).any()


def test_the_cost_is_told_beforehand():
    square = np.array([[0, 0], [0, 10], [10, 10], [10, 0]], float)
    assert crossings([], (20, 20)) == 0
    # Two sides cross 10 rows, two 10 columns; each end counts once for each direction.
    assert crossings([square], (20, 20)) == 40 + 8
    assert crossings([square * 1e6], (20, 20)) == 4 * 20 + 8
