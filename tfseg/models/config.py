"""What the configurations of all networks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from tfseg.errors import ConfigError
from tfseg.layers import conv


@dataclass(frozen=True)
class Stage:
    """An equal share of a run, in which a part of a network is trained.

    Attributes:
        prefix: layers whose names start with it learn; all others keep weights and statistics.
            Empty is all.
        loss_weights: of each training output, in the order of the network's outputs; one of
            weight 0 is not computed.
    """

    prefix: str
    loss_weights: tuple[float, ...]


class ModelConfig(BaseModel):
    """Base of the networks' options: frozen, values checked, unknown names refused.

    Attributes:
        paper: values of the paper's form, where they differ from the defaults; ``faithful=True``
            starts from them.
        scheme: the way of training that the network needs, see :mod:`tfseg.schemes`.
        has_mean: whether the answers of several such networks can be averaged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: ClassVar[dict[str, Any]] = {}
    scheme: ClassVar[str] = "supervised"
    has_mean: ClassVar[bool] = True

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each of the ``rank`` axes of the input must be divisible by."""
        return (1,) * rank

    def wider_input(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Return the smallest input size whose output covers ``spatial``.

        That of padded networks is ``spatial`` itself.
        """
        return tuple(spatial)

    def training_stages(self) -> tuple[Stage, ...]:
        """Return what is trained in which part of a run, in order; one stage at least.

        Empty: everything always, with the loss weights of the registry.
        """
        return ()

    def label_groups(self, num_classes: int) -> tuple[tuple[int, ...] | None, ...]:
        """Return for each training output which of its classes a label value belongs to.

        A tuple has an entry for each label value: with three, (0, 1, 1) is background against
        the rest. ``None`` is the labels as they are. Empty: all outputs take those.
        """
        del num_classes
        return ()

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
