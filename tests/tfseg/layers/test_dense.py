"""Pre-activated convolutions and dense blocks."""

import keras
import numpy as np
import pytest

from tfseg.layers import dense_block, norm_act_conv


def filled(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.weights])
    return model


@pytest.mark.parametrize("rank", [2, 3])
def test_the_activation_comes_before_the_convolution(rank):
    inputs = keras.Input((4,) * rank + (3,))
    y = norm_act_conv(inputs, filters=5, kernel=1, norm="none", name="unit")
    model = filled(keras.Model(inputs, y))
    kernel, bias = (np.squeeze(w) for w in model.get_weights())
    x = np.random.default_rng(1).normal(size=(2, *(4,) * rank, 3)).astype(np.float32)
    np.testing.assert_allclose(model(x), np.maximum(x, 0) @ kernel + bias, atol=1e-5)


@pytest.mark.parametrize(("bias", "norm", "has"), [(False, "batch", 0), (True, "batch", 1)])
def test_a_bias_is_kept_where_asked_for(bias, norm, has):
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, norm_act_conv(inputs, filters=5, bias=bias, norm=norm, name="u"))
    assert len(model.get_layer("u_conv").weights) == 1 + has


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("bottleneck", [0, 4])
def test_every_layer_sees_all_maps_before_it(rank, bottleneck):
    inputs = keras.Input((4,) * rank + (3,))
    everything, new = dense_block(inputs, layers=3, growth=2, bottleneck=bottleneck, name="block")
    model = keras.Model(inputs, [everything, *new])
    assert everything.shape[1:] == (4,) * rank + (3 + 3 * 2,)
    assert [y.shape[-1] for y in new] == [2, 2, 2]
    first = "_narrow" if bottleneck else ""
    seen = [model.get_layer(f"block_{n}{first}_conv").input.shape[-1] for n in (1, 2, 3)]
    assert seen == [3, 5, 7]
    widths = [model.get_layer(f"block_{n}_conv").input.shape[-1] for n in (1, 2, 3)]
    assert widths == ([8, 8, 8] if bottleneck else seen)


def test_the_block_hands_on_its_input_and_then_the_new_maps():
    inputs = keras.Input((4, 4, 3))
    everything, new = dense_block(inputs, layers=2, growth=2, norm="none", name="block")
    model = filled(keras.Model(inputs, [everything, *new]))
    x = np.random.default_rng(1).normal(size=(1, 4, 4, 3)).astype(np.float32)
    whole, first, second = (np.asarray(y) for y in model(x))
    np.testing.assert_array_equal(whole, np.concatenate([x, first, second], -1))


def test_dropout_is_in_training_only():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, norm_act_conv(inputs, filters=4, dropout=0.5, name="unit"))
    x = np.random.default_rng(1).normal(size=(1, 8, 8, 3)).astype(np.float32)
    assert np.mean(np.asarray(model(x, training=True)) == 0) > 0.3
    assert np.mean(np.asarray(model(x)) == 0) == 0
