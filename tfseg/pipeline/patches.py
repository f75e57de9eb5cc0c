"""One augmented training patch from one index: a pure function of (seed, index).

Crop, flip, rotation and scaling are composed into one affine map and read from the volume once
(trilinear for the image, nearest for the label). A transform that was not drawn costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.compiled import compiled
from tfseg.config import AugmentationConfig
from tfseg.errors import ConfigError
from tfseg.pipeline.cache import PreparedCase
from tfseg.plan import Plan

Patch = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class PatchSampler:
    """Draws patches from prepared cases.

    Attributes:
        cases: what to draw from, each equally often.
        plan: patch size and spacing.
        augmentation: how patches are varied.
        foreground: share of patches centred on a voxel of a random foreground class.
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

    @property
    def has_map(self) -> bool:
        """Whether patches have a voxel map."""
        return self.cases[0].voxel_map is not None

    def __call__(self, index: int) -> Patch:
        """Return patch number ``index``: image ([z,] y, x, c) and label ([z,] y, x).

        Where the cases have a voxel map, the patch of it, ([z,] y, x) float32, comes third.
        """
        rng = np.random.Generator(np.random.Philox(key=[self.seed, index]))
        # Passes over the cases in shuffled order: each is seen equally often.
        turn, position = divmod(index, len(self.cases))
        order = np.random.Generator(np.random.Philox(key=[self.seed, 2**62 + turn]))
        case = self.cases[order.permutation(len(self.cases))[position]]

        size = (1,) * (3 - self.plan.dims) + self.plan.patch_size
        start = self._start(rng, case, size)
        matrix = self._matrix(rng)
        if matrix is None:
            flips = self._flips(rng)
            parts = [_cut(array, start, size)[flips] for array in case.arrays]
        else:
            centre = np.array(start) + (np.array(size) - 1) / 2
            parts = _turned(case, matrix, centre, size)
        image, *others = (np.ascontiguousarray(part) for part in parts)
        patch = (self._intensity(rng, image), *others)
        return tuple(part[0] for part in patch) if self.plan.dims == 2 else patch

    def _start(
        self, rng: np.random.Generator, case: PreparedCase, size: tuple[int, ...]
    ) -> list[int]:
        shape = case.label.shape
        low = [min(0, have - want) for have, want in zip(shape, size, strict=True)]
        high = [max(0, have - want) for have, want in zip(shape, size, strict=True)]
        if case.places and rng.random() < self.foreground:
            value = sorted(case.places)[rng.integers(len(case.places))]
            voxel = case.places[value][rng.integers(len(case.places[value]))]
            # The voxel lands anywhere in the middle half of the patch, not always at its centre.
            jitter = [rng.integers(want // 4, want - want // 4) if want > 1 else 0 for want in size]
            start = [int(v) - int(j) for v, j in zip(voxel, jitter, strict=True)]
        else:
            start = [int(rng.integers(a, b + 1)) for a, b in zip(low, high, strict=True)]
        return [min(max(s, a), b) for s, a, b in zip(start, low, high, strict=True)]

    def _flips(self, rng: np.random.Generator) -> tuple[slice, ...]:
        steps = [
            -1 if axis in self.augmentation.flip and rng.random() < 0.5 else 1 for axis in "zyx"
        ]
        if self.plan.dims == 2:
            steps[0] = 1
        return tuple(slice(None, None, step) for step in steps)

    def _matrix(self, rng: np.random.Generator) -> NDArray[np.float64] | None:
        """Return patch offset -> volume offset in voxels, or ``None`` for a plain crop."""
        rule = self.augmentation
        turn = rule.rotation_degrees > 0 and rng.random() < rule.rotation_p
        zoom = rng.random() < rule.scale_p
        if not turn and not zoom:
            return None
        matrix = np.diag([float(step.step or 1) for step in self._flips(rng)])
        if turn:
            limit = np.deg2rad(rule.rotation_degrees)
            angles = rng.uniform(-limit, limit, 3)
            if self.plan.dims == 2:
                angles[1:] = 0
            matrix = matrix @ self._rotation(angles)
        if zoom:
            factor = rng.uniform(min(rule.scale), max(rule.scale))
            matrix = matrix / factor
            if self.plan.dims == 2:
                matrix[0, 0] = 1.0
        return matrix

    def _rotation(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a rotation about z, y, x in millimetres, expressed in voxels."""
        spacing = np.ones(3)
        if self.plan.spacing_mm is not None:
            spacing[3 - self.plan.dims :] = self.plan.spacing_mm
        turned = np.eye(3)
        for angle, (a, b) in zip(angles, ((1, 2), (0, 2), (0, 1)), strict=True):
            plane = np.eye(3)
            plane[a, a] = plane[b, b] = np.cos(angle)
            plane[a, b], plane[b, a] = -np.sin(angle), np.sin(angle)
            turned = turned @ plane
        return np.diag(1 / spacing) @ turned @ np.diag(spacing)

    def _intensity(
        self, rng: np.random.Generator, image: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        rule = self.augmentation
        if rule.noise_std > 0 and rng.random() < rule.noise_p:
            noise = rng.standard_normal(image.shape, dtype=np.float32)
            image = image + noise * np.float32(rng.uniform(0, rule.noise_std))
        if rng.random() < rule.contrast_p:
            mean = image.mean(dtype=np.float64).astype(np.float32)
            image = (image - mean) * np.float32(
                rng.uniform(min(rule.contrast), max(rule.contrast))
            ) + mean
        if rule.brightness > 0 and rng.random() < rule.brightness_p:
            image = image + np.float32(rng.uniform(-rule.brightness, rule.brightness))
        if rng.random() < rule.gamma_p:
            image = _gamma(image, rng.uniform(min(rule.gamma), max(rule.gamma)))
        return image


def _gamma(image: NDArray[np.float32], exponent: float) -> NDArray[np.float32]:
    low, high = image.min(), image.max()
    if high - low < 1e-6:
        return image
    scaled = (image - low) / (high - low)
    return scaled ** np.float32(exponent) * (high - low) + low


def _cut(array: NDArray[Any], start: list[int], size: tuple[int, ...]) -> NDArray[Any]:
    """Cut a box that may reach beyond the volume; outside is 0, as at inference."""
    inside, target = [], []
    for begin, want, have in zip(start, size, array.shape[:3], strict=True):
        low, high = max(begin, 0), min(begin + want, have)
        inside.append(slice(low, high))
        target.append(slice(low - begin, high - begin))
    box = np.zeros((*size, *array.shape[3:]), array.dtype)
    box[tuple(target)] = array[tuple(inside)]
    return box


def _turned(
    case: PreparedCase,
    matrix: NDArray[np.float64],
    centre: NDArray[np.float64],
    size: tuple[int, ...],
) -> list[NDArray[Any]]:
    """Read a turned and scaled box; outside is 0."""
    image = np.empty((*size, case.image.shape[3]), np.float32)
    label = np.empty(size, np.uint8)
    _sample(case.image, case.label, matrix, centre, image, label)
    if case.voxel_map is None:
        return [image, label]
    found = np.empty((*size, 1), np.float32)
    _sample(case.voxel_map[..., np.newaxis], case.label, matrix, centre, found, label)
    return [image, label, found[..., 0]]


@compiled
def _sample(volume, labels, matrix, centre, image, label):  # type: ignore[no-untyped-def]
    # Patch voxel p reads the volume at centre + matrix (p - middle of the patch). Outside is 0.
    depth, height, width, channels = volume.shape
    half_z = (label.shape[0] - 1) / 2
    half_y = (label.shape[1] - 1) / 2
    half_x = (label.shape[2] - 1) / 2
    for i in range(label.shape[0]):
        for j in range(label.shape[1]):
            for k in range(label.shape[2]):
                dz, dy, dx = i - half_z, j - half_y, k - half_x
                z = centre[0] + matrix[0, 0] * dz + matrix[0, 1] * dy + matrix[0, 2] * dx
                y = centre[1] + matrix[1, 0] * dz + matrix[1, 1] * dy + matrix[1, 2] * dx
                x = centre[2] + matrix[2, 0] * dz + matrix[2, 1] * dy + matrix[2, 2] * dx
                inside = (
                    -0.5 <= z < depth - 0.5 and -0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5
                )
                if not inside:
                    label[i, j, k] = 0
                    for c in range(channels):
                        image[i, j, k, c] = 0
                    continue
                # 0.49999999999999994 + 0.5 rounds to 1.0: keep the last voxel the last.
                nearest_z = min(int(z + 0.5), depth - 1)
                nearest_y = min(int(y + 0.5), height - 1)
                nearest_x = min(int(x + 0.5), width - 1)
                label[i, j, k] = labels[nearest_z, nearest_y, nearest_x]
                z = min(max(z, 0.0), depth - 1.0)
                y = min(max(y, 0.0), height - 1.0)
                x = min(max(x, 0.0), width - 1.0)
                z0, y0, x0 = int(z), int(y), int(x)
                z1, y1, x1 = min(z0 + 1, depth - 1), min(y0 + 1, height - 1), min(x0 + 1, width - 1)
                wz, wy, wx = np.float32(z - z0), np.float32(y - y0), np.float32(x - x0)
                for c in range(channels):
                    a = volume[z0, y0, x0, c] * (1 - wx) + volume[z0, y0, x1, c] * wx
                    b = volume[z0, y1, x0, c] * (1 - wx) + volume[z0, y1, x1, c] * wx
                    d = volume[z1, y0, x0, c] * (1 - wx) + volume[z1, y0, x1, c] * wx
                    e = volume[z1, y1, x0, c] * (1 - wx) + volume[z1, y1, x1, c] * wx
                    a = a * (1 - wy) + b * wy
                    d = d * (1 - wy) + e * wy
                    image[i, j, k, c] = a * (1 - wz) + d * wz
