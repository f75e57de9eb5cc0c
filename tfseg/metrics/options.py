"""What a measurement leaves open: empty maps, the percentile's convention, the tolerance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tfseg.errors import ConfigError

EmptyDistance = Literal["nan", "inf", "diag"]
BothEmpty = Literal["perfect", "nan"]
HausdorffMode = Literal["max", "pooled"]
AgreementMode = Literal["symdiff", "area"]


@dataclass(frozen=True)
class MetricOptions:
    """The choices that change a metric's value; the defaults are those of most challenges.

    Attributes:
        empty_distance: a distance when exactly one of the two maps holds the class: ``nan``
            (left out of means, and counted), ``inf``, or ``diag``, the array's diagonal in mm.
        both_empty: what a class in neither map scores: ``perfect`` (ratios 1, errors and
            distances 0) or ``nan`` (left out of means, and counted).
        hd_mode: how a percentile joins the two directions: ``max``, the larger of the two
            directed percentiles (MONAI, DeepMind's surface-distance), or ``pooled``, the
            percentile of both sets of distances together (medpy). The maximum itself is the
            same in both.
        tolerance_mm: how far apart surfaces may be for ``nsd`` to call them equal; one length,
            or one for every foreground class.
        sa_mode: what segmentation accuracy counts as wrong: ``symdiff``, the voxels on which
            the maps differ, or ``area``, only the difference of the two sizes.

    Raises:
        ConfigError: a value is none of the above.
    """

    empty_distance: EmptyDistance = "nan"
    both_empty: BothEmpty = "perfect"
    hd_mode: HausdorffMode = "max"
    tolerance_mm: float | tuple[float, ...] = 1.0
    sa_mode: AgreementMode = "symdiff"

    def __post_init__(self) -> None:
        one_of("empty_distance", self.empty_distance, EmptyDistance)
        one_of("both_empty", self.both_empty, BothEmpty)
        one_of("hd_mode", self.hd_mode, HausdorffMode)
        one_of("sa_mode", self.sa_mode, AgreementMode)
        given = self.tolerance_mm if isinstance(self.tolerance_mm, tuple) else (self.tolerance_mm,)
        if not given or not all(math.isfinite(length) and length >= 0 for length in given):
            raise ConfigError(
                f"tolerance_mm must be a length of 0 mm or more, or one for every foreground "
                f"class; got {self.tolerance_mm}."
            )

    def tolerances_mm(self, count: int, what: str = "foreground class") -> tuple[float, ...]:
        """Return ``count`` tolerances in mm, one for every foreground class (or region).

        Raises:
            ConfigError: there are several, but not ``count``.
        """
        if not isinstance(self.tolerance_mm, tuple):
            return (float(self.tolerance_mm),) * count
        if len(self.tolerance_mm) != count:
            raise ConfigError(
                f"tolerance_mm must be one length, or one for every {what}, which are {count}; "
                f"got {len(self.tolerance_mm)}: {self.tolerance_mm}."
            )
        return self.tolerance_mm


def one_of(what: str, value: Any, choices: Any) -> None:
    """Raise ConfigError unless ``value`` is among the values of the Literal ``choices``."""
    if value not in get_args(choices):
        raise ConfigError(f"{what} must be one of {', '.join(get_args(choices))}; got {value!r}.")


DEFAULT_OPTIONS = MetricOptions()
