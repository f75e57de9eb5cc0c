"""What cascades share: one graph of several networks, trained one after the other.

A cascade's first output is the answer, further ones are its stages' for training. Each stage's
network is one of the registry whose layers carry the stage's prefix, so that the trainer can let
one stage learn at a time (:mod:`tfseg.training.stages`), and weights are found by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import keras
from pydantic import Field

from tfseg.errors import ConfigError
from tfseg.models import build, inference_model
from tfseg.models.config import ModelConfig, Stage
from tfseg.models.rebuild import rebuilt_on


class CascadeConfig(ModelConfig):
    """Options of all cascades.

    Attributes:
        stages: ``successive`` trains them one after the other, each for an equal share of the
            run, what is trained being frozen from then on; ``joint`` all at once.
    """

    stages: Literal["successive", "joint"] = "successive"

    def ordered(self, parts: Sequence[tuple[str, int]], outputs: int) -> tuple[Stage, ...]:
        """Return the training stages as ``stages`` says.

        Args:
            parts: of each stage the prefix of its layers, and the number of its output.
            outputs: number of all training outputs.
        """
        own = [number for _, number in parts]
        if self.stages == "joint":
            return (Stage("", tuple(float(number in own) for number in range(outputs))),)
        return tuple(
            Stage(prefix, tuple(float(number == index) for number in range(outputs)))
            for prefix, index in parts
        )


class UCascadeConfig(CascadeConfig):
    """Options of cascades of U-Nets, see :class:`tfseg.models.unet.UNetConfig`.

    Attributes:
        base_filters: channels of the finest level; twice as many a level down.
        depth: number of levels of each U-Net, the bottom included.
        pooling: ``stride`` (strided convolution) or ``max``.
    """

    base_filters: Annotated[int, Field(ge=1, le=512)] = 32
    depth: Annotated[int, Field(ge=2, le=6)] = 4
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    pooling: Literal["stride", "max"] = "stride"

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of a U-Net's input must be divisible by."""
        return (2 ** (self.depth - 1),) * rank

    def u_net(self, x: Any, num_classes: int, *, prefix: str, **options: Any) -> Any:
        """Build a U-Net on ``x`` and return its logits."""
        return sub_network(
            x,
            "unet",
            num_classes,
            prefix=prefix,
            base_filters=self.base_filters,
            max_filters=self.base_filters * 2 ** (self.depth - 1),
            depth=self.depth,
            norm=self.norm,
            activation=self.activation,
            pooling=self.pooling,
            deep_supervision=False,
            **options,
        )


def sub_network(x: Any, name: str, num_classes: int, *, prefix: str, **options: Any) -> Any:
    """Build a network of the registry on ``x`` and return its logits.

    Args:
        x: (batch, [z,] y, x, c) of the graph that is being built.
        name: of the network.
        num_classes: of its logits.
        prefix: before the names of all its layers.
        **options: of the network.

    Raises:
        ConfigError: see :func:`tfseg.models.build`.
    """
    template = inference_model(build(name, tuple(x.shape[1:]), num_classes, **options))
    return rebuilt_on(x, template, prefix=prefix)


def foreground_group(num_classes: int) -> tuple[int, ...]:
    """Return the group of each label value where the background stands against all else."""
    return (0, *(1,) * max(1, num_classes - 1))


def reduce(x: Any, factor: int, *, name: str) -> Any:
    """Average cells of ``factor`` voxels along each axis."""
    if factor == 1:
        return x
    rank = len(x.shape) - 2
    layer = keras.layers.AveragePooling2D if rank == 2 else keras.layers.AveragePooling3D
    return layer(factor, name=name)(x)


def check_cut(size: tuple[int, ...] | None, multiple: tuple[int, ...], option: str) -> None:
    """Refuse the size of a cut that the network on it cannot take.

    Raises:
        ConfigError: names the option, the divisor and what was given.
    """
    if size is None:
        return
    wrong = len(size) != len(multiple)
    if wrong or any(edge % factor for edge, factor in zip(size, multiple, strict=True)):
        raise ConfigError(
            f"{option} must have {len(multiple)} edges divisible by {multiple}; got {size}."
        )
