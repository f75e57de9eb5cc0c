"""``tfseg models``."""

from __future__ import annotations

from typing import Any

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(as_json: bool) -> None:
    """List the networks: dimensions, parameters at default width, paper.

    A preset is a published use of a network: its options and training settings. Backbones are
    encoders of other networks (`--set backbone=resnet50`).
    """
    from tfseg.cli.console import print_json, print_table
    from tfseg.models import MODELS, PRESETS

    if as_json:
        print_json([_document(name) for name in (*MODELS, *PRESETS)])
        return
    rows = [
        (
            info.name,
            info.family,
            ", ".join(f"{dim}D {info.parameters[dim] / 1e6:.1f} M" for dim in info.dims),
            str(info.output_stride),
            info.paper,
        )
        for info in MODELS.values()
    ]
    print_table("", ("name", "family", "parameters, default width", "stride", "paper"), rows)
    presets = [(p.name, p.model, _settings(p), p.use, p.paper) for p in PRESETS.values()]
    print_table("Presets", ("name", "network", "settings", "use", "paper"), presets)


def _document(name: str) -> dict[str, Any]:
    from tfseg.models import PRESETS, model_info

    info = model_info(name)
    document = {
        "name": name,
        "kind": info.kind,
        "family": info.family,
        "dims": list(info.dims),
        "parameters": {f"{dim}d": info.parameters[dim] for dim in info.dims},
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


def _settings(preset: Any) -> str:
    return ", ".join(
        f"{key}={value}" for key, value in {**preset.options, **preset.settings}.items()
    )
