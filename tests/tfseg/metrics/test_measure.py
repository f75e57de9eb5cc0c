"""Measuring by metric id: shapes of the answers, masks, regions, options, refusals."""

import math
import subprocess
import sys

import numpy as np
import pytest

from tfseg import metrics
from tfseg.errors import ConfigError, DataError
from tfseg.metrics import METRICS, MetricOptions, overlap, surface
from tfseg.metrics.measure import MEASURED, measure, measure_regions

SPACING_MM = (2.5, 0.8, 0.9)


@pytest.fixture(scope="module")
def maps():
    """Two maps of the classes 1 to 3; class 3 only in the prediction, class 4 in neither."""
    rng = np.random.default_rng(8)
    reference, prediction = rng.integers(0, 4, (2, 6, 9, 8)).astype(np.uint8)
    reference[reference == 3] = 0
    return reference, prediction


def test_the_squares_by_every_metric():
    reference, prediction = np.zeros((2, 5, 5), np.uint8)
    reference[1:4, 1:4] = prediction[1:4, 2:5] = 1
    expected = {
        "dice": 2 / 3, "jaccard": 0.5, "voe": 0.5, "sensitivity": 2 / 3, "specificity": 0.8125,
        "precision": 2 / 3, "accuracy": 0.76, "gmean": 0.735980, "kappa": 0.479167,
        "mcc": 0.479167, "sa": 100 / 3, "or_rate": 0.25, "ur_rate": 0.25, "rvd": 0, "arvd": 0,
        "volume": 0.009, "reference_ml": 0.009, "prediction_ml": 0.009, "volume_diff": 0, "avd": 0,
        "hausdorff": 1, "hausdorff_to_prediction": 1, "hausdorff_to_reference": 1, "hd95": 1,
        "assd": 0.5, "asd_to_prediction": 0.5, "asd_to_reference": 0.5, "msd": 0.5, "ahd": 0.5,
        "rmsd": math.sqrt(0.5), "nsd": 1, "pixel_acc": 0.76, "mean_acc": 0.739583,
        "mean_iou": 0.592105, "fw_iou": 0.617895, "kappa_image": 0.479167,
    }  # fmt: skip
    found = measure(reference, prediction, 2, (1, 1), metrics=MEASURED)
    assert set(expected) == set(MEASURED)
    for name, value in expected.items():
        assert np.atleast_1d(found[name])[-1] == pytest.approx(value, rel=2e-6), name


def test_shapes_follow_the_level(maps):
    found = measure(*maps, 5, SPACING_MM, metrics=MEASURED)
    assert list(found) == list(MEASURED)
    for name, values in found.items():
        assert values.dtype == np.float64
        assert values.shape == (() if METRICS[name].level == "image" else (5,)), name
        if METRICS[name].group == "surface":
            assert math.isnan(values[0]), "the background has no surface of its own"


def test_values_are_those_of_each_class_alone(maps):
    reference, prediction = maps
    found = measure(reference, prediction, 5, SPACING_MM, metrics=MEASURED)
    for label in (1, 2):
        alone = measure(reference == label, prediction == label, 2, SPACING_MM, metrics=MEASURED)
        for name in MEASURED:
            if METRICS[name].level == "class":
                assert found[name][label] == pytest.approx(alone[name][1], rel=1e-14), name


def test_empty_rules(maps):
    found = measure(*maps, 5, SPACING_MM, metrics=["dice", "hd95", "nsd"])
    assert found["dice"][3:].tolist() == [0, 1]
    assert found["nsd"][3:].tolist() == [0, 1]
    assert math.isnan(found["hd95"][3])
    assert found["hd95"][4] == 0
    options = MetricOptions(both_empty="nan", empty_distance="diag")
    found = measure(*maps, 5, SPACING_MM, metrics=["dice", "hd95", "nsd"], options=options)
    assert math.isnan(found["dice"][4])
    assert math.isnan(found["hd95"][4])
    assert math.isnan(found["nsd"][4])
    assert found["hd95"][3] == pytest.approx(np.linalg.norm(np.multiply((6, 9, 8), SPACING_MM)))


def test_outside_the_mask_is_background(maps):
    reference, prediction = maps
    mask = np.zeros(reference.shape, bool)
    mask[1:5, 2:8, 1:7] = True
    found = measure(reference, prediction, 5, SPACING_MM, metrics=MEASURED, mask=mask)
    # For surfaces as if the array ended there; volumes and ratios count only what is inside.
    inside = measure(
        reference[1:5, 2:8, 1:7], prediction[1:5, 2:8, 1:7], 5, SPACING_MM, metrics=MEASURED
    )
    for name in MEASURED:
        np.testing.assert_allclose(found[name], inside[name], rtol=1e-14, err_msg=name)


def test_maps_are_left_alone(maps):
    before = [labels.copy() for labels in maps]
    for labels in maps:
        labels.flags.writeable = False
    measure(*maps, 5, SPACING_MM, metrics=MEASURED, mask=np.ones(maps[0].shape, bool))
    for labels, copy in zip(maps, before, strict=True):
        np.testing.assert_array_equal(labels, copy)


def test_a_tolerance_for_every_class(maps):
    options = MetricOptions(tolerance_mm=(0.0, 1.0, 1.0, 1.0))
    several = measure(*maps, 5, SPACING_MM, metrics=["nsd"], options=options)["nsd"]
    for tolerance_mm, label in ((0.0, 1), (1.0, 2)):
        options = MetricOptions(tolerance_mm=tolerance_mm)
        one = measure(*maps, 5, SPACING_MM, metrics=["nsd"], options=options)["nsd"]
        assert several[label] == one[label]
    assert several[1] < several[2]


def test_regions_are_unions_of_labels(maps):
    reference, prediction = maps
    regions = {"all": (1, 2, 3), "core": [1, 3]}
    found = measure_regions(reference, prediction, regions, 5, SPACING_MM, metrics=MEASURED)
    assert list(found) == ["all", "core"]
    for name, labels in regions.items():
        a, b = np.isin(reference, labels), np.isin(prediction, labels)
        counts = metrics.ClassCounts.of(metrics.confusion(a, b, 2))
        distances = metrics.surface_distances(a, b, SPACING_MM)
        assert found[name]["dice"] == overlap.dice(counts)[1]
        assert found[name]["pixel_acc"] == overlap.accuracy(counts)[1]
        assert found[name]["hd95"] == surface.hd95(distances)
        assert found[name]["reference_ml"] == pytest.approx(a.sum() * 1.8e-3)


def test_a_region_of_one_label_is_that_class(maps):
    by_class = measure(*maps, 5, SPACING_MM, metrics=MEASURED)
    found = measure_regions(*maps, {"two": [2]}, 5, SPACING_MM, metrics=MEASURED)["two"]
    for name in MEASURED:
        if METRICS[name].level == "class":
            assert found[name] == pytest.approx(by_class[name][2], rel=1e-14), name


def test_a_tolerance_for_every_region(maps):
    regions = {"one": [1], "two": [2]}
    options = MetricOptions(tolerance_mm=(0.0, 1.0))
    found = measure_regions(*maps, regions, 5, SPACING_MM, metrics=["nsd"], options=options)
    assert found["one"]["nsd"] < found["two"]["nsd"]


def test_no_metrics_no_work(maps):
    assert measure(*maps, 5, SPACING_MM, metrics=[]) == {}
    assert measure_regions(*maps, {}, 5, SPACING_MM, metrics=["dice"]) == {}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"metrics": ["dise"]}, ConfigError, "unknown metric 'dise'. Did you mean dice"),
        ({"metrics": ["auc_roc"]}, ConfigError, "'auc_roc' is not measured on pairs of label maps"),
        ({"num_classes": 3}, DataError, "prediction holds the label 3; the labels are 0 to 2"),
        ({"num_classes": 0}, DataError, "num_classes must be 1 to 255; got 0"),
        ({"spacing_mm": (1, 1)}, DataError, r"3 positive lengths, one an array axis; got \(1, 1\)"),
        ({"spacing_mm": (1, 1, 0)}, DataError, "3 positive lengths"),
        ({"prediction": np.zeros((1, 2, 3), int)}, DataError, r"one shape; got .*\(1, 2, 3\)"),
        ({"mask": np.ones((2, 2), bool)}, DataError, r"reference and mask must have one shape"),
        (
            {"options": MetricOptions(tolerance_mm=(1.0, 2.0))},
            ConfigError,
            "one for every foreground class, which are 4; got 2",
        ),
    ],
)
def test_refusals_name_rule_and_value(maps, change, error, message):
    arguments = {
        "reference": maps[0], "prediction": maps[1], "num_classes": 5, "spacing_mm": SPACING_MM,
        "metrics": ["dice", "nsd"],
    }  # fmt: skip
    with pytest.raises(error, match=message) as caught:
        measure(**{**arguments, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("regions", "options", "message"),
    [
        ({"whole": [1, 7]}, {}, r"region 'whole' must be made of labels from 0 to 4; got \[1, 7\]"),
        ({"none": []}, {}, r"region 'none' must be made of labels from 0 to 4; got \[\]"),
        ({"a": [1]}, {"tolerance_mm": (1.0, 2.0)}, "one for every region, which are 1; got 2"),
    ],
)
def test_regions_that_are_refused(maps, regions, options, message):
    with pytest.raises(ConfigError, match=message):
        measure_regions(
            *maps, regions, 5, SPACING_MM, metrics=["nsd"], options=MetricOptions(**options)
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"empty_distance": "zero"}, "empty_distance must be one of nan, inf, diag; got 'zero'"),
        ({"both_empty": "one"}, "both_empty must be one of perfect, nan; got 'one'"),
        ({"hd_mode": "mean"}, "hd_mode must be one of max, pooled; got 'mean'"),
        ({"sa_mode": "all"}, "sa_mode must be one of symdiff, area; got 'all'"),
        ({"tolerance_mm": -1.0}, "tolerance_mm must be a length of 0 mm or more.*got -1.0"),
        ({"tolerance_mm": math.inf}, "tolerance_mm must be a length.*got inf"),
        ({"tolerance_mm": (1.0, math.nan)}, r"tolerance_mm must be.*got \(1.0, nan\)"),
        ({"tolerance_mm": ()}, r"tolerance_mm must be.*got \(\)"),
    ],
)
def test_options_that_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        MetricOptions(**change)


def test_memory_of_a_large_pair():
    """Two maps of 64 Mi voxels: what four metrics take beyond them, in a process of its own."""
    code = """
import resource
import numpy as np
from tfseg.metrics.measure import measure
chosen = {"metrics": ["dice", "hd95", "assd", "nsd"]}
measure(*np.zeros((2, 4, 4, 4), np.uint8), 5, (1, 1, 1), **chosen)
a, b = np.zeros((2, 256, 512, 512), np.uint8)
for label in range(1, 5):
    a[20:90, 100 * label : 100 * label + 80, 50:400] = label
    b[30:100, 90 * label : 90 * label + 80, 60:420] = label
before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
measure(a, b, 5, (2, 1, 1), **chosen)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200 * 1024
