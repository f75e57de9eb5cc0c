"""What the registry says about one network."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Literal


@dataclass(frozen=True)
class ModelInfo:
    """One network.

    Attributes:
        name: on the command line.
        family: FCN, U-shape, pyramid, ...
        where: ``file:ConfigClass`` below ``tfseg.models``; the file holds ``build_<name>`` too.
        paper: authors, year and identifier.
        dims: ranks it is offered in.
        output_stride: of the default form's logits before the last upsampling.
        loss_weights: weight of each training output, first output first; cut to the number of
            outputs and scaled to sum 1.
        use: what it is for, in a phrase.
        ours: what of its faithful form is a preset of ours, because the publication leaves it open.
        kind: ``backbone`` classifies whole images; what it is for is to be an encoder of others.
    """

    name: str
    family: str
    where: str
    paper: str
    dims: tuple[int, ...] = (2, 3)
    output_stride: int = 1
    loss_weights: tuple[float, ...] = (1.0,)
    use: str = ""
    ours: str = ""
    kind: Literal["segmentation", "backbone"] = "segmentation"

    @property
    def module(self) -> str:
        """Dotted name of the module."""
        return f"tfseg.models.{self.where.partition(':')[0]}"

    @property
    def config(self) -> str:
        """Name of the configuration class."""
        return self.where.partition(":")[2]

    @property
    def parameters(self) -> dict[int, int]:
        """Trainable parameters by rank: default width, one channel in, two classes.

        Training heads are included. Empty of a network that ``docs/make_models.py``, which
        writes the file, has not counted yet.
        """
        return {int(rank): count for rank, count in _counts().get(self.name, {}).items()}


@functools.cache
def _counts() -> dict[str, dict[str, int]]:
    text = (resources.files("tfseg.models") / "parameters.json").read_text(encoding="utf-8")
    counts: dict[str, dict[str, int]] = json.loads(text)
    return counts
