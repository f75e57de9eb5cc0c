"""A schematic T1-weighted MR of the head, with exact tissue labels."""

from __future__ import annotations

import numpy as np

from tfseg.datasets.phantom.anatomy import (
    Field,
    Scene,
    centred_affine,
    random_waves,
    rotation,
    union,
)
from tfseg.volume import Volume

LABELS = ("background", "csf", "grey matter", "white matter")
CSF, GREY, WHITE = range(1, 4)

# Signal of a T1-weighted gradient echo, arbitrary units; each scan has a scale of its own.
_SIGNAL = {
    "air": 0.0, "scalp": 560.0, "muscle": 260.0, "skull": 45.0, "marrow": 330.0, "csf": 110.0,
    "grey": 350.0, "white": 510.0, "deep": 410.0, "eye": 130.0,
}  # fmt: skip
_NOISE = 11.0
_SHAPE_YX = (104, 88)
_OBLIQUE_DEG = 9.0
_CORTEX_MM = 3.2


def make_case(rng: np.random.Generator, oblique: bool) -> tuple[Volume, Volume]:
    """Return one head's MR (int16) and label map (uint8) in the canonical orientation.

    About 38 x 104 x 88 voxels of 4 x 2 x 2 mm. Heads differ in size, folding and deformation;
    scans in spacing, signal scale, coil shading and noise.

    Args:
        rng: the source of everything random.
        oblique: turn the grid against the patient by up to 9 degrees about each axis.
    """
    spacing = (rng.uniform(3.6, 4.4), *[rng.uniform(1.95, 2.15)] * 2)
    shape = (int(rng.integers(35, 41)), *_SHAPE_YX)
    turned = rotation(rng, _OBLIQUE_DEG) if oblique else np.eye(3)
    anatomy, scanner = centred_affine(shape, spacing, turned, rng.uniform(-20, 20, 3).round(1))
    scene = Scene(shape, anatomy, _SIGNAL["air"], softness_mm=spacing[1] * 1.2)
    scene.deform(rng, amplitude_mm=2.2, wavelength_mm=110.0)
    size = rng.uniform(0.95, 1.04)
    _skull(scene, size)
    _cerebrum(scene, rng, size)
    _cerebellum(scene, rng, size)
    shading = 1 + 0.12 * random_waves(rng, (scene.x, scene.y, scene.z), 320, 3)
    signal = scene.value * shading * np.float32(rng.uniform(0.7, 1.6))
    # The magnitude of a complex signal: noise is Rician, never negative.
    sigma = np.float32(_NOISE * rng.uniform(0.8, 1.4))
    real, imaginary = sigma * rng.standard_normal((2, *shape), np.float32)
    magnitude = np.hypot(signal + real, imaginary).round().astype(np.int16)
    return Volume(magnitude, scanner, "MR"), Volume(scene.label, scanner)


def _skull(scene: Scene, size: float) -> None:
    """Paint face and neck, scalp, skull with marrow, and the fluid that holds the brain."""
    head = scene.ellipsoid((0, 2, 8), np.array([79, 98, 92]) * size)
    face = scene.ellipsoid((0, -42, -62), np.array([56, 56, 62]) * size)
    neck = scene.ellipsoid((0, 22, -110), (52, 52, 80))
    outer = union(union(head, face, 20.0), neck, 20.0)
    scene.paint(outer, _SIGNAL["scalp"])
    scene.paint(outer + 4.5, _SIGNAL["muscle"])
    vault = np.maximum(head + 6.0, _skull_base(scene) - 5)
    scene.paint(vault, _SIGNAL["skull"])
    scene.paint(np.maximum(vault + 2.2, -vault - 5.5), _SIGNAL["marrow"])
    scene.paint(np.maximum(head + 12.5, _skull_base(scene)), _SIGNAL["csf"], CSF)
    for side in (-1, 1):
        eye = scene.ellipsoid((side * 31, -69, -36), (12.5, 12.5, 12.5))
        scene.paint(eye - 5, _SIGNAL["scalp"])
        scene.paint(eye, _SIGNAL["eye"])


def _cerebrum(scene: Scene, rng: np.random.Generator, size: float) -> None:
    """Paint folded cortex over white matter, deep nuclei and ventricles."""
    place = (scene.x, scene.y, scene.z)
    hull = scene.ellipsoid((0, 2, 12), np.array([65, 83, 74]) * size)
    base = union(hull, scene.ellipsoid((0, -6, -22), np.array([54, 62, 32]) * size), 8.0)
    base = np.maximum(base, _skull_base(scene) + 3)
    # Sulci run where a random surface crosses zero; they are deep inside the hull's rim.
    folds = random_waves(rng, place, 25.0, 14)
    depth = np.maximum(-base, 0)
    opening = np.float32(0.9) - depth * np.float32(0.06)  # mm: they narrow inwards
    sulcus = np.abs(folds) * np.float32(4.2) - opening
    sulcus = np.maximum(sulcus, depth - np.float32(17))
    fissure = np.maximum(np.abs(scene.x) - 1.3, -6 - scene.z)
    gap = np.minimum(sulcus, fissure)
    brain = np.maximum(base, -gap)
    scene.paint(brain, _SIGNAL["grey"], GREY)
    ribbon = np.float32(_CORTEX_MM)
    # Between the hemispheres white matter crosses at the callosum alone.
    middle = np.maximum(np.abs(scene.x) - 2.5, 12 - scene.z)
    white = np.maximum(np.maximum(base + ribbon, -gap + ribbon), -middle)
    scene.paint(white, _SIGNAL["white"], WHITE)
    callosum = np.maximum(
        scene.ellipsoid((0, 4, 24), (16, 36, 11)), -scene.ellipsoid((0, 4, 16), (40, 30, 11))
    )
    scene.paint(callosum, _SIGNAL["white"], WHITE)
    _deep(scene, rng)


def _skull_base(scene: Scene) -> Field:
    """Return the distance below the floor of the skull, which falls towards the back."""
    return (-48 - 0.42 * scene.y - scene.z) * np.float32(0.92)


def _deep(scene: Scene, rng: np.random.Generator) -> None:
    width = rng.uniform(0.8, 1.35)  # ventricles widen with age
    for side in (-1, 1):
        for centre, radii in (
            ((side * 11, 8, 4), (9, 14, 9)),  # thalamus
            ((side * 24, -8, 6), (7, 18, 10)),  # putamen and pallidum
            ((side * 13, -20, 12), (5.5, 13, 11)),  # caudate
        ):
            scene.paint(scene.ellipsoid(centre, radii, side * 12), _SIGNAL["deep"], GREY)
        body = scene.tube((side * 8, -30, 15), (side * 13, 18, 19), 4.6 * width)
        horn = scene.tube((side * 13, 18, 19), (side * 27, 34, 2), 4.2 * width)
        scene.paint(union(body, horn, 5.0), _SIGNAL["csf"], CSF)
    third = np.maximum(scene.ellipsoid((0, 4, 2), (2.2 * width, 15, 12)), scene.z - 12)
    scene.paint(third, _SIGNAL["csf"], CSF)


def _cerebellum(scene: Scene, rng: np.random.Generator, size: float) -> None:
    """Paint cerebellum, brain stem and the fourth ventricle below the cerebrum."""
    for side in (-1, 1):
        lobe = scene.ellipsoid((side * 23, 46, -44), np.array([27, 26, 19]) * size)
        folia = np.abs(np.sin(lobe * 0.55 + scene.z * 0.25)) * 2.4 - 0.5
        scene.paint(lobe - 1.5, _SIGNAL["csf"], CSF)
        scene.paint(lobe, _SIGNAL["grey"], GREY)
        scene.paint(np.maximum(lobe + 7, -folia), _SIGNAL["white"], WHITE)
    stem = union(
        scene.tube((0, 12, -14), (0, 24, -100), 11), scene.ellipsoid((0, 8, -36), (16, 14, 15)), 6.0
    )
    scene.paint(stem - 2.5, _SIGNAL["csf"], CSF)
    scene.paint(stem, _SIGNAL["white"], WHITE)
    scene.paint(scene.ellipsoid((0, 27, -38), (6, 4, 11)), _SIGNAL["csf"], CSF)
