"""What the networks share that put a head on a classification network's trunk."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import keras
from pydantic import Field

from tfseg.layers import resize_like
from tfseg.models.backbones import EncoderName, Features, encoder
from tfseg.models.config import ModelConfig, output_logits


class EncodedConfig(ModelConfig):
    """Options of networks with a choice of encoder.

    Attributes:
        backbone: the encoder.
        base_filters: width of the encoder; 64 is the published one.
        norm: after the convolutions. VGG was published without any.
        activation: after the norms.
    """

    backbone: EncoderName = "resnet18"
    base_filters: Annotated[int, Field(ge=1, le=256)] = 32
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"

    @property
    def style(self) -> dict[str, Any]:
        """Arguments that every block takes."""
        return {"norm": self.norm, "activation": self.activation}

    def encode(self, image: Any, output_stride: int, *, prefix: str = "") -> Features:
        """Build the encoder on ``image`` (batch, [z,] y, x, c); ``prefix`` goes before names."""
        return encoder(
            image,
            self.backbone,
            output_stride=output_stride,
            base_filters=self.base_filters,
            prefix=prefix,
            **self.style,
        )


def classify(x: Any, image: Any, num_classes: int, *, dropout: float = 0.0, name: str) -> Any:
    """Return logits of the image's size: dropout, 1x1 convolution, linear upsampling."""
    if dropout:
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    x = output_logits(x, num_classes, name=f"{name}_coarse")
    return resize_like(x, image, dtype="float32", name=name)
