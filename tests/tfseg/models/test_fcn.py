"""FCN-32s, 16s, 8s: published counts and sizes, alignment of the scores with the image."""

import itertools

import keras
import numpy as np
import pytest
from kit import counted

from tfseg.cli.main import run
from tfseg.errors import ConfigError
from tfseg.models import build, model_config
from tfseg.models.cost import params

NAMES = ("fcn32s", "fcn16s", "fcn8s")
TRUNK, FC6, FC7 = 14_714_688, 7 * 7 * 512 * 4096 + 4096, 4096 * 4096 + 4096


def expected(name, classes, deconvs=True):
    """Trunk, fc6, fc7, scores of 4096, 512, 256 channels, transposed convolutions."""
    stages = NAMES.index(name) + 1
    scores = sum((channels + 1) * classes for channels in (4096, 512, 256)[:stages])
    kernels = {"fcn32s": (64,), "fcn16s": (4, 32), "fcn8s": (4, 4, 16)}[name]
    learned = sum(kernel**2 * classes**2 for kernel in kernels) if deconvs else 0
    return TRUNK + FC6 + FC7 + scores + learned


@pytest.mark.parametrize(
    ("name", "classes", "total"),
    [
        ("fcn32s", 21, 136_152_917),
        ("fcn16s", 21, 134_815_994),
        ("fcn8s", 21, 134_489_759),
        ("fcn8s", 3, 134_277_737),
        ("fcn8s", 2, 134_271_430),
    ],
)
def test_paper_form_counts(name, classes, total):
    model = counted(name, (None, None, 3), classes, faithful=True)
    assert params(model) == total == expected(name, classes)


def test_fixed_upsampling_has_nothing_to_learn():
    model = counted("fcn8s", (None, None, 3), 21, faithful=True, upsampling="fixed")
    assert params(model) == 134_362_751 == expected("fcn8s", 21, deconvs=False)


def test_paper_sizes():
    """500 + 198 -> five poolings, upwards -> 22 -> 16 -> 15 * 32 + 64 = 544, cut at 19."""
    model = counted("fcn32s", (500, 500, 3), 21, faithful=True)
    assert model.get_layer("fc7_act").output.shape == (None, 16, 16, 4096)
    assert model.get_layer("logits_deconv").output.shape == (None, 544, 544, 21)
    assert model.get_layer("logits").offset == 19
    assert model.output.shape == (None, 500, 500, 21)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(33, 65), (1, 224), (34, 35, 36)])
def test_any_size_fits_the_paper_form(name, size):
    model = counted(name, (*size, 1), 2, faithful=True, base_filters=1, fc_factor=1)
    assert model.output.shape == (None, *size, 2)


@pytest.mark.parametrize(("size", "coarsest"), [((64, 65), (2, 3)), ((31, 33, 96), (1, 2, 3))])
def test_the_coarsest_map_is_rounded_up(size, coarsest):
    model = counted("fcn32s", (*size, 1), 2, base_filters=2)
    assert model.get_layer("score32").output.shape == (None, *coarsest, 2)


def test_each_can_start_from_the_one_before():
    """By the names of the weights, but for the last upsampling, whose stride differs."""
    paths = [
        {
            weight.path: tuple(weight.shape)
            for weight in counted(name, (None, None, 1), 2, faithful=True, base_filters=2).weights
            if not weight.path.startswith("logits")
        }
        for name in NAMES
    ]
    for coarse, fine in itertools.pairwise(paths):
        assert coarse.items() < fine.items()


def averaging(name, **options):
    """One channel everywhere, and every convolution the mean of what it sees."""
    model = build(
        name, (None, None, 1), 1,
        base_filters=1, fc_factor=1, norm="none", dropout=0, activation="relu", **options,
    )  # fmt: skip
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.weights:
            kernel, *bias = layer.get_weights()
            mean = np.full_like(kernel, 1 / np.prod(kernel.shape[:-1]))
            layer.set_weights([mean, *(np.zeros_like(b) for b in bias)])
    return model


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options",
    [
        {"pad100": True, "fc_kernel": 7, "upsampling": "learned"},
        {"fc_kernel": 7, "upsampling": "learned"},
        {"upsampling": "fixed"},
        {"upsampling": "linear"},
    ],
)
def test_scores_lie_where_the_image_is(name, options):
    """Averages of a ramp are the ramp itself, if each stage's grid is where it is taken to be.

    Max-pooling shifts a rising ramp as far as a falling one, so their mean stays. Padding only
    scales the result along the short axis, which the answer to an image of ones tells.
    """
    model = averaging(name, **options)
    width, middle = 640, slice(300, 340)
    ramp = np.broadcast_to(np.arange(width, dtype=np.float32), (1, 32, width))[..., np.newaxis]
    ones = np.ones_like(ramp)
    scale = model(ones).numpy()
    rising = (model(ramp).numpy() / scale)[0, 16, middle, 0]
    falling = (model(width - ramp).numpy() / scale)[0, 16, middle, 0]
    found = (rising + width - falling) / 2
    np.testing.assert_allclose(found, np.arange(width)[middle], atol=0.02)


@pytest.mark.parametrize(
    "options", [{}, {"fc_kernel": 7}, {"upsampling": "learned"}, {"backbone": "resnet18"}]
)
def test_padding_by_100_asks_for_what_its_offsets_hold_for(options):
    with pytest.raises(ConfigError, match="pad100: needs backbone vgg16 or vgg19, fc_kernel 7 and"):
        model_config("fcn16s", pad100=True, **options)
    with pytest.raises(ConfigError, match="pad100"):
        model_config("fcn8s", faithful=True, upsampling="linear")


@pytest.mark.parametrize(
    ("model", "setting", "rule"),
    [
        ("fcn8s", "pad100=true", "pad100: needs backbone vgg16 or vgg19"),
        ("fcn32s", "fc_kernel=0", "fc_kernel: Input should be greater than or equal to 1; got 0"),
        ("fcn16s", "upsampling=cubic", "upsampling: Input should be 'learned', 'fixed' or"),
        ("deeplabv1", "output_stride=5", "output_stride: Input should be 2, 4, 8, 16 or 32; got 5"),
        ("deeplabv2", "rates=[]", "rates: Tuple should have at least 1 item"),
        ("deeplabv3", "mode=serial", "mode: Input should be 'parallel' or 'cascade'; got 'serial'"),
        ("deeplabv3plus", "fine_stride=8", "fine_stride: must be less than output_stride, which"),
        ("refinenet", "crp_stages=0", "crp_stages: Input should be greater than or equal to 1"),
        ("gcn", "kernel=99", "kernel: Input should be less than or equal to 31; got 99"),
        ("acnn", "blocks=0", "blocks: Input should be greater than or equal to 1; got 0"),
        ("segnet", "backbone=resnet18", "backbone: Input should be 'vgg16' or 'vgg19'; got"),
        ("segnet_basic", "stages=9", "stages: Input should be less than or equal to 6; got 9"),
        ("deconvnet", "padding=mirror", "padding: Input should be 'same' or 'valid'; got 'mirror'"),
        ("dilated_fcn_ild", "rates=[0]", "rates.0: Input should be greater than or equal to 1"),
        ("nie_fcn3d", "fusion=late", "fusion: Input should be 'input' or 'branch'; got 'late'"),
        ("tran_fcn", "norm=layer", "norm: Input should be 'mvn', 'instance', 'batch' or 'none'"),
    ],
)
def test_bad_input_options_of_networks(model, setting, rule, tmp_path, capfd):
    arguments = ["train", "--model", model, "--set", setting, "--run", str(tmp_path / "run")]
    assert run(arguments) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert rule in line
    assert list(tmp_path.iterdir()) == []
