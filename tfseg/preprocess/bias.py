"""Shading of MR as a polynomial in log intensities, found by histogram sharpening.

Model: v = exp(B) u, with B slow and u of few tissues. Shading blurs the histogram of log v as a
Gaussian would; undoing that blur tells where a voxel's log u probably lies, and what is between
that and log v, smoothed, is B (N3; Sled, Zijdenbos, Evans 1998, doi:10.1109/42.668698). Here
smoothing is the least squares fit of a polynomial, which needs a thinned grid only and is the
same in a served graph. Width of the blur and noise are N4's defaults (Tustison 2010,
doi:10.1109/TMI.2010.2046908).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfseg.steps import BiasField

# The histogram of log intensities about their mean: e^-2.56 to e^2.56.
BINS, BIN_WIDTH = 256, 0.02
FWHM, WIENER_NOISE = 0.15, 0.01

GRID = 48  # voxels taken along an axis, at most
RIDGE = 1e-6  # keeps the fit solvable where axes are shorter than the polynomial's order


class LogField(NamedTuple):
    """B as a polynomial, and the bounds that it keeps.

    Attributes:
        coefficients: (order + 1,) * 3 for the axes (z, y, x).
        low: its least value over the fitted voxels; beyond them, in air, a polynomial may run
            away.
        high: its greatest.
    """

    coefficients: NDArray[np.float64]
    low: float
    high: float


class Sharpening(NamedTuple):
    """Constants of the histogram's sharpening, all float64.

    Attributes:
        unblur: (bins, bins), Wiener's inverse of the blur.
        blur: (bins, bins), the blur.
        centres: (bins,) log intensities.
    """

    unblur: NDArray[np.float64]
    blur: NDArray[np.float64]
    centres: NDArray[np.float64]


def sharpening() -> Sharpening:
    """Return the constants."""
    sigma = FWHM / np.sqrt(8 * np.log(2)) / BIN_WIDTH  # in bins
    size = 4 * BINS  # so far apart that the circle's ends do not meet
    lags = np.minimum(np.arange(size), size - np.arange(size))
    kernel = np.exp(-0.5 * (lags / sigma) ** 2)
    kernel /= kernel.sum()
    spectrum = np.fft.fft(kernel).real
    inverse = np.fft.ifft(spectrum / (spectrum**2 + WIENER_NOISE)).real
    apart = np.abs(np.subtract.outer(np.arange(BINS), np.arange(BINS)))
    centres = (np.arange(BINS, dtype=np.float64) - (BINS - 1) / 2) * BIN_WIDTH
    return Sharpening(np.asarray(inverse[apart], np.float64), kernel[apart], centres)


def exponents(order: int) -> list[tuple[int, int, int]]:
    """Return the degrees (z, y, x) of the polynomial's terms."""
    degrees = range(order + 1)
    return [
        (i, j, k) for i, j, k in itertools.product(degrees, degrees, degrees) if i + j + k <= order
    ]


def correct_bias(values: NDArray[np.float32], step: BiasField) -> NDArray[np.float32]:
    """Return (z, y, x) divided by its shading."""
    return _times_field(values, _fit(values, step), -1.0)


def bias_field(values: NDArray[np.float32], step: BiasField) -> NDArray[np.float32]:
    """Return the shading exp(B), (z, y, x), that :func:`correct_bias` divides by."""
    return _times_field(np.ones_like(values), _fit(values, step), 1.0)


def _fit(values: NDArray[np.float32], step: BiasField) -> LogField:
    """Return B."""
    thin = tuple(slice(None, None, -(-size // GRID)) for size in values.shape)
    samples = values[thin].astype(np.float64).ravel()
    inside = samples > max(float(np.float32(values.mean(dtype=np.float64))), 0.0)
    weight = inside.astype(np.float64)
    count = max(weight.sum(), 1.0)
    logs = np.log(np.where(inside, samples, 1.0))
    logs = (logs - (logs * weight).sum() / count) * weight

    terms = exponents(step.order)
    z, y, x = (
        legendre(size, step.order)[one] for size, one in zip(values.shape, thin, strict=True)
    )
    basis = np.stack(
        [np.einsum("z,y,x->zyx", z[:, i], y[:, j], x[:, k]).ravel() for i, j, k in terms], axis=1
    )
    basis *= weight[:, np.newaxis]  # (samples, terms); nothing outside
    normal = basis.T @ basis + RIDGE * count * np.eye(len(terms))
    mean_of_terms = basis.sum(axis=0) / count
    constants = sharpening()
    found = np.zeros(len(terms))
    for _ in range(step.iterations):
        residual = logs - basis @ found
        found = np.linalg.solve(normal, basis.T @ (logs - _sharp(residual, weight, constants)))
        found[0] -= mean_of_terms @ found  # the first term is 1
    coefficients = np.zeros((step.order + 1,) * 3)
    coefficients[tuple(np.transpose(terms))] = found
    log_field = basis @ found  # 0 outside, which lies between the two as the mean inside is 0
    return LogField(coefficients, float(log_field.min()), float(log_field.max()))


def _sharp(
    logs: NDArray[np.float64], weight: NDArray[np.float64], constants: Sharpening
) -> NDArray[np.float64]:
    """Return the expected log u of each sample, (samples,), where only log v is known."""
    unblur, blur, centres = constants
    place = np.clip((logs - centres[0]) / BIN_WIDTH, 0, BINS - 1)
    low = np.minimum(place.astype(np.intp), BINS - 2)
    share = place - low
    histogram = np.bincount(low, (1 - share) * weight, BINS)
    histogram += np.bincount(low + 1, share * weight, BINS)
    sharp = np.maximum(unblur @ histogram, 0)
    mass = blur @ sharp
    # Where the sharp histogram has no mass nearby nothing is known: the bin stays.
    seen = mass > 1e-9 * max(float(histogram.sum()), 1.0)
    expected = np.where(seen, (blur @ (centres * sharp)) / np.where(seen, mass, 1.0), centres)
    answer: NDArray[np.float64] = expected[low] + (expected[low + 1] - expected[low]) * share
    return answer


def legendre(size: int, order: int) -> NDArray[np.float64]:
    """Return Legendre polynomials (size, order + 1) at voxel centres, the axis being [-1, 1]."""
    places = (2 * np.arange(size) + 1) / size - 1
    return np.asarray(np.polynomial.legendre.legvander(places, order), np.float64)


def _times_field(values: NDArray[np.float32], field: LogField, sign: float) -> NDArray[np.float32]:
    """Return values times exp(sign B), slice by slice."""
    order = field.coefficients.shape[0] - 1
    z, y, x = (legendre(size, order) for size in values.shape)
    result = np.empty(values.shape, np.float32)
    for index, plane in enumerate(values):
        log_field = y @ np.tensordot(z[index], field.coefficients, 1) @ x.T
        result[index] = plane * np.exp(sign * log_field.clip(field.low, field.high))
    return result
