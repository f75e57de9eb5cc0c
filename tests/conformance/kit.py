"""One line an architecture: the cheapest form that still has all its parts, training heads too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tfseg.models import MODELS, build, model_config


@dataclass(frozen=True)
class Case:
    """How an architecture goes through the promises.

    Attributes:
        options: of the network; tiny widths.
        edge: input edge length: divisible by the network's divisor, and large enough that every
            level has more than one voxel.
        faithful: start from the paper's form, for parts that only it has.
    """

    options: dict[str, Any] = field(default_factory=dict)
    edge: int = 16
    faithful: bool = False


CASES: dict[str, Case] = {
    "unet": Case({"base_filters": 4, "depth": 4}),
    "pspnet": Case({"base_filters": 4, "backbone": "resnet18"}),
}

SEGMENTERS = {name: info for name, info in MODELS.items() if info.kind == "segmentation"}
NETWORKS = [(name, rank) for name, info in SEGMENTERS.items() for rank in info.dims]

every_network = pytest.mark.parametrize(
    ("name", "rank"), NETWORKS, ids=[f"{name}-{rank}d" for name, rank in NETWORKS]
)


def small(name: str, shape: Sequence[int | None], classes: int = 2, **options: Any) -> Any:
    """Build the tiny form of a network with seeded weights."""
    import keras

    keras.utils.set_random_seed(0)
    case = CASES[name]
    return build(
        name, tuple(shape), classes, **{**case.options, "faithful": case.faithful, **options}
    )


def shape_of(name: str, rank: int, channels: int = 1) -> tuple[int, ...]:
    """The input shape that the case says."""
    return (*(CASES[name].edge,) * rank, channels)


def divisor_of(name: str, rank: int) -> tuple[int, ...]:
    """What the tiny form's input must be divisible by."""
    case = CASES[name]
    return model_config(name, **{**case.options, "faithful": case.faithful}).divisor(rank)


def images(shape: Sequence[int], batch: int = 1, seed: int = 0) -> np.ndarray:
    """Normal noise (batch, *shape) float32."""
    return np.random.default_rng(seed).normal(size=(batch, *shape)).astype(np.float32)


def outputs_of(answer: Any) -> list[Any]:
    """One output or several, as a list."""
    return list(answer) if isinstance(answer, list | tuple) else [answer]
