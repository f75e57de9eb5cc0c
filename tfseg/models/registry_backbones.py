"""Rows of the registry: the classifiers, which are encoders of other networks."""

from __future__ import annotations

from tfseg.models.info import ModelInfo


def _backbone(
    name: str,
    where: str,
    paper: str,
    use: str,
    *,
    dims: tuple[int, ...] = (2, 3),
    output_stride: int = 32,
    loss_weights: tuple[float, ...] = (1.0,),
) -> ModelInfo:
    where = f"backbones.{where}"
    return ModelInfo(
        name, "backbone", where, paper, dims, output_stride, loss_weights, use, kind="backbone"
    )


_VGG = ("vgg:VGGConfig", "Simonyan, Zisserman 2014, arXiv:1409.1556")
_RESNET = ("resnet:BackboneConfig", "He et al. 2015, arXiv:1512.03385")
_DENSENET = ("densenet:BackboneConfig", "Huang et al. 2016, arXiv:1608.06993")
BACKBONES = (
    _backbone(
        "lenet5", "lenet5:LeNetConfig", "LeCun et al. 1998, doi:10.1109/5.726791",
        "small images such as digits; where it all began", output_stride=4,
    ),
    _backbone(
        "alexnet", "alexnet:AlexNetConfig", "Krizhevsky et al. 2012, doi:10.1145/3065386",
        "whole images; a historical baseline",
    ),
    _backbone("vgg16", *_VGG, "the encoder of FCN, SegNet and DeepLab v1; weights are published"),
    _backbone("vgg19", *_VGG, "as vgg16, with one convolution more in each of three stages"),
    _backbone(
        "googlenet", "googlenet:GoogLeNetConfig", "Szegedy et al. 2014, arXiv:1409.4842",
        "whole images with few parameters", loss_weights=(1.0, 0.3, 0.3),
    ),
    _backbone("resnet18", *_RESNET, "most networks' encoder here: small patches, little data"),
    _backbone("resnet34", *_RESNET, "as resnet18, with twice as many units"),
    _backbone("resnet50", *_RESNET, "the papers' usual encoder, with published weights"),
    _backbone("resnet101", *_RESNET, "as resnet50, where there is much data"),
    _backbone("resnet152", *_RESNET, "as resnet50, at its deepest"),
    _backbone(
        "se_resnet50", "resnet:BackboneConfig", "Hu et al. 2017, arXiv:1709.01507",
        "as resnet50; weighs its channels by what the whole image holds",
    ),
    _backbone("densenet121", *_DENSENET, "few parameters: features are reused"),
    _backbone("densenet161", *_DENSENET, "as densenet121, wider; the encoder of H-DenseUNet"),
    _backbone(
        "xception", "xception:XceptionConfig", "Chollet 2016, arXiv:1610.02357",
        "few operations: separable convolutions",
    ),
    _backbone(
        "xception65", "xception:XceptionConfig", "Chen et al. 2018, arXiv:1802.02611",
        "the encoder of DeepLab v3+",
    ),
    _backbone(
        "p3d", "p3d:P3DConfig", "Qiu et al. 2017, arXiv:1711.10305",
        "volumes: a plane and a line in place of each cube", dims=(3,), output_stride=16,
    ),
)  # fmt: skip
