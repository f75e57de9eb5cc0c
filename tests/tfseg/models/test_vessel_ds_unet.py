"""Deeply supervised vessel U-Net: preset counts and heads."""

import keras
import numpy as np
import pytest

from tfseg.models import build


def without_numbers(*args, **options):
    """Build shapes only: counting needs no memory for the weights."""
    with keras.StatelessScope(initialize_variables=False):
        return build("vessel_ds_unet", *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_preset():
    model = without_numbers((64, 64, 3), 5, faithful=True)
    assert [output.shape for output in model.outputs] == [(None, 64, 64, 5)] * 4
    assert trainable(model) == 8_121_044
    assert model.count_params() == 8_129_876


def test_heads_cost_five_times_a_level_each():
    one = without_numbers((64, 64, 3), 5, faithful=True, deep_supervision=False)
    assert len(one.outputs) == 1
    assert 8_121_044 - trainable(one) == sum(5 * f + 5 for f in (64, 128, 256))


@pytest.mark.parametrize("rank", [2, 3])
def test_a_head_at_each_level(rank):
    model = without_numbers((32,) * rank + (1,), 2, depth=4)
    coarse = [model.get_layer(f"logits{level}_coarse").output for level in (1, 2)]
    assert [x.shape[1] for x in coarse] == [16, 8]
    assert [x.shape[1:] for x in model.outputs] == [(32,) * rank + (2,)] * 3
