"""The history file of a run."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfseg.files import write_text


def write_history(folder: Path, history: Sequence[Mapping[str, float | int | None]]) -> None:
    """Write ``history.csv``, one row an epoch; what was not measured stays empty."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for record in history for name in record))
    table = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    write_text(folder / "history.csv", text.getvalue())
