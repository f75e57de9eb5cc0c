"""``tfseg check``: find what is wrong with a data set before training does."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tfseg.datasets.check import Report


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
@click.option(
    "--fix",
    is_flag=True,
    help="Give labels whose grid differs by rounding only (below 10 % of a voxel) their image's.",
)
def check(data: Path, as_json: bool, fix: bool) -> None:
    """Read every case of the data set DATA; report problems with their remedies.

    Exits with 0 when every case can be used, else with 2.
    """
    from tfseg.cli.console import heard, print_json, track
    from tfseg.datasets import open_dataset
    from tfseg.datasets.check import check_dataset
    from tfseg.errors import DataError

    with heard() as said:
        dataset = open_dataset(data)
        report = check_dataset(dataset, progress=lambda cases: track(cases, "Checking"), fix=fix)
    if as_json:
        problems = [asdict(problem) for problem in report.problems]
        document = {"data": str(data), "ok": not problems, **report.summary}
        document |= {"said": said, "fixed": list(report.fixed), "problems": problems}
        print_json(document)
    else:
        _print(report)
    if report.problems:
        cases = len({problem.case for problem in report.problems})
        first = report.problems[0]
        raise DataError(
            f"{data}: {len(report.problems)} problems in {cases} of {len(dataset.cases)} cases; "
            f"the first: {first.message}"
        )


def _print(report: Report) -> None:
    from tfseg.cli.console import print_table

    summary = report.summary
    counts = summary["cases"]
    rows = [
        ("layout", f"{summary['adapter']}, {summary['dims']}D"),
        (
            "cases",
            f"{counts['training']} training ({counts['labelled']} with a label), "
            f"{counts['test']} test; {counts['readable']} images readable",
        ),
        ("shape z, y, x", _range(summary["shape"], "{:g}")),
        ("spacing mm", _range(summary["spacing_mm"], "{:.3g}")),
        *(
            (
                f"intensity {channel['channel']}",
                f"{channel['min']:.4g} to {channel['max']:.4g}, mean {channel['mean']:.4g}",
            )
            for channel in summary["intensity"]
        ),
        *(("remark", remark) for remark in summary["remarks"]),
        *((("fixed", ", ".join(report.fixed)),) if report.fixed else ()),
    ]
    print_table(summary["name"], ("", ""), rows)
    print_table(
        "Labels",
        ("value", "name", "cases", "share of voxels", "mean ml"),
        [
            (
                str(label["value"]),
                label["name"],
                str(label["cases"]),
                f"{label['share']:.3%}",
                f"{label['mean_ml']:.4g}",
            )
            for label in summary["labels"]
        ],
    )
    if report.problems:
        print_table(
            "Problems",
            ("case", "kind", "what and remedy"),
            [(problem.case, problem.kind, problem.message) for problem in report.problems],
        )


def _range(spread: dict[str, Any], form: str) -> str:
    """Return ``median (min to max)`` of each axis."""
    if not spread:
        return "-"
    median, low, high = (
        " x ".join(form.format(value) for value in spread[key]) for key in ("median", "min", "max")
    )
    return median if low == high else f"median {median}; {low} to {high}"
