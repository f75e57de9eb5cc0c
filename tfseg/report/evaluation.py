"""The page of an evaluation, ``evaluation.html``: every figure, plot and picture of it.

Here is chosen what the page says; the template ``evaluation.html`` says how it looks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfseg.evaluation import Comparison, Difference, Metrics
from tfseg.files import write_text
from tfseg.report import panels
from tfseg.report.columns import Column, column, columns, number
from tfseg.report.render import render_page
from tfseg.report.rules import protocol_title, rules_in_words

EVALUATION_FILE = "evaluation.html"


def write_evaluation(
    metrics: Metrics,
    path: str | os.PathLike[str],
    *,
    comparison: Comparison | None = None,
    pictures: Sequence[tuple[str, bytes]] = (),
    colours: Mapping[str, tuple[int, int, int]] | None = None,
    command: str = "",
) -> Path:
    """Write the page of an evaluation.

    Args:
        metrics: of all cases.
        path: of the file to write.
        comparison: with another evaluation of the same cases.
        pictures: (case, PNG file) of the worst cases, worst first.
        colours: class to the RGB colour (0-255) that the pictures show it in.
        command: how to make this evaluation again, as typed.

    Returns:
        ``path``. The same arguments give the same bytes.

    Raises:
        DataError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    shown = columns(metrics, metrics.metrics)
    scores = [one for one in shown if not one.is_volume]
    rows = {row.case: row for row in metrics.per_case}
    page = render_page(
        "evaluation.html",
        metrics=metrics,
        protocol=protocol_title(metrics),
        columns=shown,
        scores=scores,
        image_columns=columns(metrics, metrics.image),
        colours=colours or {},
        facts=_facts(metrics),
        distribution=panels.distribution(metrics),
        boxes=panels.boxes(metrics, scores),
        agreement=panels.agreement(metrics),
        pictures=[(case, png, rows.get(case)) for case, png in pictures],
        comparison=comparison,
        differences=_differences(metrics, comparison),
        forests=panels.forests(metrics, comparison) if comparison else [],
        worst={one.metric: _worst(metrics, one) for one in scores},
        rules=rules_in_words(metrics),
        command=command,
    )
    write_text(path, page)
    return path


def _facts(metrics: Metrics) -> list[tuple[str, str]]:
    """Return the headline figures as (what, value)."""
    values = [row.mean_dice for row in metrics.per_case if row.mean_dice is not None]
    asked = metrics.cases + len(metrics.failed) + len(metrics.missing)
    counted = str(metrics.cases) if asked == metrics.cases else f"{metrics.cases} of {asked}"
    facts = [("mean foreground Dice", number(metrics.mean_dice, 3)), ("cases measured", counted)]
    if len(values) > 1:
        facts.append(("Dice of the median case", number(float(np.median(values)), 3)))
        facts.append(("Dice of the worst case", number(min(values), 3)))
    return facts


def _worst(metrics: Metrics, one: Column) -> dict[str, float]:
    """Return class -> the worst value of a metric; nothing is the worst of one case."""
    if len(metrics.per_case) < 2:
        return {}
    found = {
        name: [v for row in metrics.per_case if (v := row.scores[name].get(one.metric)) is not None]
        for name in metrics.classes
    }
    return {name: max(values, key=one.badness) for name, values in found.items() if values}


def _differences(
    metrics: Metrics, comparison: Comparison | None
) -> dict[str, list[tuple[Column, Difference]]]:
    """Return class -> (how a metric is shown, its difference), what is of all classes first."""
    if comparison is None:
        return {}
    rows = {
        "all classes": {"dice": comparison.mean_dice},
        **comparison.differences,
        "whole image": comparison.image,
    }
    return {
        name: [(column(m, metrics.distance_unit), difference) for m, difference in found.items()]
        for name, found in rows.items()
        if found
    }
