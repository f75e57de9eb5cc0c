"""SegResNet: the paper's count and grids, MONAI's count, sums for skips."""

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build, model_config


def without_numbers(*args, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build("segresnet", *args, **options)


@pytest.mark.parametrize(
    ("width", "channels", "classes", "parameters"),
    [
        (32, 4, 3, 18_798_627),
        (16, 4, 3, 4_702_227),
        (8, 1, 2, 1_176_186),  # MONAI's default
    ],
)
def test_published_counts(width, channels, classes, parameters):
    model = without_numbers((160, 192, 128, channels), classes, faithful=True, base_filters=width)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == parameters
    assert model.output_shape == (None, 160, 192, 128, classes)


def test_grids_and_blocks_of_the_paper():
    model = without_numbers((160, 192, 128, 4), 3, faithful=True)
    assert model.get_layer("encoder3_4_add").output.shape[1:] == (20, 24, 16, 256)
    names = [layer.name for layer in model.layers]
    counts = [
        sum(name.startswith(f"encoder{level}_") and name.endswith("_add") for name in names)
        for level in range(4)
    ]
    assert counts == [1, 2, 2, 4]
    groups = [
        layer.groups
        for layer in model.layers
        if hasattr(layer, "groups") and type(layer).__name__ == "GroupNormalization"
    ]
    assert set(groups) == {8}
    assert "first_dropout" in names


@pytest.mark.parametrize("rank", [2, 3])
def test_a_block_of_zero_weights_is_the_identity(rank):
    model = build("segresnet", (8,) * rank + (1,), 2, base_filters=4)
    for layer in model.layers:
        if layer.name in {"encoder0_1a_conv", "encoder0_1b_conv"}:
            layer.set_weights([weight * 0 for weight in layer.get_weights()])
    pair = [model.get_layer(name).output for name in ("first", "encoder0_1_add")]
    x = np.random.default_rng(0).normal(size=(1, *(8,) * rank, 1)).astype(np.float32)
    before, after = keras.Model(model.input, pair)(x)
    np.testing.assert_array_equal(before, after)


def test_levels_must_pair():
    with pytest.raises(ConfigError, match=r"decoder: must have one level fewer .*got .1, 1."):
        model_config("segresnet", decoder=(1, 1))
