"""Cardiac FCN. Tran 2016, arXiv:1604.00494; 2D and 3D from one source.

Fifteen 3x3 convolutions at four scales, each normalised after its activation; class scores of
the three coarser scales are averaged on the way up. With ``faithful=True`` it is the author's:
64 to 512 channels and mean-variance normalisation, which is instance normalisation without gain
and shift, of the image, too. The default is narrower, learns gain and shift, and leaves the image
as it is preprocessed: of a flat one, normalisation would leave nothing but rounding errors.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import (
    CropLike,
    ZeroMargin,
    activate,
    conv,
    downsample,
    normalise,
    transposed_conv,
)
from tfseg.models.config import ModelConfig, output_logits

_CONVS = (3, 4, 4, 4)  # of the four scales
_MARGIN = 5  # voxels of padding: what the unpadded poolings and upsamplings may lose


class TranFCNConfig(ModelConfig):
    """Options of :func:`build_tran_fcn`.

    Attributes:
        base_filters: channels of the finest scale, which double with each scale.
        norm: after each activation; ``mvn`` is the paper's, without gain and shift, and also
            comes before the first convolution.
        activation: after each convolution.
        dropout: at the end of the two coarsest scales.
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 64,
        "norm": "mvn",
        "activation": "relu",
        "dropout": 0.5,
    }

    base_filters: Annotated[int, Field(ge=1, le=256)] = 32
    norm: Literal["mvn", "instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


def build_tran_fcn(
    input_shape: tuple[int | None, ...], num_classes: int, config: TranFCNConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size of 5 voxels or more fits.
    """
    inputs = keras.Input(input_shape, name="image")
    x = inputs
    if config.norm == "mvn":
        x = _mean_variance(x, name="image_norm")
    x = ZeroMargin(_MARGIN, name="pad")(x)
    ends = []
    for scale, count in enumerate(_CONVS):
        if scale:
            x = downsample(x, stride=2, size=3, padding="valid", name=f"pool{scale}")
        for number in range(count):
            name = f"scale{scale + 1}_{number + 1}"
            x = conv(x, filters=config.base_filters * 2**scale, name=f"{name}_conv")
            x = activate(x, kind=config.activation, name=f"{name}_act")
            x = _normalise(x, config.norm, name=f"{name}_norm")
        if config.dropout and scale >= len(_CONVS) - 2:
            x = keras.layers.Dropout(config.dropout, name=f"scale{scale + 1}_dropout")(x)
        ends.append(x)

    scores = conv(ends[3], filters=num_classes, kernel=1, name="score4")
    for scale in (3, 2):
        scores = _double(scores, f"up{scale}")
        finer = conv(ends[scale - 1], filters=num_classes, kernel=1, name=f"score{scale}")
        finer = CropLike(name=f"score{scale}_crop")([finer, scores])
        scores = keras.layers.Average(name=f"score{scale}_mean")([scores, finer])
    scores = CropLike(name="up1_crop")([_double(scores, "up1"), inputs])
    return keras.Model(inputs, output_logits(scores, num_classes, name="logits"), name="tran_fcn")


def _double(x: Any, name: str) -> Any:
    """Upsample n voxels to 2 n + 1."""
    return transposed_conv(
        x, filters=x.shape[-1], kernel=3, stride=2, padding="valid", bias=False, name=name
    )


def _normalise(x: Any, kind: str, *, name: str) -> Any:
    return _mean_variance(x, name=name) if kind == "mvn" else normalise(x, kind=kind, name=name)


def _mean_variance(x: Any, *, name: str) -> Any:
    return keras.layers.GroupNormalization(
        groups=-1, epsilon=1e-5, center=False, scale=False, dtype="float32", name=name
    )(x)
