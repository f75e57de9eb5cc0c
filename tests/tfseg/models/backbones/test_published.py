"""The published classifiers: parameters, sizes, layers, with the arithmetic where short."""

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build

pytestmark = pytest.mark.slow  # dozens of deep networks are built


def published(name, size, classes=1000, rank=2, channels=3, **options):
    """The paper's form without its numbers: shapes and counts need no memory."""
    with keras.StatelessScope(initialize_variables=False):
        return build(name, (size,) * rank + (channels,), classes, faithful=True, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def total(model):
    return sum(int(np.prod(weight.shape)) for weight in model.weights)


@pytest.mark.parametrize(
    ("name", "size", "parameters", "source"),
    [
        ("alexnet", 224, 61_100_840, "torchvision"),
        ("vgg16", 224, 138_357_544, "keras.applications"),
        ("vgg19", 224, 143_667_240, "keras.applications"),
        ("googlenet", 224, 13_004_888, "torchvision"),
        ("resnet18", 224, 11_689_512, "torchvision"),
        ("resnet34", 224, 21_797_672, "torchvision"),
        ("resnet50", 224, 25_557_032, "torchvision"),
        ("resnet101", 224, 44_549_160, "torchvision"),
        ("resnet152", 224, 60_192_808, "torchvision"),
        ("se_resnet50", 224, 28_088_024, "pretrainedmodels"),
        ("densenet121", 224, 7_978_856, "torchvision"),
        ("densenet161", 224, 28_681_000, "torchvision"),
        ("xception", 299, 22_855_952, "keras.applications"),
    ],
)
def test_published_counts(name, size, parameters, source):
    model = published(name, size)
    assert trainable(model) == parameters, source
    assert model.outputs[0].shape == (None, 1000)
    assert model.outputs[0].dtype == "float32"


def test_lenet5_has_the_papers_layers():
    model = published("lenet5", 32, classes=10, channels=1)
    c1, c3 = 6 * (25 + 1), 16 * (6 * 25 + 1)
    c5, f6, output = 120 * (16 * 25 + 1), 84 * (120 + 1), 10 * (84 + 1)
    assert (c1, c3, c5, f6, output) == (156, 2416, 48_120, 10_164, 850)
    assert trainable(model) == c1 + c3 + c5 + f6 + output == 61_706
    sizes = [
        model.get_layer(f"lenet5_{layer}").output.shape[1]
        for layer in ("stage1_conv", "stage1_pool", "stage2_conv", "stage2_pool")
    ]
    assert sizes == [28, 14, 10, 5]


def test_alexnet_sizes():
    model = published("alexnet", 224)
    sizes = [
        model.get_layer(f"alexnet_{layer}").output.shape[1]
        for layer in ("stage1_conv", "stage1_pool", "stage2_pool", "stage5_pool")
    ]
    assert sizes == [55, 27, 13, 6]


def test_xception_counts_its_statistics_like_keras():
    assert total(published("xception", 299)) == 22_910_480


def test_googlenet_without_its_auxiliary_heads():
    model = published("googlenet", 224, auxiliary=False)
    assert trainable(model) == 6_624_904
    assert len(model.outputs) == 1


def test_googlenet_of_the_paper_without_normalisation():
    """Caffe's bvlc_googlenet: 5x5 kernels, biases. Each 5x5 in place of 3x3 adds 16 i o."""
    model = published("googlenet", 224, large_kernel=5, norm="none", auxiliary=False)
    thirds = [(16, 32), (32, 96), (16, 48), (24, 64), (24, 64), (32, 64), (32, 128)]
    thirds += [(32, 128), (48, 128)]
    wider = sum(16 * before * after for before, after in thirds)
    # A bias for each channel in place of the two parameters of batch normalisation.
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    channels = sum(layer.filters for layer in convolutions)
    assert len(convolutions) == 57
    assert trainable(model) == 6_624_904 + wider - channels == 6_998_552


def test_googlenet_modules():
    model = published("googlenet", 224)
    shapes = {
        module: model.get_layer(f"googlenet_module{module}_concat").output.shape[1:]
        for module in ("3a", "3b", "4a", "4e", "5b")
    }
    assert shapes == {
        "3a": (28, 28, 256),
        "3b": (28, 28, 480),
        "4a": (14, 14, 512),
        "4e": (14, 14, 832),
        "5b": (7, 7, 1024),
    }
    assert [output.shape for output in model.outputs] == [(None, 1000)] * 3


@pytest.mark.parametrize(
    ("name", "size", "head", "trunk"),
    [
        ("vgg16", 224, 25_088 * 4096 + 4096 * 4096 + 2 * 4096 + 4096 * 1000 + 1000, 14_714_688),
        ("resnet50", 224, 2048 * 1000 + 1000, 23_508_032),
        ("resnet101", 224, 2048 * 1000 + 1000, 42_500_160),
        ("resnet152", 224, 2048 * 1000 + 1000, 58_143_808),
        ("densenet121", 224, 1024 * 1000 + 1000, 6_953_856),
        ("densenet161", 224, 2208 * 1000 + 1000, 26_472_000),
        ("xception65", 299, 2048 * 1000 + 1000, 37_867_312),
    ],
)
def test_trunks(name, size, head, trunk):
    assert trainable(published(name, size)) - head == trunk


def test_squeeze_and_excitation_adds_what_its_dense_layers_have():
    gates = {256: 3, 512: 4, 1024: 6, 2048: 3}  # channels -> blocks
    added = sum(n * (2 * c * c // 16 + c + c // 16) for c, n in gates.items())
    assert 25_557_032 + added == 28_088_024


def test_p3d_like_cfun():
    """Widths 32 and 64, two and three blocks, every convolution with bias and normalisation."""

    def unit(kernel, before, after):
        return kernel * before * after + 3 * after  # bias, scale, offset

    def block(before, width, shortcut):
        inner = unit(1, before, width) + unit(9, width, width) + unit(3, width, width)
        return inner + unit(1, width, 4 * width) + shortcut * unit(1, before, 4 * width)

    expected = unit(3 * 7 * 7, 1, 32)
    expected += block(32, 32, shortcut=1) + block(128, 32, shortcut=0)
    expected += block(128, 64, shortcut=1) + 2 * block(256, 64, shortcut=0)
    model = published("p3d", 64, classes=8, rank=3, channels=1)
    assert trainable(model) == expected + 256 * 8 + 8
    shapes = {
        layer: model.get_layer(f"p3d_{layer}").output.shape[1:]
        for layer in ("stem_pool", "stage1_block2_act", "stage2_block3_act")
    }
    assert shapes == {
        "stem_pool": (16, 16, 16, 32),
        "stage1_block2_act": (8, 8, 8, 128),
        "stage2_block3_act": (4, 4, 4, 256),
    }


def test_p3d_splits_in_turn():
    """A: T after S and no sum. B: T beside S. C: T after S, and their sum."""
    model = published("p3d", 32, rank=3, channels=1)
    inputs = {1: "s", 2: "in", 3: "s"}
    for number, before in inputs.items():
        layer = model.get_layer(f"p3d_stage2_block{number}_t_conv")
        assert layer.input is model.get_layer(f"p3d_stage2_block{number}_{before}_act").output
    names = [layer.name for layer in model.layers]
    sums = [f"p3d_stage2_block{number}_split" in names for number in (1, 2, 3)]
    assert sums == [False, True, True]


@pytest.mark.parametrize("name", ["vgg16", "alexnet", "lenet5"])
def test_dense_heads_take_other_sizes(name):
    at_home = published(name, {"lenet5": 32}.get(name, 224), classes=10)
    assert trainable(published(name, 160, classes=10)) == trainable(at_home)


@pytest.mark.parametrize(
    ("name", "size", "least"), [("lenet5", 15, 16), ("alexnet", 62, 63), ("xception", 6, 7)]
)
def test_the_smallest_input(name, size, least):
    with pytest.raises(ConfigError, match=rf"{name} needs at least {least} .*; got \({size}, "):
        published(name, size)
    assert published(name, least).outputs[0].shape == (None, 1000)
