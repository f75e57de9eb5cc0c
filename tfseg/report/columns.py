"""How metrics are shown: their headings, units and digits, and numbers as text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tfseg.evaluation import VOLUMES, ClassSummary, Metrics, Statistic
from tfseg.metrics.registry import MetricInfo, metric_info

NOTHING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_DIGITS = {"": 3, "mm": 2, "ml": 2, "%": 1}
# How the field writes the ids that are not simply words.
_NAMES = {
    "voe": "VOE", "gmean": "G-mean", "mcc": "MCC", "sa": "SA", "or_rate": "OR", "ur_rate": "UR",
    "pixel_acc": "Pixel accuracy", "mean_acc": "Mean accuracy", "mean_iou": "Mean IoU",
    "fw_iou": "Frequency-weighted IoU", "kappa_image": "Kappa of the image", "hd95": "HD95",
    "assd": "ASSD", "asd_to_prediction": "ASD to prediction", "ahd": "AHD",
    "asd_to_reference": "ASD to reference", "msd": "MSD", "rmsd": "RMSD", "nsd": "NSD",
    "reference_ml": "Reference volume", "prediction_ml": "Predicted volume",
    "volume_diff": "Volume difference", "avd": "AVD", "rvd": "RVD", "arvd": "ARVD",
    "lesion_sens": "Lesion sensitivity", "lesion_f1": "Lesion F1", "fp_per_scan": "FP per scan",
    "auc_roc": "ROC AUC", "auc_pr": "PR AUC", "otsu_dice": "Dice at Otsu's threshold",
    "promise_score": "PROMISE score",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A metric as a table or plot shows it.

    Attributes:
        info: its row of the registry.
        name: as the field writes it.
        unit: empty for a share.
        digits: after the point.
    """

    info: MetricInfo
    name: str
    unit: str
    digits: int

    @property
    def metric(self) -> str:
        """The metric's id."""
        return self.info.name

    @property
    def heading(self) -> str:
        """The name with the unit, if there is one."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def is_volume(self) -> bool:
        """Whether this is how much there is rather than how good it is."""
        return self.metric in VOLUMES

    def badness(self, value: float) -> float:
        """Return what is larger the worse a value is."""
        return {"higher": -value, "lower": value, "near0": abs(value)}[self.info.better]

    def write(self, value: float | None) -> str:
        """Return a value as text."""
        return number(value, self.digits)


def columns(metrics: Metrics, names: Iterable[str]) -> list[Column]:
    """Return the columns of the metrics ``names`` in an evaluation's unit of length.

    Raises:
        ConfigError: the registry has no such metric.
    """
    return [column(name, metrics.distance_unit) for name in names]


def column(metric: str, distance_unit: str) -> Column:
    """Return how a metric is shown.

    Args:
        metric: an id of the registry.
        distance_unit: ``mm`` or ``px``. Photographs have areas instead of volumes: a pixel
            counts as a cubic millimetre, so what is stored as 1 ml is 1000 pixels (1 kpx).

    Raises:
        ConfigError: the registry has no such metric.
    """
    info = metric_info(metric)
    plain = metric.replace("_", " ")
    name = _NAMES.get(metric, plain[:1].upper() + plain[1:])
    unit: str = info.unit
    if distance_unit == "px":
        unit = {"mm": "px", "ml": "kpx"}.get(unit, unit)
        name = name.replace("volume", "area").replace("Volume", "Area")
    return Column(info, name, unit, _DIGITS.get(info.unit, 2))


def is_measured(summary: ClassSummary, metric: str) -> bool:
    """Tell whether a metric was measured of a class: a protocol may treat each its own way."""
    statistic = summary.metrics.get(metric)
    return statistic is not None and statistic.n + statistic.undefined > 0


def number(value: float | None, digits: int) -> str:
    """Format a number; nothing is a dash."""
    return NOTHING if value is None else f"{value:.{digits}f}".replace("-", _MINUS)


def signed(value: float | None, digits: int) -> str:
    """Format a number with its sign, plus too; nothing is a dash."""
    return NOTHING if value is None else f"{value:+.{digits}f}".replace("-", _MINUS)


def spread(statistic: Statistic, digits: int) -> str:
    """Format mean ± SD; one case has no SD, none has a dash."""
    if statistic.mean is None:
        return "\N{INFINITY}" if statistic.infinite else NOTHING
    deviation = "" if statistic.sd is None else f" ± {statistic.sd:.{digits}f}"
    return f"{number(statistic.mean, digits)}{deviation}"


def interval(low: float | None, high: float | None, digits: int) -> str:
    """Format an interval; one without both ends is a dash."""
    if low is None or high is None:
        return NOTHING
    return f"{number(low, digits)} to {number(high, digits)}"


def p_value(p: float | None) -> str:
    """Format a p value: three digits, and not smaller than they can say."""
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def exceptions(statistic: Statistic) -> str:
    """Say how many values a statistic lacks and how many are infinite, or nothing."""
    counts = ((statistic.undefined, "undefined"), (statistic.infinite, "infinite"))
    return ", ".join(f"{count} {words}" for count, words in counts if count)
