"""``tfseg plan``."""

from __future__ import annotations

from typing import Any

import click


@click.command()
@click.argument("data", type=click.Path())
@click.option("--model", default="unet", show_default=True, help="Network to plan for.")
@click.option("--dims", type=click.Choice(["2", "3"]), help="Rank of the network. [the data's]")
@click.option(
    "--step",
    "step_texts",
    multiple=True,
    metavar="NAME|JSON",
    help="A step on intensities before normalisation: a name (clahe, hist_match, bias_field, "
    'median, ...) or JSON such as \'{"kind": "clahe", "tiles": 4}\'. Repeatable, in order.',
)
@click.option(
    "--fold",
    metavar="N|all",
    help="Fold that is held out, or `all` for none: the plan looks at the others, as `tfseg train` "
    "does. [0; all where there are too few cases]",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Draws the folds. [0]")
@click.option("-o", "--output", type=click.Path(), help="Write the plan here. [stdout]")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.  [default: refuse]")
def plan(
    data: str,
    model: str,
    dims: str | None,
    step_texts: tuple[str, ...],
    fold: str | None,
    seed: int,
    output: str | None,
    overwrite: bool,
) -> None:
    """Choose spacing, patch, normalisation and batch for a data set.

    Prints the plan as JSON, or writes it to a file that can be edited and given to
    `tfseg train --plan`. The network's own options that fit the plan are shown on stderr.
    """
    import json

    from tfseg.cli.console import ConsoleProgress, note, print_json
    from tfseg.datasets import open_dataset
    from tfseg.errors import ConfigError
    from tfseg.files import check_outputs
    from tfseg.models import segmentation_info
    from tfseg.planning import Budget, Request, parse_steps, plan_for
    from tfseg.quiet import import_tensorflow

    segmentation_info(model)
    if output:
        check_outputs([output], overwrite=overwrite)
    steps = parse_steps([_step(text) for text in step_texts], "--step")
    dataset = open_dataset(data)
    if fold is None:
        fold = "0" if dataset.fold_count(seed) else "all"
    if fold != "all" and not fold.isdecimal():
        raise ConfigError(f"--fold must be a number or all; got {fold!r}.")
    cases, _ = dataset.split(None if fold == "all" else int(fold), seed)
    import_tensorflow()
    from tfseg.training.devices import gpu_count

    planned = plan_for(
        dataset,
        cases,
        Request(model, dims=int(dims) if dims else None, steps=steps),
        Budget.of(gpu_count()),
        ConsoleProgress(),
    )
    made, options = planned.plan, planned.options
    note(f"{model} options: {json.dumps(options)}")
    if output:
        made.save(output)
        note(f"plan: {output}")
    else:
        print_json(made.model_dump(mode="json"))


def _step(text: str) -> Any:
    """Return a step as parsed JSON: the text itself, or the kind that it names."""
    from tfseg import strict_json
    from tfseg.errors import ConfigError

    if not text.lstrip().startswith("{"):
        return {"kind": text}
    try:
        return strict_json.loads(text)
    except strict_json.JsonError as error:
        raise ConfigError(f"--step is no valid JSON: {error}; got {text[:80]!r}.") from error
