"""One augmented training patch from one index: a pure function of (seed, index)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.augmentation import AugmentationConfig
from tfseg.errors import ConfigError
from tfseg.pipeline.augment import Box, Streams, check_augmentation, draw_field, vary
from tfseg.pipeline.cache import PreparedCase
from tfseg.pipeline.field import Field
from tfseg.plan import Plan

Patch = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class PatchSampler:
    """Draws patches from prepared cases.

    Attributes:
        cases: what to draw from, each equally often but for what ``foreground`` asks for.
        plan: patch size and spacing.
        augmentation: how patches are varied.
        foreground: share of patches centred on a voxel of a random foreground class, each class
            equally often, however few voxels or cases have it. Where the case whose turn it is
            lacks the class, a random one that has it takes its place.
        seed: of the run.
    """

    cases: Sequence[PreparedCase]
    plan: Plan
    augmentation: AugmentationConfig
    foreground: float
    seed: int

    def __post_init__(self) -> None:
        if not self.cases:
            raise ConfigError("there is no training case. Choose another fold or add cases.")
        check_augmentation(self.augmentation, self.plan)

    @property
    def has_map(self) -> bool:
        """Whether patches have a voxel map."""
        return self.cases[0].voxel_map is not None

    def __call__(self, index: int) -> Patch:
        """Return patch number ``index``: image ([z,] y, x, c) and label ([z,] y, x).

        Where the cases have a voxel map, the patch of it, ([z,] y, x) float32, comes third.
        """

        def streams(operation: int, part: int) -> np.random.Generator:
            counter = [0, 0, part, operation]
            return np.random.Generator(np.random.Philox(key=[self.seed, index], counter=counter))

        case, start = self._place(index, streams(0, 0))
        field = self._field(streams)
        image, *others = field.read(case, start, self._box.size)
        image = np.moveaxis(vary(image, self.augmentation, self._box, streams), 0, -1)
        patch = (np.ascontiguousarray(image), *others)
        return tuple(part[0] for part in patch) if self.plan.dims == 2 else patch

    def _field(self, streams: Streams) -> Field:
        return draw_field(self.augmentation, self._box, streams)

    @functools.cached_property
    def _box(self) -> Box:
        return Box.of(self.plan)

    @functools.cached_property
    def _holders(self) -> dict[int, list[PreparedCase]]:
        """The cases that have each foreground class."""
        values = sorted({value for case in self.cases for value in case.places})
        return {value: [case for case in self.cases if value in case.places] for value in values}

    def _place(self, index: int, rng: np.random.Generator) -> tuple[PreparedCase, list[int]]:
        """Return the case, and its voxel at which the patch begins."""
        # Passes over the cases in shuffled order: each is seen equally often.
        turn, position = divmod(index, len(self.cases))
        order = np.random.Generator(np.random.Philox(key=[self.seed, 2**62 + turn]))
        case = self.cases[order.permutation(len(self.cases))[position]]
        size = self._box.size
        voxel = None
        if self._holders and rng.random() < self.foreground:
            value = list(self._holders)[rng.integers(len(self._holders))]
            if value not in case.places:
                others = self._holders[value]
                case = others[rng.integers(len(others))]
            voxel = case.places[value][rng.integers(len(case.places[value]))]
        low = [min(0, have - want) for have, want in zip(case.label.shape, size, strict=True)]
        high = [max(0, have - want) for have, want in zip(case.label.shape, size, strict=True)]
        if voxel is None:
            start = [int(rng.integers(a, b + 1)) for a, b in zip(low, high, strict=True)]
        else:
            # The voxel lands anywhere in the middle half of the patch, not always at its centre.
            jitter = [rng.integers(want // 4, want - want // 4) if want > 1 else 0 for want in size]
            start = [int(v) - int(j) for v, j in zip(voxel, jitter, strict=True)]
        return case, [min(max(s, a), b) for s, a, b in zip(start, low, high, strict=True)]
