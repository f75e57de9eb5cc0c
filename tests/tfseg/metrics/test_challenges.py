"""Challenge protocols: their regions, rules and overall figures on maps small enough to count."""

import math

import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.metrics.challenges import PROTOCOLS, CaseMaps, Protocol, protocol
from tfseg.metrics.measure import MEASURED
from tfseg.metrics.scores import (
    PROMISE_OBSERVER,
    ObserverErrors,
    observer_score,
    promise_score,
    promise_thirds,
    ski10_score,
)

NAMES = ("brats", "lits", "promise12", "drive", "kits", "acdc")


def row(values):
    """Labels along x as a (1, 1, n) volume."""
    return np.array(values, np.uint8).reshape(1, 1, -1)


def case(reference, prediction, spacing=(1.0, 1.0, 1.0), **more):
    return CaseMaps(row(reference), row(prediction), spacing, **more)


def num_classes(entry: Protocol):
    return 1 + max(value for values in entry.regions.values() for value in values)


@pytest.mark.parametrize("name", NAMES)
def test_protocols_are_sound_data(name):
    entry = protocol(name)
    assert entry is PROTOCOLS[name]
    assert entry.name == name
    assert set(entry.metrics) <= set(MEASURED)
    assert len(set(entry.columns)) == len(entry.columns)
    assert entry.source
    assert entry.coding
    assert all(0 not in values for values in entry.regions.values())


def test_the_names_are_those_of_the_command_line():
    assert tuple(PROTOCOLS) == NAMES
    with pytest.raises(ConfigError, match=r"unknown protocol 'brat'\. Did you mean brats"):
        protocol("brat")


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_with_fewer_labels_is_refused(name):
    entry = PROTOCOLS[name]
    needed = num_classes(entry)
    entry.check_labels(needed)
    entry.check_labels(needed + 3)
    with pytest.raises(ConfigError) as caught:
        entry.check_labels(needed - 1)
    message = str(caught.value)
    assert f"{name} needs the labels 0 to {needed - 1} ({entry.coding})" in message
    assert f"has 0 to {needed - 2}" in message


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_prediction(name):
    entry = PROTOCOLS[name]
    k = num_classes(entry)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, k, (9, 8, 7)).astype(np.uint8)
    maps = CaseMaps(labels, labels, (3.0, 1.0, 0.5), probabilities=np.eye(k)[labels])
    found = entry.measure(maps, k)
    perfect = {"voe": 0.0, "hd95": 0.0, "hausdorff": 0.0, "assd": 0.0, "rmsd": 0.0, "rvd": 0.0}
    perfect |= {"arvd": 0.0, "promise_score": 100.0}
    for region, scores in found.scores.items():
        voxels = np.isin(labels, entry.regions.get(region, ())).sum()
        for metric, value in scores.items():
            if metric in {"reference_ml", "prediction_ml"}:
                if region in entry.regions:
                    assert value == pytest.approx(voxels * 1.5 / 1000)
            else:
                assert value == perfect.get(metric, 1.0), (region, metric)
        assert set(scores) <= set(entry.columns)
    assert all(math.isfinite(value) for value in entry.overall({"a": found}).values()) or (
        name == "acdc"  # a correlation needs two patients
    )
    assert entry.overall({}) == {}


# --- BraTS -----------------------------------------------------------------------------------


def test_brats_regions():
    found = PROTOCOLS["brats"].measure(case([0, 1, 2, 3, 4, 4, 0, 0], [0, 1, 2, 4, 4, 0, 2, 0]), 5)
    dice = {region: scores["dice"] for region, scores in found.scores.items()}
    assert dice == {
        "whole tumour": pytest.approx(2 * 4 / (5 + 5)),
        "tumour core": pytest.approx(2 * 3 / (4 + 3)),
        "enhancing tumour": pytest.approx(2 * 1 / (2 + 2)),
    }


def test_brats_empty_regions():
    entry = PROTOCOLS["brats"]
    neither = entry.measure(case([1, 2, 0], [1, 2, 0]), 5).scores["enhancing tumour"]
    assert (neither["dice"], neither["hd95"]) == (1.0, 0.0)
    grid = np.zeros((155, 240, 240), np.uint8)
    predicted = grid.copy()
    predicted[70, 100, 100] = 4
    for pair in ((grid, predicted), (predicted, grid)):
        scores = entry.measure(CaseMaps(*pair, (1.0, 1.0, 1.0)), 5).scores["enhancing tumour"]
        assert scores["dice"] == 0.0
        assert scores["hd95"] == pytest.approx(373.13, abs=0.005)


# --- LiTS ------------------------------------------------------------------------------------


def test_lits_overall_by_hand():
    entry = PROTOCOLS["lits"]
    cases = {
        # One lesion of 4, found with IoU 3/4; one of 1, missed; a false one of 2.
        "a": entry.measure(
            case([1, 2, 2, 2, 2, 1, 2, 1, 1, 1, 0, 0], [1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 0, 0]), 3
        ),
        # No tumour; the liver is found but for one voxel.
        "b": entry.measure(case([1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0]), 3),
    }
    assert cases["a"].scores["liver"]["dice"] == 1.0
    assert cases["a"].scores["tumour"]["dice"] == pytest.approx(2 * 3 / (5 + 5))
    assert cases["a"].scores["tumour"]["lesion_sens"] == 0.5
    assert cases["a"].scores["tumour"]["lesion_precision"] == 0.5
    assert cases["b"].scores["tumour"]["dice"] == 1.0
    assert math.isnan(cases["b"].scores["tumour"]["lesion_sens"])
    found = entry.overall(cases)
    assert found == {
        "liver_dice_global": pytest.approx(2 * (10 + 3) / (20 + 7)),
        "tumour_dice_global": pytest.approx(0.6),
        "lesion_recall": 0.5,
        "lesion_precision": 0.5,
        "tumour_burden_rmse": 0.0,  # 5 of 10 and 5 of 10; none and none
        "tumour_burden_max_error": 0.0,
    }


def test_lits_tumour_burden():
    entry = PROTOCOLS["lits"]
    cases = {
        "a": entry.measure(case([1, 1, 2, 2], [1, 1, 1, 2]), 3),  # 1/2 and 1/4
        "b": entry.measure(case([1, 1, 1, 2], [0, 0, 0, 0]), 3),  # 1/4 and no liver at all
    }
    found = entry.overall(cases)
    assert found["tumour_burden_rmse"] == pytest.approx(0.25)
    assert found["tumour_burden_max_error"] == pytest.approx(0.25)


# --- KiTS, DRIVE -----------------------------------------------------------------------------


def test_kits_composite_is_the_mean_of_kidney_with_tumour_and_tumour():
    entry = PROTOCOLS["kits"]
    cases = {
        "a": entry.measure(case([1, 1, 2, 0], [1, 2, 2, 0]), 3),  # 1 and 2/3
        "b": entry.measure(case([1, 1, 2, 2], [1, 1, 0, 0]), 3),  # 2/3 and 0
    }
    assert entry.overall(cases) == {
        "kits_composite": pytest.approx(((1 + 2 / 3) / 2 + (2 / 3 + 0) / 2) / 2)
    }


def test_drive_counts_the_field_of_view_only():
    mask = row([1, 1, 1, 1, 0, 0]).astype(bool)
    reference, prediction = [1, 1, 0, 0, 1, 1], [1, 0, 0, 1, 0, 0]
    vessel = np.array([0.9, 0.4, 0.1, 0.6, 0.0, 0.0]).reshape(1, 1, -1)
    probabilities = np.stack([1 - vessel, vessel], axis=-1)
    maps = case(reference, prediction, mask=mask, probabilities=probabilities)
    scores = PROTOCOLS["drive"].measure(maps, 2).scores["vessel"]
    assert scores["accuracy"] == scores["sensitivity"] == scores["specificity"] == 0.5
    assert scores["dice"] == 0.5
    assert scores["auc_roc"] == 0.75  # of 4 pairs only 0.4 against 0.6 is wrong
    without = PROTOCOLS["drive"].measure(case(reference, prediction, mask=mask), 2)
    assert math.isnan(without.scores["vessel"]["auc_roc"])


# --- ACDC ------------------------------------------------------------------------------------


def heart(ventricle, predicted):
    """A case of so many left-ventricle voxels of 1 ml in the reference and the prediction."""
    reference, prediction = np.zeros((2, 1, 1, 200), np.uint8)
    reference[..., :ventricle] = prediction[..., :predicted] = 3
    return PROTOCOLS["acdc"].measure(CaseMaps(reference, prediction, (10.0, 10.0, 10.0)), 4)


def test_acdc_ejection_fractions():
    cases = {
        "patient001_frame01": heart(120, 120),
        "patient001_frame12": heart(50, 60),  # 7/12 and 1/2
        "patient002_frame01": heart(50, 60),  # the larger one comes second
        "patient002_frame09": heart(100, 100),  # 1/2 and 2/5
        "patient003_frame01": heart(80, 80),  # only one phase
    }
    found = PROTOCOLS["acdc"].overall(cases)
    assert found["patients"] == 2
    assert found["lv_ef_bias"] == pytest.approx((1 / 2 - 7 / 12 + 2 / 5 - 1 / 2) / 2)
    assert found["lv_ef_corr"] == pytest.approx(1.0)
    assert found["lv_volume_bias_ml"] == pytest.approx(20 / 5)
    expected = np.corrcoef([120, 50, 50, 100, 80], [120, 60, 60, 100, 80])[0, 1]
    assert found["lv_volume_corr"] == pytest.approx(expected)
    # There is no right ventricle in any map: no fraction, and volumes that do not vary.
    assert found["rv_volume_bias_ml"] == 0.0
    assert math.isnan(found["rv_ef_bias"])
    assert math.isnan(found["rv_volume_corr"])


def test_acdc_without_pairs_of_phases():
    found = PROTOCOLS["acdc"].overall({"one": heart(10, 10), "two": heart(20, 30)})
    assert found["patients"] == 0
    assert math.isnan(found["lv_ef_corr"])
    assert found["lv_volume_bias_ml"] == 5.0


# --- PROMISE12, SKI10 ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "points"), [(0, 100), (2, 85), (4, 70), (13.4, 0), (math.nan, 0), (math.inf, 0)]
)
def test_the_line_through_perfect_and_observer(error, points):
    assert observer_score(error, 2.0, 85.0) == pytest.approx(points)


def test_observers_are_checked():
    with pytest.raises(ConfigError, match="observer's error must be positive; got 0"):
        observer_score(1.0, 0.0, 85.0)
    with pytest.raises(ConfigError, match="points must be 0 to below 100; got 100"):
        observer_score(1.0, 1.0, 100.0)


def test_promise_score_of_the_observer_and_of_nothing():
    errors = {
        part: {"dice": 1 - e.dice, "hd95": e.hd95, "assd": e.assd, "arvd": e.arvd}
        for part, e in PROMISE_OBSERVER.items()
    }
    assert promise_score(errors) == pytest.approx(85)
    missing = {"dice": 0.0, "hd95": math.nan, "assd": math.nan, "arvd": 1.0}
    # No overlap is 25 points by the line of the thirds' Dice (observer 0.8), all else is 0.
    assert promise_score(dict.fromkeys(errors, missing)) == pytest.approx(2 * 25 / 12)
    # One of twelve terms at twice the observer's error.
    errors["base"] = {**errors["base"], "hd95": 2 * PROMISE_OBSERVER["base"].hd95}
    assert promise_score(errors) == pytest.approx(85 - 15 / 12)


def test_promise_score_with_another_observer():
    whole = {"prostate": {"dice": 0.9, "hd95": 4.0, "assd": 1.0, "arvd": 0.1}}
    observer = {"prostate": ObserverErrors(dice=0.1, hd95=8.0, assd=1.0, arvd=0.05)}
    assert promise_score(whole, observer) == pytest.approx((85 + 92.5 + 85 + 70) / 4)


def test_thirds_of_the_prostate():
    mask = np.zeros((20, 2, 2), bool)
    mask[4:13] = True  # 9 slices
    assert promise_thirds(mask) == {"apex": slice(0, 7), "base": slice(10, 20)}
    mask[13] = True  # 10 slices: thirds of 3
    assert promise_thirds(mask) == {"apex": slice(0, 7), "base": slice(11, 20)}
    single = np.zeros((3, 2, 2), bool)
    single[1] = True
    assert promise_thirds(single) == {"apex": slice(0, 1), "base": slice(2, 3)}
    assert promise_thirds(np.zeros((3, 2, 2), bool))["apex"] == slice(0, 0)


def test_promise_measures_the_thirds():
    reference = np.zeros((12, 6, 6), np.uint8)
    reference[3:9, 1:5, 1:5] = 1
    prediction = reference.copy()
    prediction[2] = prediction[3]  # a slice too many below the apex
    prediction[8] = 0  # and one too few at the base
    found = PROTOCOLS["promise12"].measure(CaseMaps(reference, prediction, (3.0, 1.0, 1.0)), 2)
    dice = {part: scores["dice"] for part, scores in found.scores.items()}
    assert dice == {
        "prostate": pytest.approx(2 * 5 / 12),
        "apex": pytest.approx(2 * 2 / (2 + 3)),
        "base": pytest.approx(2 * 1 / (2 + 1)),
    }
    assert found.scores["prostate"]["promise_score"] == pytest.approx(promise_score(found.scores))
    assert found.scores["apex"]["arvd"] == pytest.approx(0.5)
    both = PROTOCOLS["promise12"].overall({"a": found, "b": found})
    assert both == {"promise_score": found.scores["prostate"]["promise_score"]}


def test_promise_in_a_data_set_of_more_labels():
    rng = np.random.default_rng(7)
    reference, prediction = rng.integers(0, 4, (2, 9, 5, 5)).astype(np.uint8)
    entry = PROTOCOLS["promise12"]
    many = entry.measure(CaseMaps(reference, prediction, (3.0, 1.0, 1.0)), 4)
    masks = ((labels == 1).astype(np.uint8) for labels in (reference, prediction))
    assert many == entry.measure(CaseMaps(*masks, (3.0, 1.0, 1.0)), 2)


def test_promise_without_a_prostate_in_the_reference():
    empty = np.zeros((4, 3, 3), np.uint8)
    found = PROTOCOLS["promise12"].measure(CaseMaps(empty, empty, (1.0, 1.0, 1.0)), 2)
    assert found.scores["prostate"]["promise_score"] == 100.0  # nothing to find, nothing found


def test_ski10_score():
    observer = {"femur_assd": 0.5, "femur_rmsd": 1.0, "cartilage_voe": 0.2, "cartilage_vd": 0.1}
    assert ski10_score(observer, observer) == 75.0
    assert ski10_score(dict.fromkeys(observer, 0.0), observer) == 100.0
    worse = {**observer, "cartilage_vd": -0.2}
    assert ski10_score(worse, observer) == pytest.approx((75 * 3 + 50) / 4)
    with pytest.raises(ConfigError, match="must name the same measures"):
        ski10_score({"femur_assd": 1.0}, observer)
