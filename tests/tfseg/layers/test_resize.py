"""Linear resizing against SciPy's interpolation at half-pixel centres, and cropping by slices."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfseg.layers import LinearResize, crop_and_concat, resize_like
from tfseg.layers.resize import CropLike


def at_half_pixel_centres(x, size):
    """(batch, ..., c): voxel i of n_out lies at (i + 1/2) n_in / n_out - 1/2, edges clamped."""
    axes = [
        (np.arange(new) + 0.5) * old / new - 0.5
        for old, new in zip(x.shape[1:-1], size, strict=True)
    ]
    grid = np.meshgrid(*axes, indexing="ij")
    result = np.empty((x.shape[0], *size, x.shape[-1]))
    for batch in range(x.shape[0]):
        for channel in range(x.shape[-1]):
            values = x[batch, ..., channel].astype(np.float64)
            result[batch, ..., channel] = ndimage.map_coordinates(
                values, grid, order=1, mode="nearest"
            )
    return result


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((5, 7), (10, 21)),
        ((8, 9), (4, 5)),
        ((1, 1), (6, 3)),
        ((6, 6), (6, 13)),
        ((3, 5, 4), (6, 10, 8)),
        ((7, 6, 9), (3, 5, 4)),
        ((2, 3, 4), (5, 3, 7)),
        ((1, 1, 1), (3, 4, 5)),
        ((6, 4, 5), (7, 4, 5)),
    ],
)
@pytest.mark.parametrize("known_size", [True, False])
def test_resizing_interpolates_at_half_pixel_centres(old, new, known_size):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2, *old, 3)).astype(np.float32)
    reference = np.zeros((2, *new, 1), np.float32)
    call = LinearResize()
    if not known_size:
        unknown = (None,) * (len(old) + 1)
        specs = [tf.TensorSpec((*unknown, 3)), tf.TensorSpec((*unknown, 1))]
        call = tf.function(lambda a, b: LinearResize().call((a, b)), input_signature=specs)
        answer = call(x, reference)
    else:
        answer = call([x, reference])
    np.testing.assert_allclose(answer, at_half_pixel_centres(x, new), atol=1e-5)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_known_size_meets_an_unknown_one(rank):
    """A pooled cell has a known size, the map it is resized to may not."""
    x = np.random.default_rng(0).normal(size=(1, *(2,) * rank, 3)).astype(np.float32)
    spec = tf.TensorSpec((None,) * (rank + 1) + (1,))
    call = tf.function(lambda b: LinearResize().call((tf.constant(x), b)), input_signature=[spec])
    for size in ((2, 2, 2)[:rank], (5, 4, 3)[:rank]):
        answer = call(np.zeros((1, *size, 1), np.float32))
        np.testing.assert_allclose(answer, at_half_pixel_centres(x, size), atol=1e-6)


def test_the_same_size_is_the_same_tensor():
    x = tf.random.stateless_normal((1, 4, 5, 2), (0, 0))
    np.testing.assert_array_equal(LinearResize()([x, tf.zeros((1, 4, 5, 7))]), x)


def test_half_precision_stays_half():
    x = tf.ones((1, 2, 2, 2, 1), tf.float16)
    assert (
        LinearResize(dtype="float16")([x, tf.zeros((1, 4, 4, 4, 1), tf.float16)]).dtype == "float16"
    )


@pytest.mark.parametrize(
    ("have", "want"), [((7, 8), (4, 4)), ((5, 5), (5, 2)), ((9, 6, 7), (4, 5, 6))]
)
def test_crop_takes_the_centre(have, want):
    x = np.random.default_rng(0).normal(size=(2, *have, 3)).astype(np.float32)
    # An odd surplus leaves one voxel more behind than before.
    cut = tuple(slice((h - w) // 2, (h - w) // 2 + w) for h, w in zip(have, want, strict=True))
    answer = CropLike()([x, np.zeros((2, *want, 1), np.float32)])
    np.testing.assert_array_equal(answer, x[(slice(None), *cut)])


def test_crop_and_concat_puts_the_skip_first():
    skip, x = keras.Input((9, 9, 2)), keras.Input((4, 4, 3))
    model = keras.Model([skip, x], crop_and_concat(skip, x, crop=True, name="d"))
    values = [np.ones((1, 9, 9, 2), np.float32), np.zeros((1, 4, 4, 3), np.float32)]
    answer = model(values).numpy()
    assert answer.shape == (1, 4, 4, 5)
    assert answer[..., :2].min() == 1
    assert answer[..., 2:].max() == 0


def test_resize_like_tells_its_shape():
    out = resize_like(keras.Input((3, 4, 5, 2)), keras.Input((6, 8, 10, 1)), name="r")
    assert out.shape == (None, 6, 8, 10, 2)
