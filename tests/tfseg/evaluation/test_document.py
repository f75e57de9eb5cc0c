"""Statistics over cases and the document metrics.json."""

import csv
import json
import math
import statistics

import pytest

from tfseg.errors import DataError
from tfseg.evaluation import METRICS, CaseResult, Metrics, save_metrics, summarise


def result(case: str, dice: float, hd95_mm: float, volume_ml: float = 5.0) -> CaseResult:
    scores = dict.fromkeys(METRICS, dice)
    scores.update(hd95_mm=hd95_mm, reference_ml=volume_ml, prediction_ml=volume_ml)
    return CaseResult(case, {"organ": scores})


RESULTS = [
    result("a", 0.9, 2.0),
    result("b", 0.5, 4.0),
    result("c", 0.0, math.nan),
    result("d", 1.0, 0.0, volume_ml=0.0),
]


def test_summary_leaves_out_what_is_undefined_and_counts_it():
    summary = summarise(RESULTS)
    assert summary["cases"] == 4
    assert summary["mean_dice"] == pytest.approx(0.6)
    organ = summary["classes"]["organ"]
    assert organ["absent"] == 1
    assert organ["dice"] == {
        "mean": pytest.approx(0.6),
        "sd": pytest.approx(statistics.stdev([0.9, 0.5, 0.0, 1.0])),
        "median": pytest.approx(0.7),
        "n": 4,
        "undefined": 0,
    }
    assert organ["hd95_mm"] == {
        "mean": pytest.approx(2.0),
        "sd": pytest.approx(2.0),
        "median": pytest.approx(2.0),
        "n": 3,
        "undefined": 1,
    }
    assert [row["case"] for row in summary["per_case"]] == ["c", "b", "a", "d"]


def test_summary_is_strict_json():
    infinite = result("e", 0.0, math.inf)
    text = json.dumps(summarise([infinite]), allow_nan=False)
    organ = json.loads(text)["classes"]["organ"]
    assert organ["hd95_mm"] == {
        "mean": None, "sd": None, "median": None, "n": 0, "undefined": 1,
    }  # fmt: skip
    assert organ["dice"]["sd"] is None  # one case has no spread
    assert json.loads(text)["per_case"][0]["scores"]["organ"]["hd95_mm"] is None


def test_no_cases_have_no_mean():
    assert summarise([]) == {"cases": 0, "mean_dice": None, "classes": {}, "per_case": []}


def test_files_round_trip(tmp_path):
    metrics = Metrics(
        data="D", source="all", distance_unit="mm", missing=["x"], **summarise(RESULTS)
    )
    save_metrics(metrics, tmp_path)
    assert Metrics.load(tmp_path / "metrics.json") == metrics
    with (tmp_path / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["c", "b", "a", "d"]
    assert rows[0]["hd95_mm"] == ""
    assert float(rows[1]["hd95_mm"]) == 4.0
    assert list(rows[0]) == ["case", "class", *METRICS]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cases": "many"}, "cases: .*integer.*'many'"),
        ({"distance_unit": "cm"}, "distance_unit: .*'mm' or 'px'; got 'cm'"),
        ({"extra": 1}, "extra: "),
    ],
)
def test_damaged_document_names_the_field(tmp_path, change, message):
    document = {"data": "D", "source": "all", "distance_unit": "mm", **summarise(RESULTS), **change}
    (tmp_path / "metrics.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=f"no valid metrics file: {message}"):
        Metrics.load(tmp_path / "metrics.json")
