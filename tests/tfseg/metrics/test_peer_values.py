"""Against the field's own packages: values they gave for eight small pairs of maps, and ITK's.

tests/goldens/make_metric_goldens.py made the values, with the versions that the file names. Where
a package defines something else, the test says what and by how much it may differ.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from tfseg.metrics import MetricOptions
from tfseg.metrics.measure import MEASURED, measure

GOLDENS = json.loads(
    Path(__file__).parents[2].joinpath("goldens/metric_goldens.json").read_text("utf-8")
)
CASES = {case["name"]: case for case in GOLDENS["cases"]}
PAIRS = [(name, label) for name, case in CASES.items() for label in case["values"]]
COUNTED = {"dice", "jaccard", "sensitivity", "specificity", "precision"}


def maps(case):
    return [
        np.array([list(row) for row in case[which].split()], np.uint8).reshape(case["shape"])
        for which in ("reference", "prediction")
    ]


def ours(name, label):
    case = CASES[name]
    k = len(case["values"]) + 1
    options = MetricOptions(tolerance_mm=GOLDENS["tolerance_mm"])
    found = measure(*maps(case), k, case["spacing_mm"], metrics=MEASURED, options=options)
    pooled = measure(
        *maps(case),
        k,
        case["spacing_mm"],
        metrics=["hd95"],
        options=MetricOptions(hd_mode="pooled"),
    )
    values = {metric: float(np.atleast_1d(each)[-1]) for metric, each in found.items()}
    values |= {m: float(each[int(label)]) for m, each in found.items() if each.ndim}
    return values | {"hd95 pooled": float(pooled["hd95"][int(label)])}


@pytest.mark.parametrize(("name", "label"), PAIRS)
@pytest.mark.parametrize("peer", ["monai", "medpy"])
def test_monai_and_medpy_agree_in_everything(name, label, peer):
    theirs = CASES[name]["values"][label][peer]
    found = ours(name, label)
    for metric, value in theirs.items():
        assert found[metric] == pytest.approx(value, rel=1e-6, abs=1e-6), metric


@pytest.mark.parametrize(("name", "label"), PAIRS)
def test_seg_metrics_agrees_in_counts_and_measures_to_a_thicker_surface(name, label):
    """Its distances are to ITK's boundary of faces, edges and corners: never longer."""
    theirs = CASES[name]["values"][label]["seg-metrics"]
    found = ours(name, label)
    for metric in COUNTED & set(theirs):
        assert found[metric] == pytest.approx(theirs[metric], rel=1e-4), metric
    if touches_the_border(name, label):
        return  # beyond the array is inside for ITK's contour: another surface altogether
    assert theirs["hausdorff"] <= found["hausdorff"] * (1 + 1e-6)
    assert theirs["hd95 pooled"] <= found["hd95 pooled"] * (1 + 1e-6)
    assert theirs["assd"] <= found["assd"] * (1 + 1e-6)


@pytest.mark.parametrize(("name", "label"), PAIRS)
def test_surface_distance_agrees_within_half_a_voxel_diagonal(name, label):
    """Its surface lies between voxels, at the corners that eight voxels share.

    Corners of a surface are at most half a voxel's diagonal from one of our surface voxels, so a
    distance between two surfaces differs by at most one diagonal.
    """
    theirs = CASES[name]["values"][label]["surface-distance"]
    found = ours(name, label)
    assert found["dice"] == pytest.approx(theirs["dice"], rel=1e-12)
    diagonal_mm = math.hypot(*CASES[name]["spacing_mm"])
    for metric in ("hausdorff", "hd95", "asd_to_prediction", "asd_to_reference"):
        assert abs(found[metric] - theirs[metric]) <= diagonal_mm, metric


def touches_the_border(name, label):
    return any(
        np.take(labels == int(label), [0, -1], axis).any()
        for labels in maps(CASES[name])
        for axis in range(3)
    )


@pytest.mark.parametrize(("name", "label"), PAIRS)
def test_itk_agrees_in_overlap(name, label):
    reference, prediction = (
        SimpleITK.GetImageFromArray((labels == int(label)).astype(np.uint8))
        for labels in maps(CASES[name])
    )
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(prediction, reference)
    found = ours(name, label)
    assert found["dice"] == pytest.approx(overlap.GetDiceCoefficient(), rel=1e-12)
    assert found["jaccard"] == pytest.approx(overlap.GetJaccardCoefficient(), rel=1e-12)


def test_itk_agrees_in_hausdorff_of_objects_side_by_side():
    """Its filter measures between whole objects: the same where neither holds the other."""
    for name in ("one voxel each", "far apart"):
        images = []
        for labels in maps(CASES[name]):
            image = SimpleITK.GetImageFromArray(labels)
            image.SetSpacing(CASES[name]["spacing_mm"][::-1])
            images.append(image)
        distance = SimpleITK.HausdorffDistanceImageFilter()
        distance.Execute(*images)
        assert ours(name, "1")["hausdorff"] == pytest.approx(
            distance.GetHausdorffDistance(), rel=1e-6
        )
