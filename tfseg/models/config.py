"""What the configurations of all networks share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from tfseg.layers import conv


class ModelConfig(BaseModel):
    """Base of the networks' options: frozen, values checked, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each of the ``rank`` axes of the input must be divisible by."""
        return (1,) * rank


def output_logits(x: Any, num_classes: int, *, name: str) -> Any:
    """Return the 1x1 convolution to class logits, in float32 whatever the policy."""
    return conv(x, filters=num_classes, kernel=1, dtype="float32", name=name)
