"""Max-pooling with masks and its inverse."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfseg.layers import MaxPoolWithMask, MaxUnpool


def by_loops(x):
    """Pool and unpool one sample by the definition: the first maximum of each window stays."""
    size = tuple(n // 2 for n in x.shape[:-1])
    pooled = np.zeros((*size, x.shape[-1]), x.dtype)
    kept = np.zeros_like(x)
    for cell in np.ndindex(size):
        for channel in range(x.shape[-1]):
            window = [
                tuple(2 * c + s for c, s in zip(cell, step, strict=True))
                for step in itertools.product((0, 1), repeat=len(size))
            ]
            values = [x[(*voxel, channel)] for voxel in window]
            first = window[int(np.argmax(values))]
            pooled[(*cell, channel)] = max(values)
            kept[(*first, channel)] = max(values)
    return pooled, kept


@pytest.mark.parametrize("size", [(4, 6), (4, 2, 6)])
@pytest.mark.parametrize("ties", [False, True])
def test_against_loops(size, ties):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (2, *size, 3)) if ties else rng.normal(size=(2, *size, 3))
    x = x.astype(np.float32)
    pooled, mask = MaxPoolWithMask()(x)
    back = MaxUnpool()([pooled, mask])
    for sample in range(2):
        expected, kept = by_loops(x[sample])
        np.testing.assert_array_equal(pooled[sample], expected)
        np.testing.assert_array_equal(back[sample], kept)
    np.testing.assert_array_equal(np.asarray(mask).reshape(*mask.shape[:-1], -1, 3).sum(-2), 1)


def test_ties_break_as_tensorflow_breaks_them():
    """The window [1, 3, 3, 2] keeps index 1."""
    x = np.array([[1, 3], [3, 2]], np.float32).reshape(1, 2, 2, 1)
    pooled, mask = MaxPoolWithMask()(x)
    back = MaxUnpool()([pooled, mask])
    _, index = tf.nn.max_pool_with_argmax(x, 2, 2, "VALID", include_batch_in_index=False)
    assert np.flatnonzero(back).tolist() == index.numpy().ravel().tolist() == [1]


def test_an_odd_voxel_is_lost():
    x = np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1)
    pooled, mask = MaxPoolWithMask()(x)
    assert pooled[0, ..., 0].numpy().tolist() == [[6, 8], [16, 18]]
    assert mask.shape == (1, 2, 2, 4)


def test_gradient_goes_to_the_maximum():
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 4, 4, 2)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        pooled, mask = MaxPoolWithMask()(x)
        total = tf.reduce_sum(MaxUnpool()([pooled, mask]) * 3)
    _, kept = by_loops(x[0].numpy())
    np.testing.assert_allclose(tape.gradient(total, x)[0], 3.0 * (kept != 0))


def test_sizes_unknown_until_it_runs():
    pool, unpool = MaxPoolWithMask(), MaxUnpool()

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, None, 2))])
    def there_and_back(x):
        return unpool(pool(x))

    x = np.random.default_rng(0).normal(size=(1, 2, 4, 6, 2)).astype(np.float32)
    np.testing.assert_array_equal(there_and_back(x)[0], by_loops(x[0])[1])
