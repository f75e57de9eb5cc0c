"""Dice and HD95 of two label maps: tfseg against surface-distance and MONAI.

    python benchmarks/metrics.py [--shape 200,512,512] [--repeats 3]

Each contender gets the same two 5-label volumes (ellipsoids with wavy surfaces, one shifted) and
returns Dice and HD95 of every foreground class. Contenders that are not installed are named and
left out:

    pip install surface-distance-based-measures      # DeepMind's surface-distance
    pip install monai torch

CPU time is of one process; the best of the repeats counts. surface-distance measures to surface
elements between voxels instead of to voxel centres, so its distances differ slightly by definition.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tfseg import metrics

CLASSES = 5
SPACING_MM = (2.5, 0.8, 0.8)

Labels = NDArray[np.uint8]
Scores = tuple[list[float], list[float]]


def phantom(shape: tuple[int, int, int], shift_vox: int) -> Labels:
    """Return four wavy ellipsoids, moved by ``shift_vox`` along every axis."""
    z, y, x = np.ogrid[tuple(slice(size) for size in shape)]
    labels = np.zeros(shape, np.uint8)
    centres = ((0.5, 0.4, 0.4), (0.5, 0.68, 0.6), (0.3, 0.3, 0.75), (0.75, 0.7, 0.25))
    for value, (centre, radius) in enumerate(
        zip(centres, (0.28, 0.2, 0.14, 0.1), strict=True), start=1
    ):
        distance = sum(
            ((axis - shift_vox) / size - middle) ** 2
            for axis, size, middle in zip((z, y, x), shape, centre, strict=True)
        )
        wave = 1 + 0.08 * np.sin(x / 9.0) * np.cos(y / 7.0)
        labels[distance < (radius * wave) ** 2] = value
    return labels


def tfseg_scores(reference: Labels, prediction: Labels) -> Scores:
    """Dice and HD95 by tfseg.metrics."""
    counts = metrics.ClassCounts.of(metrics.confusion(reference, prediction, CLASSES))
    distances = metrics.hd95_per_class(reference, prediction, CLASSES, SPACING_MM)
    return metrics.dice(counts)[1:].tolist(), distances[1:].tolist()


def surface_distance_scores(reference: Labels, prediction: Labels) -> Scores:
    """Dice and HD95 by DeepMind's surface-distance."""
    import surface_distance

    dice, hd95 = [], []
    for value in range(1, CLASSES):
        a, b = reference == value, prediction == value
        dice.append(surface_distance.compute_dice_coefficient(a, b))
        found = surface_distance.compute_surface_distances(a, b, SPACING_MM)
        hd95.append(surface_distance.compute_robust_hausdorff(found, 95))
    return dice, hd95


def monai_scores(reference: Labels, prediction: Labels) -> Scores:
    """Dice and HD95 by MONAI, on the CPU."""
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance

    a, b = (
        torch.from_numpy(np.stack([labels == value for value in range(CLASSES)])[None])
        for labels in (reference, prediction)
    )
    dice = compute_dice(b, a, include_background=False)[0]
    hd95 = compute_hausdorff_distance(b, a, percentile=95, spacing=SPACING_MM)[0]
    return dice.tolist(), hd95.tolist()


# Name, module that must be there, function.
CONTENDERS: tuple[tuple[str, str, Callable[[Labels, Labels], Scores]], ...] = (
    ("tfseg", "tfseg", tfseg_scores),
    ("surface-distance", "surface_distance", surface_distance_scores),
    ("MONAI", "monai", monai_scores),
)


def main() -> None:
    """Run every installed contender and print its time as a ratio to tfseg's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="200,512,512", help="volume size z,y,x in voxels")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each contender")
    options = parser.parse_args()
    z, y, x = (int(size) for size in options.shape.split(","))
    reference, prediction = phantom((z, y, x), 0), phantom((z, y, x), 2)
    print(f"{z} x {y} x {x} voxels, {CLASSES - 1} classes, best of {options.repeats}")
    print(f"{'contender':18} {'CPU s':>8} {'ratio':>6}   Dice / HD95 mm of each class")
    base_s = None
    for name, module, score in CONTENDERS:
        if importlib.util.find_spec(module) is None:
            print(f"{name:18} not installed")
            continue
        times_s = []
        for _ in range(options.repeats):
            start = time.process_time()
            dice, hd95 = score(reference, prediction)
            times_s.append(time.process_time() - start)
        best_s = min(times_s)
        base_s = base_s or best_s
        scores = "  ".join(f"{d:.4f} / {h:.3f}" for d, h in zip(dice, hd95, strict=True))
        print(f"{name:18} {best_s:8.2f} {best_s / base_s:6.1f}   {scores}")


if __name__ == "__main__":
    main()
