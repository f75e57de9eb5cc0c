"""Deeply supervised 3D U-Net: the preset's count and its five outputs."""

import keras
import numpy as np
import pytest

from tfseg.models import build, inference_model, model_info


def without_numbers(*args, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build("unet3d_ds", *args, **options)


def test_preset():
    model = without_numbers((64, 64, 64, 1), 8, faithful=True)
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    total = sum(int(np.prod(weight.shape)) for weight in model.weights)
    assert (trainable, total) == (5_648_584, 5_651_528)
    # The plain U-Net of these widths with two classes has 5,646,402, its head 2 * 16 + 2.
    heads = (16 + 32 + 64 + 128) * 8 + 4 * 8
    fusion = 4 * 8 * 8 + 8
    assert trainable == 5_646_402 - 34 + heads + fusion


def test_all_depths_answer_at_full_resolution():
    model = without_numbers((32, 48, 16, 1), 8)
    assert [output.shape[1:] for output in model.outputs] == [(32, 48, 16, 8)] * 5
    assert len(set(model_info("unet3d_ds").loss_weights[:5])) == 1
    assert model.get_layer("fusion_concat").output.shape[-1] == 4 * 8
    alone = without_numbers((32, 48, 16, 1), 8, deep_supervision=False)
    assert len(alone.outputs) == 1


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_other_depths(depth):
    model = without_numbers((None,) * 3 + (1,), 3, base_filters=2, depth=depth)
    assert len(model.outputs) == depth


def test_the_answer_needs_the_levels_heads():
    """They are in the network that predicts, not only in training."""
    model = build("unet3d_ds", (16, 16, 16, 1), 2, base_filters=2)
    alone = inference_model(model)
    x = np.random.default_rng(0).normal(size=(1, 16, 16, 16, 1)).astype(np.float32)
    before = np.asarray(alone(x))
    head = alone.get_layer("logits3_coarse")
    head.set_weights([weight * 0 + 1 for weight in head.get_weights()])
    assert not np.allclose(alone(x), before, atol=1e-3)
