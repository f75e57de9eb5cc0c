"""The networks by name. Importing it imports no TensorFlow."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from tfseg.errors import ConfigError, unknown_name
from tfseg.models.presets import PRESETS


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

_LONG = "Long et al. 2014, arXiv:1411.4038"
_FCN = (
    ModelInfo("fcn32s", "FCN", "fcn:FCNConfig", _LONG, output_stride=32),
    ModelInfo("fcn16s", "FCN", "fcn:FCNConfig", _LONG, output_stride=16),
    ModelInfo("fcn8s", "FCN", "fcn:FCNConfig", _LONG, output_stride=8),
    ModelInfo("tran_fcn", "FCN", "tran_fcn:TranFCNConfig", "Tran 2016, arXiv:1604.00494"),
    ModelInfo(
        "nie_fcn3d", "FCN", "nie_fcn3d:NieFCNConfig",
        "Nie et al. 2016, doi:10.1109/ISBI.2016.7493515",
    ),
    ModelInfo(
        "dilated_fcn_ild", "FCN", "dilated_fcn_ild:DilatedFCNConfig",
        "Anthimopoulos et al. 2018, arXiv:1803.06167",
    ),
    ModelInfo(
        "fcn_preproc_resnet", "FCN", "fcn_preproc_resnet:FCNPreprocConfig",
        "Drozdzal et al. 2017, arXiv:1702.05174",
    ),
)  # fmt: skip
_PYRAMID = (
    ModelInfo(
        "deeplabv1", "pyramid", "deeplabv1:DeepLabV1Config",
        "Chen et al. 2014, arXiv:1412.7062", output_stride=4,
    ),
    ModelInfo(
        "deeplabv2", "pyramid", "deeplabv2:DeepLabV2Config",
        "Chen et al. 2016, arXiv:1606.00915", output_stride=4,
    ),
    ModelInfo(
        "deeplabv3", "pyramid", "deeplabv3:DeepLabV3Config",
        "Chen et al. 2017, arXiv:1706.05587", output_stride=4, loss_weights=(1.0, 0.5),
    ),
    ModelInfo(
        "deeplabv3plus", "pyramid", "deeplabv3plus:DeepLabV3PlusConfig",
        "Chen et al. 2018, arXiv:1802.02611", output_stride=2,
    ),
    ModelInfo(
        "pspnet", "pyramid", "pspnet:PSPNetConfig",
        "Zhao et al. 2016, arXiv:1612.01105", output_stride=4, loss_weights=(1.0, 0.4),
    ),
    ModelInfo(
        "refinenet", "pyramid", "refinenet:RefineNetConfig",
        "Lin et al. 2016, arXiv:1611.06612", output_stride=4,
    ),
    ModelInfo("acnn", "pyramid", "acnn:ACNNConfig", "Zhou et al. 2019, arXiv:1901.09203"),
    ModelInfo("gcn", "pyramid", "gcn:GCNConfig", "Peng et al. 2017, arXiv:1703.02719"),
    ModelInfo(
        "fcn_ppm_3d", "pyramid", "fcn_ppm_3d:FCNPPMConfig",
        "Yang et al. 2018, doi:10.1109/ICPR.2018.8545143",
    ),
)  # fmt: skip
_UNPOOLING = (
    ModelInfo(
        "segnet", "index unpooling", "segnet:SegNetConfig",
        "Badrinarayanan et al. 2015, arXiv:1511.00561",
    ),
    ModelInfo(
        "segnet_basic", "index unpooling", "segnet:SegNetBasicConfig",
        "Badrinarayanan et al. 2015, arXiv:1511.00561",
    ),
    ModelInfo(
        "deconvnet", "index unpooling", "deconvnet:DeconvNetConfig",
        "Noh et al. 2015, arXiv:1505.04366",
    ),
)  # fmt: skip
_U_SHAPES = (
    ModelInfo(
        "unet",
        "U-shape",
        "unet:UNetConfig",
        "Ronneberger et al. 2015, arXiv:1505.04597",
        loss_weights=_HALVING,
    ),
)
_NOVIKOV = "Novikov et al. 2017, arXiv:1701.08816"
_IBTEHAZ = "Ibtehaz, Rahman 2019, arXiv:1902.04049"
_U_VARIANTS = (
    ModelInfo(
        "res_unet", "U-shape", "res_unet:ResUNetConfig",
        "Xiao et al. 2018, doi:10.1109/ITME.2018.00080",
    ),
    ModelInfo("multiresunet", "U-shape", "multiresunet:MultiResUNetConfig", _IBTEHAZ),
    ModelInfo("multiresunet3d", "U-shape", "multiresunet:MultiResUNetConfig", _IBTEHAZ, (3,)),
    ModelInfo(
        "attention_unet", "U-shape", "attention_unet:AttentionUNetConfig",
        "Oktay et al. 2018, arXiv:1804.03999",
    ),
    ModelInfo(
        "attn_guided_unet", "U-shape", "attn_guided_unet:AttnGuidedUNetConfig",
        "Lian et al. 2018, doi:10.1016/j.jvcir.2018.10.001",
    ),
    ModelInfo(
        "attention_dense_unet", "dense U-shape", "attention_dense_unet:AttentionDenseUNetConfig",
        "Li et al. 2019, IEEE Access 7",
    ),
    ModelInfo(
        "use_net", "U-shape", "use_net:USENetConfig", "Rundo et al. 2019, arXiv:1904.08254"
    ),
    ModelInfo("inverted_net", "U-shape", "inverted_net:InvertedNetConfig", _NOVIKOV),
    ModelInfo("all_dropout", "U-shape", "inverted_net:AllDropoutConfig", _NOVIKOV),
    ModelInfo("all_convolutional", "U-shape", "inverted_net:AllConvolutionalConfig", _NOVIKOV),
    ModelInfo(
        "pixelbnn", "U-shape", "pixelbnn:PixelBNNConfig", "Leopold et al. 2017, arXiv:1712.06742"
    ),
    ModelInfo(
        "vessel_ds_unet", "U-shape", "vessel_ds_unet:VesselDSUNetConfig",
        "Zhang, Chung 2018, arXiv:1806.02132", loss_weights=(1.0,) * 5,
    ),
    ModelInfo("lu_net", "U-shape", "lu_net:LUNetConfig", "Zhang et al. 2019, IEEE Access 7"),
    ModelInfo(
        "lazy_multitask_unet", "U-shape", "lazy_multitask_unet:LazyMultitaskUNetConfig",
        "Ke et al. 2019, arXiv:1906.12177", loss_weights=(1.0, 1.0, 1.0),
    ),
)  # fmt: skip
_DENSE = (
    ModelInfo(
        "fc_densenet56",
        "dense U-shape",
        "fc_densenet:FCDenseNet56Config",
        "Jegou et al. 2016, arXiv:1611.09326",
    ),
    ModelInfo(
        "fc_densenet67",
        "dense U-shape",
        "fc_densenet:FCDenseNet67Config",
        "Jegou et al. 2016, arXiv:1611.09326",
    ),
    ModelInfo(
        "fc_densenet103",
        "dense U-shape",
        "fc_densenet:FCDenseNetConfig",
        "Jegou et al. 2016, arXiv:1611.09326",
    ),
    ModelInfo(
        "dense_unet3d",
        "dense U-shape",
        "dense_unet3d:DenseUNet3DConfig",
        "Kolarik et al. 2019, doi:10.3390/app9030404",
    ),
    ModelInfo(
        "drinet",
        "dense U-shape",
        "drinet:DRINetConfig",
        "Chen et al. 2018, doi:10.1109/TMI.2018.2835303",
    ),
    ModelInfo(
        "h_denseunet",
        "dense U-shape",
        "h_denseunet:HDenseUNetConfig",
        "Li et al. 2017, arXiv:1709.07330",
        dims=(3,),
        loss_weights=(1.0, 0.5, 0.5),
    ),
)
_U_SHAPES_3D = (
    ModelInfo(
        "unet3d",
        "3D U-shape",
        "unet3d:UNet3DConfig",
        "Cicek et al. 2016, arXiv:1606.06650",
        dims=(3,),
    ),
    ModelInfo(
        "sulci_unet3d",
        "3D U-shape",
        "unet3d:SulciUNet3DConfig",
        "Borne et al. 2020, doi:10.1016/j.media.2020.101651",
        dims=(3,),
    ),
    ModelInfo(
        "unet3d_ds",
        "3D U-shape",
        "unet3d_ds:UNet3DDSConfig",
        "Ye et al. 2019, IEEE Access",
        dims=(3,),
        loss_weights=(1.0,) * 7,
    ),
    ModelInfo("vnet", "3D U-shape", "vnet:VNetConfig", "Milletari et al. 2016, arXiv:1606.04797"),
    ModelInfo(
        "segresnet",
        "3D U-shape",
        "segresnet:SegResNetConfig",
        "Myronenko 2018, arXiv:1810.11654",
    ),
    ModelInfo(
        "nonlocal_unet",
        "3D U-shape",
        "nonlocal_unet:NonlocalUNetConfig",
        "Wang et al. 2018, arXiv:1812.04103",
    ),
    ModelInfo(
        "kidnet",
        "3D U-shape",
        "kidnet:KidNetConfig",
        "Taha et al. 2018, arXiv:1806.06769",
        loss_weights=_HALVING,
    ),
    ModelInfo(
        "fracnet",
        "3D U-shape",
        "fracnet:FracNetConfig",
        "Jin et al. 2020, doi:10.1016/j.ebiom.2020.103106",
    ),
)
_SLICEWISE = (
    ModelInfo(
        "fcn_2p5d", "2.5D", "fcn_2p5d:FCN2p5DConfig", "Zhou et al. 2017, doi:10.1002/mp.12480",
        (3,), output_stride=8, loss_weights=(1.0, 1.0, 1.0, 1.0),
    ),
)  # fmt: skip


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


MODELS: dict[str, ModelInfo] = _by_name(
    _U_SHAPES, _U_VARIANTS, _DENSE, _U_SHAPES_3D, _FCN, _PYRAMID, _UNPOOLING, _SLICEWISE, _BACKBONES
)


def model_info(name: str) -> ModelInfo:
    """Return the entry of a network, or of the network that a preset is a use of.

    Raises:
        ConfigError: no such network; the message lists the nearest names.
    """
    if name in PRESETS:
        name = PRESETS[name].model
    if name not in MODELS:
        raise unknown_name("model", name, [*MODELS, *PRESETS])
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
