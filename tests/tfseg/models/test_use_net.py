"""USE-Net: published counts with and without squeeze-and-excitation."""

import keras
import numpy as np
import pytest

from tfseg.models import build


def without_numbers(*args, **options):
    """Build shapes only: counting needs no memory for the weights."""
    with keras.StatelessScope(initialize_variables=False):
        return build("use_net", *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


WIDTHS = [64, 128, 256, 512, 1024]


def squeeze_parameters(widths):
    """Dense f -> f / 8 -> f with biases at the end of each block."""
    return sum(2 * f * f // 8 + f // 8 + f for f in widths)


@pytest.mark.parametrize(
    ("squeeze", "parameters"),
    [
        ("none", 31_042_499),
        ("encoder", 31_042_499 + squeeze_parameters(WIDTHS)),
        ("encoder_decoder", 31_482_035),
    ],
)
def test_paper_form(squeeze, parameters):
    model = without_numbers((256, 256, 1), 3, faithful=True, squeeze=squeeze)
    assert model.output_shape == (None, 256, 256, 3)
    assert trainable(model) == parameters


def test_nine_squeezed_blocks_cost_439_536():
    assert squeeze_parameters(WIDTHS + WIDTHS[:4]) == 31_482_035 - 31_042_499 == 439_536


@pytest.mark.parametrize("rank", [2, 3])
def test_blocks_end_with_squeeze_and_excitation(rank):
    model = without_numbers((32,) * rank + (1,), 2, dropout=0.2)
    ends = [layer.name for layer in model.layers if layer.name.endswith("_se_scale")]
    assert len(ends) == 9
    assert model.get_layer("pool1").input is model.get_layer("encoder0_se_scale").output
    drops = [layer for layer in model.layers if type(layer).__name__ == "Dropout"]
    assert [layer.rate for layer in drops] == [0.2] * 9
