"""FC-DenseNet: the paper's counts, its table of channels, its number of convolutions."""

import functools

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build, model_config


def without_numbers(name, *args, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build(name, *args, **options)


@functools.cache
def paper_form(name):
    return without_numbers(name, (224, 224, 3), 11, faithful=True)


def size(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


@pytest.mark.parametrize(
    ("name", "trainable", "total"),
    [
        ("fc_densenet56", 1_376_795, 1_397_963),
        ("fc_densenet67", 3_463_243, 3_502_923),
        ("fc_densenet103", 9_322_091, 9_425_163),
    ],
)
def test_paper_form(name, trainable, total):
    """In the paper 1.5, 3.5 and 9.4 million, the running statistics counted."""
    model = paper_form(name)
    assert model.output_shape == (None, 224, 224, 11)
    assert (size(model.trainable_weights), size(model.weights)) == (trainable, total)


@pytest.mark.parametrize("name", ["fc_densenet56", "fc_densenet67", "fc_densenet103"])
def test_the_name_is_the_number_of_convolutions(name):
    model = paper_form(name)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Conv2D") + kinds.count("Conv2DTranspose") == int(
        name.removeprefix("fc_densenet")
    )
    assert kinds.count("Conv2DTranspose") == kinds.count("MaxPooling2D") == 5


def test_table_2_of_the_paper():
    """Channels after each block of FC-DenseNet103; 578 in the table is 304 + 112 + 160 = 576."""
    model = paper_form("fc_densenet103")

    def after(block, layers):
        return model.get_layer(f"{block}_{layers}_norm").input.shape[-1] + 16

    blocks = [4, 5, 7, 10, 12]
    down = [after(f"encoder{level}", count) for level, count in enumerate(blocks)]
    assert down == [112, 192, 304, 464, 656]
    assert after("bottom", 15) == 896
    up = [after(f"decoder{level}", blocks[level]) for level in reversed(range(5))]
    assert up == [1088, 816, 576, 384, 256]


def test_only_new_maps_are_upsampled():
    model = paper_form("fc_densenet103")
    upsampled = [model.get_layer(f"up{level}").input.shape[-1] for level in reversed(range(5))]
    assert upsampled == [16 * count for count in (15, 12, 10, 7, 5)]


@pytest.mark.parametrize(("name", "growth"), [("fc_densenet56", 12), ("fc_densenet103", 16)])
def test_the_growth_keeps_its_proportion_to_the_first_convolution(name, growth):
    assert model_config(name).width == growth
    assert model_config(name, base_filters=24).width == growth // 2
    assert model_config(name, base_filters=24, growth=7).width == 7


def test_in_3d_it_is_the_same_with_deeper_kernels():
    flat = without_numbers("fc_densenet56", (None, None, 1), 2)
    deep = without_numbers("fc_densenet56", (None, None, None, 1), 2)
    assert [layer.name for layer in flat.layers] == [layer.name for layer in deep.layers]
    for two, three in zip(flat.weights, deep.weights, strict=True):
        assert tuple(two.shape[-2:]) == tuple(three.shape[-2:])


@pytest.mark.parametrize("blocks", [(2,), (2, 2), (1, 2, 3, 4)])
def test_blocks_come_in_pairs_around_the_bottom(blocks):
    with pytest.raises(ConfigError, match=r"fc_densenet67: blocks: must be an odd .*; got \("):
        model_config("fc_densenet67", blocks=blocks)


def test_a_size_that_does_not_pool_five_times():
    with pytest.raises(ConfigError, match=r"by \(32, 32\); got \(224, 225\)\. Use \(224, 256\)"):
        without_numbers("fc_densenet56", (224, 225, 3), 11)
