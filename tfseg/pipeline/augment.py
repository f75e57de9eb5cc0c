"""Random variation of patches: small operations, composed into one read and what follows it.

Those of geometry make one :class:`~tfseg.pipeline.field.Field`, so that the volume is read once,
for image, label and voxel map alike; those of intensity change the image that was read. An
operation that was not drawn costs nothing, and one whose strength is zero changes no bit. Each
has random numbers of its own: switching one on or off leaves the draws of the others alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from tfseg.augmentation import AugmentationConfig
from tfseg.errors import ConfigError
from tfseg.pipeline.field import (
    Field,
    control_distance,
    control_points,
    spline_weights,
)
from tfseg.pipeline.loops import add_noise, blend, convolve, convolve_rows, line, moments
from tfseg.plan import Plan

_Image = NDArray[np.float32]  # (c, z, y, x), contiguous; operations may change it in place
_Random = np.random.Generator
# (operation, part) -> random numbers of its own
Streams = Callable[[int, int], _Random]

# A standard deviation of so much of the control points' distance hardly ever folds the field: the
# displacements of neighbours then differ by the whole distance at 2.8 standard deviations. Those
# of B-splines' coefficients are smoothed, to half and less.
_FOLDS = {"cubic": 0.25, "bspline": 0.5}
_CUSTOMARY = 0.4  # of it, where nothing is given
_BIAS_GRID = 3
_THICK = 3.0  # voxels so many times the finest are left alone by what blurs
_TRUNCATE = 3.0  # standard deviations that a Gaussian kernel reaches
# The normal distribution by its 65536 quantiles: four times as fast as drawing from it.
_NORMAL = ndtri((np.arange(65536) + 0.5) / 65536).astype(np.float32)
_ZERO, _ONE, _INFINITE = np.float32(0), np.float32(1), np.float32(np.inf)
_RED_GREEN_BLUE = (("r", "g", "b"), ("red", "green", "blue"))


@dataclass(frozen=True)
class Box:
    """A patch's voxels.

    Attributes:
        dims: 2 where the patch is a slice.
        size: in voxels (z, y, x).
        spacing: voxel size (z, y, x) in any unit; of a slice, z is 1 and means nothing.
    """

    dims: int
    size: tuple[int, ...]
    spacing: tuple[float, ...]

    @classmethod
    def of(cls, plan: Plan) -> Box:
        """Return the box of a plan's patches; without millimetres, voxels are cubes."""
        above = 3 - plan.dims
        spacing = plan.spacing_mm or (1.0,) * plan.dims
        return cls(plan.dims, (1,) * above + plan.patch_size, (1.0,) * above + tuple(spacing))

    @property
    def finest(self) -> float:
        """The smallest voxel size."""
        return min(self.spacing[3 - self.dims :])

    def blurs(self, axis: int) -> bool:
        """Tell whether blur and low resolution act on an axis."""
        return self.size[axis] > 1 and self.spacing[axis] <= _THICK * self.finest


def check_augmentation(rule: AugmentationConfig, plan: Plan) -> None:
    """Refuse operations that the plan's patches cannot go through.

    Raises:
        ConfigError: colours of what is no photograph, or an elastic field that would fold.
    """
    names = tuple(channel.name.casefold() for channel in plan.channels)
    if rule.colour > 0 and names not in _RED_GREEN_BLUE:
        raise ConfigError(
            "augmentation.colour needs the three channels R, G, B of photographs; got "
            f"{', '.join(channel.name for channel in plan.channels)}. Use augmentation.colour=0."
        )
    if rule.elastic > 0 and rule.elastic_sigma_vox is not None:
        box = Box.of(plan)
        limits = [
            _FOLDS[rule.elastic_spline] * distance * mm / box.finest
            for distance, mm in zip(_distances(rule, box), box.spacing, strict=True)
            if distance > 0
        ]
        most = min(limits, default=math.inf)
        if rule.elastic_sigma_vox > most:
            raise ConfigError(
                "augmentation.elastic_sigma_vox must be small beside the control points' distance, "
                f"or the patch folds; got {rule.elastic_sigma_vox:g} for patches of "
                f"{' x '.join(map(str, plan.patch_size))} voxels and elastic_grid="
                f"{rule.elastic_grid}. Use {math.floor(100 * most) / 100:g} or less, or null to "
                "have it follow the patch."
            )


def draw_field(rule: AugmentationConfig, box: Box, streams: Streams) -> Field:
    """Draw where a patch is read."""
    matrix = np.eye(3)
    for number, (name, operation) in enumerate(_GEOMETRY.items(), start=1):
        if getattr(rule, name):
            rng = streams(number, 0)
            if name == "flip" or rng.random() < getattr(rule, name):
                matrix = matrix @ operation(rule, box, rng)
    if rule.elastic:
        rng = streams(len(_GEOMETRY) + 1, 0)
        if rng.random() < rule.elastic:
            knots = _bend(rule, box, rng)
            return Field(matrix, knots, rule.elastic_grid, rule.elastic_spline)
    return Field(matrix)


def vary(image: _Image, rule: AugmentationConfig, box: Box, streams: Streams) -> _Image:
    """Change intensities of an image (c, z, y, x), in place where that is quicker."""
    for number, (name, operation) in enumerate(_INTENSITY.items(), start=len(_GEOMETRY) + 2):
        probability = getattr(rule, name)
        if not probability:
            continue
        apart = rule.per_channel and name != "colour"
        pieces = [image[c : c + 1] for c in range(len(image))] if apart else [image]
        for part, piece in enumerate(pieces):
            rng = streams(number, part)
            if rng.random() < probability:
                made = operation(piece, rule, box, rng)
                if made is not piece:
                    piece[...] = made
    return image


def _factor(rng: _Random, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _mirror(rule: AugmentationConfig, box: Box, rng: _Random) -> NDArray[np.float64]:
    drawn = rng.random(3) < 0.5
    axes = [axis in rule.flip for axis in "zyx"]
    axes[0] &= box.dims == 3
    return np.diag(np.where(drawn & axes, -1.0, 1.0))


def _rotate(rule: AugmentationConfig, box: Box, rng: _Random) -> NDArray[np.float64]:
    """Return a rotation about z, y, x in millimetres, expressed in voxels."""
    angles = np.deg2rad(rng.uniform(-rule.rotation_degrees, rule.rotation_degrees, 3))
    if box.dims == 2:
        angles[1:] = 0
    turned = np.eye(3)
    for angle, (a, b) in zip(angles, ((1, 2), (0, 2), (0, 1)), strict=True):
        plane = np.eye(3)
        plane[a, a] = plane[b, b] = np.cos(angle)
        plane[a, b], plane[b, a] = -np.sin(angle), np.sin(angle)
        turned = turned @ plane
    spacing = np.array(box.spacing)
    return turned * spacing / spacing[:, np.newaxis]


def _rescale(rule: AugmentationConfig, box: Box, rng: _Random) -> NDArray[np.float64]:
    step = 1 / _factor(rng, rule.scale_range)
    return np.diag([1.0 if box.dims == 2 else step, step, step])


def _distances(rule: AugmentationConfig, box: Box) -> list[float]:
    return [control_distance(n, rule.elastic_grid, rule.elastic_spline) for n in box.size]


def _bend(rule: AugmentationConfig, box: Box, rng: _Random) -> NDArray[np.float64] | None:
    """Return displacements at the control points in voxels, (3, z, y, x).

    With ``cubic`` those of Ronneberger et al. 2015, arXiv:1505.04597; with ``bspline`` those of
    Milletari et al. 2016, arXiv:1606.04797. There is none along an axis of one voxel.
    """
    distances = np.array(_distances(rule, box))
    if rule.elastic_sigma_vox is None:
        sigma = _CUSTOMARY * _FOLDS[rule.elastic_spline] * distances
    else:
        sigma = rule.elastic_sigma_vox * box.finest / np.array(box.spacing) * (distances > 0)
    if not sigma.any():
        return None
    points = [control_points(n, rule.elastic_grid, rule.elastic_spline) for n in box.size]
    return rng.standard_normal((3, *points)) * sigma.reshape(3, 1, 1, 1)


def _bias(image: _Image, rule: AugmentationConfig, box: Box, rng: _Random) -> _Image:
    if not rule.bias_std:
        return image
    z, y, x = (spline_weights(voxels, _BIAS_GRID, "cubic") for voxels in box.size)
    logarithm = rng.normal(0, rule.bias_std, (len(z), len(y), len(x)))
    plane = np.einsum("abc,bj,ck->ajk", logarithm, y, x, optimize=True).astype(np.float32)
    factor = np.exp(np.einsum("ai,ajk->ijk", z.astype(np.float32), plane))
    low = image.min(axis=(1, 2, 3), keepdims=True)
    image -= low
    image *= factor
    image += low
    return image


def _noise(image: _Image, rule: AugmentationConfig, box: Box, rng: _Random) -> _Image:
    del box
    std = np.float32(rng.uniform(0, rule.noise_std))
    if std:
        numbers = rng.bit_generator.random_raw(image.size // 4 + 1)
        add_noise(image.reshape(-1), _NORMAL, numbers.view(np.uint16), std)
    return image


def _blur(image: _Image, rule: AugmentationConfig, box: Box, rng: _Random) -> _Image:
    sigma = rng.uniform(*rule.blur_sigma_vox)
    reach = int(_TRUNCATE * sigma + 0.5)
    if not reach:
        return image
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    other = np.empty_like(image)
    for axis, (voxels, before) in enumerate(
        zip(box.size, (1, *np.cumprod(box.size)), strict=False)
    ):
        if not box.blurs(axis):
            continue
        if axis == 2:
            convolve(image.reshape(-1, voxels), taps, other.reshape(-1, voxels))
        else:
            shape = (len(image) * int(before), voxels, -1)
            convolve_rows(image.reshape(shape), taps, other.reshape(shape))
        image, other = other, image
    return image


def _contrast(image: _Image, rule: AugmentationConfig, box: Box, rng: _Random) -> _Image:
    del box
    factor = _factor(rng, rule.contrast_range)
    for channel in image.reshape(len(image), -1) if factor != 1 else ():
        low, high, mean, _ = moments(channel)
        line(channel, np.float32(factor), np.float32(mean - factor * mean), low, high)
    return image


def _brightness(image: _Image, rule: AugmentationConfig, box: Box, rng: _Random) -> _Image:
    del box
    factor = np.float32(_factor(rng, rule.brightness_range))
    shift = np.float32(rng.uniform(-rule.brightness_shift, rule.brightness_shift))
    if factor != 1:
        image *= factor
    if shift:
        image += shift
    return image


def _low_resolution(image: _Image, rule: AugmentationConfig, box: Box, rng: _Random) -> _Image:
    """Take the nearest voxels of a coarser grid, and interpolate linearly between them."""
    zoom = _factor(rng, rule.low_resolution_zoom)
    lows, highs, shares = [], [], []
    for axis, voxels in enumerate(box.size):
        coarse = max(1, round(voxels * zoom)) if box.blurs(axis) else voxels
        taken = ((np.arange(coarse) + 0.5) * voxels / coarse).astype(np.intp)
        place = ((np.arange(voxels) + 0.5) * coarse / voxels - 0.5).clip(0, coarse - 1)
        low = place.astype(np.intp)
        lows.append(taken[low])
        highs.append(taken[np.minimum(low + 1, coarse - 1)])
        shares.append((place - low).astype(np.float32))
    result = np.empty_like(image)
    for channel, made in zip(image, result, strict=True):
        blend(channel, tuple(lows), tuple(highs), tuple(shares), made)
    return result


def _gamma(image: _Image, rule: AugmentationConfig, box: Box, rng: _Random) -> _Image:
    del box
    exponent = np.float32(_factor(rng, rule.gamma_range))
    for channel in image.reshape(len(image), -1) if exponent != 1 else ():
        low, high, mean, std = moments(channel)
        if high - low < 1e-6:
            continue
        scale = 1 / (high - low)
        line(channel, scale, -low * scale, _ZERO, _ONE)
        np.power(channel, exponent, out=channel)
        _, _, mean_now, std_now = moments(channel)
        slope = np.float32(std / std_now)
        line(channel, slope, np.float32(mean - slope * mean_now), -_INFINITE, _INFINITE)
    return image


def _inverted_gamma(image: _Image, rule: AugmentationConfig, box: Box, rng: _Random) -> _Image:
    np.negative(image, out=image)
    image = _gamma(image, rule, box, rng)
    return np.negative(image, out=image)


def _colour(image: _Image, rule: AugmentationConfig, box: Box, rng: _Random) -> _Image:
    """Turn colours about the grey axis and scale their distance from it; their mean stays."""
    del box
    angle = np.deg2rad(rng.uniform(-rule.hue_degrees, rule.hue_degrees))
    factor = _factor(rng, rule.saturation_range)
    if angle == 0 and factor == 1:
        return image
    grey = np.full((3, 3), 1 / 3)
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    matrix = grey + factor * (np.cos(angle) * (np.eye(3) - grey) + np.sin(angle) * across)
    return np.einsum("ij,jzyx->izyx", matrix.astype(np.float32), image)


# Operations by the name of their probability, in their order. The elastic field comes first of
# all in space: matrix (p + d(p)).
_GEOMETRY = {"flip": _mirror, "rotation": _rotate, "scale": _rescale}
_INTENSITY = {
    "bias": _bias,
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "low_resolution": _low_resolution,
    "inverted_gamma": _inverted_gamma,
    "gamma": _gamma,
    "colour": _colour,
}
