"""DRINet: counts of the authors' form, and no connection across but through the bottom."""

import functools

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build, model_config


def without_numbers(*args, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build("drinet", *args, **options)


@functools.cache
def authors_form(growth=None):
    return without_numbers((64, 64, 1), 4, faithful=True, growth=growth)


@pytest.mark.parametrize(
    ("growth", "parameters"),
    [
        ((4, 8, 16, 32), 1_194_442),
        (None, 4_059_050),  # 8, 16, 32, 64
        ((16, 32, 64, 128), 14_862_306),
    ],
)
def test_authors_form(growth, parameters):
    model = authors_form(growth)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == parameters
    assert model.output_shape == (None, 64, 64, 4)


def test_channels_down_and_up():
    """Dense blocks add 3 g; unpooling leaves two quarters, rounded down."""
    model = authors_form()
    down = [model.get_layer(f"encoder{level}_mix_conv").output.shape[-1] for level in range(4)]
    assert down == [32 + 24, 56 + 48, 104 + 96, 200 + 192]
    up = [model.get_layer(f"up{level}_concat").output.shape[1:] for level in (3, 2, 1)]
    assert up == [(16, 16, 196), (32, 32, 98), (64, 64, 48)]


def test_three_residual_inceptions_a_level():
    model = authors_form()
    names = [layer.name for layer in model.layers]
    assert sum(name.endswith("_far2_conv") for name in names) == 4 * 3 + 3
    dilated = [layer for layer in model.layers if getattr(layer, "dilation_rate", 1) == (2, 2)]
    assert len(dilated) == 4 * 3 + 3


@pytest.mark.parametrize("rank", [2, 3])
def test_everything_goes_through_the_bottom(rank):
    """There is no skip connection: cut at the bottom, the image is out of reach."""
    model = without_numbers((16,) * rank + (1,), 2)
    bottom = model.get_layer("bottom_act").output
    above = keras.Model(bottom, model.output)  # raises if the image were needed
    assert above.output_shape == (None, *(16,) * rank, 2)


def test_the_growth_follows_the_width():
    assert model_config("drinet").growths == (8, 16, 32, 64)
    assert model_config("drinet", base_filters=16).growths == (4, 8, 16, 32)
    assert model_config("drinet", growth=(3, 5)).divisor(3) == (2, 2, 2)
    with pytest.raises(ConfigError, match=r"drinet: growth: .* at least 2 items .*got \(3,\)"):
        model_config("drinet", growth=(3,))
