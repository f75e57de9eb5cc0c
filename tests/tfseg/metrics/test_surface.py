"""Statistics of surface distances: by hand, and what an empty map scores."""

import math

import numpy as np
import pytest

from tfseg import metrics
from tfseg.errors import ConfigError
from tfseg.metrics import MetricOptions, surface

# Two 3x3 squares one column apart: eight outline voxels each, four of them 1 off.
REFERENCE = np.zeros((5, 5), bool)
REFERENCE[1:4, 1:4] = True
PREDICTION = np.zeros((5, 5), bool)
PREDICTION[1:4, 2:5] = True
EMPTY = np.zeros((5, 5), bool)
SQUARES = metrics.surface_distances(REFERENCE, PREDICTION, (1, 1))

POOLED = MetricOptions(hd_mode="pooled")
DISTANCES = (
    surface.hausdorff,
    surface.hausdorff_to_prediction,
    surface.hausdorff_to_reference,
    surface.hd95,
    surface.assd,
    surface.asd_to_prediction,
    surface.asd_to_reference,
    surface.msd,
    surface.ahd,
    surface.rmsd,
)


def found(to_prediction, to_reference):
    return metrics.SurfaceDistances(np.array(to_prediction), np.array(to_reference), 99.0)


# Of sizes 2 and 4, so that pooled and directed statistics differ.
UNEQUAL = found([1.0, 3.0], [0.0, 0.0, 4.0, 8.0])


@pytest.mark.parametrize(
    ("metric", "squares", "unequal"),
    [
        (surface.hausdorff, 1, 8),
        (surface.hausdorff_to_prediction, 1, 3),
        (surface.hausdorff_to_reference, 1, 8),
        (surface.hd95, 1, 4 + 0.85 * 4),  # rank 0.95 * 3 = 2.85 between the third and fourth
        (surface.assd, 0.5, 16 / 6),
        (surface.asd_to_prediction, 0.5, 2),
        (surface.asd_to_reference, 0.5, 3),
        (surface.msd, 0.5, 2.5),
        (surface.ahd, 0.5, 3),
        (surface.rmsd, math.sqrt(0.5), math.sqrt((1 + 9 + 16 + 64) / 6)),
    ],
)
def test_values_by_hand(metric, squares, unequal):
    assert metric(SQUARES) == pytest.approx(squares, rel=1e-15)
    assert metric(UNEQUAL) == pytest.approx(unequal, rel=1e-15)


def test_spacing_of_the_squares():
    wide = metrics.surface_distances(REFERENCE, PREDICTION, (1, 2))
    assert surface.hausdorff(wide) == 2.0
    # Each has three voxels two off, and one whose nearest is one row away.
    assert surface.assd(wide) == 14 / 16


def test_the_two_conventions_of_a_percentile():
    # Directed: 2.9 and 7.4. Together 0 0 1 3 4 8: rank 0.95 * 5 = 4.75.
    assert surface.hd95(UNEQUAL) == pytest.approx(7.4)
    assert surface.hd95(UNEQUAL, POOLED) == pytest.approx(4 + 0.75 * 4)
    assert surface.percentile_distance(UNEQUAL, 100) == 8
    assert surface.percentile_distance(UNEQUAL, 100, POOLED) == 8
    assert surface.percentile_distance(UNEQUAL, 50) == 2
    assert surface.percentile_distance(UNEQUAL, 50, POOLED) == 2
    assert surface.hd95(SQUARES, POOLED) == 1.0


def test_percentile_of_a_bar_with_an_outlier():
    # A bar of 2 x 2 x 21 voxels, all of them surface, against the same bar and another four
    # voxels 40 beyond its end.
    a = np.zeros((2, 2, 70), bool)
    a[..., :21] = True
    b = a.copy()
    b[..., 60] = True
    bar = metrics.surface_distances(a, b, (1, 1, 1))
    assert surface.hausdorff_to_prediction(bar) == 0
    assert surface.hausdorff_to_reference(bar) == 40
    assert surface.hd95(bar) == 0
    # 84 zeros and four 40s: rank 0.96 * 87 = 83.52 lies 0.52 of the way from the last zero.
    assert surface.percentile_distance(bar, 96) == pytest.approx(0.52 * 40)


@pytest.mark.parametrize(("percentile", "mode"), [(-1, "max"), (101, "max"), (101, "pooled")])
def test_a_percentile_is_0_to_100(percentile, mode):
    with pytest.raises(ConfigError, match=f"percentile must be 0 to 100; got {percentile}"):
        surface.percentile_distance(SQUARES, percentile, MetricOptions(hd_mode=mode))


@pytest.mark.parametrize(
    ("tolerance_mm", "expected"), [(0, 2 / 6), (0.5, 2 / 6), (1, 3 / 6), (7.9, 5 / 6), (8, 1)]
)
def test_surface_dice_counts_both_surfaces(tolerance_mm, expected):
    assert surface.nsd(UNEQUAL, tolerance_mm) == expected


def test_surface_dice_of_the_squares():
    assert surface.nsd(SQUARES, 1) == 1.0
    assert surface.nsd(SQUARES, 0.99) == 0.5


def test_a_distance_equal_to_the_tolerance_is_within_it():
    a, b = np.zeros((2, 1, 9), bool)
    a[0, 1] = b[0, 4] = True
    three_voxels = metrics.surface_distances(a, b, (0.8, 0.8))
    assert three_voxels.to_prediction[0] > 2.4  # by rounding
    assert surface.nsd(three_voxels, 2.4) == 1.0


@pytest.mark.parametrize("metric", DISTANCES, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize(
    ("rule", "expected"), [("nan", math.nan), ("inf", math.inf), ("diag", math.hypot(5, 10))]
)
def test_distance_to_nothing(metric, rule, expected):
    options = MetricOptions(empty_distance=rule)
    for pair in ((REFERENCE, EMPTY), (EMPTY, REFERENCE)):
        value = metric(metrics.surface_distances(*pair, (1, 2)), options)
        assert value == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("metric", DISTANCES, ids=lambda metric: metric.__name__)
def test_distance_between_nothing_and_nothing(metric):
    neither = metrics.surface_distances(EMPTY, EMPTY, (1, 2))
    for rule in ("nan", "inf", "diag"):
        assert metric(neither, MetricOptions(empty_distance=rule)) == 0.0
    assert math.isnan(metric(neither, MetricOptions(both_empty="nan")))


def test_surface_dice_of_empty_maps():
    neither = metrics.surface_distances(EMPTY, EMPTY, (1, 1))
    assert surface.nsd(neither, 1.0) == 1.0
    assert math.isnan(surface.nsd(neither, 1.0, MetricOptions(both_empty="nan")))
    for pair in ((REFERENCE, EMPTY), (EMPTY, REFERENCE)):
        assert surface.nsd(metrics.surface_distances(*pair, (1, 1)), 1.0) == 0.0
