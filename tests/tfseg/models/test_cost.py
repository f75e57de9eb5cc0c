"""Costs of networks: layers counted by hand, and the published figure of a U-Net."""

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build
from tfseg.models.cost import macs, params, runtime

L = keras.layers


def network(shape, *layers):
    """Chain layers on an input."""
    image = x = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return keras.Model(image, x)


@pytest.mark.parametrize(
    ("shape", "layer", "expected"),
    [
        ((8, 10, 3), L.Conv2D(5, 3, padding="same"), 8 * 10 * 5 * 9 * 3),
        ((8, 10, 3), L.Conv2D(5, 3), 6 * 8 * 5 * 9 * 3),
        ((8, 10, 3), L.Conv2D(5, 3, strides=2, padding="same"), 4 * 5 * 5 * 9 * 3),
        ((8, 10, 3), L.Conv2D(5, 3, dilation_rate=2, padding="same"), 8 * 10 * 5 * 9 * 3),
        ((8, 10, 6), L.Conv2D(4, 3, groups=2, padding="same"), 8 * 10 * 4 * 9 * 3),
        ((4, 6, 8, 2), L.Conv3D(5, (1, 3, 3), padding="same"), 4 * 6 * 8 * 5 * 9 * 2),
        ((8, 10, 3), L.Conv2DTranspose(5, 2, strides=2), 8 * 10 * 3 * 4 * 5),
        ((4, 6, 8, 2), L.Conv3DTranspose(5, (1, 2, 2), strides=(1, 2, 2)), 4 * 6 * 8 * 2 * 4 * 5),
        ((8, 10, 3), L.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), 8 * 10 * 6 * 9),
        (
            (8, 10, 3),
            L.SeparableConv2D(7, 3, depth_multiplier=2, padding="same"),
            8 * 10 * 6 * 9 + 8 * 10 * 6 * 7,
        ),
        ((6,), L.Dense(4), 6 * 4),
        ((5, 6), L.Dense(4), 5 * 6 * 4),  # applied at each of 5 places
        ((8, 10, 3), L.BatchNormalization(), 0),
        ((8, 10, 3), L.MaxPooling2D(), 0),
    ],
)
def test_layers_by_hand(shape, layer, expected):
    assert macs(network(shape, layer)) == expected


def test_a_layer_used_twice_counts_twice():
    image = keras.Input((8, 8, 3))
    shared = L.Conv2D(3, 3, padding="same")
    model = keras.Model(image, shared(shared(image)))
    assert macs(model) == 2 * 8 * 8 * 3 * 9 * 3
    assert params(model) == 9 * 3 * 3 + 3


def test_models_inside_models_are_entered():
    inner = network((8, 8, 3), L.Conv2D(4, 1))
    outer = network((8, 8, 3), inner, L.Conv2D(2, 1))
    assert macs(outer) == 8 * 8 * (3 * 4 + 4 * 2)


def test_a_layer_outside_the_graph_does_not_count():
    layer = L.Conv2D(3, 3, padding="same")
    image = keras.Input((8, 8, 3))
    layer(layer(image))
    assert macs(keras.Model(image, layer(image))) == 8 * 8 * 3 * 9 * 3


def test_an_open_size_needs_one_to_count_for():
    model = network((None, None, 3), L.Conv2D(5, 3, padding="same"))
    for cost in (macs, runtime):
        with pytest.raises(ConfigError, match=r"fixed input size; got \(None, None, 3\)"):
            cost(model)
    assert macs(model, (8, 10, 3)) == 8 * 10 * 5 * 9 * 3
    assert len(model.layers) == 2  # counting leaves the model alone


def test_parameters_that_are_not_trained_do_not_count():
    model = network((4, 4, 2), L.Conv2D(3, 1, use_bias=False), L.BatchNormalization())
    assert params(model) == 2 * 3 + 2 * 3  # not the moving mean and variance


def test_the_unet_of_399_gflop():
    """3D, 32-64-128-256-320 channels, 96^3: as measured with other tools, 399 GFLOP."""
    with keras.StatelessScope(initialize_variables=False):
        model = build("unet", (96, 96, 96, 1), 2, deep_supervision=False)
    assert 2 * macs(model) / 1e9 == pytest.approx(399, abs=0.5)


def test_the_two_ranks_of_a_unet():
    """Doubling a side multiplies the cost by 4 in 2D and by 8 in 3D."""
    for rank in (2, 3):
        with keras.StatelessScope(initialize_variables=False):
            model = build("unet", (None,) * rank + (1,), 2, depth=3, base_filters=2)
        small, large = (macs(model, (size,) * rank + (1,)) for size in (16, 32))
        assert large == 2**rank * small > 0


def test_runtime_is_a_positive_time():
    model = network((8, 8, 1), L.Conv2D(2, 3))
    assert 0 < runtime(model, repeats=2) < 60
    with pytest.raises(ConfigError, match="repeats must be at least 1; got 0"):
        runtime(model, repeats=0)


def test_counting_changes_no_weight():
    model = network((8, 8, 1), L.Conv2D(2, 3), L.Conv2D(1, 1))
    before = [np.array(weight) for weight in model.get_weights()]
    macs(model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
