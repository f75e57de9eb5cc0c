"""A schematic fundus photograph: disc, macula and a branching vessel tree, with exact vessels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

_HEIGHT, _WIDTH = 292, 282  # half of DRIVE's 584 x 565
_RADIUS = 0.478 * _WIDTH  # of the field of view
_CENTRE = np.array([_HEIGHT / 2, _WIDTH / 2])  # (y, x)
_DISC_RADIUS = 0.062 * _WIDTH
_STEP = 2.0  # px between two points of a vessel
_THINNEST = 0.95  # px; capillaries below are not seen
_BEND = 0.013  # the sharpest turn, radians a px: arcades pass around the macula

_Pixels = NDArray[Any]


@dataclass
class _Vessel:
    """The growing tip of a vessel: place (y, x) and width in px, headings in radians."""

    place: NDArray[np.float64]
    heading: float
    width: float
    goal: float  # the heading it turns to
    vein: bool


@dataclass
class _Canvas:
    """What the tree leaves behind: how deep inside a vessel each pixel is, and how dark."""

    depth: _Pixels
    veins: _Pixels
    arteries: _Pixels


def make_case(rng: np.random.Generator) -> tuple[_Pixels, _Pixels, _Pixels]:
    """Return (photograph uint8 (y, x, 3), vessels uint8 0/1, field of view uint8 0/1).

    The vessel map marks the pixels whose centres lie inside a vessel, in the field of view.
    """
    y, x = np.mgrid[:_HEIGHT, :_WIDTH].astype(np.float32)
    side = 1 if rng.random() < 0.5 else -1  # of the disc: +1 right, -1 left
    disc = _CENTRE + np.array([rng.uniform(-9, 9), side * rng.uniform(0.58, 0.68) * _RADIUS])
    macula = disc + np.array([rng.uniform(2, 12), -side * 4.9 * _DISC_RADIUS])
    view = np.hypot(y - _CENTRE[0], x - _CENTRE[1]) < _RADIUS
    canvas = _grow(rng, disc, side)
    photo = _background(rng, y, x, disc, macula)
    # Haemoglobin absorbs green most; veins are darker than arteries.
    absorbed = 0.50 * canvas.veins + 0.36 * canvas.arteries * (1 - canvas.veins)
    blurred = gaussian_filter(absorbed, 0.6)
    photo *= 1 - blurred[..., np.newaxis] * _rgb(0.36, 1.0, 0.75)
    photo = photo * view[..., np.newaxis] + _rgb(3, 2, 2) * ~view[..., np.newaxis]
    noise = gaussian_filter(rng.standard_normal(photo.shape, np.float32), (0.5, 0.5, 0))
    photo += noise * (0.6 + 4.2 * view[..., np.newaxis])
    vessels = (canvas.depth > 0) & view
    pixels = photo.clip(0, 255).round().astype(np.uint8)
    return pixels, vessels.astype(np.uint8), view.astype(np.uint8)


def _background(
    rng: np.random.Generator,
    y: _Pixels,
    x: _Pixels,
    disc: NDArray[np.float64],
    macula: NDArray[np.float64],
) -> _Pixels:
    """Return the retina without vessels, float32 (y, x, 3)."""
    tint = _rgb(196, 92, 46) * np.float32(rng.uniform(0.88, 1.12, 3))
    lamp = _CENTRE + rng.uniform(-45, 45, 2)  # the illumination is never even
    light = 1.12 - 0.42 * (((y - lamp[0]) ** 2 + (x - lamp[1]) ** 2) / _RADIUS**2)
    texture = sum(
        strength * _standard(gaussian_filter(rng.standard_normal(y.shape, np.float32), sigma))
        for sigma, strength in ((22.0, 0.045), (7.0, 0.025), (1.8, 0.014))
    )
    shade = (light.clip(0.35, None) + texture)[..., np.newaxis]
    fovea = np.exp(-((y - macula[0]) ** 2 + (x - macula[1]) ** 2) / (2 * 13.0**2))
    photo = tint * shade * (1 - fovea[..., np.newaxis] * _rgb(0.22, 0.36, 0.3))
    for _ in range(int(rng.integers(0, 5)) if rng.random() < 0.4 else 0):
        # Drusen and small bleedings: what a vessel detector must not take for a vessel.
        spot = _CENTRE + rng.uniform(-0.6, 0.6, 2) * _RADIUS
        size = rng.uniform(1.5, 4.0)
        blot = np.exp(-((y - spot[0]) ** 2 + (x - spot[1]) ** 2) / (2 * size**2))
        photo *= 1 + blot[..., np.newaxis] * np.float32(rng.choice([-0.35, 0.3]))
    for radius, colour, strength in (
        (_DISC_RADIUS * rng.uniform(0.95, 1.1), (246, 186, 108), 0.85),
        (_DISC_RADIUS * rng.uniform(0.4, 0.6), (255, 226, 168), 0.75),
    ):
        away = np.hypot((y - disc[0]) / 1.08, x - disc[1]) - radius
        cover = (strength / (1 + np.exp(away / 0.9)))[..., np.newaxis]
        photo += cover * (_rgb(*colour) - photo)
    return photo.astype(np.float32)


def _grow(rng: np.random.Generator, disc: NDArray[np.float64], side: int) -> _Canvas:
    """Grow four arteries and four veins out of the disc, branching until they are too thin."""
    shape = (_HEIGHT, _WIDTH)
    canvas = _Canvas(
        np.full(shape, -np.inf, np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
    )
    temporal = np.pi if side > 0 else 0.0  # heading 0 points to larger x
    tips = []
    for up in (-1, 1):
        # An arcade leaves steeply and bends around the macula; a nasal branch spreads away.
        for vein in (False, True):
            spread = rng.uniform(0.10, 0.2) * (1 if vein else -1)
            width = rng.uniform(4.2, 5.0) if vein else rng.uniform(3.2, 3.9)
            turn = up * side  # y grows downwards, so headings turn clockwise
            arcade = temporal - turn * (1.35 + spread), temporal + turn * rng.uniform(0, 0.35)
            nasal = (temporal + np.pi + turn * (0.8 + 2 * spread),) * 2
            for (heading, goal), share in ((arcade, 1.0), (nasal, 0.72)):
                start = disc + rng.normal(0, 1.5, 2)
                tips.append(_Vessel(start, heading, width * share, goal, vein))
    while tips:
        tips.extend(_follow(rng, tips.pop(), canvas))
    return canvas


def _follow(rng: np.random.Generator, tip: _Vessel, canvas: _Canvas) -> list[_Vessel]:
    """Draw one vessel to its end and return the branches that left it."""
    branches = []
    wander, until_branch = 0.0, rng.uniform(8, 22)
    sign = rng.choice([-1, 1])
    while tip.width > _THINNEST:
        wander = 0.9 * wander + rng.normal(0, 0.011)
        tip.heading += (np.clip(0.03 * (tip.goal - tip.heading), -_BEND, _BEND) + wander) * _STEP
        forward = np.array([np.sin(tip.heading), np.cos(tip.heading)])
        target = tip.place + _STEP * forward
        _draw(canvas, tip, target)
        tip.place = target
        if np.hypot(*(target - _CENTRE)) > _RADIUS + 4:
            break
        tip.width *= 0.999
        until_branch -= _STEP
        if until_branch <= 0:
            # Murray's law: the cubes of the widths of the two daughters add up to the mother's.
            share = rng.uniform(0.08, 0.45)
            heading = tip.heading + sign * rng.uniform(0.55, 1.05)
            width = tip.width * share ** (1 / 3)
            goal = heading + rng.normal(-0.25 * sign, 0.25)
            branches.append(_Vessel(target, heading, width, goal, tip.vein))
            tip.width *= (1 - share) ** (1 / 3)
            tip.heading -= sign * 0.12 * share
            sign, until_branch = -sign, rng.uniform(7, 7 + 5 * tip.width)
    return branches


def _draw(canvas: _Canvas, tip: _Vessel, target: NDArray[np.float64]) -> None:
    """Draw a straight piece of vessel from the tip to ``target``."""
    reach = tip.width / 2 + 2
    low = np.floor(np.minimum(tip.place, target) - reach).astype(int).clip(0)
    high = np.ceil(np.maximum(tip.place, target) + reach).astype(int).clip(0) + 1
    box = (slice(low[0], high[0]), slice(low[1], high[1]))
    depth = canvas.depth[box]
    if not depth.size:
        return
    way = target - tip.place
    dy = np.arange(low[0], low[0] + depth.shape[0])[:, np.newaxis] - tip.place[0]
    dx = np.arange(low[1], low[1] + depth.shape[1]) - tip.place[1]
    along = ((dy * way[0] + dx * way[1]) / (way @ way)).clip(0, 1)
    away = np.hypot(dy - along * way[0], dx - along * way[1])
    inside = tip.width / 2 - away
    np.maximum(depth, inside, out=depth)
    dark = (inside + 0.5).clip(0, 1) * min(1.0, 0.45 + tip.width / 6)
    if not tip.vein and tip.width > 2:
        dark = dark * (1 - 0.35 * np.exp(-((away / (0.22 * tip.width)) ** 2)))  # light reflex
    layer = (canvas.veins if tip.vein else canvas.arteries)[box]
    np.maximum(layer, dark, out=layer)


def _rgb(red: float, green: float, blue: float) -> _Pixels:
    return np.array([red, green, blue], np.float32)


def _standard(values: _Pixels) -> _Pixels:
    return values / values.std()
