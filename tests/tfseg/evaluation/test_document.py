"""The documents: their files, round trips, and what a damaged one is told."""

import csv
import json
import math

import pytest

from tfseg.errors import DataError
from tfseg.evaluation import (
    VOLUMES,
    CaseResult,
    Metrics,
    compare,
    save_comparison,
    save_metrics,
    summarise,
)

COLUMNS = ("dice", "hd95", *VOLUMES)


def result(case: str, dice: float, hd95: float) -> CaseResult:
    scores = {"dice": dice, "hd95": hd95, "reference_ml": 5.0, "prediction_ml": 5.0}
    return CaseResult(case, {"organ": scores}, {"pixel_acc": 0.5})


def metrics(**changes) -> Metrics:
    results = [result("a", 0.9, 2.0), result("b", 0.5, 4.0), result("c", 0.0, math.nan)]
    fields = {"data": "D", "source": "all", "distance_unit": "mm", **summarise(results), **changes}
    return Metrics(**fields)


def rows(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_round_trip(tmp_path):
    written = metrics(missing=["x"], options={"tolerance_mm": [1.0, 2.0]})
    save_metrics(written, tmp_path)
    assert Metrics.load(tmp_path / "metrics.json") == written
    assert json.loads((tmp_path / "metrics.json").read_text())["version"] == 2


def test_cases_have_a_row_a_class_and_summaries_a_row_a_metric(tmp_path):
    save_metrics(metrics(), tmp_path)
    cases = rows(tmp_path / "cases.csv")
    assert [row["case"] for row in cases] == ["c", "b", "a"]
    assert list(cases[0]) == ["case", "class", *COLUMNS]
    assert cases[0]["hd95"] == ""
    assert float(cases[1]["hd95"]) == 4.0
    summary = rows(tmp_path / "summary.csv")
    assert [(row["class"], row["metric"]) for row in summary] == [
        *(("organ", metric) for metric in COLUMNS),
        ("", "pixel_acc"),
    ]
    assert float(summary[1]["mean"]) == 3.0
    assert (summary[1]["n"], summary[1]["undefined"]) == ("2", "1")


def test_a_comparison_is_written_as_json(tmp_path):
    comparison = compare(metrics(), metrics(), names=("one", "two"))
    save_comparison(comparison, tmp_path)
    document = json.loads((tmp_path / "comparison.json").read_text())
    assert document == comparison.model_dump(mode="json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cases": "many"}, "cases: .*integer.*'many'"),
        ({"distance_unit": "cm"}, "distance_unit: .*'mm' or 'px'; got 'cm'"),
        ({"extra": 1}, "extra: "),
        ({"version": 1}, "version: .*2; got 1"),
        ({"mean_dice": "NaN"}, "mean_dice: .*finite"),
    ],
)
def test_damaged_document_names_the_field(tmp_path, change, message):
    document = {**metrics().model_dump(mode="json"), **change}
    (tmp_path / "metrics.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=f"no valid metrics file: {message}"):
        Metrics.load(tmp_path / "metrics.json")
