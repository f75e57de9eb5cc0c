"""Count every network's parameters and write the page of networks.

    python docs/make_models.py

Writes ``tfseg/models/parameters.json`` and ``docs/models.md``; run it after adding a network or
changing its default form. A test compares the first with the networks.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import keras

from tfseg.files import write_text
from tfseg.models import MODELS, build
from tfseg.models.describe import describe_all

ROOT = Path(__file__).resolve().parents[1]


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
    lines = [
        "# Networks",
        "",
        "`tfseg models` prints this list; `tfseg train --model NAME` trains one. Parameters are of",
        "the default form with one channel in and two classes, training heads included; stride is",
        "that of the logits before they are upsampled to the input's size.",
        "",
        *table("segmentation", counted),
        "",
        "## Backbones",
        "",
        "These classify whole images. Their convolutional parts are encoders of the networks",
        "above that have the option: `tfseg train --model pspnet --set backbone=NAME`. Parameters",
        "and stride are of the classifier at the published width. `lenet5` and `alexnet` are no",
        "encoders; `resnet50_v1`, `resnet101_v1` and `resnet152_v1` are further ones, with the",
        "stride in the first convolution of a bottleneck.",
        "",
        *table("backbone", counted),
        "",
        "### Published weights",
        "",
        "`--set weights=FILE --set base_filters=64` starts the encoder from a file of",
        "keras.applications (`.h5`, `.weights.h5` or `.keras`, with or without its classifier):",
        "",
        "| file | `backbone` with exactly its features | also |",
        "|---|---|---|",
        "| VGG16, VGG19 | `vgg16`, `vgg19` with `norm=none` or `batch` | |",
        "| ResNet50 | `resnet50_v1` | `resnet50`, `se_resnet50` |",
        "| ResNet101, ResNet152 | `resnet101_v1`, `resnet152_v1` | `resnet101`, `resnet152` |",
        "| DenseNet121 | `densenet121` | |",
        "| Xception | `xception` | |",
        "",
        "Colours become the data's channels: three are red, green, blue; otherwise each has the",
        "mean answer to grey. 2D kernels are spread over the slices of 3D ones. Biases and",
        "normalisations go into what the encoder has: batch normalisation, or none; instance",
        "normalisation takes scale and offset only. What was taken is printed.",
    ]
    return "\n".join(lines) + "\n"


def table(kind: str, counted: dict[str, dict[str, int]]) -> list[str]:
    """Return the lines of a table of all networks of one kind."""
    lines = [
        "| name | family | 2D | 3D | stride | paper |",
        "|---|---|---|---|---|---|",
    ]
    for name, info in MODELS.items():
        if info.kind != kind:
            continue
        sizes = [
            f"{counted[name][rank] / 1e6:.2f} M" if rank in counted[name] else "" for rank in "23"
        ]
        lines.append(
            f"| `{name}` | {info.family} | {sizes[0]} | {sizes[1]} | {info.output_stride} "
            f"| {info.paper} |"
        )
    return lines


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
