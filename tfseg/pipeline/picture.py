"""A picture of patches: as they are cut, and as the network sees them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tfseg.artifact import label_colour
from tfseg.augmentation import AugmentationConfig
from tfseg.io.image2d import write
from tfseg.pipeline.patches import PatchSampler
from tfseg.volume import Volume

PATCHES_FILE = "patches.png"
_COLUMNS = 6
_TILE, _WIDEST = 160, 320  # pixels that a tile is wide at least and at most
_GAP = 4
_Picture = NDArray[np.uint8]  # (rows, columns, 3)


def write_patches(sampler: PatchSampler, folder: Path) -> None:
    """Write :data:`PATCHES_FILE`: above the first patches without augmentation, below with it.

    Of a patch in 3D, the slice with the most foreground is shown. Each tile has grey values of
    its own, from the patch's 1st to its 99th percentile; labels are outlined.
    """
    plain = replace(sampler, augmentation=AugmentationConfig.model_validate("none"))
    rows = [_row([_tile(draw, index) for index in range(_COLUMNS)]) for draw in (plain, sampler)]
    picture = np.concatenate(
        [rows[0], np.full((_GAP, rows[0].shape[1], 3), 255, np.uint8), rows[1]]
    )
    write(Volume(picture[np.newaxis], np.eye(4)), folder / PATCHES_FILE)


def _row(tiles: list[_Picture]) -> _Picture:
    between = np.full((len(tiles[0]), _GAP, 3), 255, np.uint8)
    parts = [part for tile in tiles for part in (tile, between)]
    return np.concatenate(parts[:-1], axis=1)


def _tile(draw: PatchSampler, index: int) -> _Picture:
    image, label = draw(index)[:2]
    if draw.plan.dims == 3:
        z = int(np.argmax((label > 0).sum((1, 2)))) if label.any() else len(label) // 2
        image, label = image[z], label[z]
    every = -(-label.shape[1] // _WIDEST)
    image, label = image[::every, ::every], label[::every, ::every]
    shown = image[..., :3] if image.shape[-1] == 3 else image[..., :1]
    low, high = np.percentile(shown, (1, 99))
    gray = 255 * np.clip((shown - low) / max(high - low, 1e-6), 0, 1)
    tile = np.broadcast_to(gray, (*label.shape, 3)).astype(np.uint8)
    times = max(1, -(-_TILE // label.shape[1]))
    tile, label = _enlarged(tile, times), _enlarged(label, times)
    for value in np.unique(label[label > 0]):
        there = label == value
        tile[there & ~ndimage.binary_erosion(there)] = label_colour(int(value))
    return tile


def _enlarged(array: NDArray[Any], times: int) -> NDArray[Any]:
    return array.repeat(times, axis=0).repeat(times, axis=1)
