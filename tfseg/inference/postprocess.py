"""What is done to a label map after the network: pure functions, and their short text form.

    step = name [ "(" argument { "," argument } ")" ]

    largest_component             of each label only the largest component stays
    remove_small(mm3=50)          components of less than 50 mm3 go; voxels=20 counts voxels
    fill_holes                    background that a label encloses becomes that label

Arguments that are no ``name=number`` are the labels that the step is for: ``fill_holes(liver)``;
without, it is for each label but the background. Steps are done in their order, labels in theirs.
Voxels that share a face, an edge or a corner are connected; a hole is background from which no
way over faces leads out. What goes becomes background. Axes of one voxel do not count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tfseg.errors import ConfigError

LabelMap = NDArray[np.uint8]
_FORM = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*", re.DOTALL)


def largest_component(labels: LabelMap, value: int) -> LabelMap:
    """Return a label map (z, y, x) with the largest component of a label alone.

    Of equals the one whose first voxel comes first stays.
    """
    return _keep(labels, value, lambda counts: np.arange(len(counts)) == np.argmax(counts))


def remove_small(labels: LabelMap, value: int, voxels: float) -> LabelMap:
    """Return a label map (z, y, x) without the components of a label below so many voxels."""
    return _keep(labels, value, lambda counts: counts >= voxels)


def fill_holes(labels: LabelMap, value: int) -> LabelMap:
    """Return a label map (z, y, x) in which a label fills the background that it encloses.

    Other labels in the hole stay as they are.
    """
    result = labels.copy()
    for view in _box(result, value):
        view[ndimage.binary_fill_holes(view == value) & (view == 0)] = value
    return result


def _keep(
    labels: LabelMap, value: int, chosen: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
) -> LabelMap:
    """Keep the components of a label that are chosen by their numbers of voxels."""
    result = labels.copy()
    for view in _box(result, value):
        mask = view == value
        numbers, count = ndimage.label(mask, np.ones((3,) * view.ndim))
        counts = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
        kept = np.concatenate([[True], chosen(counts)])
        view[mask & ~kept[numbers]] = 0
    return result


def _box(labels: LabelMap, value: int) -> Iterator[LabelMap]:
    """Yield the part of a map that holds a label, without axes of one voxel, if there is one."""
    flat = labels.reshape([size for size in labels.shape if size > 1] or [1])
    (where,) = ndimage.find_objects((flat == value).view(np.uint8), max_label=1)
    if where is not None:
        yield flat[where]


@dataclass(frozen=True)
class Step:
    """One step; ``str`` of it is the text that it was read from, in its shortest form.

    Attributes:
        kind: one of :data:`KINDS`.
        labels: names of the labels it is for; none: all but the background.
        limits: what ``remove_small`` removes: ``mm3`` or ``voxels``.
    """

    kind: str
    labels: tuple[str, ...] = ()
    limits: dict[str, float] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        arguments = [f"{name}={limit:g}" for name, limit in self.limits.items()]
        text = ", ".join([*arguments, *self.labels])
        return f"{self.kind}({text})" if text else self.kind


KINDS = ("largest_component", "remove_small", "fill_holes")
_LIMITS = ("mm3", "voxels")


def parse_post(texts: Sequence[str], names: Sequence[str]) -> tuple[Step, ...]:
    """Read steps.

    Args:
        texts: one each.
        names: of the label values, the background first.

    Raises:
        ConfigError: no such step, label or limit; a limit that is missing or not above 0.
    """
    return tuple(_parse(text, names) for text in texts)


def _parse(text: str, names: Sequence[str]) -> Step:
    form = _FORM.fullmatch(text)
    if form is None or form[1] not in KINDS:
        raise ConfigError(
            f"post-processing is one of {', '.join(KINDS)}, such as remove_small(mm3=50) or "
            f"fill_holes({names[1]}); got {text!r}."
        )
    labels: list[str] = []
    limits: dict[str, float] = {}
    for argument in map(str.strip, (form[2] or "").split(",")):
        name, equals, given = (part.strip() for part in argument.partition("="))
        if argument in names[1:]:
            labels.append(argument)
        elif equals and name in _LIMITS and form[1] == "remove_small" and not limits:
            limits[name] = _limit(given, text)
        elif argument or form[2]:
            takes = "mm3=NUMBER or voxels=NUMBER, and " if form[1] == "remove_small" else ""
            raise ConfigError(
                f"{form[1]} takes {takes}labels of the model ({', '.join(names[1:])}); got "
                f"{argument!r} in {text!r}."
            )
    if form[1] == "remove_small" and not limits:
        raise ConfigError(
            f"remove_small must have mm3=NUMBER or voxels=NUMBER, the least that stays; got "
            f"{text!r}. Use remove_small(mm3=50)."
        )
    return Step(form[1], tuple(dict.fromkeys(labels)), limits)


def _limit(text: str, step: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigError(f"a limit must be a number above 0; got {text!r} in {step!r}.")
    return number


def postprocess(
    labels: LabelMap, steps: Sequence[Step], names: Sequence[str], spacing_mm: Sequence[float]
) -> LabelMap:
    """Return a label map (z, y, x) after all steps.

    Args:
        labels: left as it is.
        steps: from :func:`parse_post`.
        names: of the label values.
        spacing_mm: of the map.
    """
    voxel_mm3 = float(np.prod(spacing_mm))
    for step in steps:
        for name in step.labels or names[1:]:
            value = names.index(name)
            if step.kind == "largest_component":
                labels = largest_component(labels, value)
            elif step.kind == "fill_holes":
                labels = fill_holes(labels, value)
            else:
                (unit, limit), *_ = step.limits.items()
                # Rounding must not remove what has the limit exactly: 50 voxels of 0.1^3 mm.
                least = limit if unit == "voxels" else limit / voxel_mm3 * (1 - 1e-9)
                labels = remove_small(labels, value, least)
    return labels


def refuse_millimetres(steps: Sequence[Step], scan: Any) -> None:
    """Refuse limits in mm3 for a picture, whose format has no millimetres.

    Raises:
        ConfigError: there is one.
    """
    for step in steps:
        if "mm3" in step.limits:
            raise ConfigError(
                f"{scan}: a picture has no millimetres, which {step} counts. Use "
                "remove_small(voxels=NUMBER)."
            )
