"""Training a network part by part: stages of a cascade, and encoders that wait.

A network whose configuration names stages (:meth:`tfseg.models.config.ModelConfig.training_stages`)
trains them one after the other, each for an equal share of the run. What does not learn keeps
its weights and its statistics; what a loss of weight 0 alone would need is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfseg.errors import ConfigError
from tfseg.models.backbones import find_encoders
from tfseg.models.config import Stage

_ROUNDING = 1e-9  # of a share of the run that is a quotient of two integers


class TrainedParts:
    """Which layers of a network learn at the moment.

    Args:
        model: the network, every layer as it was built.
        stages: in order; empty is one stage of everything.
        freeze: epochs at the start of the run in which encoders do not learn.

    Raises:
        ConfigError: encoders shall wait, but there are none.
    """

    def __init__(self, model: Any, stages: Sequence[Stage], freeze: int = 0) -> None:
        self.stages = tuple(stages)
        self.freeze = freeze
        self._waiting = set(encoder_layers(model)) if freeze else set()
        # Some layers never learn, such as fixed upsampling: they stay as they are.
        self._layers = [layer for layer in model.layers if layer.trainable]
        # What a network learns as built, which needs no switch.
        self._now: tuple[int, bool] | None = None if self.stages else (0, False)

    @property
    def count(self) -> int:
        """Number of stages, 1 or more."""
        return max(1, len(self.stages))

    def is_last(self, stage: int) -> bool:
        """Tell whether a stage is the last one, from which the full output learns."""
        return stage >= self.count - 1

    def next_stage(self, stage: int, epoch: int, done: float) -> int:
        """Return the stage of the next epoch.

        Args:
            stage: of the last epoch.
            epoch: finished epochs.
            done: finished share of the run, in [0, 1].

        Returns:
            The stage whose share of the run it is, from 0; but none is left out, so that each
            gets an epoch even where the first one took most of a time budget.
        """
        if not epoch:
            return 0
        by_share = min(int(done * self.count + _ROUNDING), self.count - 1)
        return max(stage, min(by_share, stage + 1))

    def stage_progress(self, stage: int, done: float) -> float:
        """Return the finished share of a stage, in [0, 1]: each has a learning rate's fall."""
        return min(1.0, max(0.0, done * self.count - stage))

    def loss_weights(self, stage: int, otherwise: Sequence[float]) -> Sequence[float]:
        """Return the weights of the outputs' losses in a stage."""
        return self.stages[stage].loss_weights if self.stages else otherwise

    def switch(self, stage: int, epoch: int) -> bool:
        """Let the layers of a stage learn, and no others.

        Returns:
            Whether anything changed: what a step updates is fixed when it is traced, so that it
            must be traced anew.
        """
        frozen = epoch < self.freeze
        now = (stage, frozen)
        if now == self._now:
            return False
        prefix = self.stages[stage].prefix if self.stages else ""
        for layer in self._layers:
            waits = frozen and layer in self._waiting
            layer.trainable = layer.name.startswith(prefix) and not waits
        self._now = now
        return True


def check_epochs(stages: Sequence[Stage], epochs: int) -> None:
    """Refuse a run too short for its stages.

    Raises:
        ConfigError: fewer epochs than stages.
    """
    if epochs < len(stages):
        raise ConfigError(
            f"epochs must be at least {len(stages)}, one for each of the network's stages; got "
            f"{epochs}. Train longer, or all stages at once: --set stages=joint."
        )


def encoder_layers(model: Any) -> list[Any]:
    """Return the layers with weights of all encoders in a network.

    Raises:
        ConfigError: there are none, so that nothing could be frozen.
    """
    layers = [layer for found in find_encoders(model).values() for layer in found.values()]
    if not layers:
        raise ConfigError(
            f"freeze needs a network with a backbone; {model.name} has none. Leave freeze out."
        )
    return layers
