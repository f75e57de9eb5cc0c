"""What is measured of every case, chosen by the names of metrics, regions and a protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from tfseg.errors import ConfigError, unknown_name
from tfseg.evaluation.document import VOLUMES
from tfseg.metrics.challenges import Protocol
from tfseg.metrics.options import DEFAULT_OPTIONS, MetricOptions
from tfseg.metrics.registry import METRICS, metric_info

# Dice comes first and is always measured: cases are ranked by it.
DEFAULT_METRICS = ("dice", "jaccard", "precision", "sensitivity", "hd95", "assd", "nsd")
ALL_METRICS = "all"

_ALWAYS = (*VOLUMES, "volume")  # columns that every table has, under one name or the other

# What can be measured of one case. The registry's other metrics are of a whole set of cases, of
# contours, or of networks.
_PER_CASE = ("class", "lesion", "probability", "image")


@dataclass(frozen=True)
class Measures:
    """What is measured of every case, and by which rules.

    Attributes:
        metrics: ids of :data:`tfseg.metrics.METRICS` of the levels class, lesion and
            probability, measured of every foreground class and region; Dice among them. The
            volumes of :data:`tfseg.evaluation.VOLUMES` come in addition.
        image: ids of the level image, measured once a case.
        options: rules for empty maps, tolerance and percentiles.
        regions: name -> the label values it unites, measured in addition to the classes.
        protocol: measures in place of all of the above.
    """

    metrics: tuple[str, ...] = DEFAULT_METRICS
    image: tuple[str, ...] = ()
    options: MetricOptions = DEFAULT_OPTIONS
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    protocol: Protocol | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every metric that a class may have, in the order of columns, the volumes last."""
        if self.protocol is not None:
            return self.protocol.columns
        return (*self.metrics, *VOLUMES)

    @property
    def rules(self) -> dict[str, Any]:
        """The options that the values are made by, as JSON has them: lists, no tuples."""
        options = self.options if self.protocol is None else self.protocol.options
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(options).items()
        }

    @property
    def wants_probabilities(self) -> bool:
        """Whether a metric is measured on probabilities, if there are any."""
        return any(METRICS[name].level == "probability" for name in self.columns)

    def class_options(self, classes: int) -> MetricOptions:
        """Return the rules for ``classes`` foreground classes: theirs of several tolerances."""
        return self._with_tolerances(slice(classes))

    def region_options(self, classes: int) -> MetricOptions:
        """Return the rules for the regions, whose tolerances come after the classes'."""
        return self._with_tolerances(slice(classes, None))

    def _with_tolerances(self, part: slice) -> MetricOptions:
        if not isinstance(self.options.tolerance_mm, tuple):
            return self.options
        return replace(self.options, tolerance_mm=self.options.tolerance_mm[part])

    def of_level(self, level: str) -> tuple[str, ...]:
        """Return the ids in :attr:`metrics` that have a level of the registry."""
        return tuple(name for name in self.metrics if METRICS[name].level == level)


DEFAULT_MEASURES = Measures()


def choose(
    labels: Sequence[str],
    *,
    metrics: str | None = None,
    regions: Iterable[str] = (),
    protocol: Protocol | None = None,
    options: MetricOptions = DEFAULT_OPTIONS,
    probabilities: bool = False,
) -> Measures:
    """Turn the names on a command line into what is to be measured.

    Args:
        labels: of the data set, background first.
        metrics: ids with commas between them, or ``all``; ``None`` for the defaults.
        regions: texts such as ``whole=1+2``, also several with commas between them.
        protocol: a challenge's protocol; it chooses everything else.
        options: rules for empty maps, tolerance and percentiles.
        probabilities: whether there are any; ``all`` includes metrics of them then.

    Raises:
        ConfigError: a name that does not exist or cannot be measured of a case, a region that
            is not well-formed, a protocol with other choices or for other labels.
    """
    if protocol is not None:
        given = [
            what for what, value in (("--metrics", metrics), ("--regions", tuple(regions))) if value
        ]
        given += [
            f"--{rule.name.removesuffix('_mm').replace('_', '-')}"
            for rule in fields(MetricOptions)
            if getattr(options, rule.name) != rule.default
        ]
        if given:
            raise ConfigError(
                f"a protocol fixes metrics, regions and rules; got --protocol {protocol.name} "
                f"with {', '.join(given)}. Leave one of them out."
            )
        protocol.check_labels(len(labels))
        return Measures(protocol=protocol)
    chosen = _metrics(metrics, probabilities)
    measured = Measures(
        metrics=tuple(name for name in chosen if METRICS[name].level != "image"),
        image=tuple(name for name in chosen if METRICS[name].level == "image"),
        options=options,
        regions=_regions(regions, labels),
    )
    _check_tolerances(options, len(labels) - 1 + len(measured.regions))
    return measured


def _check_tolerances(options: MetricOptions, count: int) -> None:
    if isinstance(options.tolerance_mm, tuple) and len(options.tolerance_mm) != count:
        raise ConfigError(
            f"--tolerance must be one length, or one for every class and then every region, "
            f"which are {count}; got {len(options.tolerance_mm)}."
        )


def _metrics(text: str | None, probabilities: bool) -> tuple[str, ...]:
    if text is None:
        return DEFAULT_METRICS
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"--metrics needs names with commas between them; got {text!r}.")
    if names == [ALL_METRICS]:
        levels = [level for level in _PER_CASE if level != "probability" or probabilities]
        names = [name for name, info in METRICS.items() if info.level in levels]
    for name in names:
        if name not in METRICS:
            measurable = [n for n, info in METRICS.items() if info.level in _PER_CASE]
            raise unknown_name("metric", name, [*measurable, ALL_METRICS])
        level = metric_info(name).level
        if level not in _PER_CASE:
            raise ConfigError(
                f"--metrics takes metrics of single cases; {name} is measured of a {level} "
                f"(tfseg metrics {name} tells more). Leave it out."
            )
    return tuple(dict.fromkeys(("dice", *(name for name in names if name not in _ALWAYS))))


def _regions(texts: Iterable[str], labels: Sequence[str]) -> dict[str, tuple[int, ...]]:
    regions: dict[str, tuple[int, ...]] = {}
    for text in (part for given in texts for part in given.split(",")):
        name, equals, union = (part.strip() for part in text.partition("="))
        if not (name and equals and union):
            raise ConfigError(
                f"a region must be written NAME=1+2, with label values; got {text!r}."
            )
        if name in labels or name in regions:
            raise ConfigError(f"a region needs a name of its own; there are two {name!r}.")
        regions[name] = tuple(
            sorted({_label(part.strip(), name, labels) for part in union.split("+")})
        )
    return regions


def _label(text: str, region: str, labels: Sequence[str]) -> int:
    """Return the foreground label value that a part of a region's union names."""
    if text.isdecimal() and 0 < int(text) < len(labels):
        return int(text)
    if text in labels[1:]:
        return labels.index(text)
    known = ", ".join(f"{value} {name}" for value, name in enumerate(labels) if value)
    raise ConfigError(
        f"region {region!r} must unite labels of the data set ({known}); got {text!r}."
    )
