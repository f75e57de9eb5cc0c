"""Tiny images with exact labels, and how they are written: for examples of published layouts.

They show how a layout looks and let its adapter be tried without the data. What they depict has
nothing of anatomy; see :mod:`tfseg.datasets.phantom` for that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.datasets.phantom.series import write_ct_series
from tfseg.geometry import affine_to_ras_xyz
from tfseg.io import metaimage, write_volume
from tfseg.volume import Volume

SPACING_MM = (2.0, 1.0, 1.0)


def draw(
    rng: np.random.Generator, classes: int, shape: tuple[int, ...] = (12, 20, 24)
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return an image and its label map.

    Args:
        rng: says where things lie.
        classes: structures without the background; each is a box of its own place along x,
            brighter than the one before.
        shape: ([z,] y, x).
    """
    label = np.zeros(shape, np.uint8)
    edges = np.linspace(1, shape[-1] - 1, classes + 1).astype(int)
    for value in range(1, classes + 1):
        start, stop = edges[value - 1], max(edges[value - 1] + 1, edges[value] - 1)
        middle = tuple(
            slice(n // 4 + int(rng.integers(0, 2)), n - n // 4 + int(rng.integers(0, 2)))
            for n in shape[:-1]
        )
        label[(*middle, slice(start, stop))] = value
    noise = rng.normal(0, 20, shape)
    return (100 * label.astype(np.int16) + noise).astype(np.int16), label


def volume(array: NDArray[Any], spacing_mm: tuple[float, float, float] = SPACING_MM) -> Volume:
    """Return an array (z, y, x[, c]) as a volume off the origin."""
    return Volume.from_geometry(array, spacing_mm, origin_mm=(-11.0, 7.0, 30.0))


def save(array: NDArray[Any], path: Path) -> None:
    """Write an array (z, y, x[, c]) as a volume; the suffix says how."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".mhd"):  # the voxels are in a file beside it
        raw = path.with_suffix(".raw")
        raw.write_bytes(array.tobytes())
        path.write_bytes(metaimage.header_of(volume(array), raw.name))
        return
    write_volume(volume(array), path)


def save_flipped(array: NDArray[Any], path: Path) -> None:
    """Write an array (z, y, x) under a header that turns y round, as some published labels are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    direction = [[0, 0, 1], [0, -1, 0], [1, 0, 0]]
    write_volume(Volume.from_geometry(array, SPACING_MM, direction=direction), path)


def save_analyze(array: NDArray[Any], path: Path) -> None:
    """Write an array (z, y, x) as an Analyze 7.5 pair, ``path`` being its header."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.analyze.AnalyzeImage(array.transpose(2, 1, 0), np.diag([-1.0, 1.0, 2.0, 1.0]))
    nibabel.save(image, path)


def save_freesurfer(array: NDArray[Any], path: Path) -> None:
    """Write an array (z, y, x) as a volume of FreeSurfer (``.mgz``)."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    placed = volume(array)
    affine = affine_to_ras_xyz(placed.affine)
    image = nibabel.freesurfer.MGHImage(np.ascontiguousarray(array.transpose(2, 1, 0)), affine)
    nibabel.save(image, path)


def save_picture(array: NDArray[Any], path: Path) -> None:
    """Write an array (y, x[, 3]) as a picture; the suffix says how."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(array)).save(path)


def save_dicom(array: NDArray[Any], path: Path) -> None:
    """Write an array (y, x) as one DICOM image."""
    folder = path.parent / f".{path.stem}"
    write_ct_series(volume(array[np.newaxis]), folder, path.name)
    (folder / "001.dcm").replace(path)
    folder.rmdir()


def save_series(array: NDArray[Any], folder: Path) -> None:
    """Write an array (z, y, x) as a DICOM series."""
    write_ct_series(volume(array), folder, folder.name)


def picture(
    rng: np.random.Generator, classes: int = 1, size: tuple[int, int] = (36, 32)
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a gray picture (y, x) uint8 and its label map."""
    image, label = draw(rng, classes, size)
    return (image * (200 / (100 * classes)) + 30).clip(0, 255).astype(np.uint8), label


def colour(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a gray picture as RGB."""
    return np.stack([gray, gray, gray], axis=-1)


def write_text(path: Path, text: str) -> None:
    """Write a small text file, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
