"""Contours become masks: against matplotlib's point-in-polygon test, and by hand."""

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from tfseg.datasets.polygons import fill, read_points
from tfseg.errors import DataError


@pytest.mark.parametrize("seed", range(20))
def test_pixel_centres_inside_any_polygon(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-3, 25, (rng.integers(3, 12), 2))
    rows, columns = np.mgrid[:18, :22]
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    angles = np.argsort(np.arctan2(*(points - points.mean(axis=0)).T))
    star = points[angles]  # no edge crosses another: both rules agree
    expected = Outline(star).contains_points(centres).reshape(18, 22)
    np.testing.assert_array_equal(fill([star], (18, 22)), expected)


def test_a_polygon_inside_another_is_a_hole():
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    mask = fill([square * 8 + 0.5, square * 2 + 3.5], (10, 10))
    expected = np.zeros((10, 10), bool)
    expected[1:9, 1:9] = True
    expected[4:6, 4:6] = False
    np.testing.assert_array_equal(mask, expected)


def test_neighbours_share_no_pixel_and_leave_none_out():
    left = np.array([(0, 0), (4, 0), (4, 6), (0, 6)])
    right = left + np.array((4, 0))
    both = fill([left], (6, 8)).astype(int) + fill([right], (6, 8))
    np.testing.assert_array_equal(both, 1)


def test_outside_the_image_nothing_is_filled():
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * 4.0
    assert not fill([square + 50], (10, 10)).any()
    assert not fill([square - 50], (10, 10)).any()
    assert fill([square * 50 - 20], (10, 10)).all()
    assert not fill([], (3, 3)).any()


def test_points_are_read_or_refused(tmp_path):
    path = tmp_path / "contour.txt"
    path.write_text("1.5 2\n\n3 4.25 extra\n")
    np.testing.assert_array_equal(read_points(path), [(1.5, 2), (3, 4.25)])
    for text in ("1 two\n", "1\n", "nan 1\n"):
        path.write_text(text)
        with pytest.raises(DataError, match="must hold"):
            read_points(path)
    with pytest.raises(DataError, match="is missing"):
        read_points(tmp_path / "none.txt")
