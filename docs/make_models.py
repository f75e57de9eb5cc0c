"""Count every network's parameters and write the page of networks.

    python docs/make_models.py

Writes ``parameters.json`` and ``options.json`` in ``tfseg/models``, and ``docs/models.md``; run it
after adding a network or changing its options or default form. Tests compare them with the code.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import keras

from tfseg.files import read_json, write_text
from tfseg.models import MODELS, PRESETS, ModelInfo, build, describe
from tfseg.models.describe import describe_all

ROOT = Path(__file__).resolve().parents[1]
TEN_MINUTES = ROOT / "docs/data/ten_minutes.json"


def count(name: str, rank: int) -> int:
    """Return the trainable parameters of the default form: one channel in, two classes."""
    with keras.StatelessScope(initialize_variables=False):
        model = build(name, (None,) * rank + (1,), 2)
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def counts() -> dict[str, dict[str, int]]:
    """Return name -> rank -> parameters."""
    return {
        name: {str(rank): count(name, rank) for rank in info.dims} for name, info in MODELS.items()
    }


def page(counted: dict[str, dict[str, int]]) -> str:
    """Return ``models.md``."""
    families = read_json(ROOT / "docs/data/families.json", "the families")
    lines = [
        *_HEAD.splitlines(),
        "",
        *table(counted),
        "",
        *presets_section(),
        *ten_minutes_section(TEN_MINUTES),
    ]
    for family in dict.fromkeys(info.family for info in MODELS.values()):
        drawing = f"images/families/{family.lower().replace(' ', '-')}.svg"
        lines += [
            f"## {family[0].upper()}{family[1:]}",
            "",
            families[family]["text"],
            "",
            f"![{families[family]['title']}]({drawing})",
            "",
        ]
        if family == "backbone":
            lines += [*_WEIGHTS.splitlines(), ""]
        members = [info for info in MODELS.values() if info.family == family]
        for _, group in itertools.groupby(members, key=lambda info: info.module):
            lines += file_section(list(group))
    return "\n".join(lines).rstrip() + "\n"


def table(counted: dict[str, dict[str, int]]) -> list[str]:
    """Return the lines of the table of all networks."""
    lines = [
        "| name | family | 2D | 3D | stride | faithful form | paper |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    for name, info in MODELS.items():
        sizes = [
            f"{counted[name][rank] / 1e6:.2f} M" if rank in counted[name] else "" for rank in "23"
        ]
        form = f"ours: {info.ours}" if info.ours else "the paper's"
        lines.append(
            f"| [`{name}`](#{anchor(name)}) | {info.family} | {sizes[0]} | {sizes[1]} "
            f"| {info.output_stride} | {form} | {info.paper} |"
        )
    return lines


def anchor(name: str) -> str:
    """Return the anchor of the heading under which a network is described."""
    module = MODELS[name].module
    shared = [info for info in MODELS.values() if info.module == module]
    family = [info.name for info in shared if info.family == MODELS[name].family]
    return "-".join(family)


def presets_section() -> list[str]:
    """Return the published uses."""
    lines = [
        "## Presets",
        "",
        "A preset is a published use of a network: `tfseg train --model NAME` is its network with",
        "these options and settings; what you give goes before them.",
        "",
        "| name | network | settings | for | ours | paper |",
        "|---|---|---|---|---|---|",
    ]
    for preset in PRESETS.values():
        settings = {**preset.options, **preset.settings}
        words = ", ".join(f"`{key}={value}`" for key, value in settings.items())
        lines.append(
            f"| `{preset.name}` | `{preset.model}` | {words} | {preset.use} | {preset.ours} "
            f"| {preset.paper} |"
        )
    return [*lines, ""]


def ten_minutes_section(path: Path) -> list[str]:
    """Return the table of what networks learn in the same time, where it has been measured."""
    if not path.exists():
        return []
    measured = read_json(path, "the figures")
    settings = measured["settings"]
    return [
        f"## After {settings['time_budget']} of training",
        "",
        "Each network in its default form at the width planned for CPUs, "
        f"{settings['time_budget']} on {settings['cores']} cores,",
        "the same seed, fold 0, one run; Dice is the mean over classes and held-out cases, up to",
        "12 of which also chose the checkpoint: an earlier trainer did so, and its budget was for",
        "the training alone. So little time favours the small and the quick: it shows that each",
        "learns, not how good it gets.",
        "",
        "```sh",
        f"python benchmarks/ten_minutes.py --time-budget {settings['time_budget']} "
        f"--cores {settings['cores']} \\",
        "    --hippocampus Task04_Hippocampus --drive DRIVE --work ten_minutes "
        "--out docs/data/ten_minutes.json",
        "```",
        "",
        *benchmark_table(measured["rows"]),
        "",
    ]


def benchmark_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table as the benchmark prints it."""
    path = ROOT / "benchmarks/ten_minutes.py"
    spec = importlib.util.spec_from_file_location("ten_minutes", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    lines: list[str] = module.table(rows)
    return lines


def file_section(networks: list[ModelInfo]) -> list[str]:
    """Return what there is to say of the networks that one file builds."""
    lines = [f"### {', '.join(f'`{info.name}`' for info in networks)}", ""]
    for info in networks:
        whose = f" of `{info.name}`" if len(networks) > 1 else ""
        lines += [f"Use{whose}: {info.use}.", ""]
    for paragraph in describe(networks[0].name).about:
        lines += [paragraph.replace("``", "`"), ""]
    for _, group in itertools.groupby(networks, key=lambda info: info.config):
        lines += options_block(list(group), alone=len({i.config for i in networks}) == 1)
    return lines


def options_block(networks: list[ModelInfo], *, alone: bool) -> list[str]:
    """Return the folded table of options of the networks that share them."""
    whose = "" if alone else f" of {', '.join(info.name for info in networks)}"
    lines = [
        f"<details><summary>Options{whose}</summary>",
        "",
        "| option | values | default | faithful | what it is |",
        "|---|---|---|---|---|",
    ]
    for option in describe(networks[0].name).options:
        same = option.faithful == option.default
        faithful = "" if same else f"`{json.dumps(option.faithful)}`"
        lines.append(
            f"| `{option.name}` | {option.values} | `{json.dumps(option.default)}` | {faithful} "
            f"| {option.what.replace('``', '`').replace('|', '/')} |"
        )
    return [*lines, "", "</details>", ""]


_HEAD = """\
# Networks

`tfseg models` prints this list, `tfseg models NAME` one network with its options, and
`tfseg train --model NAME` trains one; `--set option=value` changes an option. Parameters are of the
default form with one channel in and two classes, training heads included; stride is that of the
logits before they are upsampled to the input's size. Where nothing else is said, a network takes
images and volumes, of any number of channels and classes.

The default form is what to train on patches of scans; on CPUs the planner halves `base_filters`.
`--set faithful=true` starts from the paper's form. Where the publication leaves something of that
open, what is filled in is ours, and the table says so."""

_WEIGHTS = """\
`--set weights=FILE --set base_filters=64` starts the encoder from a file of
keras.applications (`.h5`, `.weights.h5` or `.keras`, with or without its classifier):

| file | `backbone` with exactly its features | also |
|---|---|---|
| VGG16, VGG19 | `vgg16`, `vgg19` with `norm=none` or `batch` | |
| ResNet50 | `resnet50_v1` | `resnet50`, `se_resnet50` |
| ResNet101, ResNet152 | `resnet101_v1`, `resnet152_v1` | `resnet101`, `resnet152` |
| DenseNet121 | `densenet121` | |
| Xception | `xception` | |

Colours become the data's channels: three are red, green, blue; otherwise each has the
mean answer to grey. 2D kernels are spread over the slices of 3D ones. Biases and
normalisations go into what the encoder has: batch normalisation, or none; instance
normalisation takes scale and offset only. What was taken is printed."""


def options_json(described: dict[str, dict[str, Any]]) -> str:
    """Return ``options.json``: a line an option, so that changes can be read."""
    networks = []
    for name, network in described.items():
        options = ",\n".join(
            f'      "{option}": {json.dumps(entry)}' for option, entry in network["options"].items()
        )
        about = json.dumps(network["about"])
        networks.append(
            f'  "{name}": {{\n    "about": {about},\n    "options": {{\n{options}\n    }}\n  }}'
        )
    return "{\n" + ",\n".join(networks) + "\n}\n"


def main() -> None:
    """Write all three files."""
    counted = counts()
    rows = [f'  "{name}": {json.dumps(ranks)}' for name, ranks in counted.items()]
    write_text(ROOT / "tfseg/models/parameters.json", "{\n" + ",\n".join(rows) + "\n}\n")
    write_text(ROOT / "tfseg/models/options.json", options_json(describe_all()))
    write_text(ROOT / "docs/models.md", page(counted))


if __name__ == "__main__":
    main()
