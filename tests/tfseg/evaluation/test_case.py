"""One label map against its reference: values worked by hand, masks, refusals."""

import math

import numpy as np
import pytest

from tfseg.errors import DataError
from tfseg.evaluation import DEFAULT_METRICS, VOLUMES, choose, evaluate_case
from tfseg.metrics.challenges import protocol
from tfseg.metrics.options import MetricOptions
from tfseg.volume import Volume

LABELS = ("background", "organ", "lesion")


def squares() -> tuple[Volume, Volume]:
    """Two 3x3 squares one column apart: TP 6, FP 3, FN 3; voxels of 4 x 2 x 3 mm."""
    reference, prediction = np.zeros((2, 1, 5, 5), np.uint8)
    reference[0, 1:4, 1:4] = 1
    prediction[0, 1:4, 2:5] = 1
    spacing = (4.0, 2.0, 3.0)
    return (
        Volume.from_geometry(reference, spacing),
        Volume.from_geometry(prediction, spacing),
    )


def test_the_squares():
    result = evaluate_case(*squares(), LABELS, case="a")
    assert result.case == "a"
    assert list(result.scores) == ["organ", "lesion"]
    organ = result.scores["organ"]
    assert tuple(organ) == (*DEFAULT_METRICS, *VOLUMES)
    assert organ["dice"] == pytest.approx(2 / 3)
    assert organ["jaccard"] == 0.5
    assert organ["precision"] == organ["sensitivity"] == pytest.approx(2 / 3)
    assert organ["hd95"] == 3.0  # one column
    # Of the 8 outline voxels of each square 4 are on the other outline, 3 are a column from it,
    # and one, in the other's hollow middle, a row.
    assert organ["assd"] == pytest.approx((3 * 3.0 + 2.0) / 8)
    assert organ["nsd"] == pytest.approx(0.5)
    assert organ["reference_ml"] == organ["prediction_ml"] == pytest.approx(9 * 24 / 1000)
    # The lesion is in neither map.
    assert result.scores["lesion"]["dice"] == 1.0
    assert result.scores["lesion"]["hd95"] == 0.0
    assert result.mean_dice == pytest.approx((2 / 3 + 1) / 2)


def test_a_class_that_is_not_predicted_has_no_distance():
    reference, prediction = squares()
    empty = prediction.with_array(np.zeros_like(prediction.array))

    def organ(**options):
        measures = choose(LABELS, options=MetricOptions(**options))
        return evaluate_case(reference, empty, LABELS, measures).scores["organ"]

    assert organ()["dice"] == organ()["precision"] == organ()["sensitivity"] == 0.0
    assert math.isnan(organ()["hd95"])
    assert organ(empty_distance="inf")["hd95"] == math.inf
    # 1 x 5 x 5 voxels of 4 x 2 x 3 mm.
    assert organ(empty_distance="diag")["hd95"] == pytest.approx(math.hypot(4, 10, 15))


def test_a_class_in_neither_map_may_be_left_out():
    measures = choose(LABELS, options=MetricOptions(both_empty="nan"))
    result = evaluate_case(*squares(), LABELS, measures)
    assert math.isnan(result.scores["lesion"]["dice"])
    assert result.mean_dice == pytest.approx(2 / 3)


def lesions() -> tuple[Volume, Volume]:
    """Two lesions beside an organ; one is found exactly, one missed, one invented."""
    reference, prediction = np.zeros((2, 3, 8, 12), np.uint8)
    reference[:, :, :4] = prediction[:, :, :4] = 1
    reference[1, 1, 1] = prediction[1, 1, 1] = 2
    reference[1, 5:7, 8] = 2
    prediction[1, 6, 11] = 2
    return Volume.from_geometry(reference), Volume.from_geometry(prediction)


def test_lesions_are_counted_one_by_one():
    measures = choose(LABELS, metrics="lesion_sens,fp_per_scan,lesion_f1,lesion_precision")
    scores = evaluate_case(*lesions(), LABELS, measures).scores
    assert scores["lesion"]["lesion_sens"] == scores["lesion"]["lesion_precision"] == 0.5
    assert scores["lesion"]["lesion_f1"] == 0.5
    assert scores["lesion"]["fp_per_scan"] == 1.0
    assert scores["organ"]["lesion_f1"] == 1.0


def test_regions_unite_labels():
    measures = choose(LABELS, regions=["whole=1+2,core=lesion"], metrics="dice,hd95,lesion_f1")
    result = evaluate_case(*lesions(), LABELS, measures)
    assert list(result.scores) == ["organ", "lesion", "whole", "core"]
    assert result.scores["core"] == result.scores["lesion"]
    # 96 voxels of the organ, the first lesion among them, and 2 against 1 beside it.
    assert result.scores["whole"]["dice"] == pytest.approx(2 * 96 / (98 + 97))
    assert result.scores["whole"]["reference_ml"] == pytest.approx(0.098)
    assert result.mean_dice == pytest.approx(
        (result.scores["organ"]["dice"] + result.scores["lesion"]["dice"]) / 2
    )


def test_tolerances_are_of_classes_and_then_of_regions():
    reference, prediction = squares()
    measures = choose(
        LABELS,
        regions=["wide=1", "tight=1"],
        options=MetricOptions(tolerance_mm=(2.9, 1.0, 3.0, 0.0)),
    )
    scores = evaluate_case(reference, prediction, LABELS, measures).scores
    assert scores["organ"]["nsd"] == 5 / 8
    assert scores["wide"]["nsd"] == 1.0
    assert scores["tight"]["nsd"] == 4 / 8


def test_the_whole_image_has_scores_of_its_own():
    result = evaluate_case(*squares(), LABELS, choose(LABELS, metrics="pixel_acc,mean_iou"))
    assert result.image == {
        "pixel_acc": pytest.approx(0.76),
        "mean_iou": pytest.approx((0.5 + 13 / 19) / 2),
    }
    assert tuple(result.scores["organ"]) == ("dice", *VOLUMES)


def test_probabilities_give_areas_under_curves():
    reference, prediction = squares()
    organ = reference.array == 1
    likely = np.stack([~organ, organ, np.zeros_like(organ)], axis=-1).astype(np.float32)
    likely[0, 0, 0] = (0.5, 0.5, 0.0)  # a background voxel, still below every organ voxel
    measures = choose(LABELS, metrics="auc_roc,auc_pr", regions=["any=1+2"], probabilities=True)

    def scores(probabilities, mask=None):
        return evaluate_case(
            reference, prediction, LABELS, measures, probabilities=probabilities, mask=mask
        ).scores

    perfect = scores(likely)
    for name in ("organ", "any"):
        assert perfect[name]["auc_roc"] == perfect[name]["auc_pr"] == 1.0
    assert math.isnan(perfect["lesion"]["auc_roc"])
    # Chance: every voxel alike.
    assert scores(np.full_like(likely, 1 / 3))["organ"]["auc_roc"] == 0.5
    # Outside the mask a wrong voxel does not count.
    likely[0, 4, 4] = (0, 1, 0)
    inside = np.ones((1, 5, 5), bool)
    inside[0, 4, 4] = False
    assert scores(likely)["organ"]["auc_roc"] == pytest.approx(1 - 0.5 / 16)
    assert scores(likely, reference.with_array(inside))["organ"]["auc_roc"] == 1.0


def test_volumes_on_a_sheared_grid_are_those_of_its_voxels():
    reference, prediction = squares()
    sheared = reference.affine.copy()
    sheared[:3, 0] += 0.5 * sheared[:3, 1]  # a tilted gantry: slices shift along y
    tilted = [Volume(volume.array, sheared) for volume in (reference, prediction)]
    organ = evaluate_case(*tilted, LABELS).scores["organ"]
    assert organ["reference_ml"] == pytest.approx(9 * abs(np.linalg.det(sheared[:3, :3])) / 1000)


def test_a_protocol_measures_instead():
    prostate = np.zeros((9, 6, 6), np.uint8)
    prostate[:, 1:5, 1:5] = 1
    predicted = prostate.copy()
    predicted[:3] = 0  # the apex is missed
    measures = choose(("background", "prostate"), protocol=protocol("promise12"))
    for flip in (slice(None), slice(None, None, -1)):  # the scan's own slice order does not matter
        affine = Volume.from_geometry(prostate).affine
        if flip.step == -1:
            affine = affine @ np.diag([-1.0, 1.0, 1.0, 1.0])
        volumes = [Volume(array[flip].copy(), affine) for array in (prostate, predicted)]
        result = evaluate_case(*volumes, ("background", "prostate"), measures)
        assert list(result.scores) == ["prostate", "apex", "base"]
        assert result.scores["apex"]["dice"] == 0.0
        assert result.scores["base"]["dice"] == 1.0
        assert result.mean_dice == result.scores["prostate"]["dice"] == pytest.approx(2 * 6 / 15)


def test_outside_the_mask_nothing_counts():
    reference, prediction = squares()
    inside = np.zeros((1, 5, 5), bool)
    inside[:, :, 2:4] = True  # where both squares are
    mask = reference.with_array(inside)
    organ = evaluate_case(reference, prediction, LABELS, mask=mask).scores["organ"]
    assert organ["dice"] == 1.0
    assert organ["hd95"] == 0.0
    assert organ["prediction_ml"] == pytest.approx(6 * 24 / 1000)


def test_integral_floats_and_a_channel_axis_are_labels_too():
    reference, prediction = squares()
    stored = Volume(prediction.array.astype(np.float32)[..., None], prediction.affine)
    assert evaluate_case(reference, stored, LABELS) == evaluate_case(reference, prediction, LABELS)


def test_two_labels_of_one_name_stay_apart():
    result = evaluate_case(*squares(), ("background", "organ", "organ"))
    assert list(result.scores) == ["organ (1)", "organ (2)"]


def refuse(prediction: Volume, message: str, mask: Volume | None = None) -> None:
    with pytest.raises(DataError, match=message):
        evaluate_case(squares()[0], prediction, LABELS, mask=mask, case="c7")


def test_refusals_name_case_rule_and_value():
    reference, prediction = squares()
    array = prediction.array
    moved = Volume.from_geometry(array, (4.0, 2.0, 3.0), origin_mm=(9, 0, 0))
    refuse(moved, r"case c7: the prediction must lie on the reference's grid.*\(9, 0, 0\)")
    refuse(
        Volume.from_geometry(array, (4.0, 2.0, 3.3)), "prediction 1 x 5 x 5 voxels of 4 x 2 x 3.3"
    )
    refuse(prediction, "the mask must lie on the reference's grid", mask=moved)
    refuse(reference.with_array(array * 9), r"prediction holds the value 9; the labels are 0 to 2")
    refuse(reference.with_array(array * 0.5), "holds the value 0.5")
    refuse(reference.with_array(array * np.nan), "holds the value nan")
    refuse(reference.with_array(-array.astype(np.int16)), "holds the value -1")
    refuse(reference.with_array(np.stack([array] * 3, -1)), "1 channel; got 3")
    with pytest.raises(
        DataError, match=r"probabilities must be \(1, 5, 5, 3\).*got \(1, 5, 5, 2\)"
    ):
        evaluate_case(
            reference, prediction, LABELS, probabilities=np.zeros((1, 5, 5, 2)), case="c7"
        )
