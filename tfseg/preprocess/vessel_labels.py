"""Vessels by calibre: five classes out of a vessel mask, and back.

Zhang, Chung 2018, arXiv:1806.02132: a network that must tell thick vessels from thin ones, and
both from the background beside them, learns their edges. The classes' numbers are ours:

    0 background   1 band around thick vessels   2 band around thin ones   3 thick   4 thin
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tfseg.errors import ConfigError, DataError

BACKGROUND, THICK_BAND, THIN_BAND, THICK, THIN = range(5)


def expand_vessels(mask: np.ndarray, *, radius_vox: int = 2, band_vox: int = 1) -> np.ndarray:
    """Return the five classes of a vessel mask.

    Thick vessels are what is left by an opening with a ball. A band is what a dilation adds; of
    two bands that meet, the thick vessels' comes first.

    Args:
        mask: ([z,] y, x) bool, or integers 0 and 1.
        radius_vox: of the ball; vessels up to ``2 * radius_vox`` voxels wide are thin.
        band_vox: width of the bands.

    Returns:
        uint8 of the mask's shape.

    Raises:
        DataError: a mask with other values.
        ConfigError: a radius or width below 1.
    """
    if radius_vox < 1 or band_vox < 1:
        raise ConfigError(
            f"radius_vox and band_vox must be at least 1; got {radius_vox} and {band_vox}."
        )
    if not np.isin(mask, (0, 1)).all():
        raise DataError(f"a vessel mask must hold 0 and 1 only; got {mask.min()} to {mask.max()}.")
    vessel = mask.astype(bool)
    # Beyond the border the mask goes on: a vessel that leaves the image stays as thick as it is.
    eroded = ndimage.binary_erosion(vessel, _ball(radius_vox, mask.ndim), border_value=1)
    thick = vessel & ndimage.binary_dilation(eroded, _ball(radius_vox, mask.ndim))
    thin = vessel & ~thick
    around = _ball(band_vox, mask.ndim)
    labels = np.full(mask.shape, BACKGROUND, np.uint8)
    labels[ndimage.binary_dilation(thin, around)] = THIN_BAND
    labels[ndimage.binary_dilation(thick, around)] = THICK_BAND
    labels[thin], labels[thick] = THIN, THICK
    return labels


def vessels_of(labels: np.ndarray) -> np.ndarray:
    """Return the vessel mask, uint8 0 and 1, of five-class labels: thick or thin."""
    return np.isin(labels, (THICK, THIN)).astype(np.uint8)


def vessel_probability(probabilities: np.ndarray) -> np.ndarray:
    """Return the probability of a vessel, (..., 5) -> (...): that of thick plus that of thin."""
    if probabilities.shape[-1] != THIN + 1:
        raise ConfigError(
            f"probabilities must have {THIN + 1} classes in the last axis; "
            f"got shape {probabilities.shape}."
        )
    return probabilities[..., THICK] + probabilities[..., THIN]


def _ball(radius: int, rank: int) -> np.ndarray:
    """Return the voxels within ``radius`` of the middle."""
    offsets = np.indices((2 * radius + 1,) * rank) - radius
    return (offsets**2).sum(0) <= radius**2
