"""The figure that chooses a checkpoint: worked by hand, and not to be won by an empty answer."""

from __future__ import annotations

import numpy as np
import pytest

from tfseg.metrics import confusion
from tfseg.pipeline.cache import PreparedCase
from tfseg.training.validation import Validation, choose_cases, columns, describe, summary


def validated(*pairs: tuple[list[int], list[int]], classes: int = 2) -> Validation:
    found = Validation.begin(classes)
    for reference, prediction in pairs:
        maps = np.array(reference), np.array(prediction)
        found = found.add(confusion(*maps, classes))
    return found


def test_pooled_dice_by_hand():
    # TP 2, FP 1 + 1, FN 1: 2 * 2 / (2 * 2 + 2 + 1).
    found = validated(([1, 1, 1, 0], [1, 1, 0, 1]), ([0, 0, 0, 0], [0, 1, 0, 0]))
    assert found.mean_dice == pytest.approx(4 / 7)
    assert columns(found, ("background", "lesion")) == {
        "val_dice_lesion": pytest.approx(4 / 7),
        "val_cases_lesion": 1, "val_missed_lesion": 0, "val_invented_lesion": 1,
    }  # fmt: skip


def test_finding_nothing_never_beats_finding_something():
    lesion, nothing = [1, 1, 0, 0, 0, 0], [0] * 6
    empty = validated((lesion, nothing), *[(nothing, nothing)] * 11)
    faint = validated((lesion, [1, 0, 0, 0, 0, 0]), *[(nothing, [0, 0, 0, 0, 0, 1])] * 11)
    assert empty.mean_dice == 0 < faint.mean_dice
    assert (empty.missed[1], empty.invented[1]) == (1, 0)
    assert (faint.missed[1], faint.invented[1]) == (0, 11)


def test_a_class_that_no_case_has_counts_in_no_mean():
    found = validated(([0, 1, 1], [0, 1, 1]), ([0, 0, 1], [2, 0, 1]), classes=3)
    assert found.mean_dice == 1.0
    figures = columns(found, ("background", "organ", "rare"))
    assert figures["val_dice_rare"] is None
    assert figures["val_invented_rare"] == 1
    assert set(columns(None, ("background", "organ", "rare"))) == set(figures)
    row = {"epoch": 4, "val_dice": 1.0, **figures}
    assert summary(row, 2, ("background", "organ", "rare"))["classes"]["rare"] == {
        "dice": None, "cases": 0, "missed": 0, "invented": 1,
    }  # fmt: skip


def prepared(*classes: set[int]) -> list[PreparedCase]:
    return [
        PreparedCase(f"c{number:02d}", np.zeros(1), np.zeros(1), dict.fromkeys(there, np.zeros(1)))
        for number, there in enumerate(classes)
    ]


@pytest.mark.parametrize(
    ("classes", "most", "expected"),
    [
        ([set()] * 18 + [{1}, {1}], 4, [0, 1, 18, 19]),  # the only lesions come last
        ([{1}] * 6, 3, [0, 1, 2]),
        ([set()] * 3, 2, [0, 1]),
        ([{1}] * 9 + [{1, 2}], 2, [0, 9]),
        ([{1}, {2}, {3}], 2, [0, 1]),  # more classes than places
        ([{1}], 12, [0]),
    ],
)
def test_the_cases_that_judge_have_the_classes_there_are(classes, most, expected):
    chosen = choose_cases(prepared(*classes), most, 4)
    assert [int(case.id[1:]) for case in chosen] == expected


def test_the_cases_are_described():
    cases = prepared({1}, set(), set())
    assert describe(cases, 8, ("background", "lesion")) == (
        "validation: 3 of 8 held-out cases; lesion in 1; 2 without any"
    )
