"""What an encoder returns, and what all encoders share: widths, style, strides, dilation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tfseg.errors import ConfigError

OUTPUT_STRIDES = (2, 4, 8, 16, 32)
PUBLISHED_WIDTH = 64


@dataclass(frozen=True)
class Features:
    """Feature maps of an encoder, finest first; a map of stride s has ceil(n / s) voxels an axis.

    Attributes:
        stages: (stride, map) at the end of each stage of the paper, for VGG after the stage's
            pooling. Stages past the output stride share it.
        skips: (stride, map), one a stride: the deepest map before it is pooled or strided away,
            what a U-shaped decoder joins.
    """

    stages: tuple[tuple[int, Any], ...]
    skips: tuple[tuple[int, Any], ...]

    @property
    def last(self) -> Any:
        """The map of the last stage."""
        return self.stages[-1][1]

    def at(self, stride: int) -> Any:
        """Return the map of the last stage that has this stride.

        Raises:
            ConfigError: no stage has it.
        """
        return _of_stride(self.stages, stride)

    def skip(self, stride: int) -> Any:
        """Return what a decoder joins at this stride.

        Raises:
            ConfigError: there is none.
        """
        return _of_stride(self.skips, stride)


def _of_stride(maps: tuple[tuple[int, Any], ...], stride: int) -> Any:
    found = [x for own, x in maps if own == stride]
    if not found:
        have = sorted({own for own, _ in maps})
        raise ConfigError(
            f"this encoder has features of strides {', '.join(map(str, have))}; got {stride}."
        )
    return found[-1]


@dataclass(frozen=True)
class Style:
    """How an encoder is built, whichever it is.

    Attributes:
        output_stride: of its last stage.
        base_filters: 64 is the published width; all channels scale with it.
        norm: normalisation.
        activation: after each normalisation.
        prefix: of the layers' names.
    """

    output_stride: int = 32
    base_filters: int = PUBLISHED_WIDTH
    norm: str = "batch"
    activation: str = "relu"
    prefix: str = ""

    def __post_init__(self) -> None:
        if self.output_stride not in OUTPUT_STRIDES:
            raise ConfigError(
                f"output_stride must be one of {OUTPUT_STRIDES}; got {self.output_stride}."
            )

    def width(self, published: int) -> int:
        """Scale a published number of channels."""
        return max(1, published * self.base_filters // PUBLISHED_WIDTH)

    @property
    def block(self) -> dict[str, Any]:
        """Arguments that every block takes."""
        return {"norm": self.norm, "activation": self.activation}


class Strides:
    """Hands out strides until the output stride is reached, and dilation from then on.

    A stage that gives up its stride of 2 leaves the next convolutions twice as dilated, so that
    they see what they saw before (Yu, Koltun 2015, arXiv:1511.07122).

    Attributes:
        reached: product of the strides handed out.
        dilation: of the convolutions that come next.
    """

    def __init__(self, output_stride: int) -> None:
        self.output_stride = output_stride
        self.reached = 1
        self.dilation = 1

    @property
    def exhausted(self) -> bool:
        """Whether a further stride of 2 would pass the output stride."""
        return self.reached * 2 > self.output_stride

    def take(self) -> int:
        """Return 2 while the output stride allows it, else 1 and double the dilation."""
        if self.exhausted:
            self.dilation *= 2
            return 1
        self.reached *= 2
        return 2
