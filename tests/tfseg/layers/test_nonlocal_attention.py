"""Global attention against its formula, voxel by voxel."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from tfseg.errors import ConfigError
from tfseg.layers import GlobalAttention, global_aggregation


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def by_formula(queries, keys, values, heads):
    """softmax(Q K^T / sqrt(d)) V, one query at a time."""
    batch, channels = queries.shape[0], queries.shape[-1]
    size = channels // heads
    answer = np.zeros((*queries.shape[:-1], channels))
    for sample in range(batch):
        q, k, v = (x[sample].reshape(-1, channels) for x in (queries, keys, values))
        flat = answer[sample].reshape(-1, channels)
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for voxel in range(len(q)):
                weights = softmax(k[:, part] @ q[voxel, part] / np.sqrt(size))
                flat[voxel, part] = weights @ v[:, part]
    return answer


@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize(
    ("wanted", "given"), [((2, 3), (2, 3)), ((4, 6), (2, 3)), ((2, 3, 4), (1, 2, 2))]
)
def test_formula(heads, wanted, given):
    queries, keys = noise(2, *wanted, 6), noise(2, *given, 6, seed=1)
    values = noise(2, *given, 6, seed=2)
    answer = GlobalAttention(heads)([queries, keys, values])
    np.testing.assert_allclose(answer, by_formula(queries, keys, values, heads), atol=1e-5)


def test_equal_keys_average_the_values():
    values = noise(1, 3, 4, 2)
    answer = GlobalAttention()([noise(1, 5, 5, 2, seed=1), np.ones((1, 3, 4, 2)), values])
    mean = values.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(answer, np.broadcast_to(mean, (1, 5, 5, 2)), atol=1e-6)


def test_sizes_may_be_left_open():
    layer = GlobalAttention(2)
    free = tf.TensorSpec((None, None, None, None, 4))
    attend = tf.function(lambda q, k, v: layer([q, k, v]), input_signature=[free] * 3)
    queries, keys, values = noise(2, 4, 3, 2, 4), noise(2, 2, 2, 1, 4), noise(2, 2, 2, 1, 4)
    np.testing.assert_allclose(
        attend(queries, keys, values), by_formula(queries, keys, values, 2), atol=1e-5
    )


def test_dropout_takes_weights_away_in_training_only():
    keras.utils.set_random_seed(0)
    x = [noise(1, 2, 2, 4), noise(1, 2, 2, 4), noise(1, 2, 2, 4)]
    layer = GlobalAttention(dropout=0.5)
    np.testing.assert_allclose(layer(x), GlobalAttention()(x), atol=1e-6)
    assert not np.allclose(layer(x, training=True), layer(x), atol=1e-3)
    several = np.mean([layer(x, training=True) for _ in range(2000)], axis=0)
    np.testing.assert_allclose(several, layer(x), atol=0.1)


def test_half_precision_keeps_the_softmax_in_float32():
    """Scores of 1000 and more would be one-hot or infinite in float16."""
    layer = GlobalAttention(dtype="mixed_float16")
    x = [noise(1, 4, 4, 8) * 8, noise(1, 4, 4, 8, seed=1) * 8, noise(1, 4, 4, 8, seed=2)]
    answer = layer(x)
    assert answer.dtype == tf.float16
    assert np.isfinite(answer).all()


def test_heads_must_divide_the_channels():
    with pytest.raises(ConfigError, match="divisible by its heads, 3; got 4"):
        GlobalAttention(3)([noise(1, 2, 2, 4)] * 3)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(
    ("query", "factor", "kernel"), [("same", 1, 1), ("down", 0.5, 3), ("up", 2, 3)]
)
def test_the_query_sets_the_size(rank, query, factor, kernel):
    inputs = keras.Input((4,) * rank + (3,))
    y = global_aggregation(inputs, filters=6, heads=2, query=query, name="block")
    assert y.shape == (None, *(int(4 * factor),) * rank, 6)
    model = keras.Model(inputs, y)
    # Query, key, value and result, each with biases.
    by_hand = (kernel**rank * 3 * 6 + 6) + 2 * (3 * 6 + 6) + (6 * 6 + 6)
    assert model.count_params() == by_hand


def test_every_voxel_sees_every_other():
    inputs = keras.Input((6, 6, 2))
    model = keras.Model(inputs, global_aggregation(inputs, filters=4, name="block"))
    x = tf.constant(noise(1, 6, 6, 2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        corner = tf.reduce_sum(model(x)[0, 0, 0])
    assert np.all(np.any(tape.gradient(corner, x).numpy() != 0, axis=-1))


def test_saved_and_loaded_it_answers_the_same(tmp_path):
    inputs = keras.Input((4, 4, 2))
    y = global_aggregation(inputs, filters=4, heads=2, dropout=0.3, name="block")
    model = keras.Model(inputs, y)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = noise(2, 4, 4, 2)
    np.testing.assert_array_equal(again(x), model(x))
    assert (
        again.get_layer("block_attention").heads,
        again.get_layer("block_attention").dropout,
    ) == (2, 0.3)
