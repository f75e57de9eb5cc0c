"""Contour distances: circles and squares worked by hand, and a dense brute force."""

import math

import numpy as np
import pytest

from tfseg.errors import DataError
from tfseg.metrics.contours import (
    avg_dist_contour,
    avg_dist_outline,
    good_contour_pct,
    pixel_edges,
)

SQUARE = [(0, 0), (0, 10), (10, 10), (10, 0)]


def circle(radius, centre=(0, 0), corners=720):
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius + centre


def test_concentric_circles_are_their_radii_apart():
    assert avg_dist_contour(circle(20), circle(23)) == pytest.approx(3, abs=1e-3)
    assert avg_dist_contour(circle(23), circle(20)) == pytest.approx(3, abs=1e-3)


def test_a_contour_is_no_distance_from_itself():
    assert avg_dist_contour(SQUARE, SQUARE) == pytest.approx(0, abs=1e-12)
    # Where it starts and which way it runs does not matter.
    assert avg_dist_contour(SQUARE, [*SQUARE[2:], *SQUARE[:2]]) == pytest.approx(0, abs=1e-12)
    assert avg_dist_contour(SQUARE, SQUARE[::-1]) == pytest.approx(0, abs=1e-12)


def test_a_square_within_a_square():
    # All of the inner square is 2 mm from the outer one.
    inner = [(2, 2), (2, 8), (8, 8), (8, 2)]
    assert avg_dist_contour(SQUARE, inner) == pytest.approx(2, rel=1e-9)
    # The outer one's sides are 2 mm away along 6 mm; towards the corners it is farther.
    u = np.linspace(0, 2, 200_001)
    corner = np.hypot(2, u).mean()
    expected = (6 * 2 + 4 * corner) / 10
    assert avg_dist_contour(inner, SQUARE, step_mm=0.01) == pytest.approx(expected, abs=1e-3)


def test_corners_may_be_few_or_many():
    dense = [(0, y / 10) for y in range(100)] + [(x / 10, 10) for x in range(100)]
    dense += [(10, 10 - y / 10) for y in range(100)] + [(10 - x / 10, 0) for x in range(100)]
    other = circle(6, centre=(5, 5), corners=50)
    sparse = avg_dist_contour(SQUARE, other)
    assert avg_dist_contour(dense, other) == pytest.approx(sparse, rel=1e-12)
    repeated = [SQUARE[0], *SQUARE]  # an edge of no length
    assert avg_dist_contour(repeated, other) == pytest.approx(sparse, rel=1e-12)


def test_against_brute_force():
    rng = np.random.default_rng(5)
    angle = np.sort(rng.uniform(0, 2 * np.pi, (2, 25)))
    radius = rng.uniform(8, 14, (2, 25))
    first, second = np.stack([np.cos(angle), np.sin(angle)], axis=2) * radius[..., np.newaxis]

    def points(polygon, step):
        ends = np.roll(polygon, -1, axis=0)
        return np.concatenate(
            [
                a + (b - a) * np.linspace(0, 1, max(2, int(np.hypot(*(b - a)) / step)))[:, None]
                for a, b in zip(polygon, ends, strict=True)
            ]
        )

    walked, target = points(second, 0.05), points(first, 0.01)
    gaps = np.sqrt(((walked[:, None] - target[None]) ** 2).sum(axis=2).min(axis=1))
    assert avg_dist_contour(first, second, step_mm=0.05) == pytest.approx(gaps.mean(), abs=5e-3)


def test_good_contours():
    assert good_contour_pct([1.0, 4.999, 5.0, math.nan]) == 50.0
    assert good_contour_pct([1.0, 3.0], limit_mm=2.0) == 50.0
    assert math.isnan(good_contour_pct([]))


def test_edges_of_one_pixel():
    mask = np.zeros((3, 3), bool)
    mask[0, 2] = True
    edges = pixel_edges(mask, (2.0, 1.0))
    ends = {tuple(map(tuple, edge)) for edge in edges.tolist()}
    assert ends == {
        ((-1.0, 1.5), (-1.0, 2.5)),  # above, beyond the array
        ((1.0, 1.5), (1.0, 2.5)),
        ((-1.0, 1.5), (1.0, 1.5)),
        ((-1.0, 2.5), (1.0, 2.5)),
    }


def test_outlines_of_masks():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    inner = np.zeros((20, 20), bool)
    inner[7:13, 7:13] = True
    assert avg_dist_outline(mask, inner, (1, 1)) == pytest.approx(2, rel=1e-12)
    assert avg_dist_outline(mask, inner, (0.5, 0.5)) == pytest.approx(1, rel=1e-12)
    # Rows 3 mm high. The 36 mm of upright edges are 2 mm away. The 12 mm of horizontal ones are
    # 6 mm from the outer horizontal edges, but nearer to its sides: 2.5, 3.5, 4.5, 4.5, ...
    assert avg_dist_outline(mask, inner, (3, 1)) == pytest.approx((36 * 2 + 12 * 3.5) / 48)
    empty = np.zeros((20, 20), bool)
    assert avg_dist_outline(empty, empty, (1, 1)) == 0.0
    assert math.isnan(avg_dist_outline(mask, empty, (1, 1)))
    assert math.isnan(avg_dist_outline(empty, mask, (1, 1)))


def test_outlines_agree_with_the_circles_they_draw():
    y, x = np.mgrid[:120, :120] - 59.5
    large, small = np.hypot(y, x) < 45, np.hypot(y, x) < 40
    # Steps of pixels reach towards each other: up to a third of a pixel is lost.
    assert avg_dist_outline(large, small, (0.2, 0.2)) == pytest.approx(1.0, abs=0.2 / 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": SQUARE[:2]}, r"reference contour must be 3 or more points .* \(2, 2\)"),
        ({"prediction": np.zeros((4, 3))}, r"prediction contour .* got \(4, 3\)"),
        ({"prediction": [(0, 0), (1, math.nan), (1, 1)]}, "prediction contour .* finite"),
        ({"step_mm": 0}, "step_mm must be positive; got 0"),
    ],
)
def test_contours_are_checked(change, message):
    with pytest.raises(DataError, match=message):
        avg_dist_contour(**{"reference": SQUARE, "prediction": SQUARE, **change})


def test_masks_are_checked():
    with pytest.raises(DataError, match=r"2D masks of one shape; got \(3, 3\) and \(3, 4\)"):
        avg_dist_outline(np.zeros((3, 3), bool), np.zeros((3, 4), bool), (1, 1))
