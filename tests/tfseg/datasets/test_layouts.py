"""Every published layout: an example of it is recognised, checked, split and read exactly."""

from __future__ import annotations

import numpy as np
import pytest

from tfseg.datasets import ADAPTERS, open_dataset
from tfseg.datasets.check import check_dataset

each = pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)


@pytest.fixture
def example(adapter, tmp_path):
    adapter.example(tmp_path / "data", 4, np.random.default_rng(3))
    return tmp_path / "data"


# nnU-Net's dataset.json looks like the Decathlon's at first; plain folders are part of many.
ALIKE = {"nnunet": {"msd", "folder_pairs"}, "msd": {"folder_pairs"}, "drive": {"folder_pairs"}}


@each
def test_no_other_adapter_takes_its_example(adapter, example):
    found = [other.name for other in ADAPTERS if other.recognises(example)]
    assert found[0] == adapter.name
    assert set(found[1:]) <= ALIKE.get(adapter.name, set())
    assert not adapter.recognises(example.parent / "nowhere")


@each
def test_every_case_can_be_used(adapter, example):
    dataset = open_dataset(example)
    assert (dataset.adapter, dataset.dims) == (adapter.name, adapter.dims)
    report = check_dataset(dataset)
    assert report.problems == ()
    assert len(dataset.labelled) == 4
    assert report.summary["cases"]["readable"] == len(dataset.cases)
    # Every declared class is in the example.
    assert all(label["cases"] >= 4 for label in report.summary["labels"])


@each
def test_image_and_label_belong_together(adapter, example):
    """Examples draw class k brighter than class k - 1, in every channel."""
    dataset = open_dataset(example)
    for case in dataset.labelled:
        image, label = dataset.load(case)
        assert label.array.dtype == np.uint8
        gray = image.channel_last().astype(float).mean(axis=-1)
        means = [gray[label.array == value].mean() for value in range(len(dataset.labels))]
        assert means == sorted(means), dataset.labels


@each
def test_folds_part_patients_never(adapter, example):
    dataset = open_dataset(example)
    groups = {case.group or case.id for case in dataset.labelled}
    folds = min(dataset.folds, len(groups))
    held_out = []
    for fold in range(folds):
        training, validation = dataset.split(fold)
        assert {c.group or c.id for c in training}.isdisjoint(c.group or c.id for c in validation)
        held_out += [case.id for case in validation]
    assert sorted(held_out) == sorted(case.id for case in dataset.labelled)


@each
def test_a_lost_label_is_named_not_skipped(adapter, example):
    dataset = open_dataset(example)
    lost = next(path for path in dataset.labelled[0].files if path != dataset.labelled[0].image)
    assert adapter.reference
    assert adapter.licence
    kept = len(dataset.labelled)
    if adapter.name in {"nnunet", "msd", "drive", "csv"}:
        lost.unlink()
        problems = check_dataset(open_dataset(example)).problems
        assert [problem.kind for problem in problems] == ["missing"]
        assert len(open_dataset(example).labelled) == kept
