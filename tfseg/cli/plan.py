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
@click.option("-o", "--output", type=click.Path(), help="Write the plan here. [stdout]")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.  [default: refuse]")
def plan(
    data: str,
    model: str,
    dims: str | None,
    step_texts: tuple[str, ...],
    output: str | None,
    overwrite: bool,
) -> None:
    """Choose spacing, patch, normalisation and batch for a data set.

    Prints the plan as JSON, or writes it to a file that can be edited and given to
    `tfseg train --plan`. The network's own options that fit the plan are shown on stderr.
    """
    import json

    from tfseg.cli.console import note, print_json, track
    from tfseg.datasets import open_dataset
    from tfseg.files import check_outputs
    from tfseg.models import model_config, segmentation_info
    from tfseg.planning import (
        Budget,
        fit_patch,
        make_plan,
        network_options,
        parse_steps,
        take_fingerprint,
        with_steps,
    )
    from tfseg.quiet import import_tensorflow

    segmentation_info(model)
    if output:
        check_outputs([output], overwrite=overwrite)
    steps = parse_steps([_step(text) for text in step_texts], "--step")
    dataset = open_dataset(data)
    cases = dataset.labelled
    fingerprint = take_fingerprint(
        dataset, cases, lambda items: track(tuple(items), "Looking at the data")
    )
    import_tensorflow()
    from tfseg.training.devices import gpu_count

    budget = Budget.gpu() if gpu_count() else Budget.cpu()
    made = make_plan(dataset, fingerprint, budget, int(dims) if dims else dataset.dims)
    if steps:
        made = with_steps(
            made, steps, dataset, cases, lambda items: track(tuple(items), "Learning the steps")
        )
    options = network_options(set(type(model_config(model)).model_fields), made, budget)
    made = fit_patch(made, model_config(model, **options).divisor(made.dims))
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
