"""The networks by name. Importing it imports no TensorFlow."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from tfseg.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class ModelInfo:
    """One network.

    Attributes:
        name: on the command line.
        family: FCN, U-shape, pyramid, ...
        where: ``file:ConfigClass`` below ``tfseg.models``; the file holds ``build_<name>`` too.
        paper: authors, year and identifier.
        dims: ranks it is offered in.
        output_stride: of the default form's logits before the last upsampling.
        loss_weights: weight of each training output, first output first; cut to the number of
            outputs and scaled to sum 1.
        kind: ``backbone`` classifies whole images; what it is for is to be an encoder of others.
    """

    name: str
    family: str
    where: str
    paper: str
    dims: tuple[int, ...] = (2, 3)
    output_stride: int = 1
    loss_weights: tuple[float, ...] = (1.0,)
    kind: Literal["segmentation", "backbone"] = "segmentation"

    @property
    def module(self) -> str:
        """Dotted name of the module."""
        return f"tfseg.models.{self.where.partition(':')[0]}"

    @property
    def config(self) -> str:
        """Name of the configuration class."""
        return self.where.partition(":")[2]

    @property
    def parameters(self) -> dict[int, int]:
        """Trainable parameters by rank: default width, one channel in, two classes.

        Training heads are included. The file is written by ``docs/make_models.py``.
        """
        return {int(rank): count for rank, count in _counts()[self.name].items()}


@functools.cache
def _counts() -> dict[str, dict[str, int]]:
    text = (resources.files("tfseg.models") / "parameters.json").read_text(encoding="utf-8")
    counts: dict[str, dict[str, int]] = json.loads(text)
    return counts


_HALVING = (1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125)  # deep supervision: each level half the finer

_PYRAMID = (
    ModelInfo(
        "pspnet",
        "pyramid",
        "pspnet:PSPNetConfig",
        "Zhao et al. 2016, arXiv:1612.01105",
        output_stride=4,
        loss_weights=(1.0, 0.4),
    ),
)
_U_SHAPES = (
    ModelInfo(
        "unet",
        "U-shape",
        "unet:UNetConfig",
        "Ronneberger et al. 2015, arXiv:1505.04597",
        loss_weights=_HALVING,
    ),
)


def _backbone(
    name: str,
    where: str,
    paper: str,
    *,
    dims: tuple[int, ...] = (2, 3),
    output_stride: int = 32,
    loss_weights: tuple[float, ...] = (1.0,),
) -> ModelInfo:
    where = f"backbones.{where}"
    return ModelInfo(name, "backbone", where, paper, dims, output_stride, loss_weights, "backbone")


_VGG = ("vgg:VGGConfig", "Simonyan, Zisserman 2014, arXiv:1409.1556")
_RESNET = ("resnet:BackboneConfig", "He et al. 2015, arXiv:1512.03385")
_DENSENET = ("densenet:BackboneConfig", "Huang et al. 2016, arXiv:1608.06993")
_BACKBONES = (
    _backbone(
        "lenet5", "lenet5:LeNetConfig", "LeCun et al. 1998, doi:10.1109/5.726791", output_stride=4
    ),
    _backbone("alexnet", "alexnet:AlexNetConfig", "Krizhevsky et al. 2012, doi:10.1145/3065386"),
    _backbone("vgg16", *_VGG),
    _backbone("vgg19", *_VGG),
    _backbone(
        "googlenet",
        "googlenet:GoogLeNetConfig",
        "Szegedy et al. 2014, arXiv:1409.4842",
        loss_weights=(1.0, 0.3, 0.3),
    ),
    *(_backbone(f"resnet{depth}", *_RESNET) for depth in (18, 34, 50, 101, 152)),
    _backbone("se_resnet50", "resnet:BackboneConfig", "Hu et al. 2017, arXiv:1709.01507"),
    _backbone("densenet121", *_DENSENET),
    _backbone("densenet161", *_DENSENET),
    _backbone("xception", "xception:XceptionConfig", "Chollet 2016, arXiv:1610.02357"),
    _backbone("xception65", "xception:XceptionConfig", "Chen et al. 2018, arXiv:1802.02611"),
    _backbone(
        "p3d", "p3d:P3DConfig", "Qiu et al. 2017, arXiv:1711.10305", dims=(3,), output_stride=16
    ),
)


def _by_name(*groups: tuple[ModelInfo, ...]) -> dict[str, ModelInfo]:
    table: dict[str, ModelInfo] = {}
    for info in (info for group in groups for info in group):
        if info.name in table:
            raise ValueError(f"two networks are called {info.name}")
        table[info.name] = info
    return table


MODELS: dict[str, ModelInfo] = _by_name(_U_SHAPES, _PYRAMID, _BACKBONES)


def model_info(name: str) -> ModelInfo:
    """Return the entry of ``name``.

    Raises:
        ConfigError: no such network; the message lists the nearest names.
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name]


def segmentation_info(name: str) -> ModelInfo:
    """Return the entry of a network that can be trained to segment.

    Raises:
        ConfigError: no such network, or a backbone.
    """
    info = model_info(name)
    if info.kind != "segmentation":
        raise ConfigError(
            f"the model must be a segmentation network; got {name!r}, a backbone, which classifies "
            "whole images. Use a backbone in a network: --model pspnet --set backbone=resnet50."
        )
    return info
