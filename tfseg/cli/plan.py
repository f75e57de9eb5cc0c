"""``tfseg plan``."""

from __future__ import annotations

import click


@click.command()
@click.argument("data", type=click.Path())
@click.option("--model", default="unet", show_default=True, help="Network to plan for.")
@click.option("--dims", type=click.Choice(["2", "3"]), help="Rank of the network. [the data's]")
@click.option("-o", "--output", type=click.Path(), help="Write the plan here. [stdout]")
def plan(data: str, model: str, dims: str | None, output: str | None) -> None:
    """Choose spacing, patch, normalisation and batch for a data set.

    Prints the plan as JSON, or writes it to a file that can be edited and given to
    `tfseg train --plan`. The network's own options that fit the plan are shown on stderr.
    """
    import json

    from tfseg.cli.console import note, print_json, track
    from tfseg.datasets import open_dataset
    from tfseg.models import model_config, segmentation_info
    from tfseg.planning import Budget, fit_patch, make_plan, network_options, take_fingerprint
    from tfseg.quiet import import_tensorflow

    segmentation_info(model)
    dataset = open_dataset(data)
    cases = dataset.labelled
    fingerprint = take_fingerprint(
        dataset, cases, lambda items: track(tuple(items), "Looking at the data")
    )
    import_tensorflow()
    from tfseg.training.devices import gpu_count

    budget = Budget.gpu() if gpu_count() else Budget.cpu()
    made = make_plan(dataset, fingerprint, budget, int(dims) if dims else dataset.dims)
    options = network_options(set(type(model_config(model)).model_fields), made, budget)
    made = fit_patch(made, model_config(model, **options).divisor(made.dims))
    note(f"{model} options: {json.dumps(options)}")
    if output:
        made.save(output)
        note(f"plan: {output}")
    else:
        print_json(made.model_dump(mode="json"))
