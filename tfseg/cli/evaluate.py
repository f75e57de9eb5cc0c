"""``tfseg evaluate``: how good a run, an exported model or a folder of predictions is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfseg.cli.console import heard, note, print_json, share_bar
from tfseg.errors import ConfigError, DataError, TfsegError

if TYPE_CHECKING:
    from tfseg.evaluation import Comparison, Evaluation, Measures, Metrics, Outcome


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
    "--metrics",
    "metric_names",
    metavar="NAMES",
    help="Metrics with commas between them, or all; `tfseg metrics` lists them. "
    "[dice,jaccard,precision,sensitivity,hd95,assd,nsd]",
)
@click.option(
    "--tolerance",
    metavar="MM",
    help="How far surfaces may be apart for nsd; one for all, or one a class with commas. [1]",
)
@click.option(
    "--empty-distance",
    type=click.Choice(["nan", "inf", "diag"]),
    help="A distance where one of the two maps lacks the class: left out and counted, infinite, "
    "or the scan's diagonal. [nan]",
)
@click.option(
    "--both-empty",
    type=click.Choice(["perfect", "nan"]),
    help="What a class that neither map has scores: as a perfect prediction, or left out and "
    "counted. [perfect]",
)
@click.option(
    "--hd-mode",
    type=click.Choice(["max", "pooled"]),
    help="hd95 is the larger of the two directed percentiles, or that of both together. [max]",
)
@click.option(
    "--regions",
    multiple=True,
    metavar="NAME=1+2,...",
    help="Unions of labels to measure besides the classes, by value or name. Repeatable.",
)
@click.option(
    "--protocol",
    "protocol_name",
    metavar="NAME",
    help="Measure as a challenge does: acdc, brats, drive, kits, lits or promise12.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="OTHER",
    help="Compare case by case with another run, model, folder or metrics.json.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Cases measured at a time. [the number of cores]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where figures, evaluation.html and pictures go; a run keeps its own.",
)
@click.option(
    "--tta", is_flag=True, help="Average TARGET over mirror images, as `tfseg predict --tta` does."
)
@click.option(
    "--post",
    multiple=True,
    metavar="STEP",
    help="On TARGET's label maps, as `tfseg predict --post` does. Repeatable.",
)
@click.option(
    "--anyway",
    is_flag=True,
    help="Measure a model on what is plainly another kind of image than it was trained on.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace files of -o that exist.  [default: refuse]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON document.")
@click.pass_context
def evaluate(
    ctx: click.Context,
    /,
    target: Path | None,
    data: Path | None,
    all_cases: bool,
    against: Path | None,
    jobs: int | None,
    output: Path | None,
    tta: bool,
    post: tuple[str, ...],
    anyway: bool,
    overwrite: bool,
    as_json: bool,
    **rules: Any,
) -> None:
    """Measure predictions against reference labels.

    TARGET is a run folder (its held-out fold is predicted; default runs/latest), an exported
    model, or a folder of label maps named like the cases of --data. Probabilities that `tfseg
    predict --save-probabilities` wrote beside label maps are measured by auc_roc and auc_pr.
    A run's own figures are renewed; in another folder nothing is replaced without --overwrite.
    """
    from tfseg.cli.evaluation_tables import (
        note_gaps,
        note_trained,
        print_comparison,
        print_metrics,
    )
    from tfseg.evaluation import compare, open_evaluation
    from tfseg.layout import is_run
    from tfseg.parallel import cores

    target = _latest() if target is None else target
    folder = output if output is not None else target if is_run(target) else None
    if folder is not None:
        _check_folder(folder, overwrite=overwrite or folder.resolve() == target.resolve())
    refine = (lambda predictor: predictor.refine(tta=tta, post=post)) if tta or post else None
    with heard() as said:
        evaluation = open_evaluation(
            target, data, all_cases=all_cases, anyway=anyway, refine=refine
        )
        measures = _choose(evaluation, **rules)
    other = None
    jobs = jobs or cores()
    if against is not None:
        with heard():
            other = _other(target, against, evaluation, measures, jobs, all_cases, anyway)
    with heard() as more:
        outcome = _run(evaluation, measures, jobs)
    metrics = outcome.metrics()
    note_gaps(metrics)
    metrics = _with_said(metrics, [*said, *more])
    comparison = None
    if other is not None:
        names = (str(target), str(against))
        comparison = compare(metrics, other, names=names)
        for name, one in zip(names, (metrics, other), strict=True):
            note_trained(one, comparison, name)
    if folder is not None:
        _save(outcome, metrics, folder, _command(ctx), comparison)
    if as_json:
        document = metrics.model_dump(mode="json")
        if comparison is not None:
            document["comparison"] = comparison.model_dump(mode="json")
        print_json(document)
    else:
        print_metrics(metrics)
        if comparison is not None:
            print_comparison(comparison)
    _fail_if_cases_did([metrics] if other is None else [metrics, other])


def _fail_if_cases_did(evaluations: list[Metrics]) -> None:
    failed = [failure.case for one in evaluations for failure in one.failed]
    if failed:
        total = sum(one.cases for one in evaluations) + len(failed)
        raise TfsegError(
            f"{len(failed)} of {total} cases could not be evaluated: {', '.join(failed)}."
        )


def measure(run: Path, *, quiet: bool) -> Metrics:
    """Measure a run's held-out fold, keep figures and pictures in it, print them unless quiet."""
    from tfseg.cli.evaluation_tables import note_gaps, print_metrics
    from tfseg.evaluation import Measures, open_evaluation
    from tfseg.parallel import cores

    with heard() as said:
        outcome = _run(open_evaluation(run), Measures(), cores())
    metrics = outcome.metrics()
    note_gaps(metrics)
    metrics = _with_said(metrics, said)
    _save(outcome, metrics, run, f"tfseg evaluate {shlex.quote(str(run))}")
    if not quiet:
        print_metrics(metrics)
    return metrics


def _latest() -> Path:
    from tfseg.runs import latest

    folder = latest()
    if not folder.exists():
        raise DataError(
            f"no run is named and there is no {folder}. Train one, or name a run folder, an "
            "exported model or a folder of predictions."
        )
    return folder


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse an output folder that cannot take results, before hours of prediction, not after."""
    from tfseg.evaluation import CASES_FILE, COMPARISON_FILE, METRICS_FILE, SUMMARY_FILE
    from tfseg.files import check_outputs
    from tfseg.report import EVALUATION_FILE, PICTURES_FOLDER

    names = (METRICS_FILE, CASES_FILE, SUMMARY_FILE, COMPARISON_FILE, EVALUATION_FILE)
    check_outputs([folder / name for name in (*names, PICTURES_FOLDER)], overwrite=overwrite)


def _choose(
    evaluation: Evaluation,
    metric_names: str | None,
    regions: tuple[str, ...],
    protocol_name: str | None,
    tolerance: str | None,
    **rules: str | None,
) -> Measures:
    from tfseg.evaluation import choose
    from tfseg.metrics.challenges import protocol
    from tfseg.metrics.options import MetricOptions

    given: dict[str, Any] = {name: value for name, value in rules.items() if value is not None}
    if tolerance is not None:
        given["tolerance_mm"] = _tolerances(tolerance)
    return choose(
        evaluation.dataset.labels,
        metrics=metric_names,
        regions=regions,
        protocol=None if protocol_name is None else protocol(protocol_name),
        options=MetricOptions(**given),
        probabilities=evaluation.has_probabilities,
    )


def _tolerances(text: str) -> float | tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--tolerance must be a length in mm, or several with commas; got {text!r}."
        ) from None
    return values[0] if len(values) == 1 else values


def _other(
    target: Path,
    against: Path,
    evaluation: Evaluation,
    measures: Measures,
    jobs: int,
    all_cases: bool,
    anyway: bool,
) -> Metrics:
    """Return the figures to compare with: read, or made by the same rules.

    What cannot be compared is refused before hours of prediction, not after.
    """
    from tfseg.cli.evaluation_tables import note_gaps
    from tfseg.evaluation import Metrics, check_cases, check_rules, open_evaluation

    cases = [case.id for case in evaluation.cases]
    names = (str(target), str(against))
    if against.suffix == ".json":
        metrics = Metrics.load(against)
        protocol = None if measures.protocol is None else measures.protocol.name
        check_rules(metrics, evaluation.dataset.name, protocol, measures.rules, name=names[1])
        check_cases(cases, [row.case for row in metrics.per_case], names=names)
        return metrics
    data = evaluation.dataset.root
    other = open_evaluation(against, data, all_cases=all_cases, anyway=anyway)
    check_cases(cases, [case.id for case in other.cases], names=names)
    metrics = _run(other, measures, jobs).metrics()
    note_gaps(metrics, f"{against}: ")
    return metrics


def _run(evaluation: Evaluation, measures: Measures, jobs: int) -> Outcome:
    with share_bar("evaluating") as advance:
        return evaluation.run(measures, jobs=jobs, advance=advance)


def _command(ctx: click.Context) -> str:
    """Return the command as it was typed, options in the order of the help."""
    words = ["tfseg", "evaluate"]
    for parameter in ctx.command.params:
        value = ctx.params.get(parameter.name or "")
        if value is None or value is False or parameter.name == "as_json":
            continue
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(parameter, click.Option):
                words.append(parameter.opts[-1])
            if one is not True:
                words.append(shlex.quote(str(one)))
    return " ".join(words)


def _save(
    outcome: Outcome,
    metrics: Metrics,
    folder: Path,
    command: str,
    comparison: Comparison | None = None,
) -> None:
    """Write figures, page and pictures, in place of an earlier evaluation's."""
    from tfseg.artifact import label_colour
    from tfseg.evaluation import COMPARISON_FILE, save_comparison, save_metrics
    from tfseg.report import EVALUATION_FILE, write_evaluation

    save_metrics(metrics, folder)
    if comparison is None:
        (folder / COMPARISON_FILE).unlink(missing_ok=True)
    else:
        save_comparison(comparison, folder)
    labels = outcome.evaluation.dataset.labels
    write_evaluation(
        metrics,
        folder / EVALUATION_FILE,
        comparison=comparison,
        pictures=_save_pictures(outcome, folder),
        colours={name: label_colour(value) for value, name in enumerate(labels)},
        command=command,
    )


def _save_pictures(outcome: Outcome, folder: Path) -> list[tuple[str, bytes]]:
    """Write a picture of each of the worst cases; return (case, PNG file) of each.

    A case whose image cannot be read has figures but no picture.
    """
    from tfseg.files import atomic_path
    from tfseg.report import PICTURES_FOLDER, overlay_png
    from tfseg.volume import Volume

    dataset = outcome.evaluation.dataset
    drawn = []
    with atomic_path(folder / PICTURES_FOLDER) as pictures:
        pictures.mkdir()
        for rank, (case, prediction, mean_dice) in enumerate(outcome.worst, start=1):
            try:
                image = dataset.read_image(case)
            except DataError as error:
                note(f"no picture of {case.id}: {error}")
                continue
            png = overlay_png(
                Volume(image.array, image.affine, image.modality or dataset.modalities[0]),
                prediction,
                dataset.counted(dataset.read_label(case), None)[0],
                labels=dataset.labels,
                title=f"{case.id}: mean Dice {mean_dice:.3f}",
            )
            (pictures / f"{rank}-{case.id}.png").write_bytes(png)
            drawn.append((case.id, png))
    return drawn


def _with_said(metrics: Metrics, said: list[str]) -> Metrics:
    """Return the document with what was said while the cases were read and predicted."""
    return metrics.model_copy(update={"remarks": list(dict.fromkeys([*metrics.remarks, *said]))})
