"""The list of metrics: ids, formulas, units, empty rules, sources.

``tfseg metrics`` prints it. The rows stand in ``rows_<family>.py``, grouped; this module joins
them and imports no NumPy.
"""

from __future__ import annotations

from tfseg.errors import unknown_name
from tfseg.metrics.info import MetricInfo
from tfseg.metrics.rows_cases import (
    CHALLENGE_ROWS,
    CLINICAL_ROWS,
    COST_ROWS,
    DETECTION_ROWS,
    PROBABILITY_ROWS,
    STATISTIC_ROWS,
)
from tfseg.metrics.rows_maps import IMAGE_ROWS, OVERLAP_ROWS, SIZE_ROWS, SURFACE_ROWS

__all__ = ["METRICS", "MetricInfo", "metric_info"]

_ROWS = (
    *OVERLAP_ROWS,
    *IMAGE_ROWS,
    *SURFACE_ROWS,
    *SIZE_ROWS,
    *DETECTION_ROWS,
    *PROBABILITY_ROWS,
    *CLINICAL_ROWS,
    *CHALLENGE_ROWS,
    *STATISTIC_ROWS,
    *COST_ROWS,
)

METRICS: dict[str, MetricInfo] = {row.name: row for row in _ROWS}
if len(METRICS) != len(_ROWS):
    raise RuntimeError("tfseg.metrics.registry: two metrics have one name")


def metric_info(name: str) -> MetricInfo:
    """Return a metric's row.

    Raises:
        ConfigError: there is none of that name; the message has the nearest.
    """
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]
