"""Two evaluations case by case: against SciPy, both ways round, and what cannot be compared."""

import math

import numpy as np
import pytest
from scipy import stats

from tfseg.errors import DataError
from tfseg.evaluation import CaseResult, Metrics, compare, summarise

N = 24


def metrics(dice, hd95=None, rvd=None, *, names=None, **changes) -> Metrics:
    """An evaluation of one class with these values a case."""
    names = names or [f"case_{number:02d}" for number in range(len(dice))]
    hd95 = [1.0] * len(dice) if hd95 is None else hd95
    rvd = [0.0] * len(dice) if rvd is None else rvd
    results = [
        CaseResult(
            name,
            {
                "organ": {
                    "dice": d, "hd95": h, "rvd": r, "reference_ml": 1.0, "prediction_ml": 1.0,
                }
            },
            {"pixel_acc": d},
        )
        for name, d, h, r in zip(names, dice, hd95, rvd, strict=True)
    ]  # fmt: skip
    fields = {"data": "D", "source": "s", "distance_unit": "mm", "options": {"hd_mode": "max"}}
    return Metrics(**{**fields, **summarise(results), **changes})


@pytest.fixture
def pair() -> tuple[Metrics, Metrics]:
    rng = np.random.default_rng(7)
    dice = rng.uniform(0.5, 0.8, N)
    other = dice + rng.normal(0.06, 0.03, N)
    return metrics(dice, 10 - dice), metrics(other, 10 - other)


def differences(first: Metrics, second: Metrics):
    return compare(first, second, names=("one", "two")).differences["organ"]


def test_the_test_is_scipys_and_the_interval_surrounds_the_mean(pair):
    first, second = pair
    comparison = compare(first, second, names=("one", "two"))
    by_case = [{row.case: row.mean_dice for row in m.per_case} for m in pair]
    apart = np.array([by_case[0][case] - by_case[1][case] for case in sorted(by_case[0])])
    found = comparison.differences["organ"]["dice"]
    assert found.n == comparison.cases == N
    assert found.mean == pytest.approx(apart.mean())
    assert found.p_value == pytest.approx(stats.wilcoxon(apart, method="exact").pvalue)
    assert found.ci_low < found.mean < found.ci_high < 0
    assert found.better == "other"
    # Less distance is better, so the verdict is the same with the sign turned.
    assert comparison.differences["organ"]["hd95"].mean == pytest.approx(-apart.mean())
    assert comparison.differences["organ"]["hd95"].better == "other"
    assert comparison.mean_dice == comparison.image["pixel_acc"] == found
    assert "reference_ml" not in comparison.differences["organ"]


def test_the_other_way_round_the_signs_turn(pair):
    first, second = pair
    here, back = differences(first, second)["dice"], differences(second, first)["dice"]
    assert back.mean == pytest.approx(-here.mean)
    assert back.p_value == pytest.approx(here.p_value)
    assert (back.ci_low, back.ci_high) == pytest.approx((-here.ci_high, -here.ci_low), abs=1e-3)
    assert (here.better, back.better) == ("other", "this")


def test_an_evaluation_does_not_differ_from_itself(pair):
    for found in differences(pair[0], pair[0]).values():
        assert (found.mean, found.ci_low, found.ci_high, found.p_value) == (0.0, 0.0, 0.0, 1.0)
        assert found.better == "neither"


def test_signed_errors_are_compared_by_their_size():
    left = metrics([0.5] * N, rvd=np.linspace(-0.40, -0.3, N))
    right = metrics([0.5] * N, rvd=np.linspace(0.20, 0.1, N))
    found = differences(left, right)["rvd"]
    assert found.mean == pytest.approx(0.2)
    assert found.better == "other"


def test_few_cases_have_a_mean_but_no_verdict():
    found = differences(metrics([0.9, 0.8, 0.9]), metrics([0.1, 0.2, 0.3]))["dice"]
    assert found.mean == pytest.approx(2 / 3)
    assert found.p_value is None
    assert found.better == "neither"


def test_only_cases_and_values_that_both_have_are_paired():
    first = metrics([0.9, 0.8, 0.7], [1.0, math.nan, 3.0], names=["a", "b", "c"])
    second = metrics([0.5, 0.6, 0.7], [2.0, 2.0, 2.0], names=["b", "c", "d"])
    comparison = compare(first, second, names=("one", "two"))
    assert (comparison.cases, comparison.only_this, comparison.only_other) == (2, ["a"], ["d"])
    assert comparison.mean_dice.mean == pytest.approx((0.8 - 0.5 + 0.7 - 0.6) / 2)
    assert comparison.differences["organ"]["hd95"].n == 1
    assert comparison.differences["organ"]["hd95"].mean == pytest.approx(1.0)


def test_classes_of_one_side_only_are_left_out(pair):
    first = pair[0]
    summary = first.classes["organ"]
    more = first.model_copy(update={"classes": {"organ": summary, "lesion": summary}})
    assert list(compare(more, first, names=("one", "two")).differences) == ["organ"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "E"}, "data set is D here and E in two"),
        ({"protocol": "lits"}, "protocol is None here and lits in two"),
        ({"options": {"hd_mode": "pooled"}}, "hd_mode is max here and pooled in two"),
        ({"per_case": []}, "one has case_00, case_01, case_02, ..., two has none"),
    ],
)
def test_figures_that_mean_something_else_are_refused(pair, change, message):
    with pytest.raises(DataError, match=message):
        compare(pair[0], pair[1].model_copy(update=change), names=("one", "two"))
