"""The networks by name. Importing it imports no TensorFlow."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources

from tfseg.errors import unknown_name


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
    """

    name: str
    family: str
    where: str
    paper: str
    dims: tuple[int, ...] = (2, 3)
    output_stride: int = 1
    loss_weights: tuple[float, ...] = (1.0,)

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

        Training heads are included. The file is written by ``docs/make_models.py``.
        """
        return {int(rank): count for rank, count in _counts()[self.name].items()}


@functools.cache
def _counts() -> dict[str, dict[str, int]]:
    text = (resources.files("tfseg.models") / "parameters.json").read_text(encoding="utf-8")
    counts: dict[str, dict[str, int]] = json.loads(text)
    return counts


_HALVING = (1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125)  # deep supervision: each level half the finer

_PYRAMID = (
    ModelInfo(
        "pspnet",
        "pyramid",
        "pspnet:PSPNetConfig",
        "Zhao et al. 2016, arXiv:1612.01105",
        output_stride=4,
        loss_weights=(1.0, 0.4),
    ),
)
_U_SHAPES = (
    ModelInfo(
        "unet",
        "U-shape",
        "unet:UNetConfig",
        "Ronneberger et al. 2015, arXiv:1505.04597",
        loss_weights=_HALVING,
    ),
)


def _by_name(*groups: tuple[ModelInfo, ...]) -> dict[str, ModelInfo]:
    table: dict[str, ModelInfo] = {}
    for info in (info for group in groups for info in group):
        if info.name in table:
            raise ValueError(f"two networks are called {info.name}")
        table[info.name] = info
    return table


MODELS: dict[str, ModelInfo] = _by_name(_U_SHAPES, _PYRAMID)


def model_info(name: str) -> ModelInfo:
    """Return the entry of ``name``.

    Raises:
        ConfigError: no such network; the message lists the nearest names.
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name]
