"""Published weights of classification networks, converted for our encoders.

The files are those of keras.applications. Their layers go by other names than ours; their
convolutions may have a bias where ours has none, their normalisations another epsilon, their
images three channels, another range and another order of colours, their kernels two axes. All
of that is converted exactly, so that an encoder gives the features of the published network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfseg.errors import ConfigError
from tfseg.layers import DepthwiseConv3D
from tfseg.models.backbones import find_encoders
from tfseg.models.backbones.densenet import DENSENETS
from tfseg.models.backbones.resnet import RESNETS
from tfseg.models.backbones.vgg import VGGS

Arrays = Mapping[str, Sequence[np.ndarray]]

# Standard deviation of ImageNet's pixels in [0, 1]. Prepared images have one of 1, so this is
# what the published networks saw for each unit of ours.
_PIXEL_STD = 0.226


@dataclass(frozen=True)
class Unit:
    """A convolution and the normalisation after it: names in the file, names of ours.

    Attributes:
        conv: in the file; ``None`` for a normalisation that follows no convolution.
        norm: in the file, if it has one.
        kernels: our layers of the convolution; two if it is separable.
        our_norm: our layer; it is absent from networks built without normalisation.
    """

    conv: str | None
    norm: str | None
    kernels: tuple[str, ...]
    our_norm: str | None


@dataclass(frozen=True)
class Conversion:
    """What a network takes from a published one.

    Attributes:
        values: layer name -> its weights.
        kept: names of the encoders' layers that keep theirs.
        exact: whether every encoder that took some is the published network's own form.
    """

    values: dict[str, list[np.ndarray]]
    kept: tuple[str, ...]
    exact: bool


@dataclass(frozen=True)
class Published:
    """A published network.

    Attributes:
        units: all its parts, the one that sees the image first.
        encoders: ours that can take it; the first one gives exactly its features.
        image_std: standard deviation of the images that it saw.
        blue_first: whether their colours were in the order blue, green, red.
        epsilon: of its normalisations.
    """

    units: tuple[Unit, ...]
    encoders: tuple[str, ...]
    image_std: float
    blue_first: bool
    epsilon: float


def _pair(conv: str, norm: str | None, ours: str) -> Unit:
    return Unit(conv, norm, (f"{ours}_conv",), f"{ours}_norm")


def _vgg(name: str) -> Published:
    units = tuple(
        _pair(f"block{stage}_conv{number}", None, f"stage{stage}_{number}")
        for stage, count in enumerate(VGGS[name], 1)
        for number in range(1, count + 1)
    )
    return Published(units, (name,), 255 * _PIXEL_STD, True, 0.0)


def _resnet(name: str, *others: str) -> Published:
    units = [_pair("conv1_conv", "conv1_bn", "stem")]
    parts = {"1": "1", "2": "2", "3": "3", "0": "shortcut"}
    for stage, count in enumerate(RESNETS[name].blocks, 1):
        for block in range(1, count + 1):
            for part, our_part in parts.items():
                if part == "0" and block > 1:
                    continue  # the shortcut of later blocks has no convolution
                theirs = f"conv{stage + 1}_block{block}_{part}"
                ours = f"stage{stage}_block{block}_{our_part}"
                units.append(_pair(f"{theirs}_conv", f"{theirs}_bn", ours))
    return Published(tuple(units), (f"{name}_v1", name, *others), 255 * _PIXEL_STD, True, 1.001e-5)


def _densenet(name: str) -> Published:
    units = [_pair("conv1_conv", "conv1_bn", "stem")]
    blocks = DENSENETS[name].blocks
    for stage, count in enumerate(blocks, 1):
        for number in range(1, count + 1):
            theirs, ours = f"conv{stage + 1}_block{number}", f"stage{stage}_layer{number}"
            units += [
                Unit(None, f"{theirs}_0_bn", (), f"{ours}_1_norm"),
                Unit(f"{theirs}_1_conv", f"{theirs}_1_bn", (f"{ours}_1_conv",), f"{ours}_2_norm"),
                Unit(f"{theirs}_2_conv", None, (f"{ours}_2_conv",), None),
            ]
        end = f"stage{stage}_end_norm"
        if stage == len(blocks):
            units.append(Unit(None, "bn", (), end))
        else:
            transition = (f"stage{stage + 1}_transition_conv",)
            units.append(Unit(None, f"pool{stage + 1}_bn", (), end))
            units.append(Unit(f"pool{stage + 1}_conv", None, transition, None))
    return Published(tuple(units), (name,), 1.0, False, 1.001e-5)


def _xception(shortcuts: Sequence[tuple[str, str]]) -> Published:
    """``shortcuts`` are the four convolutions and norms that the file leaves unnamed."""
    units = [
        _pair(f"block1_conv{number}", f"block1_conv{number}_bn", f"stem_{number}")
        for number in (1, 2)
    ]
    blocks = {2: "entry1", 3: "entry2", 4: "entry3", 13: "exit", 14: "end"}
    for block in range(2, 15):
        ours = blocks.get(block, f"middle{block - 4}")
        for number in range(1, 4 if ours.startswith("middle") else 3):
            theirs, name = f"block{block}_sepconv{number}", f"{ours}_{number}"
            kernels = (f"{name}_depthwise", f"{name}_pointwise")
            units.append(Unit(theirs, f"{theirs}_bn", kernels, f"{name}_norm"))
    strided = ("entry1", "entry2", "entry3", "exit")
    for name, (conv, norm) in zip(strided, shortcuts, strict=True):
        units.append(_pair(conv, norm, f"{name}_shortcut"))
    return Published(tuple(units), ("xception",), 2 * _PIXEL_STD, False, 1e-3)


def _candidates(names: Sequence[str]) -> dict[str, Published]:
    known = {
        "VGG16": _vgg("vgg16"),
        "VGG19": _vgg("vgg19"),
        "ResNet50": _resnet("resnet50", "se_resnet50"),
        "ResNet101": _resnet("resnet101"),
        "ResNet152": _resnet("resnet152"),
        "DenseNet121": _densenet("densenet121"),
    }

    def unnamed(pattern: str) -> list[str]:
        found = [name for name in names if re.fullmatch(rf"{pattern}(_\d+)?", name)]
        return sorted(found, key=lambda name: int((re.findall(r"_(\d+)$", name) or ["0"])[0]))

    shortcuts = list(
        zip(unnamed(r"conv(?:olution)?2d"), unnamed(r"batch_?normalization"), strict=False)
    )
    if len(shortcuts) == 4:
        known["Xception"] = _xception(shortcuts)
    return known


def identify(arrays: Arrays) -> tuple[str, Published] | None:
    """Return which published network the arrays are of, by the names of all its layers.

    A classifier at its end may be there or not; more blocks are another network's.
    """
    names = [name for name, values in arrays.items() if values]
    for title, published in _candidates(names).items():
        wanted = {name for unit in published.units for name in (unit.conv, unit.norm) if name}
        others = set(names) - wanted
        if wanted <= set(names) and not any(re.search(r"block|pool\d", name) for name in others):
            return title, published
    return None


def convert(model: Any, title: str, published: Published, arrays: Arrays) -> Conversion:
    """Convert a published network's weights for every encoder of ``model`` that can take them.

    Raises:
        ConfigError: the network has no such encoder, or one of another width.
    """
    encoders = find_encoders(model)
    suited = [key for key in encoders if key[1] in published.encoders]
    if not suited:
        own = ", ".join(sorted({name for _, name in encoders})) or "none"
        raise ConfigError(
            f"weights of {title} need an encoder {' or '.join(published.encoders)}; the network "
            f"has {own}. Use --set backbone={published.encoders[0]}."
        )
    values: dict[str, list[np.ndarray]] = {}
    kept: list[str] = []
    for key in suited:
        layers = encoders[key]
        taken: dict[str, list[np.ndarray]] = {}
        for index, unit in enumerate(published.units):
            taken |= _unit(unit, arrays, layers, published, sees_image=index == 0)
        for name, layer in layers.items():
            shapes = [tuple(weight.shape) for weight in layer.weights]
            if [value.shape for value in taken.get(name, [])] == shapes:
                values[layer.name] = taken[name]
            else:
                kept.append(layer.name)
    if not values:
        raise ConfigError(
            f"weights of {title} have its published width, base_filters=64; the network's encoder "
            "has another. Use --set base_filters=64."
        )
    exact = all(name == published.encoders[0] for _, name in suited)
    return Conversion(values, tuple(kept), exact)


def _unit(
    unit: Unit, arrays: Arrays, layers: Mapping[str, Any], published: Published, *, sees_image: bool
) -> dict[str, list[np.ndarray]]:
    """Return the weights of the layers of ours that make up the unit."""
    ours = [layers[name] for name in unit.kernels if name in layers]
    our_norm = layers.get(unit.our_norm or "")
    parts = list(arrays[unit.conv]) if unit.conv else []
    kernels, bias = parts[: len(unit.kernels)], parts[len(unit.kernels) :]
    if len(ours) < len(kernels):
        return {}
    if sees_image:
        kernels[0] = _for_channels(kernels[0], ours[0].weights[0].shape[-2], published)
    statistics = list(arrays[unit.norm]) if unit.norm else None
    values: dict[str, list[np.ndarray]] = {}

    our_bias = bool(ours) and len(ours[-1].weights) > 1
    if statistics and kernels and our_norm is None and our_bias:
        gamma, beta, mean, variance = statistics
        scale = gamma / np.sqrt(variance + published.epsilon)
        kernels[-1] = kernels[-1] * scale
        bias = [beta + ((bias[0] if bias else 0) - mean) * scale]
    for name, layer, kernel in zip(unit.kernels, ours, kernels, strict=True):
        values[name] = [_for_layer(kernel, layer)]
    if our_bias:
        values[unit.kernels[-1]].append(bias[0] if bias else np.zeros(kernels[-1].shape[-1:]))
        bias = []
    if our_norm is not None and unit.our_norm:
        normed = _norm_values(our_norm, statistics, bias, published.epsilon)
        if normed:
            values[unit.our_norm] = normed
    return values


def _norm_values(
    layer: Any,
    statistics: Sequence[np.ndarray] | None,
    bias: Sequence[np.ndarray],
    epsilon: float,
) -> list[np.ndarray]:
    """Return a normalisation's weights; it also takes the bias of the convolution before it."""
    if not isinstance(layer, keras.layers.BatchNormalization):
        # Statistics of its own; a bias before it would be taken away again.
        return list(statistics[:2]) if statistics else []
    if statistics:
        gamma, beta, mean, variance = statistics
        mean = mean - bias[0] if bias else mean
        return [gamma, beta, mean, variance + (epsilon - layer.epsilon)]
    if not bias:
        return []
    ones, zeros = np.ones_like(bias[0]), np.zeros_like(bias[0])
    return [ones, bias[0], zeros, ones - layer.epsilon]


def _for_channels(kernel: np.ndarray, channels: int, published: Published) -> np.ndarray:
    """Make a kernel for colour images, (y, x, 3, c), one for our images of so many channels.

    Three channels are taken for red, green, blue. Otherwise each gets the sum of the colours'
    kernels over the number of channels: that answers a grey image as the published network
    answers it in grey colours.
    """
    kernel = kernel * published.image_std
    if channels == kernel.shape[-2]:
        return kernel[..., ::-1, :] if published.blue_first else kernel
    return np.repeat(kernel.sum(-2, keepdims=True) / channels, channels, axis=-2)


def _for_layer(kernel: np.ndarray, layer: Any) -> np.ndarray:
    """Make a 2D kernel one for volumes where the layer is of rank 3: the same in every slice.

    A volume that does not change from slice to slice then gives the features of its slices
    (Carreira, Zisserman 2017, arXiv:1705.07750).
    """
    shape = layer.weights[0].shape
    if isinstance(layer, DepthwiseConv3D):
        kernel = kernel[..., 0]  # (y, x, c, 1) -> (y, x, c)
    if len(shape) == kernel.ndim:
        return kernel
    return np.repeat(kernel[np.newaxis] / shape[0], shape[0], axis=0)
