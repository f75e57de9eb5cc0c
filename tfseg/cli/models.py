"""``tfseg models``: the networks, and one of them in detail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tfseg.models import ModelInfo, Preset


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(name: str | None, as_json: bool) -> None:
    """List the networks, or show one with its options.

    A preset is a published use of a network: its options and training settings. Backbones are
    encoders of other networks (`--set backbone=resnet50`).
    """
    from tfseg.cli.console import print_json
    from tfseg.models import MODELS, PRESETS

    if as_json:
        names = (*MODELS, *PRESETS)
        print_json([_document(each) for each in names] if name is None else _details(name))
    elif name is None:
        _print_all()
    else:
        _print_one(name)


def _print_all() -> None:
    from tfseg.cli.console import print_table
    from tfseg.models import MODELS, PRESETS

    rows = [
        (
            info.name,
            info.family,
            ", ".join(f"{dim}D {_millions(info, dim)}".strip() for dim in info.dims),
            str(info.output_stride),
            info.paper,
        )
        for info in MODELS.values()
    ]
    print_table("", ("name", "family", "parameters, default width", "stride", "paper"), rows)
    _print_presets(list(PRESETS.values()))


def _print_one(name: str) -> None:
    from tfseg.cli.console import print_table
    from tfseg.models import PRESETS, describe

    document = _details(name)
    click.echo(f"{name}: {_headline(document)}\n{document['paper']}\n")
    if document["use"]:
        click.echo(f"Use: {document['use']}.\n")
    if name in PRESETS:
        click.echo(f"A preset of {document['network']}, which is:\n")
    description = describe(name)
    for paragraph in description.about:
        click.echo(_plain(paragraph) + "\n")
    if document["ours"]:
        click.echo(f"Left open by the publication and chosen here: {document['ours']}.\n")
    rows = [
        (option.name, option.values, _value(option.default), _value(option.faithful), option.what)
        for option in description.options
    ]
    print_table(
        "",
        ("option", "values", "default", "faithful", "what it is"),
        [(*row, _plain(text)) for *row, text in rows],
    )
    _print_presets([PRESETS[preset] for preset in document["presets"]])


def _print_presets(presets: list[Preset]) -> None:
    from tfseg.cli.console import print_table

    if presets:
        rows = [(p.name, p.model, _settings(p), p.use, p.paper) for p in presets]
        print_table("Presets", ("name", "network", "settings", "use", "paper"), rows)


def _millions(info: ModelInfo, dim: int) -> str:
    """Return the parameters in millions; nothing of a network that is not counted yet."""
    count = info.parameters.get(dim)
    return "" if count is None else f"{count / 1e6:.1f} M"


def _headline(document: dict[str, Any]) -> str:
    """Return family, parameters of each rank and stride in one line."""
    counts = document["parameters"]
    sizes = [f"{dim}D" for dim in document["dims"]]
    sizes = [f"{s} with {counts[s.lower()]:,} parameters" if counts else s for s in sizes]
    stride = document["output_stride"]
    return f"{document['family']}, {' and '.join(sizes)}, output stride {stride}"


def _document(name: str) -> dict[str, Any]:
    """Return a row of the list as JSON."""
    from tfseg.models import PRESETS, model_info

    info = model_info(name)
    document = {
        "name": name,
        "kind": info.kind,
        "family": info.family,
        "dims": list(info.dims),
        "parameters": {f"{dim}d": count for dim, count in info.parameters.items()},
        "output_stride": info.output_stride,
        "paper": info.paper,
    }
    if name in PRESETS:
        preset = PRESETS[name]
        return document | {
            "kind": "preset",
            "network": preset.model,
            "options": dict(preset.options),
            "settings": dict(preset.settings),
            "paper": preset.paper,
        }
    return document


def _details(name: str) -> dict[str, Any]:
    """Return one network or preset as JSON: its row, and what its options are."""
    from dataclasses import asdict

    from tfseg.models import PRESETS, describe, model_info

    document = _document(name)
    info = model_info(name)
    preset = PRESETS.get(name)
    description = describe(name)
    return document | {
        "use": info.use if preset is None else preset.use,
        "ours": ", ".join(filter(None, (info.ours, "" if preset is None else preset.ours))),
        "about": list(description.about),
        "all_options": [asdict(option) for option in description.options],
        "presets": [each.name for each in PRESETS.values() if each.model == info.name],
    }


def _settings(preset: Preset) -> str:
    return ", ".join(
        f"{key}={value}" for key, value in {**preset.options, **preset.settings}.items()
    )


def _value(value: Any) -> str:
    """Return a value as ``--set`` takes it."""
    if isinstance(value, list) and not any(isinstance(part, list) for part in value):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def _plain(text: str) -> str:
    return text.replace("``", "")
