"""V-Net: the published forms' counts, sizes, and the residual sums."""

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build, model_config

PROTOTXT = {"encoder": (1, 1, 2, 3, 3), "decoder": (3, 2, 1, 1), "head": "conv"}
COMMUNITY = {"encoder": (1, 1, 2, 3, 2), "decoder": (2, 2, 1, 1), "head": "conv", "norm": "batch"}


def without_numbers(*args, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build("vnet", *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("classes", "options", "parameters"),
    [
        (2, {}, 65_175_314),  # the paper's figure, its head a 1x1x1 convolution
        # A 5x5x5 head to 2 channels, PReLU and 1x1x1 add 8,002 + 2 + 6 and save 66.
        (2, {"head": "conv"}, 65_175_314 + 8_010 - 66),
        (2, PROTOTXT, 61_982_682),  # the authors' released file
        (2, {**COMMUNITY, "bias": True}, 45_602_974),
        (1, {**COMMUNITY, "bias": True, "activation": "elu"}, 45_596_309),  # MONAI, bias=True
        # MONAI's default has biases in its four transposed convolutions only.
        (1, {**COMMUNITY, "activation": "elu"}, 45_593_892 - (128 + 64 + 32 + 16)),
    ],
)
def test_published_forms(classes, options, parameters):
    model = without_numbers((128, 128, 64, 1), classes, faithful=True, **options)
    assert trainable(model) == parameters
    assert model.output_shape == (None, 128, 128, 64, classes)
    assert model.get_layer("encoder4_act").output.shape == (None, 8, 8, 4, 256)


@pytest.mark.parametrize(
    ("channels", "classes", "parameters", "total"),
    [
        (4, 2, 14_701_442, 14_708_354),
        (4, 4, 14_701_508, 14_708_420),
        (2, 2, 14_700_578, 14_707_490),
    ],
)
def test_the_small_form_with_batch_normalisation(channels, classes, parameters, total):
    model = without_numbers((None,) * 3 + (channels,), classes, norm="batch")
    assert trainable(model) == parameters
    assert sum(int(np.prod(weight.shape)) for weight in model.weights) == total


def test_the_paper_has_one_prelu_slope_a_channel_and_no_norm():
    model = without_numbers((None,) * 3 + (1,), 2, faithful=True)
    kinds = [type(layer).__name__ for layer in model.layers]
    # 12 + 9 convolutions in stages, 4 down, 4 up; the last of each stage after its sum.
    assert kinds.count("PReLU") == 12 + 9 + 4 + 4
    assert not any("Normalization" in kind for kind in kinds)
    assert {layer.alpha.shape[:-1] for layer in model.layers if hasattr(layer, "alpha")} == {
        (1, 1, 1)
    }


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(("channels", "weights"), [(1, 0), (2, 0), (8, 0), (3, 3 * 8)])
def test_the_image_is_added_to_the_first_stage(rank, channels, weights):
    """Repeated where its channels divide the width; projected, with weights, where not."""
    options = {"base_filters": 8, "encoder": (1, 1), "decoder": (1,), "norm": "none"}
    model = build("vnet", (4,) * rank + (channels,), 2, **options)
    for layer in model.layers:
        if layer.name == "encoder0_1_conv":
            layer.set_weights([weight * 0 for weight in layer.get_weights()])
    stage = keras.Model(model.input, model.get_layer("encoder0_add").output)
    projected = [layer for layer in model.layers if layer.name == "image_projected"]
    assert sum(layer.count_params() for layer in projected) == weights
    x = np.random.default_rng(0).normal(size=(1, *(4,) * rank, channels)).astype(np.float32)
    if not weights:
        np.testing.assert_array_equal(stage(x), np.tile(x, 8 // channels))


def test_a_decoder_stage_adds_the_concatenation():
    options = {"base_filters": 4, "encoder": (1, 1), "decoder": (2,), "norm": "none"}
    model = build("vnet", (4, 4, 1), 2, **options)
    for number in (1, 2):
        layer = model.get_layer(f"decoder0_{number}_conv")
        layer.set_weights([weight * 0 for weight in layer.get_weights()])
    pair = [model.get_layer(name).output for name in ("up0_concat", "decoder0_add")]
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 1)).astype(np.float32)
    joined, added = keras.Model(model.input, pair)(x)
    np.testing.assert_array_equal(added, joined)


@pytest.mark.parametrize(
    "options", [{"decoder": (1, 1)}, {"encoder": (1, 2, 3)}, {"encoder": (1, 1), "decoder": ()}]
)
def test_stages_must_pair(options):
    with pytest.raises(ConfigError, match="vnet: decoder: must have one stage fewer than encoder"):
        model_config("vnet", **options)


def test_a_size_that_the_strides_do_not_divide():
    with pytest.raises(ConfigError, match=r"\(16, 16, 16\); got \(128, 128, 60\)"):
        without_numbers((128, 128, 60, 1), 2)
