"""What goes beyond recorded values: indices in 3D, draws, and options that are refused."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.compat import addons
from tfseg.errors import ConfigError


def brute_force_pooling(x, window):
    """Maxima and their flat indices, one window after the other."""
    batch, *spatial, channels = x.shape
    counts = [n // p for n, p in zip(spatial, window, strict=True)]
    pooled = np.zeros((batch, *counts, channels), x.dtype)
    places = np.zeros(pooled.shape, np.int64)
    for sample, *cell, channel in itertools.product(*map(range, pooled.shape)):
        best = None
        for offset in itertools.product(*map(range, window)):
            at = tuple(c * p + o for c, p, o in zip(cell, window, offset, strict=True))
            value = x[(sample, *at, channel)]
            if best is None or value > best[0]:
                best = (value, np.ravel_multi_index((*at, channel), (*spatial, channels)))
        pooled[(sample, *cell, channel)], places[(sample, *cell, channel)] = best
    return pooled, places


@pytest.mark.parametrize(
    ("shape", "window"),
    [((2, 4, 6, 3), (2, 2)), ((2, 4, 4, 6, 3), (2, 2, 2)), ((1, 5, 7, 6, 2), (1, 2, 3))],
)
def test_maxima_and_their_places(shape, window):
    # Small integers: many equal maxima, of which the first counts.
    x = np.random.default_rng(0).integers(0, 4, shape).astype(np.float32)
    pooled, places = addons.MaxPoolingWithArgmax(window)(x)
    expected, where = brute_force_pooling(x, window)
    np.testing.assert_array_equal(pooled, expected)
    np.testing.assert_array_equal(places, where)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("as_list", [False, True])
def test_unpooling_undoes_pooling(rank, as_list, tmp_path):
    x = np.random.default_rng(1).normal(size=(2, *(4, 6, 2)[:rank], 3)).astype(np.float32)
    image = keras.Input(x.shape[1:])
    pooled, places = addons.MaxPoolingWithArgmax()(image)
    unpool = getattr(addons, f"MaxUnpooling{rank}D")()
    back = unpool([pooled, places]) if as_list else unpool(pooled, places)
    model = keras.Model(image, [pooled, places, back])
    assert back.shape == image.shape

    values, indices, whole = (part.numpy() for part in model(x))
    expected = np.zeros_like(x)
    for sample in range(len(x)):
        expected[sample].flat[indices[sample].ravel()] = values[sample].ravel()
    np.testing.assert_array_equal(whole, expected)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(again(x)[2], whole)


@pytest.mark.parametrize("rank", [2, 3])
def test_unpooling_takes_any_batch_and_size(rank):
    pool, unpool = addons.MaxPoolingWithArgmax(), getattr(addons, f"MaxUnpooling{rank}D")()
    free = tf.TensorSpec((None, *(None,) * rank, 2))

    @tf.function(input_signature=[free])
    def there_and_back(x):
        return unpool(*pool(x))

    for batch, size in ((1, 4), (3, 6)):
        x = np.random.default_rng(2).normal(size=(batch, *(size,) * rank, 2)).astype(np.float32)
        assert there_and_back(x).shape == x.shape


def test_the_slope_goes_to_the_maxima_and_back():
    x = tf.constant(np.random.default_rng(3).permutation(64).reshape(1, 4, 4, 4, 1), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        back = addons.MaxUnpooling3D()(*addons.MaxPoolingWithArgmax()(x))
        total = tf.reduce_sum(back * back)
    np.testing.assert_array_equal(tape.gradient(total, x), 2 * back)


def test_adaptive_pooling_at_sizes_known_only_when_it_runs():
    layer = addons.AdaptiveMaxPooling2D((2, 3))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 2))])
    def pool(x):
        return layer(x)

    x = np.random.default_rng(4).normal(size=(2, 4, 6, 2)).astype(np.float32)
    expected = x.reshape(2, 2, 2, 3, 2, 2).max((2, 4))
    np.testing.assert_array_equal(pool(x), expected)


def test_stochastic_depth_keeps_or_drops_a_whole_batch():
    shortcut, residual = np.ones((2, 3, 1), np.float32), np.full((2, 3, 1), 4, np.float32)
    layer = addons.StochasticDepth(0.7, seed=5)
    drawn = [layer([shortcut, residual], training=True).numpy() for _ in range(200)]
    assert {tuple(np.unique(output)) for output in drawn} == {(1.0,), (5.0,)}
    kept = np.mean([output[0, 0, 0] == 5 for output in drawn])
    assert abs(kept - 0.7) < 4 * np.sqrt(0.7 * 0.3 / 200)
    again = addons.StochasticDepth.from_config(layer.get_config())
    repeated = [again([shortcut, residual], training=True).numpy() for _ in range(20)]
    np.testing.assert_array_equal(repeated, drawn[:20])


def test_instance_normalisation_is_ours():
    from tfseg.layers import InstanceNormalization

    assert issubclass(addons.InstanceNormalization, InstanceNormalization)


@pytest.mark.parametrize("form", ["gelu", "lisht"])
def test_activations_inside_layers_come_back(form, tmp_path):
    image = keras.Input((4,))
    model = keras.Model(image, keras.layers.Dense(3, activation=getattr(addons, form))(image))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert again.layers[-1].activation is getattr(addons, form)


def test_the_page_names_all():
    page = (Path(__file__).resolve().parents[3] / "docs" / "addons.md").read_text(encoding="utf-8")
    assert [name for name in addons.__all__ if f"`{name}`" not in page] == []


def build(layer, *shape):
    layer.build((None, *shape))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: addons.Maxout(3)(np.ones((1, 4), "f")), r"num_units must divide .* got 3 for 4"),
        (lambda: addons.StochasticDepth(1.2), r"must be in \[0, 1\]; got 1\.2"),
        (lambda: addons.SigmoidFocalCrossEntropy(gamma=-1), r"gamma must be at least 0; got -1"),
        (lambda: addons.GIoULoss("diou"), r"mode must be giou or iou; got 'diou'"),
        (
            lambda: addons.AdaptiveAveragePooling2D((1, 2, 3)),
            r"AdaptiveAveragePooling2D: output_size must be 2 positive numbers; got \(1, 2, 3\)",
        ),
        (
            lambda: build(addons.AdaptiveMaxPooling3D(4), 8, 6, 8, 1),
            r"AdaptiveMaxPooling3D: output_size must divide .* got \(4, 4, 4\) for \(8, 6, 8\)",
        ),
        (lambda: addons.AdaptiveMaxPooling1D(2, "last"), r"channels_last or .* got 'last'"),
        (lambda: addons.MaxUnpooling2D(padding="FULL"), r"padding must be SAME or VALID; got 'F"),
        (lambda: addons.MaxUnpooling3D((2, 2)), r"MaxUnpooling3D: pool_size must be 3 positive"),
        (lambda: addons.MaxUnpooling2DV2((4, 4)), r"output_size must be \(batch, y, x, channels\)"),
        (
            lambda: build(addons.MaxPoolingWithArgmax(3, 2), 8, 8, 8, 1),
            r"in 3D windows must not overlap.* strides \(2, 2, 2\) for \(8, 8, 8\)",
        ),
        (
            lambda: build(addons.WeightNormalization(keras.layers.ReLU()), 4),
            r"the layer must have a kernel.* got ReLU",
        ),
    ],
)
def test_bad_input_options(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
