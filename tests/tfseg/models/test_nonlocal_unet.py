"""Non-local U-Net: the authors' count, how much the attention looks at, and that it sees all."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.models import build, model_config


def without_numbers(*args, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build("nonlocal_unet", *args, **options)


def test_authors_form():
    model = without_numbers((32, 32, 32, 2), 4, faithful=True)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 1_760_452
    assert model.output_shape == (None, 32, 32, 32, 4)
    queries, keys, _ = model.get_layer("bottom_attention").input
    assert queries.shape[1:] == keys.shape[1:] == (8, 8, 8, 128)  # 512 x 512 weights
    queries, keys, _ = model.get_layer("up1_attention").input
    assert queries.shape[1:] == (16, 16, 16, 64)  # 4096 x 512
    assert keys.shape[1:] == (8, 8, 8, 64)
    heads = [model.get_layer(f"{name}_attention").heads for name in ("bottom", "up1")]
    assert heads == [2, 1]


def test_the_authors_count_by_hand():
    def residual(ins, outs, project):
        shortcut = ins * outs if project else 0
        return 2 * ins + 27 * ins * outs + 2 * outs + 27 * outs * outs + shortcut

    def attention(ins, outs, query):
        return query * ins * outs + outs + 2 * (ins * outs + outs) + outs * outs + outs

    total = 27 * 2 * 32
    total += residual(32, 32, True) + residual(32, 64, True) + residual(64, 128, True)
    total += 2 * 128 + attention(128, 128, 1)
    total += 2 * 128 + 27 * 128 * 64 + attention(128, 64, 27) + residual(64, 64, False)
    total += 27 * 64 * 32 + residual(32, 32, False)
    assert total + 2 * 32 + 32 * 4 + 4 == 1_760_452


@pytest.mark.parametrize("rank", [2, 3])
def test_every_voxel_depends_on_every_other(rank):
    """A gradient from one corner reaches the opposite one, far beyond the convolutions."""
    keras.utils.set_random_seed(0)
    edge = 64 if rank == 2 else 32
    options = {"base_filters": 2, "depth": 3, "norm": "none", "dropout": 0}
    model = build("nonlocal_unet", (edge,) * rank + (1,), 2, **options)
    x = tf.random.stateless_normal((1, *(edge,) * rank, 1), seed=(0, 1))
    with tf.GradientTape() as tape:
        tape.watch(x)
        corner = tf.reduce_sum(model(x)[(0, *(0,) * rank)])
    gradient = np.abs(tape.gradient(corner, x))[0, ..., 0]
    assert gradient[(-1,) * rank] > 0


def test_heads_must_divide_the_bottoms_channels():
    with pytest.raises(ConfigError, match=r"heads: must divide the 256 channels .*; got 3"):
        model_config("nonlocal_unet", heads=3)
    assert model_config("nonlocal_unet", heads=3, base_filters=6).heads == 3
