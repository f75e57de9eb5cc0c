"""A schematic CT of the upper abdomen in the portal venous phase, with exact labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tfseg.datasets.phantom.anatomy import (
    Field,
    Point,
    Scene,
    centred_affine,
    random_waves,
    rotation,
    union,
)
from tfseg.volume import Volume

LABELS = ("background", "liver", "spleen", "kidneys", "lesion", "spine")
LIVER, SPLEEN, KIDNEYS, LESION, SPINE = range(1, 6)

# Typical attenuation in Hounsfield units, portal venous phase (about 70 s after contrast).
_HU = {
    "air": -1000.0, "lung": -840.0, "fat": -105.0, "skin": 10.0, "muscle": 55.0, "liver": 112.0,
    "lesion": 52.0, "spleen": 125.0, "cortex": 185.0, "pelvis": -40.0, "aorta": 165.0,
    "cava": 140.0, "portal": 160.0, "bile": 8.0, "bowel": 32.0, "gas": -880.0, "stomach": 20.0,
    "cortical_bone": 620.0, "marrow": 210.0, "disc": 85.0, "cord": 35.0, "pancreas": 95.0,
}  # fmt: skip
_NOISE_HU = 13.0
_SIZE_YX = 96
_OBLIQUE_DEG = 11.0


def make_case(rng: np.random.Generator, oblique: bool) -> tuple[Volume, Volume]:
    """Return one patient's CT (int16, HU) and label map (uint8) in the canonical orientation.

    About 36 x 96 x 96 voxels of 5 x 3.6 x 3.6 mm; the patients differ in size, in the place of
    every organ and by a smooth deformation, the scans in spacing, extent and noise.

    Args:
        rng: the source of everything random.
        oblique: turn the grid against the patient by up to 11 degrees about each axis.
    """
    spacing = (rng.uniform(4.4, 5.6), *[rng.uniform(3.45, 3.85)] * 2)
    shape = (int(rng.integers(32, 41)), _SIZE_YX, _SIZE_YX)
    turned = rotation(rng, _OBLIQUE_DEG) if oblique else np.eye(3)
    offset = rng.uniform((-15, -150, -400), (15, -110, 400))
    anatomy, scanner = centred_affine(shape, spacing, turned, offset.round(1))
    scene = Scene(shape, anatomy, _HU["air"], softness_mm=spacing[1] * 1.15)
    table = scene.ellipsoid((0, 182, 0), (210, 48, 1e4))
    scene.paint(table, -850.0)  # foam in a thin shell
    scene.paint(np.abs(table) - 1.5, -80.0)
    scene.deform(rng, amplitude_mm=4.0, wavelength_mm=170.0)
    cavity = _body_wall(scene, rng)
    _viscera(scene, rng, cavity)
    _spine(scene, rng)
    noise = _noise(rng, shape) * _dose_map(scene) * np.float32(_NOISE_HU * rng.uniform(0.8, 1.25))
    hounsfield = (scene.value + noise).clip(-1024, 3071).round().astype(np.int16)
    return Volume(hounsfield, scanner, "CT"), Volume(scene.label, scanner)


def _body_wall(scene: Scene, rng: np.random.Generator) -> Field:
    """Paint skin, fat, muscle and ribs; return the distance to the inner face of the wall."""
    width, depth = rng.uniform(142, 156), rng.uniform(100, 112)
    body = scene.ellipsoid((0, 2, 0), (width, depth, 900))
    fat_mm = rng.uniform(9, 22)
    angle = np.arctan2(scene.y, scene.x)  # 0 left, +90 degrees posterior
    # Fat is thickest in front and at the flanks.
    wall = body + np.float32(fat_mm) * (1 + 0.35 * np.cos(angle + np.float32(np.pi / 2)))
    cavity = wall + np.float32(rng.uniform(11, 14))
    scene.paint(body, _HU["skin"])
    scene.paint(body + 2.0, _HU["fat"])
    scene.paint(wall, _HU["muscle"])
    scene.paint(cavity, _HU["fat"])
    # The linea alba: the muscle parts in the middle of the front.
    alba = np.maximum(np.maximum(np.abs(scene.x) - 4, scene.y), np.abs(wall + 5) - 5)
    scene.paint(alba, _HU["fat"])
    # Ribs run downwards to the front, so a slice cuts them as a row of ovals.
    descent = 125 * (0.5 - 0.5 * np.sin(angle))
    front = (scene.y < -width * 0.3) * np.float32(50)  # cartilage there, not drawn
    middle = wall + 6.5
    for top in np.arange(-20, 220, 30) + rng.uniform(-5, 5):
        rib = np.hypot(middle, (scene.z - np.float32(top) + descent) * 0.75) - 4.0 + front
        scene.paint(rib, _HU["cortical_bone"] * 0.7)
    return cavity


def _viscera(scene: Scene, rng: np.random.Generator, cavity: Field) -> None:
    def near(*centre: float) -> Point:
        return _near(rng, centre)

    inside = cavity + 1.5
    # Lung bases: above two domes that reach lowest at the back and the sides.
    domes = np.minimum(
        scene.ellipsoid(near(-66, -8, 2), (76, 92, 84)),
        scene.ellipsoid(near(70, -8, -2), (72, 92, 80)),
    )
    upper = np.maximum(30 - scene.z, np.maximum(inside, -domes))
    scene.paint(upper, _HU["lung"])
    scene.paint(np.maximum(upper, 34 - np.hypot(scene.x - 18, scene.y + 30)), _HU["lung"])
    heart = np.maximum(scene.ellipsoid(near(25, -38, 100), (52, 42, 34)), inside)
    scene.paint(heart, 120.0)

    _bowel(scene, rng, inside)
    stomach = np.maximum(scene.ellipsoid(near(52, -34, 38), (36, 30, 44), -25), inside)
    scene.paint(stomach, _HU["muscle"])
    scene.paint(stomach + 3.5, _HU["stomach"])
    scene.paint(np.maximum(stomach + 3.5, scene.y + 45), _HU["gas"])

    for side in (-1, 1):
        scene.paint(scene.tube((side * 30, 55, 20), (side * 46, 52, -140), 15), _HU["muscle"])
        _back_muscle(scene, side)
    scene.paint(scene.tube((9, 30, 150), (6, 31, -150), 10.5), _HU["aorta"])
    scene.paint(scene.tube((-16, 22, 150), (-20, 29, -150), 11.5), _HU["cava"])

    pancreas = union(
        scene.tube(near(-26, 2, -12), near(12, -6, 2), 12),
        scene.tube(near(12, -6, 2), near(66, 14, 20), 8.5),
        8.0,
    )
    scene.paint(pancreas, _HU["pancreas"])
    spleen = scene.ellipsoid(near(94, 32, 30), (29, 48, 50), rng.uniform(-20, 5))
    hollow = scene.ellipsoid((70, 5, 30), (30, 32, 60))
    scene.paint(np.maximum(np.maximum(spleen, inside), -hollow), _HU["spleen"], SPLEEN)
    for side in (-1, 1):
        _kidney(scene, rng, near(side * 62, 46, -32 - 6 * (side < 0)), side)
    _liver(scene, rng, inside)


def _liver(scene: Scene, rng: np.random.Generator, inside: Field) -> None:
    scale = rng.uniform(0.92, 1.08)
    right = scene.ellipsoid(_near(rng, (-68, -4, 18)), scale * np.array([62, 76, 74]), 12)
    left = scene.ellipsoid(_near(rng, (4, -44, 38)), scale * np.array([66, 32, 36]), -8)
    # The porta: hilum and gallbladder bed are left out on the underside.
    porta = scene.ellipsoid((-6, 12, -8), (34, 40, 44))
    liver = np.maximum(np.maximum(union(right, left, 22.0), inside), -porta)
    texture = 4 * random_waves(rng, (scene.x, scene.y, scene.z), 40, 6)
    scene.paint(liver, _HU["liver"] + texture, LIVER)
    vein = (-20.0, 0.0, 22.0)
    for end in ((-70, -30, 40), (-80, 25, 30), (-55, 5, -25), (15, -45, 42), (-45, -10, 70)):
        branch = scene.tube(vein, _near(rng, end, by=10), rng.uniform(2.4, 3.6))
        scene.paint(np.maximum(branch, liver + 3), _HU["portal"], None)
    bile = scene.ellipsoid(_near(rng, (-34, -46, -30)), (14, 17, 25), 20)
    scene.paint(bile - 2, _HU["muscle"])
    scene.paint(bile, _HU["bile"])
    _lesions(scene, rng, liver)


def _lesions(scene: Scene, rng: np.random.Generator, liver: Field) -> None:
    """Paint one or two hypodense lesions of 18 to 25 mm wholly inside the liver."""
    placed: list[tuple[Point, float]] = []
    for _ in range(int(rng.integers(1, 3))):
        radius = float(rng.uniform(9.0, 12.5))
        free = (liver < -(radius + 4)) & (scene.label == LIVER)
        for other, size in placed:
            gap = np.sqrt(
                (scene.x - other[0]) ** 2 + (scene.y - other[1]) ** 2 + (scene.z - other[2]) ** 2
            )
            free &= gap > radius + size + 5
        candidates = np.flatnonzero(free)
        if not candidates.size:
            continue  # a small liver has room for one
        at = int(rng.choice(candidates))
        centre = (float(scene.x.flat[at]), float(scene.y.flat[at]), float(scene.z.flat[at]))
        stretch = rng.uniform(0.88, 1.12, 3)
        part, _ = scene.around(centre, radius * 1.5 + 5)
        lesion = part.ellipsoid(centre, radius * stretch / stretch.prod() ** (1 / 3))
        lesion += 0.8 * random_waves(rng, (part.x, part.y, part.z), 18, 5)
        part.paint(lesion, _HU["lesion"] + rng.uniform(-12, 8), LESION)
        placed.append((centre, radius))


def _kidney(scene: Scene, rng: np.random.Generator, centre: Point, side: int) -> None:
    radii = rng.uniform(0.94, 1.08) * np.array([28, 25, 52])
    hilum = (centre[0] - side * 17, centre[1] - 11, centre[2])
    end = (side * 12, centre[1] - 22, centre[2] + 4)
    part, _ = scene.around(centre, float(radii.max()) + 12)
    kidney = part.ellipsoid(centre, radii, side * 35)
    sinus = part.ellipsoid(hilum, (15, 9, 24), side * 35)
    part.paint(kidney - 6, _HU["fat"])
    part.paint(np.maximum(kidney, -sinus), _HU["cortex"], KIDNEYS)
    part.paint(np.maximum(kidney + 8, -sinus), _HU["cortex"] - 30, None)
    part.paint(np.maximum(part.tube(hilum, end, 3.6), -kidney), _HU["cava"], None)


def _bowel(scene: Scene, rng: np.random.Generator, inside: Field) -> None:
    """Paint loops in front of the kidneys and below the liver, some with gas on top."""
    for _ in range(34):
        centre = rng.uniform((-105, -80, -140), (105, 5, -5))
        radii = rng.uniform(11, 17) * rng.uniform(0.8, 1.6, 3)
        part, box = scene.around(centre, float(radii.max()) + 5)
        loop = np.maximum(part.ellipsoid(centre, radii, rng.uniform(0, 180)), inside[box] + 2)
        part.paint(loop, _HU["muscle"] + 15)
        part.paint(loop + 3, _HU["bowel"])
        if rng.random() < 0.4:
            level = np.float32(centre[1] - rng.uniform(-0.1, 0.5) * radii[1])
            part.paint(np.maximum(loop + 3, part.y - level), _HU["gas"])


def _back_muscle(scene: Scene, side: int) -> None:
    back = scene.ellipsoid((side * 34, 82, 0), (27, 17, 900), side * -10)
    scene.paint(back, _HU["muscle"])


def _spine(scene: Scene, rng: np.random.Generator) -> None:
    """Paint vertebrae (labelled) with discs between, canal, arches and processes."""
    height = rng.uniform(30, 34)
    phase = rng.uniform(0, height)
    level = np.mod(scene.z + np.float32(phase), np.float32(height)) - np.float32(height / 2)
    body = scene.ellipsoid((0, 52, 0), (22, 17, 900))
    disc = np.maximum(body, np.float32(height / 2 - 3.5) - np.abs(level))
    arch_level = np.abs(level) - 9
    canal = scene.ellipsoid((0, 76, 0), (10, 8.5, 900))
    ring = scene.ellipsoid((0, 76, 0), (17, 14, 900))
    arch = np.maximum(np.maximum(ring, -canal), arch_level)
    spinous = np.maximum(scene.ellipsoid((0, 93, 0), (4.2, 16, 900)), arch_level)
    transverse = np.maximum(scene.ellipsoid((0, 70, 0), (42, 5, 900)), arch_level + 2)
    vertebra = np.maximum(body, np.abs(level) - np.float32(height / 2 - 3.5))
    bone = np.minimum(np.minimum(arch, spinous), np.maximum(transverse, -canal))
    for part in (bone, vertebra):
        scene.paint(part, _HU["cortical_bone"], SPINE)
        scene.paint(part + 3.2, _HU["marrow"], None)
    scene.paint(disc, _HU["disc"])
    scene.paint(canal, _HU["fat"] * 0.3)
    scene.paint(canal + 3, _HU["cord"])


def _near(rng: np.random.Generator, centre: Point, by: float = 5.0) -> Point:
    """Return a point within ``by`` mm of ``centre`` along each axis."""
    return tuple(float(c) for c in np.asarray(centre) + rng.uniform(-by, by, 3))


def _noise(rng: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return noise of standard deviation 1 with the texture of filtered back projection.

    Its in-plane power spectrum rises with frequency (the ramp) and falls again (the kernel), so
    grains have a size and low frequencies are missing; neighbouring slices share a third.
    """
    white = rng.standard_normal(shape, np.float32)
    fy = np.fft.fftfreq(shape[1])[:, np.newaxis]
    frequency = np.hypot(fy, np.fft.rfftfreq(shape[2]))
    transfer = np.sqrt(frequency) * np.exp(-((frequency / 0.33) ** 2))
    texture = np.fft.irfft2(np.fft.rfft2(white) * transfer, s=shape[1:])
    texture[1:] += 0.5 * texture[:-1]
    return (texture / texture.std()).astype(np.float32)


def _dose_map(scene: Scene) -> Field:
    """Return how noise varies: strongest in the middle of the body, weak in the air."""
    return (0.55 + 0.6 * np.exp(-((scene.x / 120) ** 2 + (scene.y / 85) ** 2))).astype(np.float32)
