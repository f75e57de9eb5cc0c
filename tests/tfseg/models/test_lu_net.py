"""LU-Net: preset counts, places of maxima, the paper's further parts."""

import keras
import numpy as np
import pytest

from tfseg.models import build


def without_numbers(*args, **options):
    """Build shapes only: counting needs no memory for the weights."""
    with keras.StatelessScope(initialize_variables=False):
        return build("lu_net", *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_preset():
    model = without_numbers((224, 224, 1), 4, faithful=True)
    assert model.output_shape == (None, 224, 224, 4)
    assert trainable(model) == 1_884_484
    assert model.count_params() == 1_887_748


def test_blocks_see_three_dilations():
    model = without_numbers((32, 32, 1), 2, faithful=True)
    branches = [model.get_layer(f"encoder3_dilated{dilation}_conv") for dilation in (1, 2, 4)]
    assert [branch.dilation_rate[0] for branch in branches] == [1, 2, 4]
    assert [branch.filters for branch in branches] == [128, 64, 64]


@pytest.mark.parametrize("rank", [2, 3])
def test_the_decoder_puts_values_where_the_maxima_were(rank):
    keras.utils.set_random_seed(0)
    model = build("lu_net", (8,) * rank + (1,), 2, base_filters=4, depth=2)
    names = ["encoder0_act", "reduce0_act", "unpool0"]
    probe = keras.Model(model.input, [model.get_layer(name).output for name in names])
    x = np.random.default_rng(0).normal(size=(1, *(8,) * rank, 1)).astype(np.float32)
    fine, values, unpooled = (np.asarray(part)[0] for part in probe(x))
    for cell in np.ndindex((4,) * rank):
        window = tuple(slice(2 * start, 2 * start + 2) for start in cell)
        for channel in range(4):
            place = np.argmax(fine[(*window, channel)])
            expected = np.zeros(2**rank, np.float32)
            expected[place] = values[(*cell, channel)]
            found = unpooled[(*window, channel)].ravel()
            np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("rank", [2, 3])
def test_the_image_at_every_scale(rank):
    model = without_numbers((16,) * rank + (3,), 2, depth=3, image_pyramid=True)
    joined = [model.get_layer(f"encoder{level}_concat").output.shape for level in (1, 2)]
    assert [(shape[1], shape[-1]) for shape in joined] == [(8, 32 + 3), (4, 64 + 3)]


def test_squeeze_and_excitation_in_the_encoder():
    plain = trainable(without_numbers((16, 16, 1), 2, depth=3))
    squeezed = trainable(without_numbers((16, 16, 1), 2, depth=3, squeeze=True))
    assert squeezed - plain == sum(2 * f * f // 16 + f // 16 + f for f in (32, 64, 128))
