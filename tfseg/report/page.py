"""The page of a run, ``report.html``: how it trained, how good it is, how it was set up."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tfseg.artifact import Manifest
from tfseg.errors import DataError
from tfseg.evaluation import METRICS_FILE, Metrics
from tfseg.files import read_json, write_text
from tfseg.pipeline.picture import PATCHES_FILE
from tfseg.report.columns import columns, number
from tfseg.report.curves import History, curves_png
from tfseg.report.evaluation import EVALUATION_FILE
from tfseg.report.render import render_page

REPORT_FILE = "report.html"
PICTURES_FOLDER = "pictures"
_MANIFEST_FILE = "manifest.json"


def write_report(run_folder: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    The manifest must be there. The history, the metrics, the configuration and the pictures
    are shown where they are.

    Raises:
        DataError: no run folder, or one of its files is damaged; the message names it.
        ConfigError: the manifest is not valid.
    """
    run = Path(run_folder)
    if not run.is_dir():
        raise DataError(f"there is no run folder {run}. Train first, or name another.")
    page = render(run)
    target = run / REPORT_FILE
    write_text(target, page)
    return target


def render(run: Path) -> str:
    """Return the page of a run folder; see :func:`write_report`."""
    manifest = Manifest.load(run, _MANIFEST_FILE)
    history = _optional(run / "history.csv", History.load)
    metrics = _optional(run / METRICS_FILE, Metrics.load)
    config = _optional(run / "config.json", lambda path: read_json(path, "the configuration"))
    plan = manifest.plan.model_dump(mode="json")
    shown = columns(metrics, metrics.metrics) if metrics else []
    return render_page(
        "report.html",
        name=run.resolve().name,
        manifest=manifest,
        metrics=metrics,
        columns=shown,
        dice=next((one for one in shown if one.metric == "dice"), None),
        evaluation_file=EVALUATION_FILE if (run / EVALUATION_FILE).exists() else None,
        colours=manifest.colours,
        facts=_facts(manifest, metrics, history),
        curves=curves_png(history, manifest.plan.labels) if _drawable(history) else None,
        patches=_optional(run / PATCHES_FILE, Path.read_bytes),
        pictures=_pictures(run / PICTURES_FOLDER),
        sections=[
            (title, _rows(document))
            for title, document in (
                ("Plan", plan),
                ("Network options", manifest.config),
                ("Configuration", config),
                ("Versions", manifest.versions),
            )
            if document
        ],
    )


def _optional(path: Path, load: Any) -> Any:
    return load(path) if path.exists() else None


def _drawable(history: History | None) -> bool:
    return history is not None and bool(history.points("loss")[0])


def _facts(
    manifest: Manifest, metrics: Metrics | None, history: History | None
) -> list[tuple[str, str]]:
    """Return the headline figures as (what, value)."""
    facts = []
    if metrics is not None:
        facts.append(("mean foreground Dice", number(metrics.mean_dice, 3)))
        if metrics.empty:
            there = number(metrics.mean_dice_where_present, 3)
            facts.append(("mean Dice where the class is", there))
            facts.append(("cases without any class", f"{metrics.empty} of {metrics.cases}"))
        facts.append(("cases measured", str(metrics.cases)))
    if validation := manifest.training.get("validation"):
        seen = f"pooled Dice {validation['dice']:.3f} in {validation['cases']} cases"
        facts.append(("last validation", f"{seen}, epoch {validation['epoch']}"))
        if validation["chose"] != "nothing":
            facts.append(("validation cases chose", validation["chose"]))
    if history is not None:
        steps, seconds = history.last("step"), history.last("seconds")
        if steps is not None:
            facts.append(("training steps", f"{steps:,.0f}"))
        if seconds is not None:
            facts.append(("training time", _duration(seconds)))
    patch = " x ".join(str(size) for size in manifest.plan.patch_size)
    facts.append(("patch", f"{patch} voxels" if manifest.plan.dims == 3 else f"{patch} pixels"))
    if manifest.plan.spacing_mm is not None:
        spacing = " x ".join(f"{mm:.3g}" for mm in manifest.plan.spacing_mm)
        facts.append(("voxel size", f"{spacing} mm"))
    return facts


def _duration(seconds: float) -> str:
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole:02d} s" if minutes else f"{whole} s"


def _pictures(folder: Path) -> list[tuple[str, bytes]]:
    """Return (case, PNG file) of every picture, in the order of their names."""
    return [(path.stem, path.read_bytes()) for path in sorted(folder.glob("*.png"))]


def _rows(document: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Flatten a JSON object to (dotted key, value) rows; lists of plain values stay one row."""
    if isinstance(document, dict) and document:
        return [row for key, value in document.items() for row in _rows(value, f"{prefix}{key}.")]
    if isinstance(document, list) and any(isinstance(entry, dict) for entry in document):
        return [row for i, entry in enumerate(document) for row in _rows(entry, f"{prefix}{i}.")]
    if isinstance(document, list):
        text = ", ".join(map(_plain, document))
    else:
        text = _plain(document)
    return [(prefix.removesuffix("."), text)]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
