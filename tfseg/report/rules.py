"""The rules behind an evaluation's figures, in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tfseg.evaluation import Metrics
from tfseg.metrics.challenges import PROTOCOLS


@dataclass(frozen=True)
class _Rule:
    """An option of the measurement.

    Attributes:
        what: it is about.
        words: what each of its values means; another value is shown as it is.
        only_for: the one metric it matters to, or nothing.
    """

    what: str
    words: dict[Any, str] = field(default_factory=dict)
    only_for: str = ""


_LEFT_OUT = "not defined: counted, and left out of the figures"
_RULES = {
    "both_empty": _Rule(
        "Class that neither map has",
        {"perfect": "counts as found: overlaps are 1, distances 0", "nan": _LEFT_OUT},
    ),
    "empty_distance": _Rule(
        "Distance to a class that only one map has",
        {
            "nan": _LEFT_OUT,
            "inf": "infinite: counts for the median; no mean is given",
            "diag": "the diagonal of the scan",
        },
    ),
    "hd_mode": _Rule(
        "95th percentile of the surface distances",
        {
            "max": "of each direction; the larger of the two",
            "pooled": "of the distances of both directions together",
        },
        only_for="hd95",
    ),
    "tolerance_mm": _Rule("Tolerance of the NSD", only_for="nsd"),
    "sa_mode": _Rule(
        "Segmentation accuracy counts",
        {
            "symdiff": "the voxels on which the maps differ",
            "area": "the difference of the two sizes",
        },
        only_for="sa",
    ),
}
_STATISTICS = (
    ("95 % interval", "of the mean: percentile bootstrap over the cases, with a fixed seed"),
    ("SD", "standard deviation of the sample (n \N{MINUS SIGN} 1)"),
    ("Quartiles", "interpolated linearly"),
    (
        "Limits of agreement",
        "bias ± 1.96 SD of the differences; cases without the class are left out",
    ),
)


def rules_in_words(metrics: Metrics) -> list[tuple[str, str]]:
    """Return the rules that matter to an evaluation's metrics as (what, how)."""
    rules = []
    for option, value in metrics.options.items():
        rule = _RULES.get(option, _Rule(option.replace("_", " ")))
        if rule.only_for and rule.only_for not in metrics.metrics:
            continue
        if option == "tolerance_mm":
            rules.append((rule.what, _lengths(metrics, value)))
        else:
            rules.append((rule.what, rule.words.get(value, str(value))))
    if metrics.distance_unit == "px":
        rules.append(("Units", "pixels (px) and thousands of them (kpx): photographs have no mm"))
    return [*rules, *_STATISTICS]


def protocol_title(metrics: Metrics) -> str:
    """Return the title of the protocol that an evaluation followed, or nothing without one."""
    known = PROTOCOLS.get(metrics.protocol or "")
    return known.title if known else metrics.protocol or ""


def _lengths(metrics: Metrics, value: Any) -> str:
    """Write a tolerance, or one for each class and region."""
    unit = metrics.distance_unit
    if not isinstance(value, (list, tuple)):
        return f"{value:g} {unit}"
    pairs = zip(metrics.classes, value, strict=False)  # without cases there are no classes
    return ", ".join(f"{name}: {length:g} {unit}" for name, length in pairs)
