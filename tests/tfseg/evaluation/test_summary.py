"""Figures over cases: against the statistics module, by hand, and where values are missing."""

import json
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from tfseg.evaluation import CaseResult, Metrics, describe, summarise
from tfseg.metrics.challenges import protocol


def result(case: str, dice: float, hd95: float, *, reference=5.0, prediction=5.0) -> CaseResult:
    scores = {"dice": dice, "hd95": hd95, "reference_ml": reference, "prediction_ml": prediction}
    return CaseResult(case, {"organ": scores})


RESULTS = [
    result("a", 0.9, 2.0),
    result("b", 0.5, 4.0),
    result("c", 0.0, math.nan, prediction=0.0),
    result("d", 1.0, 0.0, reference=0.0, prediction=0.0),
    result("e", 0.0, math.nan, reference=0.0),
]


def test_what_is_undefined_is_left_out_and_counted():
    summary = summarise(RESULTS)
    assert summary["cases"] == 5
    assert summary["metrics"] == ["dice", "hd95", "reference_ml", "prediction_ml"]
    assert summary["mean_dice"] == pytest.approx(0.48)
    assert [row.case for row in summary["per_case"]] == ["c", "e", "b", "a", "d"]
    organ = summary["classes"]["organ"]
    assert (organ.absent, organ.only_reference, organ.only_prediction) == (1, 1, 1)
    assert organ.worst == ["c", "e", "b"]
    # Of a, b and c alone: what finds nothing anywhere has 0 here and 0.4 over all cases.
    assert (organ.present, summary["empty"]) == (3, 2)
    assert organ.dice_where_present == pytest.approx(1.4 / 3)
    assert summary["mean_dice_where_present"] == pytest.approx(1.4 / 3)
    distances = organ.metrics["hd95"]
    assert (distances.n, distances.undefined, distances.infinite) == (3, 2, 0)
    assert distances.mean == pytest.approx(2.0)
    assert distances.sd == pytest.approx(2.0)
    assert distances.median == 2.0
    assert (distances.q1, distances.q3) == (1.0, 3.0)


def test_figures_are_those_of_the_statistics_module():
    values = np.random.default_rng(3).gamma(2.0, size=37).tolist()
    found = describe(values)
    assert found.mean == pytest.approx(statistics.fmean(values))
    assert found.sd == pytest.approx(statistics.stdev(values))
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    assert (found.q1, found.median, found.q3) == pytest.approx(tuple(quartiles))
    # SciPy's percentile bootstrap draws other samples: the same to the noise of 10 000.
    scipys = stats.bootstrap((values,), np.mean, method="percentile", rng=1).confidence_interval
    spread = found.sd / math.sqrt(len(values))
    assert found.ci_low == pytest.approx(scipys.low, abs=0.08 * spread)
    assert found.ci_high == pytest.approx(scipys.high, abs=0.08 * spread)
    assert describe(values) == found  # seeded


def test_an_infinite_value_has_a_median_but_no_mean():
    found = describe([1.0, 2.0, math.inf, math.nan])
    assert (found.n, found.undefined, found.infinite) == (3, 1, 1)
    assert found.mean is found.sd is found.ci_low is found.ci_high is None
    assert (found.q1, found.median, found.q3) == (1.5, 2.0, None)
    assert describe([math.inf, math.inf]).median is None


def test_one_value_has_no_spread_and_none_has_nothing():
    one = describe([0.25])
    assert (one.mean, one.median, one.q1, one.q3, one.n) == (0.25, 0.25, 0.25, 0.25, 1)
    assert one.sd is one.ci_low is one.ci_high is None
    none = describe([math.nan])
    assert (none.n, none.undefined) == (0, 1)
    assert none.mean is none.median is none.q1 is None


def test_documents_are_strict_json():
    metrics = Metrics(
        data="D", source="s", distance_unit="mm", **summarise([result("x", math.nan, math.inf)])
    )
    text = json.dumps(metrics.model_dump(mode="json"), allow_nan=False)
    assert json.loads(text)["per_case"][0] == {
        "case": "x",
        "mean_dice": None,
        "role": None,
        "scores": {
            "organ": {"dice": None, "hd95": None, "reference_ml": 5.0, "prediction_ml": 5.0}
        },
        "image": {},
    }
    assert metrics.mean_dice is None
    assert metrics.classes["organ"].worst == []


def test_the_mean_dice_is_of_the_classes_alone():
    scores = {"organ": {"dice": 0.5}, "whole": {"dice": 1.0}}
    assert CaseResult("a", scores, classes=1).mean_dice == 0.5
    assert CaseResult("a", scores).mean_dice == 0.75
    assert math.isnan(CaseResult("a", {"organ": {"dice": math.nan}}).mean_dice)


def test_a_metric_of_one_region_alone_has_no_cases_in_the_others():
    scores = {"liver": {"dice": 0.5}, "tumour": {"dice": 0.25, "lesion_f1": 1.0}}
    summary = summarise([CaseResult("a", scores)])
    assert summary["metrics"] == ["dice", "lesion_f1"]
    other = summary["classes"]["liver"].metrics["lesion_f1"]
    assert (other.n, other.undefined) == (0, 0)
    assert summary["per_case"][0].scores["liver"] == {"dice": 0.5, "lesion_f1": None}


def test_no_cases_have_no_figures():
    assert summarise([]) == {
        "metrics": [], "cases": 0, "mean_dice": None, "empty": 0, "mean_dice_where_present": None,
        "classes": {}, "image": {}, "overall": {}, "per_case": [],
    }  # fmt: skip
    assert summarise([], protocol("lits"))["overall"] == {}
