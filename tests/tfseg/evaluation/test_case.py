"""One label map against its reference: values worked by hand, masks, refusals."""

import math

import numpy as np
import pytest

from tfseg.errors import DataError
from tfseg.evaluation import METRICS, evaluate_case
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
    assert tuple(organ) == METRICS
    assert organ["dice"] == pytest.approx(2 / 3)
    assert organ["jaccard"] == 0.5
    assert organ["precision"] == organ["sensitivity"] == pytest.approx(2 / 3)
    assert organ["hd95_mm"] == 3.0  # one column
    assert organ["reference_ml"] == organ["prediction_ml"] == pytest.approx(9 * 24 / 1000)
    # The lesion is in neither map.
    assert result.scores["lesion"]["dice"] == 1.0
    assert result.scores["lesion"]["hd95_mm"] == 0.0
    assert result.mean_dice == pytest.approx((2 / 3 + 1) / 2)


def test_a_class_that_is_not_predicted_has_no_distance():
    reference, prediction = squares()
    empty = prediction.with_array(np.zeros_like(prediction.array))
    organ = evaluate_case(reference, empty, LABELS).scores["organ"]
    assert organ["dice"] == organ["precision"] == organ["sensitivity"] == 0.0
    assert math.isnan(organ["hd95_mm"])
    as_diagonal = evaluate_case(reference, empty, LABELS, empty_distance="diag")
    # 1 x 5 x 5 voxels of 4 x 2 x 3 mm.
    assert as_diagonal.scores["organ"]["hd95_mm"] == pytest.approx(math.hypot(4, 10, 15))


def test_outside_the_mask_nothing_counts():
    reference, prediction = squares()
    inside = np.zeros((1, 5, 5), bool)
    inside[:, :, 2:4] = True  # where both squares are
    organ = evaluate_case(reference, prediction, LABELS, reference.with_array(inside)).scores[
        "organ"
    ]
    assert organ["dice"] == 1.0
    assert organ["hd95_mm"] == 0.0
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
        evaluate_case(squares()[0], prediction, LABELS, mask, case="c7")


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
