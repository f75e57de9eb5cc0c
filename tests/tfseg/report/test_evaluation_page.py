"""The page of an evaluation: everything in it, nothing loaded, numbers as in the document."""

import math
import time

import numpy as np
import pytest

from tfseg.errors import ConfigError, DataError
from tfseg.evaluation import CaseResult, Comparison, Difference, Metrics
from tfseg.report import EVALUATION_FILE, History, curves_png, write_evaluation

PNG = curves_png(History({"step": [1], "loss": [1]}))
MEANS = "Mean and standard deviation over the cases"
FIGURES = "Every statistic of each class and metric"
DIFFERENCES = "Paired differences of each class and metric"


def difference(mean: float | None, better: str = "neither", p: float | None = 0.5) -> Difference:
    low, high = (None, None) if mean is None else (mean - 0.25, mean + 0.25)
    return Difference(n=3, mean=mean, ci_low=low, ci_high=high, p_value=p, better=better)


@pytest.fixture
def page(tmp_path, read_page):
    """Writes a page and reads it."""

    def write(metrics: Metrics, **options: object):
        path = tmp_path / EVALUATION_FILE
        assert write_evaluation(metrics, path, **options) == path
        return read_page(path), path.read_text(encoding="utf-8")

    return write


def test_the_tables_hold_the_documents_numbers(page, evaluation):
    metrics = evaluation()
    read, _ = page(metrics)
    # By hand: liver Dice 0.9, 0.8, 0.7; HD95 2, 4, 9. Tumour Dice 0.5, 0, 1; HD95 8, -, 0.
    assert read.tables[MEANS][0] == [
        "class", "Dice", "HD95 (mm)", "Reference volume (ml)", "Predicted volume (ml)",
        "absent", "missed",
    ]  # fmt: skip
    assert read.row(MEANS, "liver") == [
        "0.800 ± 0.100", "5.00 ± 3.61", "100.00 ± 20.00", "103.33 ± 11.55", "0", "0",
    ]  # fmt: skip
    tumour = read.row(MEANS, "tumour")
    assert tumour[:2] == ["0.500 ± 0.500", "4.00 ± 5.661 undefined"]
    assert tumour[-2:] == ["1", "1"]
    hd95 = metrics.classes["liver"].metrics["hd95"]
    rows = [[cell.strip() for cell in row] for row in read.tables[FIGURES]]
    assert rows[1][:3] == ["liver", "Dice", "0.800 ± 0.100"]
    assert rows[2] == [
        "HD95 (mm)", "5.00 ± 3.61", f"{hd95.ci_low:.2f} to {hd95.ci_high:.2f}",
        "4.00", "3.00 to 6.50", "3", "0",
    ]  # fmt: skip
    assert rows[6][-2:] == ["2", "1"]  # the tumour's HD95: two values, one undefined


def test_every_case_has_a_row_worst_first(page, evaluation):
    read, text = page(evaluation())
    dice = "Dice of every case and class"
    assert [row[0] for row in read.tables[dice]] == ["case", "two", "one", "three"]
    assert read.row(dice, "two") == ["0.400", "0.800", "0.000"]
    assert read.row("HD95 (mm) of every case and class", "two") == ["0.400", "4.00", "–"]
    # The worst of each class is bold: the smallest Dice, the largest distance.
    for value in ("0.700", "0.000", "9.00", "8.00"):
        assert text.count(f'<td class="worst">{value}</td>') == 1


def test_the_plots_name_every_case(page, evaluation):
    read, text = page(evaluation())
    for words in ("one: 0.900", "three: 9.00", "two: −10.0 ml", "one: −1.00 ml"):
        assert words in read.titles
    assert "2 cases: bias −2.000 ml" in text  # the third case has no tumour in either map
    assert "limits of agreement −4.772 to +0.772 ml" in text  # -2 -+ 1.96 * sqrt(2)


def test_what_was_not_measured_is_named(page, evaluation):
    _, text = page(
        evaluation(
            failed=[{"case": "four", "error": "four: the grids differ."}],
            missing=["five", "six"],
            unmatched=["seven.nii.gz"],
        )
    )
    for words in ("four: the grids differ.", "five, six", "seven.nii.gz", "3 of 6"):
        assert words in text


def test_long_lists_are_folded(page, evaluation):
    _, text = page(evaluation(missing=[f"case_{n}" for n in range(50)]))
    assert "<summary>No prediction for these cases (50)</summary>case_0, case_1," in text
    assert "3 of 53" in text


def test_texts_from_outside_are_escaped(page, evaluation):
    evil = "<script>alert(1)</script>"
    result = CaseResult(
        evil, {evil: {"dice": 0.5, "reference_ml": 1.0, "prediction_ml": 2.0, "hd95": 1.0}}
    )
    metrics = evaluation(
        [result],
        data=evil,
        source=evil,
        protocol=evil,
        options={evil: evil},
        overall={evil: 0.5},
        failed=[{"case": evil, "error": evil}],
        missing=[evil],
        unmatched=[evil],
    )
    compared = Comparison(
        this=evil,
        other=evil,
        cases=1,
        only_this=[evil],
        only_other=[evil],
        mean_dice=difference(0.5),
        differences={evil: {"dice": difference(0.5)}},
    )
    read, text = page(
        metrics,
        comparison=compared,
        pictures=[(evil, PNG)],
        colours={evil: (1, 2, 3)},
        command=evil,
    )
    assert "script" not in read.tags
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 20


def test_pictures_are_embedded_with_their_scores(page, evaluation):
    read, text = page(evaluation(), pictures=[("two", PNG), ("elsewhere", PNG)])
    assert len(read.sources) == 2
    assert read.images[0]["alt"].startswith("two: scan with the outlines")
    assert "mean Dice 0.400; liver 0.800; tumour 0.000" in text


def test_a_comparison_is_told_in_words_and_plots(page, evaluation):
    comparison = Comparison(
        this="run a",
        other="run b",
        cases=3,
        only_other=["nine"],
        mean_dice=difference(0.125),
        differences={
            "liver": {
                "dice": difference(0.5, "this", 0.0001),
                "hd95": difference(-0.5, "other", 0.04),
            },
            "tumour": {"dice": difference(None, p=None), "reference_ml": difference(0.0)},
        },
        image={"mean_iou": difference(0.25)},
    )
    read, text = page(evaluation(), comparison=comparison)
    assert read.row(DIFFERENCES, "all classes", "Dice") == [
        "3", "+0.125", "−0.125 to 0.375", "0.500", "no clear difference",
    ]  # fmt: skip
    assert read.row(DIFFERENCES, "liver", "Dice") == [
        "3", "+0.500", "0.250 to 0.750", "< 0.001", "this is better",
    ]  # fmt: skip
    assert read.row(DIFFERENCES, "HD95 (mm)")[1:] == [
        "−0.50", "−0.75 to −0.25", "0.040", "the other is better",
    ]  # fmt: skip
    assert read.row(DIFFERENCES, "tumour", "Dice") == ["3", "–", "–", "–", "no clear difference"]
    assert read.row(DIFFERENCES, "whole image", "Mean IoU")[1] == "+0.250"
    assert "Only in the other (1): nine" in text
    assert "<h3>Reference volume (ml)</h3>" not in text  # how much there is, is not compared
    # A class without a single pair has no row in the plots.
    assert text.count('class="mean this"') == 1
    assert text.count('class="mean other"') == 1
    assert text.count('class="mean neither"') == 0


def test_rules_and_definitions_are_stated(page, evaluation):
    metrics = evaluation(protocol="lits", overall={"liver_dice_global": 0.9375})
    read, text = page(metrics, command="tfseg evaluate a --data 'b c'")
    rules = {row[0].strip(): row[1].strip() for row in read.tables["Rules"]}
    assert "measured as in LiTS" in text
    assert rules["95th percentile of the surface distances"].startswith("of each direction")
    assert "Tolerance of the NSD" not in rules  # no NSD here
    assert read.row("Figures of all cases together", "liver dice global") == ["0.938"]
    assert "2 TP / (2 TP + FP + FN)" in text
    assert "tfseg evaluate a --data &#39;b c&#39;" in text


@pytest.mark.parametrize(
    ("tolerance", "words"), [(2.0, "2 mm"), ([1.0, 0.5], "liver: 1 mm, tumour: 0.5 mm")]
)
def test_tolerances(page, evaluation, tolerance, words):
    scores = {"dice": 1.0, "nsd": 1.0, "reference_ml": 1.0, "prediction_ml": 1.0}
    metrics = evaluation(
        [CaseResult("a", {"liver": scores, "tumour": scores})], options={"tolerance_mm": tolerance}
    )
    read, _ = page(metrics)
    assert read.row("Rules", "Tolerance of the NSD") == [words]


def test_photographs_have_pixels(page, evaluation):
    _, text = page(evaluation(distance_unit="px"))
    for words in ("HD95 (px)", "Reference area (kpx)", "Agreement of areas", "−10.0 kpx"):
        assert words in text
    for words in ("(mm)", "(ml)", " ml", "volume"):
        assert words not in text.split("How it was measured")[0].split("</style>")[1]


def test_no_case_at_all(page, evaluation):
    _, text = page(evaluation([], missing=["a"]))
    assert "No case was measured" in text
    assert "0 of 1" in text


def test_one_case(page, evaluation):
    one = CaseResult(
        "one", {"liver": {"dice": 0.9, "hd95": 2.0, "reference_ml": 1.0, "prediction_ml": 1.5}}
    )
    read, text = page(evaluation([one]))
    assert "Evaluation of 1 case." in text
    assert read.row(MEANS, "liver") == ["0.900", "2.00", "1.00", "1.50"]
    assert "1 case: bias +0.500 ml." in text
    assert 'class="worst"' not in text


def test_without_volumes(page, evaluation):
    read, text = page(evaluation([CaseResult(n, {"a": {"dice": 0.5}}) for n in "xy"]))
    assert "Bland-Altman" not in text
    assert read.row(MEANS, "a") == ["0.500 ± 0.000"]


def test_values_that_are_undefined_or_infinite(page, evaluation):
    results = [
        CaseResult(n, {"a": {"dice": 0.0, "hd95": value, "assd": math.nan}})
        for n, value in zip("xyz", (1.0, math.inf, math.nan), strict=True)
    ]
    read, text = page(evaluation(results))
    assert read.row(MEANS, "a") == ["0.000 ± 0.000", "∞1 undefined, 1 infinite", "–3 undefined"]
    assert ">n = 1, 1 undefined, 1 infinite</text>" in text
    assert "<h3>ASSD (mm)</h3>" not in text
    assert "nan" not in read.row("HD95 (mm) of every case and class", "z")


def test_a_region_without_a_metric_has_an_empty_cell(page, evaluation):
    results = [CaseResult("x", {"a": {"dice": 0.5, "hd95": 1.0}, "b": {"dice": 0.25}})]
    read, _ = page(evaluation(results))
    assert read.row(MEANS, "b") == ["0.250", ""]
    assert [row[0].strip() for row in read.tables[FIGURES]] == ["class", "a", "HD95 (mm)", "b"]


def test_figures_of_the_whole_image(page, evaluation):
    scores = {"a": {"dice": 0.5}}
    results = [CaseResult(n, scores, {"mean_iou": v}) for n, v in (("x", 0.25), ("y", 0.75))]
    read, _ = page(evaluation(results))
    assert read.row(FIGURES, "whole image", "Mean IoU")[0] == "0.500 ± 0.354"


def test_the_distribution_of_many_cases(page, evaluation):
    results = [CaseResult(str(i), {"a": {"dice": i / 10}}) for i in range(11)]
    _, text = page(evaluation(results))
    assert "Half of the cases reach 0.500, nine in ten 0.100." in text


def test_a_metric_that_does_not_exist_is_refused(tmp_path, evaluation):
    metrics = evaluation([CaseResult("x", {"a": {"dice": 0.5, "dicee": 0.5}})])
    with pytest.raises(ConfigError, match="unknown metric 'dicee'"):
        write_evaluation(metrics, tmp_path / EVALUATION_FILE)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path, evaluation):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*file/evaluation.html"):
        write_evaluation(evaluation(), tmp_path / "file" / EVALUATION_FILE)


def test_writing_twice_gives_the_same_bytes(tmp_path, evaluation):
    for name in ("a.html", "b.html"):
        write_evaluation(evaluation(), tmp_path / name, pictures=[("two", PNG)], command="again")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_many_cases_make_a_page_that_can_be_mailed(page, evaluation):
    rng = np.random.default_rng(0)
    names = ("dice", "jaccard", "precision", "sensitivity", "hd95", "assd", "nsd")
    results = [
        CaseResult(
            f"patient_{number:04d}",
            {
                f"organ {k}": dict(zip(names, rng.random(7), strict=True))
                | {"reference_ml": rng.random(), "prediction_ml": rng.random()}
                for k in range(6)
            },
        )
        for number in range(400)
    ]
    metrics = evaluation(results)
    began = time.process_time()
    _, text = page(metrics)
    assert time.process_time() - began < 10
    assert len(text) < 2.5e6
