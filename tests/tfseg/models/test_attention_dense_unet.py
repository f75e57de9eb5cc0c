"""Attention dense U-Net: preset counts, the encoder's share, gates on every skip."""

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build


def without_numbers(*args, **options):
    """Build shapes only: counting needs no memory for the weights."""
    with keras.StatelessScope(initialize_variables=False):
        return build("attention_dense_unet", *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_preset():
    model = without_numbers((256, 256, 3), 1, faithful=True)
    assert model.output_shape == (None, 256, 256, 1)
    assert trainable(model) == 26_762_245
    assert model.count_params() == 26_853_573
    trunk = [layer for layer in model.layers if layer.name.startswith("densenet121_")]
    weights = [weight for layer in trunk for weight in layer.trainable_weights]
    assert sum(int(np.prod(weight.shape)) for weight in weights) == 6_953_856


@pytest.mark.parametrize("rank", [2, 3])
def test_every_skip_is_gated(rank):
    model = without_numbers((64,) * rank + (1,), 2, base_filters=64)
    gated = {layer.name: layer.output for layer in model.layers if layer.name.endswith("_gated")}
    assert {name: (x.shape[1], x.shape[-1]) for name, x in gated.items()} == {
        "gate1_gated": (32, 64),
        "gate2_gated": (16, 256),
        "gate3_gated": (8, 512),
        "gate4_gated": (4, 1024),
    }
    widths = [model.get_layer(f"decoder{level}_2_conv").filters for level in range(5)]
    assert widths == [32, 64, 128, 256, 512]


def test_the_larger_encoder():
    model = without_numbers((64, 64, 1), 2, faithful=True, backbone="densenet161")
    assert model.get_layer("gate4_gated").output.shape[-1] == 2112


def test_a_size_that_the_encoder_does_not_divide_is_refused():
    with pytest.raises(ConfigError, match=r"divisible by \(32, 32\); got \(64, 80\). Use \(64, 96"):
        without_numbers((64, 80, 1), 2)
