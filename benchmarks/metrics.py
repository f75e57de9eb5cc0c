"""Dice, HD95, ASSD and surface Dice of two 5-label volumes: tfseg beside the field's packages.

    python benchmarks/metrics.py [--shape 200,512,512] [--repeats 3] [--cases near,far,speckle]
                                 [--contenders tfseg,MONAI] [--peers-python PATH]

Each contender measures the same four labels, in a process of its own on one thread. CPU s is the
least of the repeats (a contender that takes longer than a minute runs once), without imports
and compilation; MiB is the peak beyond the inputs. The last columns are the greatest difference
to tfseg's values over the labels, in mm for distances; a dash: not offered.

Contenders that are not installed are named and left out. They need not share tfseg's
environment: ``--peers-python`` is the interpreter of one that has them,

    pip install surface-distance-based-measures monai torch medpy SimpleITK

Definitions: MONAI's are tfseg's. medpy pools both directions in HD95 and is compared with tfseg's
pooled form; it has no surface Dice. surface-distance measures to surface elements between the
voxels, ITK to a boundary that has the voxels at edges and corners, too, so that their distances
are shorter by parts of a voxel.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LABELS = (1, 2, 3, 4)
SPACING_MM = (2.5, 0.8, 0.8)
TOLERANCE_MM = 2.0
METRICS = ("dice", "hd95", "assd", "nsd")
ONE_RUN_FROM_S = 60.0

Labels = NDArray[np.uint8]
Scores = dict[str, list[float]]


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


def near(reference: Labels) -> Labels:
    """A good prediction: the same objects, two voxels off along every axis."""
    return phantom(reference.shape, 2)  # type: ignore[arg-type]


def far(reference: Labels) -> Labels:
    """A bad one: every object on the other side of the volume."""
    return np.ascontiguousarray(reference[::-1, ::-1, ::-1])


def speckle(reference: Labels) -> Labels:
    """A good one with wrong labels at one voxel in a thousand, all over the volume."""
    prediction = near(reference)
    rng = np.random.default_rng(0)
    where = rng.integers(0, prediction.size, prediction.size // 1000)
    prediction.reshape(-1)[where] = rng.integers(0, 5, where.size, np.uint8)
    return prediction


CASES: dict[str, Callable[[Labels], Labels]] = {"near": near, "far": far, "speckle": speckle}


def by_tfseg(reference: Labels, prediction: Labels) -> Scores:
    """tfseg.metrics.measure."""
    from tfseg.metrics import MetricOptions
    from tfseg.metrics.measure import measure

    options = MetricOptions(tolerance_mm=TOLERANCE_MM)
    found = measure(reference, prediction, 5, SPACING_MM, metrics=METRICS, options=options)
    return {name: values[1:].tolist() for name, values in found.items()}


def pooled_hd95(reference: Labels, prediction: Labels) -> list[float]:
    """tfseg's HD95 in medpy's convention, for comparison only."""
    from tfseg.metrics import MetricOptions
    from tfseg.metrics.measure import measure

    options = MetricOptions(hd_mode="pooled")
    found = measure(reference, prediction, 5, SPACING_MM, metrics=["hd95"], options=options)
    return found["hd95"][1:].tolist()


def by_surface_distance(reference: Labels, prediction: Labels) -> Scores:
    """DeepMind's surface-distance; its average distances joined to the symmetric one."""
    import surface_distance

    scores: Scores = {name: [] for name in METRICS}
    for label in LABELS:
        a, b = reference == label, prediction == label
        scores["dice"].append(surface_distance.compute_dice_coefficient(a, b))
        found = surface_distance.compute_surface_distances(a, b, SPACING_MM)
        scores["hd95"].append(surface_distance.compute_robust_hausdorff(found, 95))
        means = surface_distance.compute_average_surface_distance(found)
        areas = found["surfel_areas_gt"].sum(), found["surfel_areas_pred"].sum()
        scores["assd"].append(float(np.average(means, weights=areas)))
        scores["nsd"].append(
            surface_distance.compute_surface_dice_at_tolerance(found, TOLERANCE_MM)
        )
    return scores


def by_monai(reference: Labels, prediction: Labels) -> Scores:
    """MONAI's four functions on the CPU."""
    import torch
    from monai import metrics

    a, b = (
        torch.from_numpy(np.stack([labels == value for value in range(5)])[None])
        for labels in (reference, prediction)
    )
    tolerances = [TOLERANCE_MM] * len(LABELS)
    found = {
        "dice": metrics.compute_dice(b, a, include_background=False),
        "hd95": metrics.compute_hausdorff_distance(b, a, percentile=95, spacing=SPACING_MM),
        "assd": metrics.compute_average_surface_distance(b, a, symmetric=True, spacing=SPACING_MM),
        "nsd": metrics.compute_surface_dice(b, a, tolerances, spacing=SPACING_MM),
    }
    return {name: values[0].tolist() for name, values in found.items()}


def by_medpy(reference: Labels, prediction: Labels) -> Scores:
    """medpy's Dice, HD95 and ASSD."""
    from medpy import metric

    scores: Scores = {"dice": [], "hd95": [], "assd": []}
    for label in LABELS:
        a, b = reference == label, prediction == label
        scores["dice"].append(float(metric.dc(b, a)))
        scores["hd95"].append(float(metric.hd95(b, a, voxelspacing=SPACING_MM)))
        scores["assd"].append(float(metric.assd(b, a, voxelspacing=SPACING_MM)))
    return scores


def by_itk(reference: Labels, prediction: Labels) -> Scores:
    """SimpleITK: contours, and Maurer's distance maps read at them."""
    import SimpleITK

    def image_of(labels: Labels, label: int):
        image = SimpleITK.GetImageFromArray((labels == label).astype(np.uint8))
        image.SetSpacing(SPACING_MM[::-1])
        return image

    def directed(contour, distance):
        there = SimpleITK.GetArrayViewFromImage(contour).astype(bool)
        return SimpleITK.GetArrayViewFromImage(distance)[there]

    scores: Scores = {name: [] for name in METRICS}
    for label in LABELS:
        a, b = image_of(reference, label), image_of(prediction, label)
        overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
        overlap.Execute(b, a)
        scores["dice"].append(overlap.GetDiceCoefficient())
        maps = [
            SimpleITK.Abs(SimpleITK.SignedMaurerDistanceMap(each, False, False, True))
            for each in (a, b)
        ]
        contours = [SimpleITK.LabelContour(each, fullyConnected=False) for each in (a, b)]
        forth, back = directed(contours[0], maps[1]), directed(contours[1], maps[0])
        both = np.concatenate([forth, back])
        scores["hd95"].append(float(max(np.percentile(forth, 95), np.percentile(back, 95))))
        scores["assd"].append(float(both.mean(dtype=np.float64)))
        scores["nsd"].append(float((both <= TOLERANCE_MM).mean()))
    return scores


# Name -> the module that must be there, the function.
CONTENDERS: dict[str, tuple[str, Callable[[Labels, Labels], Scores]]] = {
    "tfseg": ("tfseg", by_tfseg),
    "surface-distance": ("surface_distance", by_surface_distance),
    "MONAI": ("monai", by_monai),
    "medpy": ("medpy", by_medpy),
    "SimpleITK": ("SimpleITK", by_itk),
}


def run_contender(name: str, folder: Path, repeats: int) -> None:
    """Measure one contender in this process and print what was found as JSON."""
    module, measure = CONTENDERS[name]
    if importlib.util.find_spec(module) is None:
        print("null")
        return
    small = phantom((24, 48, 48), 0)
    measure(small, np.roll(small, 1, axis=1))  # imports and compiles
    reference, prediction = (np.load(folder / f"{each}.npy") for each in ("a", "b"))
    begin_mib = peak_mib(reset=True)
    times_s: list[float] = []
    while len(times_s) < repeats and (not times_s or times_s[0] < ONE_RUN_FROM_S):
        start = time.process_time()
        scores = measure(reference, prediction)
        times_s.append(time.process_time() - start)
    found = {"cpu_s": min(times_s), "mib": peak_mib() - begin_mib, "scores": scores}
    if name == "tfseg":
        found["pooled_hd95"] = pooled_hd95(reference, prediction)
    print(json.dumps(found))


def peak_mib(reset: bool = False) -> float:
    """Return this process's peak memory; Linux can begin anew from what is in use now."""
    status = Path("/proc/self/status")
    if not status.exists():
        scale = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def worst(theirs: list[float] | None, ours: list[float]) -> str:
    """Return the greatest difference between two lists of values, a dash if there is none."""
    if theirs is None:
        return "-"
    return f"{max(abs(a - b) for a, b in zip(theirs, ours, strict=True)):.2g}"


def main() -> None:
    """Run every contender on every case; print times as ratios to tfseg's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="200,512,512", help="volume size z,y,x in voxels")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each contender")
    parser.add_argument("--cases", default=",".join(CASES), help="predictions to measure")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="who takes part")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--run", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run_contender(options.run[0], Path(options.run[1]), options.repeats)
        return
    z, y, x = (int(size) for size in options.shape.split(","))
    names = ["tfseg", *(n for n in options.contenders.split(",") if n != "tfseg")]
    one_thread = {"OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    environment = {**os.environ, **one_thread, "PYTHONWARNINGS": "ignore"}
    reference = phantom((z, y, x), 0)
    print(f"{z} x {y} x {x} voxels, {len(LABELS)} labels and background, one thread")
    header = f"{'case':8} {'contender':17} {'CPU s':>8} {'ratio':>7} {'MiB':>6}"
    print(header + "".join(f"{'d ' + metric:>10}" for metric in METRICS))
    for case in options.cases.split(","):
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder, "a.npy"), reference)
            np.save(Path(folder, "b.npy"), CASES[case](reference))
            ours: dict = {}
            for name in names:
                python = sys.executable if name == "tfseg" else options.peers_python
                command = [python, __file__, "--repeats", str(options.repeats)]
                done = subprocess.run(
                    [*command, "--run", name, folder],
                    stdout=subprocess.PIPE, text=True, check=True, env=environment,
                )  # fmt: skip
                found = json.loads(done.stdout.splitlines()[-1])
                if found is None:
                    print(f"{case:8} {name:17} not installed")
                    continue
                ours = ours or found
                expected = dict(ours["scores"])
                if name == "medpy":
                    expected["hd95"] = ours["pooled_hd95"]
                apart = [worst(found["scores"].get(m), expected[m]) for m in METRICS]
                ratio = found["cpu_s"] / ours["cpu_s"]
                print(
                    f"{case:8} {name:17} {found['cpu_s']:8.2f} {ratio:7.1f} {found['mib']:6.0f}"
                    + "".join(f"{each:>10}" for each in apart),
                    flush=True,
                )


if __name__ == "__main__":
    main()
