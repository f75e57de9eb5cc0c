"""What every encoder promises: strides, sizes, names, widths, dilation, receptive field."""

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models.backbones import ENCODERS, encoder

pytestmark = pytest.mark.slow  # dozens of deep networks are built


# Deep members add blocks, no other parts, and time.
DEEP = {"vgg19", "resnet34", "resnet101", "resnet152", "resnet101_v1", "resnet152_v1"}
SHALLOW = [name for name in ENCODERS if name not in DEEP | {"densenet161"}]
FLAT = [name for name in SHALLOW if name != "p3d"]


def features(name, shape, **options):
    with keras.StatelessScope(initialize_variables=False):
        inputs = keras.Input(shape)
        return inputs, encoder(inputs, name, **{"base_filters": 4, **options})


def spatial(x):
    return tuple(x.shape[1:-1])


@pytest.mark.parametrize(
    ("name", "rank", "output_stride"),
    [
        *((name, 2, output_stride) for name in FLAT for output_stride in (4, 8, 32)),
        *((name, 3, 16) for name in SHALLOW),
    ],
)
def test_a_map_of_stride_s_has_n_over_s_voxels_rounded_up(name, rank, output_stride):
    size = (65, 80, 33)[:rank]
    _, found = features(name, (*size, 1), output_stride=output_stride)
    for stride, x in (*found.stages, *found.skips):
        assert spatial(x) == tuple(-(-n // stride) for n in size)
    deepest = min(output_stride, 16) if name == "p3d" else output_stride
    assert found.stages[-1] == (deepest, found.last)
    assert found.at(deepest) is found.last
    strides = [stride for stride, _ in found.skips]
    assert strides == sorted(set(strides))
    assert strides[-1] == deepest
    assert set(strides) >= {4, deepest}


@pytest.mark.parametrize("name", ["vgg16", "densenet121", "xception", "googlenet"])
def test_sizes_may_be_unknown(name):
    _, found = features(name, (None, None, 1))
    assert spatial(found.last) == (None, None)


@pytest.mark.parametrize("name", SHALLOW)
def test_widths_scale_with_the_base_filters(name):
    shape = (32, 32, 32, 1)
    _, narrow = features(name, shape, base_filters=8)
    _, whole = features(name, shape, base_filters=64)
    for (_, thin), (_, wide) in zip(narrow.stages, whole.stages, strict=True):
        assert thin.shape[-1] * 8 == wide.shape[-1]


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("vgg16", (64, 128, 256, 512, 512)),
        ("googlenet", (64, 192, 480, 832, 1024)),
        ("resnet34", (64, 64, 128, 256, 512)),
        ("resnet50", (64, 256, 512, 1024, 2048)),
        ("densenet121", (64, 256, 512, 1024, 1024)),
        ("densenet161", (96, 384, 768, 2112, 2208)),
        ("xception", (64, 128, 256, 728, 2048)),
        ("xception65", (64, 128, 256, 728, 2048)),
    ],
)
def test_published_channels_of_the_stages(name, channels):
    _, found = features(name, (64, 64, 3), base_filters=64)
    assert tuple(x.shape[-1] for _, x in found.stages) == channels
    assert tuple(stride for stride, _ in found.stages) == (2, 4, 8, 16, 32)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("vgg16", {1: 64, 2: 128, 4: 256, 8: 512, 16: 512, 32: 512}),
        ("xception65", {2: 128, 4: 256, 8: 728, 16: 1024, 32: 2048}),
        ("xception", {2: 128, 4: 256, 8: 728, 16: 1024, 32: 2048}),
        ("resnet50", {2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048}),
    ],
)
def test_skips_come_from_before_the_stride(name, channels):
    _, found = features(name, (64, 64, 3), base_filters=64)
    assert {stride: x.shape[-1] for stride, x in found.skips} == channels


@pytest.mark.parametrize("name", SHALLOW)
def test_layers_carry_the_encoders_name_and_the_prefix(name):
    inputs, found = features(name, (64, 64, 64, 1), prefix="first_")
    model = keras.Model(inputs, [x for _, x in found.stages])
    weighted = [layer.name for layer in model.layers if layer.weights]
    assert len(weighted) > 10
    assert all(layer.startswith(f"first_{name}_") for layer in weighted)


@pytest.mark.parametrize("norm", ["instance", "none"])
@pytest.mark.parametrize("name", FLAT)
def test_normalisation_and_biases_follow_the_option(name, norm):
    inputs, found = features(name, (32, 32, 1), norm=norm)
    model = keras.Model(inputs, found.last)
    kinds = {type(layer).__name__ for layer in model.layers if "Norm" in type(layer).__name__}
    assert kinds == ({"InstanceNormalization"} if norm == "instance" else set())
    biased = {
        layer.use_bias
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and "gate" not in layer.name
    }
    assert biased == {norm == "none"}


@pytest.mark.parametrize(
    ("name", "rank", "output_stride"),
    [
        ("resnet18", 2, 8),
        ("resnet18", 2, 16),
        ("resnet18", 3, 16),
        ("resnet50", 2, 8),
        ("resnet50_v1", 2, 8),
        ("xception65", 2, 8),
        # With output stride 8 the second of two averages would have to dilate, too.
        ("densenet121", 2, 16),
    ],
)
def test_a_dilated_encoder_has_the_values_of_the_strided_one(name, rank, output_stride):
    """The "algorithme a trous": where the strided encoder has voxels, the dilated one agrees."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((*(71, 64, 40)[:rank], 1))
    options = {"base_filters": 4, "norm": "batch"}
    strided = keras.Model(inputs, encoder(inputs, name, **options).last)
    dilated = keras.Model(
        inputs, encoder(inputs, name, output_stride=output_stride, **options).last
    )
    dilated.set_weights(strided.get_weights())
    x = np.random.default_rng(0).normal(size=(1, *inputs.shape[1:])).astype(np.float32)
    expected, answer = strided(x).numpy(), dilated(x).numpy()
    every = slice(None, None, 32 // output_stride)
    shared = answer[(slice(None), *(every,) * rank)]
    np.testing.assert_allclose(shared, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_vgg_dilates_like_deeplab():
    inputs, found = features("vgg16", (321, 321, 3), output_stride=8)
    model = keras.Model(inputs, found.last)
    rates = [model.get_layer(f"vgg16_stage{i}_1_conv").dilation_rate[0] for i in (3, 4, 5)]
    assert rates == [1, 1, 2]
    assert spatial(found.last) == (41, 41)
    assert [model.get_layer(f"vgg16_stage{i}_pool").strides[0] for i in (3, 4, 5)] == [2, 1, 1]


@pytest.mark.parametrize(
    ("output_stride", "rates"), [(32, (1, 1, 1, 1)), (16, (1, 1, 1, 2)), (8, (1, 2, 2, 4))]
)
def test_xception65_dilates_like_deeplab(output_stride, rates):
    """Rates of the last entry block, the middle, the exit block and the end: at output stride 16
    only the end dilates, at 8 the middle by 2 and the end by 4 (Chen et al. 2018)."""
    inputs, found = features("xception65", (64, 64, 3), output_stride=output_stride)
    model = keras.Model(inputs, found.last)
    layers = ("entry3_1", "middle1_1", "exit_1", "end_1")
    assert rates == tuple(
        model.get_layer(f"xception65_{layer}_depthwise").dilation_rate[0] for layer in layers
    )


@pytest.mark.parametrize("name", ["resnet50", "resnet50_v1"])
def test_where_a_bottleneck_strides(name):
    inputs, found = features(name, (64, 64, 1))
    model = keras.Model(inputs, found.last)
    sizes = [
        model.get_layer(f"{name}_stage2_block1_{part}_conv").output.shape[1]
        for part in ("1", "2", "3", "shortcut")
    ]
    assert sizes == ([8, 8, 8, 8] if name == "resnet50_v1" else [16, 8, 8, 8])


@pytest.mark.parametrize("output_stride", [1, 3, 64])
@pytest.mark.parametrize("name", ["vgg16", "xception65"])
def test_bad_output_stride_is_refused(name, output_stride):
    with pytest.raises(ConfigError, match=rf"one of \(2, 4, 8, 16, 32\); got {output_stride}"):
        features(name, (32, 32, 1), output_stride=output_stride)


def test_unknown_encoder_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown backbone 'vgg17'\. Did you mean vgg1"):
        features("vgg17", (32, 32, 1))


def test_a_stride_that_is_not_there():
    _, found = features("resnet18", (64, 64, 1), output_stride=8)
    with pytest.raises(ConfigError, match="strides 2, 4, 8; got 16"):
        found.at(16)


def test_p3d_is_3d():
    with pytest.raises(ConfigError, match="p3d is 3D; the image has 2 axes"):
        features("p3d", (32, 32, 1))
