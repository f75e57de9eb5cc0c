"""``tfseg evaluate``: how good a run, an exported model or a folder of predictions is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfseg.cli.console import note, print_json, print_table, track
from tfseg.errors import DataError, TfsegError

if TYPE_CHECKING:
    from tfseg.evaluation import Evaluation, Metrics, Outcome, Statistic

_WORST_SHOWN = 5


@click.command()
@click.argument(
    "target", required=False, metavar="[RUN|PREDICTIONS]", type=click.Path(path_type=Path)
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Data set with the references; a run knows its own.",
)
@click.option(
    "--all-cases",
    is_flag=True,
    help="Measure a model on every labelled case, not only on those held out from its training.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where metrics.json, cases.csv and pictures go; a run keeps its own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON document.")
def evaluate(
    target: Path | None, data: Path | None, all_cases: bool, output: Path | None, as_json: bool
) -> None:
    """Measure predictions against reference labels.

    TARGET is a run folder (its held-out fold is predicted; default runs/latest), an exported
    model, or a folder of label maps named like the cases of --data.
    """
    from tfseg.evaluation import is_run, open_evaluation
    from tfseg.runs import LATEST

    if target is None:
        if not LATEST.exists():
            raise DataError(
                f"no run is named and there is no {LATEST}. Train one, or name a run folder, an "
                "exported model or a folder of predictions."
            )
        target = LATEST
    folder = output if output is not None else target if is_run(target) else None
    if folder is not None:
        _check_folder(folder)
    metrics = _measure(open_evaluation(target, data, all_cases=all_cases), folder)
    if as_json:
        print_json(metrics.model_dump(mode="json"))
    else:
        _print(metrics)
    if metrics.failed:
        raise TfsegError(
            f"{len(metrics.failed)} of {metrics.cases + len(metrics.failed)} cases could not be "
            f"evaluated: {', '.join(failure.case for failure in metrics.failed)}."
        )


def measure(run: Path, *, quiet: bool) -> Metrics:
    """Measure a run's held-out fold, keep figures and pictures in it, print them unless quiet."""
    from tfseg.evaluation import open_evaluation

    metrics = _measure(open_evaluation(run), run)
    if not quiet:
        _print(metrics)
    return metrics


def _measure(evaluation: Evaluation, folder: Path | None) -> Metrics:
    """Evaluate, keep figures and pictures in ``folder`` if there is one, name what is missing."""
    from tfseg.evaluation import save_metrics

    outcome = evaluation.run(lambda cases: track(cases, "evaluating"))
    metrics = outcome.metrics()
    if folder is not None:
        save_metrics(metrics, folder)
        _save_pictures(outcome, folder)
    for failure in metrics.failed:
        note(f"failed: {failure.error}")
    if metrics.missing:
        note(f"no prediction for {len(metrics.missing)} cases: {', '.join(metrics.missing)}")
    if metrics.unmatched:
        note(f"no case for {len(metrics.unmatched)} files: {', '.join(metrics.unmatched)}")
    return metrics


def _check_folder(folder: Path) -> None:
    """Refuse an output folder that cannot be written before hours of prediction, not after."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise DataError(
            f"results must go into a folder that can be written; {existing} cannot. "
            "Choose another with -o."
        )


def _save_pictures(outcome: Outcome, folder: Path) -> None:
    """Write a picture of each of the worst cases, in place of an earlier evaluation's."""
    from tfseg.files import atomic_path
    from tfseg.report import PICTURES_FOLDER, overlay_png
    from tfseg.volume import Volume

    dataset = outcome.evaluation.dataset
    with atomic_path(folder / PICTURES_FOLDER) as pictures:
        pictures.mkdir()
        for rank, (case, prediction, mean_dice) in enumerate(outcome.worst, start=1):
            image = dataset.read_image(case)
            modality = image.modality or dataset.modalities[0]
            png = overlay_png(
                Volume(image.array, image.affine, modality),
                prediction,
                dataset.read_label(case),
                labels=dataset.labels,
                title=f"{case.id}: mean Dice {mean_dice:.3f}",
            )
            (pictures / f"{rank}-{case.id}.png").write_bytes(png)


def _print(metrics: Metrics) -> None:
    unit = metrics.distance_unit
    mean = "-" if metrics.mean_dice is None else f"{metrics.mean_dice:.3f}"
    classes = metrics.classes
    columns = {
        "class": list(classes),
        "Dice": [_spread(summary.metrics["dice"], 3) for summary in classes.values()],
        "Jaccard": [_spread(summary.metrics["jaccard"], 3) for summary in classes.values()],
        f"HD95 {unit}": [_spread(summary.metrics["hd95"], 2) for summary in classes.values()],
    }
    # Counts of exceptions: shown where there are any.
    absent = [summary.absent for summary in classes.values()]
    if any(absent):
        columns["absent"] = [str(count) for count in absent]
    undefined = [summary.metrics["hd95"].undefined for summary in classes.values()]
    if any(undefined):
        columns["no HD95"] = [str(count) for count in undefined]
    counted = "1 case" if metrics.cases == 1 else f"{metrics.cases} cases"
    # Above the table rather than as its title, which is wrapped to the table's width.
    click.echo(f"{metrics.data}, {metrics.source}: {counted}, mean foreground Dice {mean}")
    print_table(
        "",
        list(columns),
        list(zip(*columns.values(), strict=True)),
    )
    if metrics.cases > 1:
        print_table(
            "Worst cases (Dice)",
            ["case", "mean", *metrics.classes],
            [
                (
                    row.case,
                    f"{row.mean_dice:.3f}",
                    *(f"{scores['dice']:.3f}" for scores in row.scores.values()),
                )
                for row in metrics.per_case[:_WORST_SHOWN]
            ],
        )


def _spread(statistic: Statistic, digits: int) -> str:
    if statistic.mean is None:
        return "-"
    spread = "" if statistic.sd is None else f" ± {statistic.sd:.{digits}f}"
    return f"{statistic.mean:.{digits}f}{spread}"
