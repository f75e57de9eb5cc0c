"""Pixels of a series: decoded in parallel, rescaled, stacked."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.io.dicom.headers import Header, damage, lenient


def decode(headers: tuple[Header, ...], what: str) -> NDArray[Any]:
    """Return the rescaled voxels (z, y, x) of slices in the given order.

    Stored values keep their type where no slope or intercept changes them; where both are
    whole numbers the smallest of int16, uint16 and int32 that holds them is taken; otherwise
    float32 (PET has another slope in every slice).

    Raises:
        DataError: a slice cannot be decoded, or has another size or type than its header says.
    """
    stored: NDArray[Any] | None = None
    with lenient(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for index, pixels in enumerate(pool.map(lambda header: _slice(header, what), headers)):
            if stored is None:
                stored = np.empty((len(headers), *pixels.shape), pixels.dtype)
            if pixels.dtype != stored.dtype:
                raise DataError(
                    f"{what}: slices must be stored alike; {headers[index].name} has "
                    f"{pixels.dtype} pixels, {headers[0].name} {stored.dtype}."
                )
            stored[index] = pixels
    if stored is None:
        raise DataError(f"{what}: must have at least one slice.")
    return _rescaled(stored, headers, what)


def _slice(header: Header, what: str) -> NDArray[Any]:
    """Return the stored values (y, x); MONOCHROME1, where less is brighter, is inverted."""
    try:
        pixels: NDArray[Any] = header.dataset.pixel_array
        bits, signed = int(header.dataset.BitsStored), bool(header.dataset.PixelRepresentation)
    except damage() as error:
        text = " ".join(str(error).split())[:160]
        raise DataError(
            f"{what}: the pixels of {header.name} cannot be decoded ({text})."
        ) from error
    if pixels.shape != (header.rows, header.columns):
        raise DataError(
            f"{what}: the header of {header.name} says {header.rows} x {header.columns} pixels; "
            f"decoded {pixels.shape}."
        )
    if header.inverted:
        # Mirror the range of the stored type: 0..2^b-1, or -2^(b-1)..2^(b-1)-1.
        top = -1 if signed else (1 << bits) - 1
        pixels = (np.int64(top) - pixels.astype(np.int64)).astype(pixels.dtype)
    return pixels


def _rescaled(stored: NDArray[Any], headers: tuple[Header, ...], what: str) -> NDArray[Any]:
    for header in headers:
        if not np.isfinite([header.slope, header.intercept]).all() or header.slope == 0:
            raise DataError(
                f"{what}: RescaleSlope and RescaleIntercept must be finite and the slope not 0; "
                f"{header.name} has {header.slope:g} and {header.intercept:g}."
            )
    scales = [(header.slope, header.intercept) for header in headers]
    if all(scale == (1.0, 0.0) for scale in scales):
        return stored
    dtype: np.dtype[Any] = np.dtype(np.float32)
    if stored.dtype.kind in "ui" and all(
        slope.is_integer() and intercept.is_integer() for slope, intercept in scales
    ):
        ends = [
            float(value) * slope + intercept
            for plane, (slope, intercept) in zip(stored, scales, strict=True)
            for value in (plane.min(), plane.max())
        ]
        for name in ("int32", "uint16", "int16"):
            limits = np.iinfo(name)
            if limits.min <= min(ends) and max(ends) <= limits.max:
                dtype = limits.dtype
    rescaled = np.empty(stored.shape, dtype)
    for index, (slope, intercept) in enumerate(scales):
        rescaled[index] = stored[index] * np.float64(slope) + np.float64(intercept)
    return rescaled
