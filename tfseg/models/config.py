"""What the configurations of all networks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from tfseg.errors import ConfigError
from tfseg.layers import conv


class ModelConfig(BaseModel):
    """Base of the networks' options: frozen, values checked, unknown names refused.

    Attributes:
        paper: values of the paper's form, where they differ from the defaults; ``faithful=True``
            starts from them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: ClassVar[dict[str, Any]] = {}

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each of the ``rank`` axes of the input must be divisible by."""
        return (1,) * rank

    def check_size(self, spatial: Sequence[int | None]) -> None:
        """Refuse an input size that :meth:`divisor` does not divide; unknown sizes pass.

        Raises:
            ConfigError: names the divisor and the next larger size that fits.
        """
        divisor = self.divisor(len(spatial))
        pairs = list(zip(spatial, divisor, strict=True))
        if any(size is not None and size % factor for size, factor in pairs):
            fit = tuple(size and -(-size // factor) * factor for size, factor in pairs)
            raise ConfigError(
                f"the input's size must be divisible by {divisor}; got {tuple(spatial)}. Use {fit}."
            )


def output_logits(x: Any, num_classes: int, *, name: str) -> Any:
    """Return the 1x1 convolution to class logits, in float32 whatever the policy."""
    return conv(x, filters=num_classes, kernel=1, dtype="float32", name=name)
