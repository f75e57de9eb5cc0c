"""Steps on histograms of one channel (z, y, x): equalisation, CLAHE, matching.

Equalisation counts intensities at levels that divide a range evenly: each is shared between the
two levels beside it, and curves are linear between levels. So results hang continuously on the
voxels, and a served graph, whose earlier steps may differ in the last digit, cannot jump to
another level. All is in float64, slice by slice: no copy of the volume is made but the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import ConfigError
from tfseg.steps import Clahe, HistEqualise, HistMatch

# Percentiles for matching are exact to this part of the range above the mean.
MATCH_BINS = 65536


class Levels(NamedTuple):
    """``number`` intensities from ``low`` on, ``1 / scale`` apart; ``scale`` 0 if all are one."""

    low: float
    scale: float
    number: int

    def places(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return where values lie, in levels: 0 to ``number - 1`` for those of the range."""
        places: NDArray[np.float64] = (values.astype(np.float64) - self.low) * self.scale
        return places


def levels_of(values: NDArray[np.float32], number: int) -> Levels:
    """Return levels from the least to the greatest of the values."""
    low, high = float(values.min()), float(values.max())
    return Levels(low, (number - 1) / (high - low) if high > low else 0.0, number)


def hist_equalise(values: NDArray[np.float32], step: HistEqualise) -> NDArray[np.float32]:
    """Return (z, y, x) equalised to [0, 1]."""
    levels = levels_of(values, step.levels)
    counts = np.zeros(levels.number)
    for plane in values:
        counts += _shared_counts(levels.places(plane), levels.number)
    # The greatest counts 1, so that nothing above the lowest level is less.
    above = max(float(values.size - counts[0]), 1.0)
    curve = (np.cumsum(counts) - counts[0]) / above
    return _of_slices(values, lambda plane: _on_curve(levels.places(plane), curve))


def clahe(values: NDArray[np.float32], step: Clahe) -> NDArray[np.float32]:
    """Return (z, y, x) equalised to [0, 1] part by part, slice by slice."""
    levels = levels_of(values, step.levels)
    return _of_slices(values, lambda plane: _clahe_slice(levels.places(plane), step))


def _clahe_slice(places: NDArray[np.float64], step: Clahe) -> NDArray[np.float64]:
    height, width = places.shape
    tile_y, tile_x = (-(-size // step.tiles) for size in (height, width))
    margins = [(0, tile_y * step.tiles - height), (0, tile_x * step.tiles - width)]
    padded = np.pad(places, margins, mode="reflect")
    row, column = (np.arange(size * step.tiles) // size for size in (tile_y, tile_x))
    tile = row[:, np.newaxis] * step.tiles + column
    counts = _shared_counts(padded, step.levels, tile, step.tiles**2)
    curves = _tile_curves(counts.reshape(-1, step.levels), step.clip_limit, tile_y * tile_x)

    y_low, y_high, y_weight = _between_tiles(height, tile_y, step.tiles)
    x_low, x_high, x_weight = _between_tiles(width, tile_x, step.tiles)

    def of(tile_row: NDArray[np.intp], tile_column: NDArray[np.intp]) -> NDArray[np.float64]:
        tiles = tile_row[:, np.newaxis] * step.tiles + tile_column
        return _on_curve(places, curves.ravel(), tiles * step.levels, step.levels)

    top = of(y_low, x_low) * (1 - x_weight) + of(y_low, x_high) * x_weight
    bottom = of(y_high, x_low) * (1 - x_weight) + of(y_high, x_high) * x_weight
    weight = y_weight[:, np.newaxis]
    blended: NDArray[np.float64] = top * (1 - weight) + bottom * weight
    return blended


def _tile_curves(counts: NDArray[np.float64], limit: float, area: int) -> NDArray[np.float64]:
    """Return cumulative shares (tiles, levels) of histograms cut at ``limit`` mean counts."""
    levels = counts.shape[1]
    cut = np.minimum(counts, max(limit * area / levels, 1.0))
    spread = (area - cut.sum(axis=1, keepdims=True)) / levels
    curves: NDArray[np.float64] = np.cumsum(cut + spread, axis=1) / area
    return curves


def _between_tiles(
    size: int, tile: int, tiles: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return for each of ``size`` voxels the tiles before and after it, and the latter's weight.

    Half-way to the centres of the first and the last tile, both are the same.
    """
    place = np.arange(size) / tile - 0.5
    before = np.floor(place)
    low = np.clip(before, 0, tiles - 1).astype(np.intp)
    high = np.clip(before + 1, 0, tiles - 1).astype(np.intp)
    return low, high, place - before


def hist_match(values: NDArray[np.float32], step: HistMatch) -> NDArray[np.float32]:
    """Return (z, y, x) with its percentiles at the step's landmarks.

    Raises:
        ConfigError: the step has no landmarks.
    """
    if step.landmarks is None:
        raise ConfigError(
            "hist_match must have landmarks; got none. `tfseg plan DATA --step hist_match` "
            "learns them."
        )
    marks = landmarks_of(values, step.percentiles)
    return move_landmarks(values, marks, np.array(step.landmarks))


def landmarks_of(
    values: NDArray[np.float32], percentiles: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return percentiles (n,) of the voxels above the volume's mean; of a constant one, it."""
    threshold = np.float32(values.mean(dtype=np.float64))
    highest = float(values.max())
    width = highest - float(threshold)
    scale = MATCH_BINS / width if width > 0 else 0.0
    counts = np.zeros(MATCH_BINS, np.int64)
    for plane in values:
        inside = plane[plane > threshold]
        places = (inside.astype(np.float64) - float(threshold)) * scale
        bins = np.minimum(places.astype(np.int64), MATCH_BINS - 1)
        counts += np.bincount(bins, minlength=MATCH_BINS)
    cumulated = np.cumsum(counts)
    wanted = np.array(percentiles) / 100 * cumulated[-1]
    found = np.searchsorted(cumulated, wanted)  # the first bin that reaches the share
    inner = (wanted - (cumulated - counts)[found]) / np.maximum(counts[found], 1)
    marks: NDArray[np.float64] = float(threshold) + (found + inner) * (width / MATCH_BINS)
    return marks


def move_landmarks(
    values: NDArray[np.float32], source: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return (z, y, x) with ``source`` moved to ``target`` (both (n,), not decreasing).

    Linear in between; the first and the last line go on beyond. Between equal sources all becomes
    the lower target. With the two exchanged it is the inverse, where both increase.
    """
    rise, run = np.diff(target), np.diff(source)
    slopes = np.divide(rise, run, out=np.zeros_like(rise), where=run > 0)

    def of(plane: NDArray[np.float32]) -> NDArray[np.float64]:
        wide = plane.astype(np.float64)
        line = np.searchsorted(source[1:-1], wide, side="right")
        moved: NDArray[np.float64] = target[line] + (wide - source[line]) * slopes[line]
        return moved

    return _of_slices(values, of)


def _shared_counts(
    places: NDArray[np.float64],
    levels: int,
    tile: NDArray[np.intp] | int = 0,
    tiles: int = 1,
) -> NDArray[np.float64]:
    """Return how often each level occurs, (tiles * levels,), a place counting for both beside it.

    Args:
        places: (y, x), in levels.
        levels: of a tile.
        tile: which tile each place belongs to.
        tiles: their number.
    """
    lower = np.minimum(places.astype(np.intp), levels - 2)
    share = (places - lower).ravel()
    lower = (lower + tile * levels).ravel()
    below = np.bincount(lower, 1 - share, tiles * levels)
    above = np.bincount(lower + 1, share, tiles * levels)
    return np.asarray(below + above, np.float64)


def _on_curve(
    places: NDArray[np.float64],
    curve: NDArray[np.float64],
    start: NDArray[np.intp] | int = 0,
    count: int | None = None,
) -> NDArray[np.float64]:
    """Return the curve at places, linear between levels.

    Args:
        places: (y, x), in levels.
        curve: the curves' levels, one curve after the other.
        start: where each place's curve begins.
        count: levels of a curve; by default there is one curve only.
    """
    lower = np.minimum(places.astype(np.intp), (count or curve.size) - 2)
    below, above = curve[start + lower], curve[start + lower + 1]
    result: NDArray[np.float64] = below + (above - below) * (places - lower)
    return result


def _of_slices(
    values: NDArray[np.float32],
    of_slice: Callable[[NDArray[np.float32]], NDArray[np.float64]],
) -> NDArray[np.float32]:
    result = np.empty(values.shape, np.float32)
    for index, plane in enumerate(values):
        result[index] = of_slice(plane)
    return result
