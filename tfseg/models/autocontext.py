"""Auto-context: each network sees the image and what the one before it said; 2D and 3D.

Tu, Bai 2010, doi:10.1109/TPAMI.2009.186; with convolutional networks Salehi, Erdogmus, Gholipour
2017, arXiv:1703.02083. Stage k's input is the image and the class probabilities of stage k - 1.
Every stage is a network of the registry with weights of its own. Trained one after the other no
gradient reaches an earlier stage; with ``stages=joint`` it flows through the probabilities.
"""

from __future__ import annotations

from typing import Annotated, Any

import keras
from pydantic import Field

from tfseg.errors import ConfigError
from tfseg.models import model_config, segmentation_info
from tfseg.models.cascade import CascadeConfig, sub_network
from tfseg.models.config import ModelConfig, Stage


class AutocontextConfig(CascadeConfig):
    """Options of :func:`build_autocontext`.

    Attributes:
        stage: the network of each stage; its training heads are left out.
        stages_count: number of stages.
        stage_options: of the networks, besides ``base_filters``.
        base_filters: of the networks that have it.
    """

    stage: str = "unet"
    stages_count: Annotated[int, Field(ge=2, le=8)] = 2
    stage_options: dict[str, Any] = Field(default_factory=dict)
    base_filters: Annotated[int, Field(ge=1, le=1024)] = 32

    def network(self) -> tuple[ModelConfig, dict[str, Any]]:
        """Return the configuration of the stages' networks, and its options.

        Raises:
            ConfigError: no network that can be a stage, or options that it does not take.
        """
        if segmentation_info(self.stage).family == "cascade":
            raise ConfigError(f"stage must be a single network; got the cascade {self.stage!r}.")
        options = self.stage_options
        if "base_filters" in type(model_config(self.stage)).model_fields:
            options = {"base_filters": self.base_filters, **options}
        return model_config(self.stage, **options), options

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return self.network()[0].divisor(rank)

    def training_stages(self) -> tuple[Stage, ...]:
        """Return one stage a network."""
        last = self.stages_count - 1
        parts = [(f"stage{number + 1}_", (number + 1) % (last + 1)) for number in range(last + 1)]
        return self.ordered(parts, outputs=self.stages_count)


def build_autocontext(
    input_shape: tuple[int | None, ...], num_classes: int, config: AutocontextConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits of the last stage, then the others.

    All are (batch, [z,] y, x, classes); after the answer come stages 1, 2, ... in order.

    Raises:
        ConfigError: no such network, or an input size that it cannot take or keep.
    """
    _, options = config.network()
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    seen, outputs = inputs, []
    for number in range(1, config.stages_count + 1):
        logits = sub_network(seen, config.stage, num_classes, prefix=f"stage{number}_", **options)
        if logits.shape[1:-1] != inputs.shape[1:-1]:
            raise ConfigError(
                f"stage must answer at the input's size {tuple(inputs.shape[1:-1])}; "
                f"{config.stage} answers at {tuple(logits.shape[1:-1])}. Use padded convolutions."
            )
        outputs.append(logits)
        kind = "softmax" if num_classes > 1 else "sigmoid"
        said = keras.layers.Activation(kind, dtype="float32", name=f"stage{number}_said")(logits)
        seen = keras.layers.Concatenate(name=f"stage{number}_context")([inputs, said])
    return keras.Model(inputs, [outputs[-1], *outputs[:-1]], name="autocontext")
