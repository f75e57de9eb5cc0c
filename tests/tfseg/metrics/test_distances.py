"""Surface distances: by brute force over all pairs, by SciPy, and what must not change them."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tfseg import metrics
from tfseg.errors import DataError


def edges(mask):
    """The mask less its erosion, one-voxel axes left out, by SciPy."""
    flat = mask.squeeze()
    return (flat & ~ndimage.binary_erosion(flat)).reshape(mask.shape) if flat.ndim else mask


def brute_directed(a, b, spacing):
    """Distance of each edge voxel of a to the nearest one of b, over all pairs."""
    first, second = (np.argwhere(edges(mask)) * spacing for mask in (a, b))
    return np.sqrt(((first[:, None] - second[None]) ** 2).sum(axis=-1)).min(axis=1)


def a_map(rng, shape, kind):
    if kind == "noise":
        return rng.integers(0, 3, shape).astype(np.uint8)
    if kind == "sparse":
        return (rng.random(shape) < 0.05).astype(np.uint8)
    if kind == "box":
        low = [rng.integers(0, size) for size in shape]
        box = tuple(
            slice(start, rng.integers(start, size) + 1)
            for start, size in zip(low, shape, strict=True)
        )
        labels = np.zeros(shape, np.uint8)
        labels[box] = 1 + rng.integers(2)
        return labels
    return np.digitize(ndimage.gaussian_filter(rng.random(shape), 1.0), [0.47, 0.53]).astype("u1")


@pytest.mark.parametrize("kind", ["noise", "sparse", "box", "blobs"])
def test_against_brute_force(kind):
    rng = np.random.default_rng(len(kind))
    for _ in range(60):
        axes = rng.integers(1, 4)
        shape = tuple(rng.integers(1, 12, axes))
        spacing = rng.uniform(0.1, 6.0, axes) * rng.choice([1, 20], axes)
        a, b = a_map(rng, shape, kind), a_map(rng, shape, kind)
        for label, found in enumerate(metrics.class_distances(a, b, 3, spacing), start=1):
            if (a == label).any() and (b == label).any():
                forth = brute_directed(a == label, b == label, spacing)
                back = brute_directed(b == label, a == label, spacing)
                np.testing.assert_allclose(found.to_prediction, forth, rtol=1e-12)
                np.testing.assert_allclose(found.to_reference, back, rtol=1e-12)
            else:
                assert len(found.to_prediction) == edges(a == label).sum()
                assert np.isinf(found.to_prediction).all()
                assert np.isinf(found.to_reference).all()


def test_against_scipys_transform():
    rng = np.random.default_rng(5)
    a, b = ndimage.gaussian_filter(rng.standard_normal((2, 20, 48, 44)), (0, 1, 3, 3)) > 0.03
    b[-1, -1, -1] = True  # a stray voxel far from everything else
    spacing = (5.0, 0.8, 0.7)
    found = metrics.surface_distances(a, b, spacing)
    for distances, here, there in (
        (found.to_prediction, a, b),
        (found.to_reference, b, a),
    ):
        transform = ndimage.distance_transform_edt(~edges(there), sampling=spacing)
        np.testing.assert_allclose(distances, transform[edges(here)], rtol=1e-12)


def test_the_squares_are_one_column_apart():
    a, b = np.zeros((2, 5, 5), bool)
    a[1:4, 1:4] = b[1:4, 2:5] = True
    found = metrics.surface_distances(a, b, (1, 1))
    # In reading order of the eight voxels on the outline of each.
    assert found.to_prediction.tolist() == [1, 0, 0, 1, 1, 1, 0, 0]
    assert found.to_reference.tolist() == [0, 0, 1, 1, 1, 0, 0, 1]
    assert found.diagonal_mm == pytest.approx(5 * math.sqrt(2))


def test_one_voxel_each():
    a, b = np.zeros((2, 4, 5, 6), bool)
    a[0, 1, 2] = b[3, 1, 4] = True
    found = metrics.surface_distances(a, b, (2.5, 1.0, 0.75))
    assert found.to_prediction == pytest.approx([math.hypot(7.5, 1.5)], rel=1e-15)
    assert found.to_reference == pytest.approx([math.hypot(7.5, 1.5)], rel=1e-15)


def test_single_slice_equals_the_2d_object():
    rng = np.random.default_rng(3)
    a, b = ndimage.gaussian_filter(rng.standard_normal((2, 30, 40)), (0, 3, 3)) > 0.02
    flat = metrics.surface_distances(a, b, (0.7, 1.3)).to_prediction
    for axis, spacing in ((0, (9.0, 0.7, 1.3)), (1, (0.7, 9.0, 1.3)), (2, (0.7, 1.3, 9.0))):
        volume = [np.expand_dims(mask, axis) for mask in (a, b)]
        found = metrics.surface_distances(*volume, spacing)
        np.testing.assert_allclose(found.to_prediction, flat, rtol=1e-14)


SMALL_MAPS = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 2, (2, 4, 5, 6)).astype(bool)
)


@settings(max_examples=30, deadline=None)
@given(maps=SMALL_MAPS, spacing=st.tuples(*[st.floats(0.1, 10)] * 3))
def test_what_must_not_change_the_distances(maps, spacing):
    a, b = maps
    found = metrics.surface_distances(a, b, spacing)
    forth, back = found.to_prediction, found.to_reference

    swapped = metrics.surface_distances(b, a, spacing)
    np.testing.assert_array_equal(swapped.to_prediction, back)
    np.testing.assert_array_equal(swapped.to_reference, forth)

    # Moved within an array that is larger on every side.
    moved = metrics.surface_distances(np.pad(a, 3), np.pad(b, 3), spacing)
    np.testing.assert_array_equal(moved.to_prediction, forth)

    # Axes permuted with their spacing, and flipped: the same distances in another order.
    turned = metrics.surface_distances(
        a.transpose(2, 0, 1)[::-1], b.transpose(2, 0, 1)[::-1], (spacing[2], spacing[0], spacing[1])
    )
    np.testing.assert_allclose(np.sort(turned.to_prediction), np.sort(forth), rtol=1e-12)
    np.testing.assert_allclose(np.sort(turned.to_reference), np.sort(back), rtol=1e-12)

    # Twice the spacing, twice the distance.
    double = metrics.surface_distances(a, b, [2 * mm for mm in spacing])
    np.testing.assert_allclose(double.to_prediction, 2 * forth, rtol=1e-12)

    # Directed distances change by no more than a step to a neighbour on the same surface.
    assert (metrics.surface_distances(a, a, spacing).to_prediction == 0).all()


def test_far_apart_objects_cost_no_more_than_near_ones():
    """Memory of a far pair, in a process of its own: a transform would take 8 bytes a voxel."""
    code = """
import resource
import numpy as np
from tfseg import metrics
size = 320
a, b = np.zeros((2, size, size, size), np.uint8)
a[2:12, 2:12, 2:12] = 1
b[-12:-2, -12:-2, -12:-2] = 1
metrics.surface_distances(a[:16, :16, :16], a[:16, :16, :16], (1, 1, 1))
before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = metrics.surface_distances(a, b, (1, 1, 1))
used_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
print(float(found.to_prediction.max()), used_kib)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    farthest, used_kib = map(float, done.stdout.split())
    assert farthest == pytest.approx((320 - 4 - 10) * math.sqrt(3))
    # Two maps of surfaces, 31 MiB each, and little more.
    assert used_kib < 90 * 1024


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": np.ones((4, 5), bool)}, r"one shape; got \(5, 5\) and \(4, 5\)"),
        ({"spacing_mm": (1,)}, r"2 positive lengths, one an array axis; got \(1,\)"),
        ({"spacing_mm": (1, -2)}, r"positive lengths.*got \(1, -2\)"),
        ({"spacing_mm": (1, math.nan)}, "positive lengths.*nan"),
        ({"prediction": np.full((5, 5), 3)}, "prediction holds the label 3; the labels are 0 to 1"),
        ({"prediction": np.full((5, 5), 3, np.uint8)}, "prediction holds the label 3"),
    ],
)
def test_refusals_name_rule_and_value(change, message):
    good = np.ones((5, 5), bool)
    arguments = {"reference": good, "prediction": good, "spacing_mm": (1, 1), **change}
    with pytest.raises(DataError, match=message):
        metrics.surface_distances(**arguments)


def test_four_axes_are_refused():
    four = np.ones((2, 2, 2, 2), bool)
    with pytest.raises(DataError, match="1 to 3 axes; got 4"):
        metrics.surface_distances(four, four, (1, 1, 1, 1))
