"""The history of a training run: reading ``history.csv`` and drawing it."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfseg.artifact import label_colour
from tfseg.errors import DataError

_REQUIRED = ("step", "loss")
_CLASS_PREFIX = "val_dice_"
_INK, _GRID, _ACCENT = "#1d2733", "#dde3e8", "#0b62a4"
_DPI = 110


@dataclass(frozen=True)
class History:
    """What ``history.csv`` holds, column by column; ``None`` where nothing was measured."""

    columns: dict[str, list[float | None]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Read the file.

        Raises:
            DataError: missing, unreadable, without its columns, or a cell that is no number.
        """
        path = Path(path)
        try:
            rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        except FileNotFoundError:
            raise DataError(f"the history is missing: there is no file {path}.") from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"the history cannot be read: {path}: {error}.") from error
        names = rows[0] if rows else []
        absent = [name for name in _REQUIRED if name not in names]
        if absent:
            raise DataError(f"{path}: the history needs a column {absent[0]!r}; got {names}.")
        columns: dict[str, list[float | None]] = {name: [] for name in names}
        for line, row in enumerate(rows[1:], start=2):
            if len(row) != len(names):
                raise DataError(
                    f"{path}, line {line}: needs {len(names)} cells, as the header has; "
                    f"got {len(row)}."
                )
            for name, cell in zip(names, row, strict=True):
                columns[name].append(_number(cell, f"{path}, line {line}, {name}"))
        return cls(columns)

    def last(self, name: str) -> float | None:
        """Return the last measured value of a column, or ``None``."""
        return next((v for v in reversed(self.columns.get(name, [])) if v is not None), None)

    def points(self, name: str) -> tuple[list[float], list[float]]:
        """Return (steps, values) where a column was measured."""
        pairs = [
            (step, value)
            for step, value in zip(self.columns["step"], self.columns.get(name, []), strict=False)
            if step is not None and value is not None and math.isfinite(value)
        ]
        return [step for step, _ in pairs], [value for _, value in pairs]


def _number(cell: str, where: str) -> float | None:
    if not cell.strip():
        return None
    try:
        return float(cell)
    except ValueError:
        raise DataError(f"{where}: must be a number or empty; got {cell!r}.") from None


def curves_png(history: History, labels: Sequence[str] = ()) -> bytes:
    """Draw the loss and the validation Dice over the training steps.

    Args:
        history: of the run.
        labels: names of the label values, which choose the colours the overlays use.

    Returns:
        A PNG file; the Dice panel is left out where nothing was validated.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    classes = [name for name in history.columns if name.startswith(_CLASS_PREFIX)]
    validated = bool(history.points("val_dice")[0])
    figure = Figure(figsize=(11 if validated else 5.6, 3.4), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2 if validated else 1, squeeze=False)[0]
    _plot(panels[0], *history.points("loss"), _ACCENT, 1.6)
    _style(panels[0], "training loss")
    if validated:
        for name in classes:
            label = name.removeprefix(_CLASS_PREFIX)
            value = list(labels).index(label) if label in labels else classes.index(name) + 1
            colour = tuple(c / 255 for c in label_colour(value))
            _plot(panels[1], *history.points(name), colour, 1.2, label)
        _plot(panels[1], *history.points("val_dice"), _INK, 2.2, "mean")
        panels[1].set_ylim(0, 1)
        _style(panels[1], "validation Dice")
        panels[1].legend(frameon=False, fontsize=8, labelcolor=_INK, loc="lower right", ncol=2)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _plot(
    axes: Any, steps: list[float], values: list[float], colour: Any, width: float, label: str = ""
) -> None:
    # A single measurement has no line: show it as a point.
    marker = "o" if len(steps) < 2 else ""
    axes.plot(
        steps, values, color=colour, lw=width, marker=marker, label=label or "_", zorder=width + 2
    )


def _style(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=_INK)
    axes.set_xlabel("step", fontsize=9, color=_INK)
    axes.grid(color=_GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=8, colors=_INK, length=0)
    axes.margins(x=0.02)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
