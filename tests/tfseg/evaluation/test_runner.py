"""Many cases: failures are reported, the rest go on, the worst are kept."""

from pathlib import Path

import numpy as np
import pytest

from tfseg.datasets import Case, Dataset
from tfseg.errors import DataError
from tfseg.evaluation import Evaluation
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
    return Evaluation(dataset, cases, predict, "all of them", missing=("z",))


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
