"""Rules from a fingerprint to a plan, after nnU-Net's (Isensee et al. 2021), for small budgets.

Spacing: the median of the cases; along an axis that is more than three times coarser than the
others, the 10th percentile, so that few slices are invented. Patch: the median volume, shrunk in
proportion to what a training step can afford. Batch: what is left of that. Normalisation: CT
by constants of the foreground, all else by each volume's own mean and deviation.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfseg.datasets.base import Dataset
from tfseg.errors import ConfigError
from tfseg.plan import Channel, ClipZScore, Plan, ZScore
from tfseg.planning.fingerprint import Fingerprint

_ANISOTROPIC = 3.0
_DEEPEST = 5  # levels of the U-Net
_SMALLEST_EDGE = 4  # voxels of the coarsest level
_STEP = 8  # patch edges are multiples of it where the volume is larger


@dataclass(frozen=True)
class Budget:
    """What a machine affords.

    Attributes:
        patch_voxels: largest patch, by rank.
        step_voxels: patch times batch, by rank.
        base_filters: width of the finest level.
    """

    patch_voxels: dict[int, int]
    step_voxels: dict[int, int]
    base_filters: int

    @classmethod
    def cpu(cls) -> Budget:
        """Many cheap steps: a few hundred milliseconds each on two cores."""
        return cls({2: 192 * 192, 3: 48 * 64 * 48}, {2: 4 * 192 * 192, 3: 2 * 48 * 64 * 48}, 16)

    @classmethod
    def gpu(cls) -> Budget:
        """An 8 GB card, as nnU-Net's default."""
        return cls({2: 512 * 512, 3: 128**3}, {2: 12 * 512 * 512, 3: 2 * 128**3}, 32)

    @classmethod
    def of(cls, gpus: int) -> Budget:
        """Return that of a machine with so many GPUs."""
        return cls.gpu() if gpus else cls.cpu()


def make_plan(dataset: Dataset, fingerprint: Fingerprint, budget: Budget, dims: int) -> Plan:
    """Return the plan for training a network of rank ``dims``.

    Raises:
        ConfigError: another rank, a 3D network on single images, or labels that a plan cannot hold.
    """
    if dims not in (2, 3):
        raise ConfigError(f"dims must be 2 or 3; got {dims!r}.")
    if dims == 3 and dataset.dims == 2:
        raise ConfigError(
            f"{dataset.name} holds single images; a 3D network needs volumes. Choose dims 2."
        )
    single = dataset.dims == 2
    spacing = None if single else _spacing(fingerprint)
    sizes = fingerprint.shapes.astype(float)
    if spacing is not None:
        sizes = sizes * fingerprint.spacings_mm / spacing
    median = np.median(sizes, axis=0)[3 - dims :]
    patch = _patch(median, budget.patch_voxels[dims])
    batch = int(np.clip(budget.step_voxels[dims] // np.prod(patch), 2, 16))
    document = {
        "dims": dims,
        "spacing_mm": None if spacing is None else spacing[3 - dims :].tolist(),
        "patch_size": patch,
        "batch_size": batch,
        "channels": _channels(dataset, fingerprint),
        "labels": dataset.labels,
    }
    return Plan.parse(document, f"the plan for {dataset.name}")


def network_options(
    fields: Collection[str], plan: Plan, budget: Budget, depth: int | None = None
) -> dict[str, Any]:
    """Return the options that fit a network to the plan; the user's own override them.

    Args:
        fields: names of the options that the network has.
        plan: of the data.
        budget: of the machine.
        depth: that the user chose. A lesser one takes the first of the poolings that fit the
            plan; for a greater one there is no room, and the network's own are left.
    """
    strides = _pooling(plan)
    if depth is not None:
        strides = strides[: depth - 1] if 2 <= depth <= len(strides) + 1 else ()
    fitting: dict[str, Any] = {
        "base_filters": budget.base_filters,
        "depth": len(strides) + 1,
        "strides": strides,
    }
    if "strides" not in fields:  # its depth is not a number of poolings that fit the patch
        fitting.pop("depth")
    elif not strides:
        fitting = {"base_filters": budget.base_filters}
    return {name: value for name, value in fitting.items() if name in fields}


def fit_patch(plan: Plan, divisor: Sequence[int]) -> Plan:
    """Return the plan with a patch that a network's poolings divide, rounded up where needed."""
    sizes = zip(plan.patch_size, divisor, strict=True)
    patch = tuple(-(-size // factor) * factor for size, factor in sizes)
    return plan.model_copy(update={"patch_size": patch})


def _spacing(fingerprint: Fingerprint) -> np.ndarray:
    spacing = np.median(fingerprint.spacings_mm, axis=0)
    for axis in range(3):
        others = np.delete(spacing, axis)
        if spacing[axis] > _ANISOTROPIC * others.max():
            spacing[axis] = np.percentile(fingerprint.spacings_mm[:, axis], 10)
    # Digits that count, not decimals: a microscope's voxels are nanometres.
    return np.array([float(f"{size:.5g}") for size in spacing])


def _patch(median: np.ndarray, voxels: int) -> tuple[int, ...]:
    """Shrink the median volume to ``voxels`` at most, longest edges first, in steps of 8."""
    patch = [_round_up(size) for size in median]
    while np.prod(patch) > voxels and max(patch) > _STEP:
        longest = int(np.argmax(np.array(patch) / np.maximum(median, 1) + 1e-3 * np.array(patch)))
        if patch[longest] <= _STEP:
            longest = int(np.argmax(patch))
        patch[longest] -= _STEP
    return tuple(patch)


def _round_up(size: float) -> int:
    """Round up to a size that pools well: few voxels to 4, more to 8."""
    step = _STEP if size > _STEP else _SMALLEST_EDGE
    return max(step, int(-(-size // step) * step))


def _pooling(plan: Plan) -> tuple[tuple[int, ...], ...]:
    """Choose per-axis pooling factors: fine axes first until voxels are about isotropic.

    An axis is halved while it stays at 4 voxels or more and divisible; an axis twice as coarse
    as the finest of those, or coarser, waits. Axes that can shrink no further hold nobody up.
    """
    edge = list(plan.patch_size)
    spacing = list(plan.spacing_mm or (1.0,) * plan.dims)
    strides: list[tuple[int, ...]] = []
    while len(strides) < _DEEPEST - 1:
        divisible = [size % 2 == 0 and size // 2 >= _SMALLEST_EDGE for size in edge]
        if not any(divisible):
            break
        finest = min(mm for mm, can in zip(spacing, divisible, strict=True) if can)
        step = tuple(
            2 if can and mm < 2 * finest else 1 for mm, can in zip(spacing, divisible, strict=True)
        )
        strides.append(step)
        edge = [size // factor for size, factor in zip(edge, step, strict=True)]
        spacing = [mm * factor for mm, factor in zip(spacing, step, strict=True)]
    return tuple(strides) or ((1,) * plan.dims,)


def _channels(dataset: Dataset, fingerprint: Fingerprint) -> tuple[Channel, ...]:
    channels = []
    for index, modality in enumerate(dataset.modalities):
        if modality.upper().startswith("CT"):
            values = fingerprint.foreground[:, index]
            low, high = np.percentile(values, [0.5, 99.5])
            rule = ClipZScore(
                low=float(low),
                high=float(max(high, low + 1)),
                mean=float(values.mean()),
                std=float(max(values.std(), 1e-3)),
            )
            channels.append(Channel(name=modality, unit="HU", normalisation=rule))
        else:
            channels.append(Channel(name=modality, normalisation=ZScore()))
    return tuple(channels)
