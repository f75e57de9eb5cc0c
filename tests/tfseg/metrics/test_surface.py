"""Surface distances: worked by hand, by brute force over all pairs, and by SciPy's transform."""

import itertools
import math

import numpy as np
import pytest
from scipy import ndimage

from tfseg import metrics
from tfseg.errors import ConfigError, DataError
from tfseg.metrics import surface

REFERENCE = np.zeros((5, 5), bool)
REFERENCE[1:4, 1:4] = True
PREDICTION = np.zeros((5, 5), bool)
PREDICTION[1:4, 2:5] = True


def brute_surface(mask: np.ndarray) -> list[tuple[int, ...]]:
    """Every voxel of the mask with a face to the outside; one-voxel axes do not count."""
    found = []
    for index in np.ndindex(*mask.shape):
        faces = []
        for axis, size in enumerate(mask.shape):
            if size == 1:
                continue
            for step in (-1, 1):
                beside = list(index)
                beside[axis] += step
                inside = 0 <= beside[axis] < size
                faces.append(bool(mask[tuple(beside)]) if inside else False)
        if mask[index] and (not all(faces) or not faces):
            found.append(index)
    return found


def brute_directed(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> list[float]:
    return [
        min(
            math.sqrt(sum(((i - j) * s) ** 2 for i, j, s in zip(p, q, spacing, strict=True)))
            for q in brute_surface(b)
        )
        for p in brute_surface(a)
    ]


def test_the_squares_have_eight_surface_voxels_each():
    expected = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2), (3, 3)]
    assert [tuple(p) for p in metrics.surface_voxels(REFERENCE)] == expected


def test_the_squares_are_one_column_apart():
    found = metrics.surface_distances(REFERENCE, PREDICTION, (1, 1))
    # In reading order of the eight voxels above.
    assert found.to_prediction.tolist() == [1, 0, 0, 1, 1, 1, 0, 0]
    assert found.to_reference.tolist() == [0, 0, 1, 1, 1, 0, 0, 1]
    assert metrics.hausdorff(REFERENCE, PREDICTION, (1, 1)) == 1.0
    assert metrics.hd95(REFERENCE, PREDICTION, (1, 1)) == 1.0
    assert metrics.hausdorff(REFERENCE, PREDICTION, (1, 2)) == 2.0


def test_percentile_interpolates_linearly():
    # A bar of 2 x 2 x 21 voxels, all of them surface, against the same bar and another four
    # voxels 40 beyond its end.
    a = np.zeros((2, 2, 70), bool)
    a[..., :21] = True
    b = a.copy()
    b[..., 60] = True
    found = metrics.surface_distances(a, b, (1, 1, 1))
    assert found.to_prediction.max() == 0
    assert sorted(found.to_reference)[-4:] == [40.0] * 4
    assert found.hausdorff(95) == 0.0
    # 84 zeros and four 40s: rank 0.96 * 87 = 83.52 lies 0.52 of the way from the last zero.
    assert found.hausdorff(96) == pytest.approx(0.52 * 40)
    assert found.hausdorff() == 40.0


def test_one_voxel_each():
    a, b = np.zeros((2, 4, 5, 6), bool)
    a[0, 1, 2] = b[3, 1, 4] = True
    spacing = (2.5, 1.0, 0.75)
    assert metrics.hd95(a, b, spacing) == pytest.approx(math.hypot(7.5, 1.5), rel=1e-15)
    assert metrics.hd95(a, a, spacing) == 0.0


def test_single_slice_equals_the_2d_object():
    rng = np.random.default_rng(3)
    a, b = ndimage.gaussian_filter(rng.standard_normal((2, 30, 40)), (0, 3, 3)) > 0.02
    flat = metrics.hd95(a, b, (0.7, 1.3))
    assert metrics.hd95(a[None], b[None], (9.0, 0.7, 1.3)) == flat
    assert metrics.hd95(a[:, None], b[:, None], (0.7, 9.0, 1.3)) == flat


def test_a_mask_that_fills_the_array_has_its_border_as_surface():
    full = np.ones((4, 4, 4), bool)
    assert len(metrics.surface_voxels(full)) == 64 - 8
    assert metrics.surface_voxels(np.ones((1, 1, 1), bool)).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 8, 8), (4, 1, 6), (2, 2, 2), (9,), (6, 9)])
def test_against_brute_force(shape):
    rng = np.random.default_rng(len(shape) * 100 + shape[0])
    spacing = tuple(rng.uniform(0.3, 4.0, len(shape)))
    for density in (0.1, 0.5, 0.9):
        a, b = rng.random((2, *shape)) < density
        if not (a.any() and b.any()):
            continue
        assert [tuple(p) for p in metrics.surface_voxels(a)] == brute_surface(a)
        found = metrics.surface_distances(a, b, spacing)
        forth, back = brute_directed(a, b, spacing), brute_directed(b, a, spacing)
        np.testing.assert_allclose(found.to_prediction, forth, rtol=1e-12)
        np.testing.assert_allclose(found.to_reference, back, rtol=1e-12)
        expected = max(np.percentile(forth, 95), np.percentile(back, 95))
        assert metrics.hd95(a, b, spacing) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("per_query", [0, 10**9], ids=["tree", "transform"])
def test_both_searches_agree_with_scipys_transform(per_query, monkeypatch):
    monkeypatch.setattr(surface, "_BOX_VOX_PER_QUERY", per_query)
    rng = np.random.default_rng(5)
    a, b = ndimage.gaussian_filter(rng.standard_normal((2, 20, 32, 28)), (0, 1, 3, 3)) > 0.03
    spacing = (5.0, 0.8, 0.8)
    cross = ndimage.generate_binary_structure(3, 1)
    edges = [mask & ~ndimage.binary_erosion(mask, cross) for mask in (a, b)]
    found = metrics.surface_distances(a, b, spacing)
    for distances, (from_, to) in zip(
        (found.to_prediction, found.to_reference), itertools.permutations(edges), strict=True
    ):
        transform = ndimage.distance_transform_edt(~to, sampling=spacing)
        np.testing.assert_allclose(distances, transform[from_], rtol=1e-12)


def test_far_apart_surfaces_need_no_volume_between_them():
    # As a distance transform this would be 4 * 10**9 voxels; the masks are broadcast views.
    first, second = np.array([[0, 0, 0]]), np.array([[1600, 1600, 1600]])
    found = surface._between(first, second, (1601,) * 3, np.ones(3))
    assert found.hausdorff() == pytest.approx(1600 * math.sqrt(3))


def test_per_class_equals_class_by_class():
    rng = np.random.default_rng(7)
    a, b = rng.integers(0, 4, (2, 6, 9, 8)).astype(np.uint8)
    a[a == 3] = 0  # class 3 in the prediction only; class 4 in neither
    found = metrics.hd95_per_class(a, b, 5, (2.0, 1.0, 1.0))
    assert math.isnan(found[0])
    for value in (1, 2):
        assert found[value] == metrics.hd95(a == value, b == value, (2.0, 1.0, 1.0))
    assert math.isnan(found[3])
    assert found[4] == 0.0


@pytest.mark.parametrize(
    ("rule", "expected"), [("nan", math.nan), ("inf", math.inf), ("diag", math.hypot(5, 10))]
)
def test_empty_rules(rule, expected):
    empty = np.zeros((5, 5), bool)
    for pair in ((REFERENCE, empty), (empty, REFERENCE)):
        value = metrics.hd95(*pair, (1, 2), empty_distance=rule)
        assert value == pytest.approx(expected, nan_ok=True)
    assert metrics.hd95(empty, empty, (1, 2), empty_distance=rule) == 0.0
    assert metrics.surface_distances(empty, REFERENCE, (1, 1)) is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prediction": PREDICTION[1:]}, DataError, r"one shape; got \(5, 5\) and \(4, 5\)"),
        ({"spacing_mm": (1,)}, DataError, r"2 positive lengths, one an array axis; got \(1,\)"),
        ({"spacing_mm": (1, -2)}, DataError, r"positive lengths.*got \(1, -2\)"),
        ({"spacing_mm": (1, math.nan)}, DataError, "positive lengths.*nan"),
        ({"percentile": 101}, ConfigError, "percentile must be 0 to 100; got 101"),
        ({"empty_distance": "zero"}, ConfigError, "nan, inf, diag; got 'zero'"),
    ],
)
def test_refusals_name_rule_and_value(change, error, message):
    arguments = {"reference": REFERENCE, "prediction": PREDICTION, "spacing_mm": (1, 1), **change}
    with pytest.raises(error, match=message):
        metrics.hausdorff(**arguments)
