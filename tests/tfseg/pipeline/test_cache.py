"""Prepared volumes on disk: what is written, when it is reused, what damages it."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tfseg.datasets import open_dataset
from tfseg.errors import DataError
from tfseg.pipeline import cache
from tfseg.pipeline.cache import prepare_cases
from tfseg.plan import Channel, Plan, Scale, ZScore
from tfseg.preprocess import prepare, prepare_label
from tfseg.steps import Median


def plan(spacing=(2.0, 1.0, 1.0), labels=("background", "liver", "lesion"), **changes):
    return Plan(
        dims=3,
        spacing_mm=spacing,
        patch_size=(4, 4, 4),
        batch_size=1,
        channels=(Channel(name="CT", normalisation=changes.pop("rule", Scale(scale=10))),),
        labels=labels,
        **changes,
    )


@pytest.fixture
def dataset(write_msd):
    rng = np.random.default_rng(0)
    cases = []
    for spacing in ((2.0, 1.0, 1.0), (4.0, 0.5, 2.0)):
        image = rng.integers(-100, 100, (6, 8, 10)).astype(np.int16)
        label = np.zeros(image.shape, np.uint8)
        label[1:4, 2:6, 3:7] = 1
        cases.append((image, label, spacing))
    return open_dataset(write_msd(cases, labels=("background", "liver", "lesion")))


def test_voxels_are_the_prepared_ones(dataset, tmp_path):
    prepared = prepare_cases(dataset, dataset.cases, plan(), tmp_path)
    assert [case.id for case in prepared] == ["case_0", "case_1"]
    for case, source in zip(prepared, dataset.cases, strict=True):
        image, label = (volume.canonical()[0] for volume in dataset.load(source))
        np.testing.assert_array_equal(case.image, prepare(image, plan()))
        np.testing.assert_array_equal(case.label, prepare_label(label, plan()))
        assert isinstance(case.image, np.memmap)
        assert case.image.dtype == np.float32
        assert case.label.dtype == np.uint8
        # Class 2 is in neither case: it has no places and cannot be drawn.
        assert set(case.places) == {1}
        assert {tuple(place) for place in case.places[1]} == {
            tuple(place) for place in np.argwhere(case.label == 1)
        }


def test_places_are_sampled_where_there_are_many(write_msd, tmp_path):
    label = np.ones((20, 20, 20), np.uint8)
    dataset = open_dataset(write_msd([(label.astype(np.int16), label, (1, 1, 1))]))
    wanted = plan((1.0, 1.0, 1.0), ("background", "organ"))
    (case,) = prepare_cases(dataset, dataset.cases, wanted, tmp_path)
    assert len({tuple(place) for place in case.places[1]}) == 4096


def test_a_second_run_prepares_nothing(dataset, tmp_path, monkeypatch):
    first = prepare_cases(dataset, dataset.cases, plan(), tmp_path)
    monkeypatch.setattr(cache, "prepare", lambda *_: pytest.fail("prepared again"))
    again = prepare_cases(
        dataset, dataset.cases, plan().model_copy(update={"overlap": 0.2}), tmp_path
    )
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.places[1], other.places[1])


def with_steps(before):
    (channel,) = before.channels
    changed = channel.model_copy(update={"steps": (Median(),)})
    return before.model_copy(update={"channels": (changed,)})


@pytest.mark.parametrize(
    "other",
    [
        plan((1.0, 1.0, 1.0)),
        plan(rule=ZScore()),
        plan(rule=Scale(scale=11)),
        plan().model_copy(update={"interpolation": "cubic"}),
        plan().model_copy(update={"label_interpolation": "linear"}),
        with_steps(plan()),
    ],
)
def test_a_plan_that_changes_voxels_has_a_cache_of_its_own(dataset, tmp_path, other):
    first = prepare_cases(dataset, dataset.cases, plan(), tmp_path)
    second = prepare_cases(dataset, dataset.cases, other, tmp_path)
    assert len({case.folder.parent for case in (*first, *second)}) == 2


def test_a_changed_file_is_prepared_again(dataset, tmp_path):
    first = prepare_cases(dataset, dataset.cases, plan(), tmp_path)
    file = dataset.cases[0].label
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 1))
    second = prepare_cases(dataset, dataset.cases, plan(), tmp_path)
    assert first[0].folder != second[0].folder
    assert first[1].folder == second[1].folder


def test_other_labels_are_prepared_again(dataset, tmp_path):
    prepare_cases(dataset, dataset.cases, plan(), tmp_path / "cache")
    renamed = replace(dataset, labels=("background", "a", "b"))
    prepare_cases(renamed, dataset.cases, plan(), tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("name", ["../../evil", "pat1/scan1", "/abs/evil", "a" * 300, "nul\0"])
def test_no_id_is_a_path(dataset, tmp_path, name):
    (first, *others) = dataset.cases
    object.__setattr__(first, "id", name)  # a Case itself refuses it: the cache does not rely on it
    named = replace(dataset, cases=(first, *others))
    cases = prepare_cases(named, named.cases, plan(), tmp_path / "in" / "cache")
    assert cases[0].id == name
    assert all(case.folder.parent.parent == tmp_path / "in" / "cache" for case in cases)


@pytest.mark.parametrize("name", ["image.npy", "label.npy", "places.npz"])
@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "rubbish"])
def test_a_damaged_cache_says_what_to_delete(dataset, tmp_path, name, damage):
    cases = prepare_cases(dataset, dataset.cases, plan(), tmp_path / "cache")
    file = cases[1].folder / name
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes({"cut": content[:-40], "empty": b"", "rubbish": b"\0" * 64}[damage])
    message = rf"the cached case case_1 is damaged\. Delete {cases[1].folder} and run again"
    with pytest.raises(DataError, match=message):
        prepare_cases(dataset, dataset.cases, plan(), tmp_path / "cache")


def test_a_bad_case_leaves_nothing_half_written(dataset, tmp_path):
    good = prepare_cases(dataset, dataset.cases[:1], plan(), tmp_path / "elsewhere")
    dataset.cases[1].image.write_bytes(b"no NIfTI")
    with pytest.raises(DataError, match=r"case_1\.nii\.gz"):
        prepare_cases(dataset, dataset.cases, plan(), tmp_path / "cache")
    left = {path.name for path in (tmp_path / "cache").glob("*/*")}
    assert left <= {good[0].folder.name, "cache.json"}


WITHOUT_LOCKS = """
import fcntl, errno
def flock(*_):
    raise OSError(errno.ENOLCK, "")
fcntl.flock = flock
"""
PREPARE = """
import sys
from pathlib import Path
from tfseg.datasets import open_dataset
from tfseg.pipeline import cache
from tfseg.plan import Plan
data, plan, root = sys.argv[1:]
dataset = open_dataset(data)
made, write = [], cache._write
cache._write = lambda *words: (made.append(1), write(*words))
cases = cache.prepare_cases(dataset, dataset.cases, Plan.load(plan), Path(root))
print(len(made), *(case.image.sum() for case in cases))
"""


@pytest.mark.parametrize("locks", [True, False])
def test_runs_that_start_together_share_the_work(dataset, tmp_path, locks):
    plan().save(tmp_path / "plan.json")
    words = [dataset.root, tmp_path / "plan.json", tmp_path / "cache"]
    before = "" if locks else WITHOUT_LOCKS
    begun = [
        subprocess.Popen([sys.executable, "-c", before + PREPARE, *words], stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    said = [process.communicate()[0].split() for process in begun]
    assert [process.returncode for process in begun] == [0] * 4
    assert len({tuple(words[1:]) for words in said}) == 1
    if locks:  # one prepared both cases, the others none
        assert sorted(int(words[0]) for words in said) == [0, 0, 0, 2]
    assert not list((tmp_path / "cache").glob("*/.*"))


def test_progress_sees_every_case(dataset, tmp_path):
    seen = []

    def progress(cases):
        for case in cases:
            yield case
            seen.append(case.id)

    prepare_cases(dataset, dataset.cases, plan(), tmp_path / "cache", progress)
    assert seen == ["case_0", "case_1"]
