"""One map for image, label and voxel map; SciPy is the oracle of splines and of sampling."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.interpolate import BSpline, make_interp_spline

from tfseg.pipeline.cache import PreparedCase
from tfseg.pipeline.field import Field, control_distance, control_points, spline_weights


@pytest.mark.parametrize(("voxels", "grid"), [(40, 3), (17, 2), (9, 6)])
def test_weights_are_those_of_scipys_splines(voxels, grid):
    at = np.arange(voxels)
    values = np.random.default_rng(voxels).normal(size=grid + 3)
    if grid > 3:
        spline = make_interp_spline(
            np.linspace(0, voxels - 1, grid), values[:grid], 3, bc_type="natural"
        )
        np.testing.assert_allclose(
            values[:grid] @ spline_weights(voxels, grid, "cubic"), spline(at)
        )
    knots = np.arange(-3, grid + 4) * control_distance(voxels, grid, "bspline")
    np.testing.assert_allclose(
        values @ spline_weights(voxels, grid, "bspline"), BSpline(knots, values, 3)(at)
    )


def test_three_points_make_a_natural_spline():
    """By hand: through (0, 0), (1, 1), (2, 0) it is 1.5 t - 0.5 t^3 up to the middle."""
    t = np.arange(11) / 10
    up = 1.5 * t - 0.5 * t**3
    np.testing.assert_allclose(spline_weights(21, 3, "cubic")[1], [*up, *up[-2::-1]], atol=1e-12)


def places(field, size, start):
    """Volume coordinates of a patch's voxels, (3, z, y, x), by the definition."""
    shift = np.zeros((3, *size))
    if field.knots is not None:
        weights = [spline_weights(n, field.grid, field.spline) for n in size]
        shift = np.einsum("vabc,ai,bj,ck->vijk", field.knots, *weights)
    middle = (np.array(size) - 1) / 2
    offsets = np.indices(size) - middle.reshape(3, 1, 1, 1) + shift
    return np.einsum("ij,jzyx->izyx", field.matrix, offsets) + (middle + start).reshape(3, 1, 1, 1)


@pytest.mark.parametrize("spline", [None, "cubic", "bspline"])
@pytest.mark.parametrize("dims", [2, 3])
def test_any_map_is_what_scipy_makes_of_it(dims, spline):
    """Linear inside, 0 beyond half a voxel outside; the label, 255 too, is the nearest voxel's."""
    rng = np.random.default_rng(4)
    shape, size = ((12, 13, 14), (7, 8, 9)) if dims == 3 else ((3, 13, 14), (1, 8, 9))
    label = rng.choice(np.array([0, 1, 2, 255], np.uint8), shape)
    image = rng.normal(size=(*shape, 2)).astype(np.float32)
    case = PreparedCase("a", image, label, {}, voxel_map=image[..., 1].copy())
    matrix = np.eye(3)
    matrix[3 - dims :, 3 - dims :] += rng.normal(0, 0.3, (dims, dims))
    knots = None
    if spline:
        points = [control_points(n, 3, spline) for n in size]
        knots = rng.normal(0, 1.5, (3, *points)) * (np.array(size) > 1).reshape(3, 1, 1, 1)
    field = Field(matrix, knots, 3, spline or "cubic")
    start = (1, 7, 7) if dims == 2 else (7, 6, 6)
    patch, labels, mapped = field.read(case, start, size)

    where = places(field, size, start)
    limits = np.array(shape).reshape(3, 1, 1, 1) - 0.5
    outside = ((where < -0.5) | (where >= limits)).any(0)
    assert 0 < outside.sum() < outside.size / 2
    for channel in range(2):
        want = ndimage.map_coordinates(
            image[..., channel].astype(float), where, order=1, mode="nearest"
        )
        want[outside] = 0
        np.testing.assert_allclose(patch[channel], want, atol=1e-5)
    nearest = ndimage.map_coordinates(label, where, order=0, mode="nearest")
    nearest[outside] = 0
    np.testing.assert_array_equal(labels, nearest)
    np.testing.assert_array_equal(mapped, patch[1])


def test_a_memory_mapped_volume_is_read_as_one_in_memory(tmp_path):
    rng = np.random.default_rng(0)
    image, label = rng.normal(size=(9, 9, 9, 1)).astype(np.float32), rng.integers(0, 3, (9, 9, 9))
    label = label.astype(np.uint8)
    for name, array in (("image", image), ("label", label)):
        np.save(tmp_path / name, array)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("image", "label")]
    for matrix in (np.eye(3), np.diag([1.0, -1.0, 1.0]), np.eye(3) + 0.1):
        parts = [
            Field(matrix).read(PreparedCase("a", *arrays, {}), (-1, 2, 3), (5, 6, 7))
            for arrays in ((image, label), mapped)
        ]
        for one, other in zip(*parts, strict=True):
            np.testing.assert_array_equal(one, other)
