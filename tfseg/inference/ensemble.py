"""Several networks that answer as one: the mean of their probabilities, window by window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfseg.artifact import Manifest
from tfseg.errors import ConfigError
from tfseg.inference.backend import Backend, Scores, Windows
from tfseg.plan import Plan


class EnsembleBackend(Backend):
    """Averages the probabilities of its members, who share one plan; see :func:`shared_plan`.

    Each window goes to one member after the other: memory is that of the members' weights and
    of two answers to a window.
    """

    def __init__(self, members: Sequence[Backend]) -> None:
        """Join ``members``.

        Raises:
            ConfigError: there is none, or one finds objects one by one: these have no mean.
        """
        if not members:
            raise ConfigError("an ensemble must have at least one member; it has none.")
        if any(member.finds_instances for member in members):
            raise ConfigError(
                "an ensemble averages probabilities; detectors draw label maps from the objects "
                "that they find, of which there is no mean. Predict with one of them."
            )
        self._members = tuple(members)
        self.repeatable = all(member.repeatable for member in members)

    def __call__(self, batch: Windows) -> Scores:
        """Return the mean probabilities of a batch."""
        first, *others = self._members
        total = first(batch)
        for member in others:
            total = total + member(batch)
        return total / np.float32(len(self._members))


def shared_plan(manifests: Sequence[Manifest]) -> Plan:
    """Return the plan by which all members of an ensemble prepare and cut images.

    Raises:
        ConfigError: two members differ in their plan: labels, channels, spacing, windows.
    """
    first, *others = (manifest.plan for manifest in manifests)
    for number, plan in enumerate(others, start=2):
        for field in Plan.model_fields:
            if field == "batch_size":  # of the training alone
                continue
            ours, theirs = getattr(first, field), getattr(plan, field)
            if ours != theirs:
                raise ConfigError(
                    f"the members of an ensemble must share one plan; {field} of member 1 and "
                    f"member {number} differ{_shown(ours, theirs)}. Train all by one plan: tfseg "
                    "train --plan."
                )
    return first


def _shown(ours: object, theirs: object) -> str:
    text = f": {ours} and {theirs}"
    return text if len(text) <= 200 else ""
