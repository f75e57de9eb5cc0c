"""CFUN: counts of the U-Net in the box and of the authors' widths, and what a box shows."""

import math

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build, model_config
from tfseg.models.cfun import mask_unet
from tfseg.models.detector import detection_model, parts_of

TINY = {
    "base_filters": 2, "box_cells": 2, "candidates": 8, "proposals": 8, "detections": 2,
    "max_objects": 2, "mask_filters": 2, "dense_units": 8,
}  # fmt: skip


def trainable(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("width", "published"), [(16, 7_125_680), (20, 11_133_180), (32, 28_498_272)]
)
def test_mask_branch(width, published):
    """One channel in, 8 classes; convolutions without bias, normalisation without scale."""
    with keras.StatelessScope(initialize_variables=False):
        image = keras.Input((96, 96, 96, 1))
        branch = keras.Model(image, mask_unet(image, 8, width, dropout=0.6))
    # In 27ths and ones of the squared width: context 1 to 5, up, then localisation 1 to 4.
    context = 27 * (2 + (2 + 4) + (8 + 16) + (32 + 64) + (128 + 256))
    up = 27 * (128 + 32 + 8 + 2) + 64
    local = 27 * (256 + 64 + 16 + 4) + 128 + 32 + 8
    linear = 27 + 8 * (8 + 4 + 2)  # the first convolution; 1x1 to the classes
    assert trainable(branch) == published == (context + up + local) * width**2 + linear * width
    assert branch.output.shape == (None, 96, 96, 96, 8)


def test_authors_widths():
    with keras.StatelessScope(initialize_variables=False):
        model = build("cfun", (320, 320, 192, 1), 8, faithful=True)
    parts = parts_of(model)
    assert [level.shape[1:] for level in parts.levels] == [(40, 40, 24, 128), (20, 20, 12, 128)]
    assert model.get_layer("rpn_conv").filters == 256
    assert parts.mask_logits.shape == (None, 15, 96, 96, 96, 8)
    assert model.get_layer("box_pool").output.shape[2:] == (12, 12, 12, 128)
    assert model.get_layer("box_dense1").units == 1024
    first = np.asarray(parts.anchors.anchors([(1, 1, 1)] * 2)).reshape(2, 2, 3)
    np.testing.assert_allclose(first[:, 1] - first[:, 0], [[64] * 3, [128] * 3], rtol=1e-5)


def test_the_box_is_divided_into_all_classes():
    keras.utils.set_random_seed(0)
    model = build("cfun", (16, 16, 16, 1), 4, **TINY)
    x = np.random.default_rng(0).normal(size=(1, 16, 16, 16, 1)).astype(np.float32)
    boxes, _, labels, masks = detection_model(model)(x)
    assert masks.shape == (1, 2, 32, 32, 32, 3)
    assert set(np.asarray(labels).ravel()) == {1.0}
    assert boxes.shape == (1, 2, 6)
    assert model(x).shape == (1, 16, 16, 16, 4)


def test_2d_is_refused():
    with pytest.raises(ConfigError, match="cfun is offered in 3D"):
        build("cfun", (32, 32, 1), 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_cells": 40}, r"mask_cells: .*multiple of 16; got 40"),
        ({"mask_cells": 16}, r"mask_cells: .*greater than or equal to 32; got 16"),
        ({"mask_dropout": 1}, r"mask_dropout: .*less than 1; got 1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        model_config("cfun", **options)
