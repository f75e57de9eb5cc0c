"""The files of an evaluation: JSON for programs, CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfseg.evaluation.document import COMPARISON_FILE, METRICS_FILE, Comparison, Metrics
from tfseg.files import write_json, write_text

CASES_FILE = "cases.csv"
SUMMARY_FILE = "summary.csv"

_STATISTICS = (
    "mean", "sd", "median", "q1", "q3", "ci_low", "ci_high", "n", "undefined", "infinite",
)  # fmt: skip


def save_metrics(metrics: Metrics, folder: str | os.PathLike[str]) -> None:
    """Write ``metrics.json``, ``cases.csv`` and ``summary.csv`` into ``folder``.

    ``cases.csv`` has a row a case and class with a column a metric; ``summary.csv`` a row a
    class and metric with a column a statistic, and, without a class, one a metric of the whole
    image. An empty field is a value that is not defined, or infinite.
    """
    folder = Path(folder)
    write_text(
        folder / CASES_FILE,
        _csv(
            ["case", "class", *metrics.metrics],
            (
                [row.case, name, *(_text(scores[metric]) for metric in metrics.metrics)]
                for row in metrics.per_case
                for name, scores in row.scores.items()
            ),
        ),
    )
    figures = {name: summary.metrics for name, summary in metrics.classes.items()}
    write_text(
        folder / SUMMARY_FILE,
        _csv(
            ["class", "metric", *_STATISTICS],
            (
                [name, metric, *(_text(getattr(statistic, field)) for field in _STATISTICS)]
                for name, found in {**figures, "": metrics.image}.items()
                for metric, statistic in found.items()
            ),
        ),
    )
    write_json(folder / METRICS_FILE, metrics.model_dump(mode="json"))


def save_comparison(comparison: Comparison, folder: str | os.PathLike[str]) -> None:
    """Write ``comparison.json`` into ``folder``."""
    write_json(Path(folder) / COMPARISON_FILE, comparison.model_dump(mode="json"))


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
