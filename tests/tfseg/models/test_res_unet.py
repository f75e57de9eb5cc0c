"""Weighted Res-UNet: published counts, and what the weights do."""

import keras
import numpy as np
import pytest

from tfseg.models import build


def without_numbers(*args, **options):
    """Build shapes only: counting needs no memory for the weights."""
    with keras.StatelessScope(initialize_variables=False):
        return build("res_unet", *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


# Units of 64 to 1024 channels on three channels in: two 3x3 convolutions and a 1x1 shortcut, each
# with bias and batch normalisation; deconvolutions 2x2. Attention adds 2 f + 1 weights at each of
# the four joints: 2 * (64 + 128 + 256 + 512) + 4 = 1,924.
@pytest.mark.parametrize(
    ("attention", "parameters", "total"),
    [(False, 32_445_185, None), (True, 32_445_185 + 1_924, 32_464_773)],
)
def test_paper_form(attention, parameters, total):
    model = without_numbers((None, None, 3), 1, faithful=True, attention=attention)
    assert trainable(model) == parameters
    assert total in (None, model.count_params())


def test_nine_units_four_joints():
    model = without_numbers((64, 48, 3), 2, faithful=True)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Conv2D") == 9 * 3 + 4 + 1
    assert kinds.count("Conv2DTranspose") == kinds.count("MaxPooling2D") == 4
    assert model.get_layer("encoder4_act").output.shape == (None, 4, 3, 1024)
    assert model.output_shape == (None, 64, 48, 2)


@pytest.mark.parametrize("rank", [2, 3])
def test_joined_maps_are_weighed_between_one_and_two_times(rank):
    model = build("res_unet", (16,) * rank + (1,), 2, base_filters=4, depth=3)
    layers = [f"decoder0_{part}" for part in ("concat", "alpha", "sum")]
    probe = keras.Model(model.input, [model.get_layer(name).output for name in layers])
    x = np.random.default_rng(0).normal(size=(1, *(16,) * rank, 1)).astype(np.float32)
    joined, alpha, weighed = (np.asarray(part) for part in probe(x))
    assert alpha.shape == (1, *(16,) * rank, 1)
    assert 0 < alpha.min() < alpha.max() < 1
    np.testing.assert_allclose(weighed, joined * (1 + alpha), atol=1e-5)
