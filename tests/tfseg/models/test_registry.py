"""The list of networks."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import MODELS, build, model_config, model_info
from tfseg.models.registry import _by_name

NETWORKS = [(name, rank) for name, info in MODELS.items() for rank in info.dims]


COUNTED = [
    # Building all of them takes minutes; the rest is counted by `make conformance`.
    pytest.param(name, rank, marks=() if name in {"unet", "pspnet"} else pytest.mark.slow)
    for name, rank in NETWORKS
]


@pytest.mark.parametrize(("name", "rank"), COUNTED)
def test_listed_parameters_are_the_built_ones(name, rank):
    with keras.StatelessScope(initialize_variables=False):
        model = build(name, (None,) * rank + (1,), 2)
    counted = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert model_info(name).parameters[rank] == counted


@pytest.mark.parametrize("name", MODELS)
def test_entries_are_complete(name):
    info = MODELS[name]
    assert info.name == name
    assert set(info.parameters) == set(info.dims) <= {2, 3}
    assert info.paper
    assert info.family
    assert info.loss_weights[0] == 1.0
    model_config(name)
    model_config(name, faithful=True)


def test_a_name_given_twice_is_refused():
    info = model_info("unet")
    with pytest.raises(ValueError, match="two networks are called unet"):
        _by_name((info, info))


@pytest.mark.parametrize(
    ("name", "near"), [("unett", "unet"), ("UNet", "unet"), ("psp-net", "pspnet")]
)
def test_unknown_name_lists_the_nearest(name, near):
    with pytest.raises(ConfigError, match=rf"unknown model '{name}'\. Did you mean {near}"):
        model_info(name)


def test_a_name_like_none_lists_all():
    with pytest.raises(ConfigError, match=r"'zzz'\. Valid names: .*pspnet, .*unet"):
        build("zzz", (8, 8, 1), 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "unet",
            {"depht": 3},
            r"unet has no option 'depht'\. Its options: base_filters, .*faithful",
        ),
        ("unet", {"depth": 1}, r"unet: depth: Input should be greater than or equal to 2; got 1"),
        ("unet", {"norm": "layer"}, r"unet: norm: .*'instance', 'batch' or 'none'; got 'layer'"),
        ("unet", {"dropout": 1.0}, r"dropout: .*less than 1; got 1.0"),
        ("pspnet", {"output_stride": 7}, r"output_stride: .*2, 4, 8, 16 or 32; got 7"),
        ("pspnet", {"bins": (0,)}, r"bins.0: .*greater than or equal to 1; got 0"),
        ("pspnet", {"backbone": "vgg"}, r"backbone: .*'resnet18'.*; got 'vgg'"),
    ],
)
def test_options_are_checked(name, options, message):
    with pytest.raises(ConfigError, match=message):
        model_config(name, **options)


@pytest.mark.parametrize("shape", [(16, 1), (8, 8, 8, 8, 1), (1,)])
def test_other_ranks_are_refused(shape):
    with pytest.raises(
        ConfigError, match=rf"offered in 2D and 3D; input_shape .* {len(shape) - 1}D"
    ):
        build("unet", shape, 2)


def test_no_class_is_refused():
    with pytest.raises(ConfigError, match="num_classes must be at least 1; got 0"):
        build("unet", (16, 16, 1), 0)


def test_importing_the_list_imports_no_tensorflow():
    code = "import sys, tfseg.models, tfseg.models.registry; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
