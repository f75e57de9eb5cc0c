"""Networks whose answer is as large as what they are given.

An unpadded network answers for the middle of its input only. Its paper's remedy is to mirror the
image at its border (Ronneberger et al. 2015, arXiv:1505.04597, overlap-tile strategy). Here the
margin is part of the graph, so that patches, windows and exports are those of any other network.
"""

from __future__ import annotations

from typing import Any

import keras

from tfseg.errors import ConfigError
from tfseg.layers import CropLike, MirrorMargin
from tfseg.models import build_from
from tfseg.models.config import ModelConfig
from tfseg.models.rebuild import rebuilt_on


def build_same_size(
    name: str, input_shape: tuple[int, ...], num_classes: int, config: ModelConfig
) -> Any:
    """As :func:`tfseg.models.build_from`, with an output as large as the input.

    An unpadded network stands in a margin that is mirrored at the input's border, and of its
    answer the middle is cut out; its layers keep their names.

    Raises:
        ConfigError: see :func:`tfseg.models.build_from`; an unpadded network whose training outputs
            differ in size, so that no cut is the middle of all; or one whose configuration has no
            wider input for it.
    """
    *spatial, channels = input_shape
    wide = config.wider_input(spatial)
    network = build_from(name, (*wide, channels), num_classes, config)
    if wide == tuple(spatial):
        size = tuple(network.outputs[0].shape[1:-1])
        if size != wide:  # its configuration does not know that it is unpadded
            raise ConfigError(
                f"training needs an output of the input's size; {name} answers {size} for {wide}. "
                "Use padded convolutions: padding=same."
            )
        return network
    if len({tuple(output.shape[1:-1]) for output in network.outputs}) > 1:
        raise ConfigError(
            f"an unpadded {name} must have its training outputs at full resolution; got deep "
            "supervision. Use --set deep_supervision=false, or padding=same."
        )
    inputs = keras.Input(input_shape, name="image")
    mirrored = MirrorMargin(wide, name="mirrored")(inputs)
    answers = keras.tree.flatten(rebuilt_on(mirrored, network))
    logits = [
        CropLike(dtype="float32", name=f"{name}_middle")([answer, inputs])
        for name, answer in zip(network.output_names, answers, strict=True)
    ]
    return keras.Model(inputs, logits if len(logits) > 1 else logits[0], name=network.name)
