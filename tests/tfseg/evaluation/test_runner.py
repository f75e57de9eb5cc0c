"""Many cases: failures are reported, the rest go on, the worst are kept."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tfseg.datasets import Case, Dataset
from tfseg.errors import ConfigError, DataError
from tfseg.evaluation import Evaluation, choose
from tfseg.inference.prediction import Prediction
from tfseg.metrics import MetricOptions
from tfseg.volume import Volume

NAMES = ("a", "b", "c", "d", "e")


def column(width: int) -> Volume:
    """A label map of one row: ``width`` of 10 voxels are 1."""
    array = np.zeros((1, 1, 10), np.uint8)
    array[..., :width] = 1
    return Volume.from_geometry(array)


def evaluation(predict) -> Evaluation:
    cases = tuple(Case(name, Path(f"{name}.nii"), Path(f"{name}_label.nii")) for name in NAMES)
    dataset = Dataset(
        name="rows",
        adapter="test",
        root=Path("rows"),
        dims=3,
        modalities=("CT",),
        labels=("background", "organ"),
        cases=cases,
        read_image=lambda case: column(0),
        read_label=lambda case: column(4),
    )
    return Evaluation(
        dataset, cases, lambda case, _: Prediction(predict(case)), "all of them", missing=("z",)
    )


def test_the_worst_three_are_kept_worst_first():
    widths = dict(zip(NAMES, (4, 1, 8, 2, 3), strict=True))
    outcome = evaluation(lambda case: column(widths[case.id])).run()
    # Dice of a row of n against one of 4: 2 min(n, 4) / (n + 4).
    assert [(case.id, dice) for case, _, dice in outcome.worst] == [
        ("b", pytest.approx(2 / 5)),
        ("c", pytest.approx(8 / 12)),
        ("d", pytest.approx(4 / 6)),
    ]
    document = outcome.metrics()
    assert document.cases == 5
    assert document.mean_dice == pytest.approx(np.mean([1, 2 / 5, 2 / 3, 2 / 3, 6 / 7]))
    assert document.missing == ["z"]


@pytest.mark.parametrize("error", [DataError("no such file"), MemoryError()])
def test_a_failing_case_does_not_stop_the_others(error):
    def predict(case: Case) -> Volume:
        if case.id == "b":
            raise error
        return column(4)

    document = evaluation(predict).run().metrics()
    assert document.cases == 4
    assert [(f.case, f.error) for f in document.failed] == [
        ("b", f"b: {error}" if str(error) else "b: out of memory")
    ]


def test_nothing_evaluated_is_an_error_with_the_first_reason():
    def predict(case: Case) -> Volume:
        raise DataError(f"case {case.id}: broken")

    with pytest.raises(DataError, match=r"none of 5 cases could be evaluated.*case a: broken"):
        evaluation(predict).run()


def test_errors_that_nobody_foresaw_are_not_swallowed():
    def predict(case: Case) -> Volume:
        raise KeyError(case.id)

    with pytest.raises(KeyError):
        evaluation(predict).run()


def test_the_number_of_jobs_changes_nothing():
    widths = dict(zip(NAMES, (4, 1, 8, 0, 3), strict=True))

    def predict(case: Case) -> Volume:
        if case.id == "b":
            raise DataError("broken")
        return column(widths[case.id])

    outcomes = [evaluation(predict).run(jobs=jobs) for jobs in (1, 4)]
    first, second = (outcome.metrics().model_dump_json() for outcome in outcomes)
    assert first == second
    assert [case.id for case, _, _ in outcomes[0].worst] == ["d", "c", "e"]


def test_progress_reaches_the_whole():
    shares: list[float] = []
    evaluation(lambda case: column(4)).run(jobs=2, advance=shares.append)
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_network_is_asked_by_one_thread_alone():
    threads = []

    def predict(case: Case) -> Volume:
        threads.append(threading.current_thread())
        if case.id == "c":
            raise DataError("no memory for it")
        return column(4)

    found = replace(evaluation(predict), in_turn=True).run(jobs=3).metrics()
    assert set(threads) == {threading.main_thread()}
    assert found.cases == 4
    assert [failure.error for failure in found.failed] == ["c: no memory for it"]


def test_probabilities_are_read_where_they_are_wanted():
    asked = []

    def predict(case: Case, wanted: bool):
        if not wanted:
            return Prediction(column(4))
        asked.append(case.id)
        likely = np.zeros((1, 1, 10, 2), np.float32)
        likely[..., :4, 1] = 1
        return Prediction(column(4), likely)

    none = evaluation(lambda case: column(4))
    whole = replace(none, predict=predict, has_probabilities=True)
    assert "auc_roc" not in whole.run().metrics().metrics
    assert asked == []
    labels = whole.dataset.labels
    found = whole.run(choose(labels, metrics="auc_roc", probabilities=True)).metrics()
    assert found.classes["organ"].metrics["auc_roc"].mean == 1.0
    assert sorted(asked) == list(NAMES)


def test_metrics_of_probabilities_need_probabilities():
    measures = choose(("background", "organ"), metrics="dice,auc_pr")
    with pytest.raises(ConfigError, match="auc_pr must be measured on probabilities"):
        evaluation(lambda case: column(4)).run(measures)


def test_the_rules_are_in_the_document():
    options = MetricOptions(empty_distance="diag", tolerance_mm=2.0)
    measures = choose(("background", "organ"), options=options)
    document = evaluation(lambda case: column(0)).run(measures).metrics()
    assert document.options["empty_distance"] == "diag"
    assert document.options["tolerance_mm"] == 2.0
    organ = document.classes["organ"]
    assert organ.only_reference == 5
    assert organ.metrics["hd95"].mean == pytest.approx(np.sqrt(102))
