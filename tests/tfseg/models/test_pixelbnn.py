"""PixelBNN: preset counts, resolutions, mirrored skips."""

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build


def without_numbers(*args, **options):
    """Build shapes only: counting needs no memory for the weights."""
    with keras.StatelessScope(initialize_variables=False):
        return build("pixelbnn", *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_preset():
    model = without_numbers((256, 256, 3), 1, faithful=True)
    assert model.output_shape == (None, 256, 256, 1)
    assert trainable(model) == 3_085_409
    assert model.count_params() == 3_087_265
    drops = [layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"]
    assert drops == [0.5] * 10


@pytest.mark.parametrize("rank", [2, 3])
def test_resolutions_and_widths(rank):
    model = without_numbers((16,) * rank + (1,), 2)
    blocks = [f"{way}{level}_2_gate" for way, level in [("encoder", 0), ("encoder", 1)]]
    blocks += ["encoder2_2_gate", "decoder1_2_gate", "decoder0_2_gate"]
    shapes = [model.get_layer(name).output.shape for name in blocks]
    assert [(shape[1], shape[-1]) for shape in shapes] == [
        (16, 32), (8, 64), (4, 128), (8, 64), (16, 32),
    ]  # fmt: skip


def test_each_block_hears_its_mirror_image():
    model = without_numbers((16, 16, 1), 2, blocks=3)
    for level in range(2):
        for index in (1, 2, 3):
            skip = model.get_layer(f"decoder{level}_{index}_skip_act").input
            assert skip is model.get_layer(f"encoder{level}_{4 - index}_gate").output


def test_a_size_that_the_strides_do_not_divide_is_refused():
    with pytest.raises(ConfigError, match=r"divisible by \(4, 4\); got \(16, 18\). Use \(16, 20\)"):
        without_numbers((16, 18, 1), 2)
