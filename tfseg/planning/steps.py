"""Steps on intensities put into a plan, and what they need to know of the training data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from tfseg.datasets.base import Case, Dataset
from tfseg.errors import ConfigError, DataError
from tfseg.plan import Plan, first_problem
from tfseg.preprocess.histograms import landmarks_of
from tfseg.preprocess.steps import apply_steps
from tfseg.steps import RESCALING, HistMatch, Steps

Track = Callable[[Iterable[Case]], Iterable[Case]]

STANDARD = 100.0  # learnt landmarks lie between 0 and this


def parse_steps(document: object, source: str) -> Steps:
    """Validate a list of steps given as parsed JSON; ``source`` names it in messages.

    Raises:
        ConfigError: a value breaks its rule; the message names it.
    """
    try:
        return TypeAdapter(Steps).validate_python(document)
    except ValidationError as error:
        raise ConfigError(f"{source}: {first_problem(error)}.") from error


def with_steps(
    plan: Plan, steps: Steps, dataset: Dataset, cases: Sequence[Case], progress: Track = iter
) -> Plan:
    """Return the plan with ``steps`` before the normalisation of every channel.

    Landmarks of histogram matching that are not given are learnt: the percentiles of each case,
    moved to 0 and 100 at the ends, on the mean of all cases. A channel whose numbers no longer
    mean what they meant, such as HU, is then normalised by each volume's mean and deviation.

    Raises:
        DataError: a case that cannot be read, or with constant intensities where landmarks are
            learnt.
        ConfigError: steps that the plan cannot hold.
    """
    document = plan.model_dump()
    for index, channel in enumerate(document["channels"]):
        complete: Steps = ()
        for step in steps:
            if isinstance(step, HistMatch) and step.landmarks is None:
                learnt = _learn(step, complete, index, dataset, progress(cases))
                step = step.model_copy(update={"landmarks": learnt})
            complete = (*complete, step)
        channel["steps"] = [step.model_dump() for step in complete]
        if any(isinstance(step, RESCALING) for step in complete):
            channel["normalisation"] = {"kind": "zscore"}
            channel["unit"] = "arbitrary"
    return Plan.parse(document, f"the plan for {dataset.name} with steps")


def _learn(
    step: HistMatch, earlier: Steps, channel: int, dataset: Dataset, cases: Iterable[Case]
) -> tuple[float, ...]:
    """Return the mean landmarks of the cases after the earlier steps."""
    found = []
    for case in cases:
        image = dataset.load_image(case).canonical()[0].channel_last()[..., channel]
        marks = landmarks_of(apply_steps(image.astype(np.float32), earlier), step.percentiles)
        if marks[0] == marks[-1]:
            raise DataError(
                f"case {case.id}: hist_match learns landmarks from images that are not constant; "
                f"all of channel {dataset.modalities[channel]} above its mean is {marks[0]:g}. "
                "Remove the case or the step."
            )
        found.append((marks - marks[0]) / (marks[-1] - marks[0]) * STANDARD)
    mean: NDArray[np.float64] = np.mean(found, axis=0)
    return tuple(float(f"{mark:.6g}") for mark in mean)
