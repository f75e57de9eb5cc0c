"""Every published layout: an example of it is recognised, checked, split and read exactly."""

from __future__ import annotations

import json
import os
import re
import shutil

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.datasets import ADAPTERS, open_dataset
from tfseg.datasets.check import check_dataset
from tfseg.errors import DataError

each = pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)


@pytest.fixture
def example(adapter, tmp_path):
    adapter.example(tmp_path / "data", 4, np.random.default_rng(3))
    return tmp_path / "data"


# nnU-Net's dataset.json looks like the Decathlon's at first; plain folders are part of many.
ALIKE = {
    "nnunet": {"msd", "folder_pairs"},
    "msd": {"folder_pairs"},
    "drive": {"folder_pairs"},
    "all_idb1": {"folder_pairs"},
}


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


# A case without a label is a test case there: the publishers have kept theirs.
UNLABELLED_IS_TEST = {"brats", "iseg2017", "ribfrac", "lvsc", "kits19", "ski10"}


@each
@pytest.mark.parametrize("what", ["image", "label"])
def test_a_lost_file_is_named_not_skipped(adapter, example, what):
    before = check_dataset(open_dataset(example))
    case = open_dataset(example).labelled[0]
    lost = getattr(case, what)
    (shutil.rmtree if lost.is_dir() else os.unlink)(lost)
    if lost.suffix == ".hdr":
        lost.with_suffix(".img").unlink()
    try:
        after = check_dataset(open_dataset(example))
    except DataError:
        return  # which names it
    if what == "label" and adapter.name in UNLABELLED_IS_TEST:
        assert after.summary["cases"]["test"] == before.summary["cases"]["test"] + 1
        return
    # A series of LIDC's patients may be X-rays, which nobody has drawn on.
    if (adapter.name, what) != ("lidc", "image"):
        assert after.problems or after.summary["remarks"] != before.summary["remarks"]
    assert len(after.problems) <= 3


@each
def test_where_it_comes_from_is_said(adapter):
    assert adapter.title
    assert adapter.layout
    assert adapter.reference
    assert adapter.licence


# The data sets that the two surveys name and that have a layout of their own, by our ids.
NAMED = [
    "msd",
    "msd_brain",
    "msd_heart",
    "msd_liver",
    "msd_hippocampus",
    "msd_prostate",
    "msd_lung",
    "msd_pancreas",
    "msd_hepatic_vessel",
    "msd_spleen",
    "msd_colon",
    "scr",
    "jsrt",
    "montgomery",
    "brats",
    "isles",
    "lits",
    "promise12",
    "lidc",
    "oasis1",
    "oasis3",
    "drive",
    "stare",
    "chasedb1",
    "mias",
    "ddsm",
    "cbis_ddsm",
    "scd",
    "kits19",
    "ski10",
    "hvsmr2016",
    "ircadb",
    "acdc",
    "mmwhs",
    "lasc2013",
    "lasc2018",
    "lvsc",
    "rvsc",
    "drishti_gs",
    "rim_one",
    "mrbrains13",
    "iseg2017",
    "glas",
    "isic2017",
    "all_idb1",
    "dermofit",
    "adni",
    "nitrc",
    "ribfrac",
    "nih_pancreas",
    "nsclc_radiomics",
    "folder_pairs",
    "nnunet",
    "bids",
    "csv",
]


def test_every_named_data_set_has_an_adapter():
    assert sorted(name for adapter in ADAPTERS for name in (adapter.ids or (adapter.name,))) == (
        sorted(NAMED)
    )


# What the specification names beside them, and how it is read or why it is not.
ELSEWHERE = {
    "grand_challenge": "downloads are in one of the layouts above, mostly folder_pairs",
    "ct150": "private",
    "medmnist": "holds no segmentations: refused by name",
    "ixi": "holds no segmentations: refused by name",
}


def test_the_specification_names_no_other(real_data):
    document = real_data.parent / "DATASETS.md"
    if not document.is_file():
        pytest.skip(f"the specification is absent: no file {document}")
    rows = [line for line in document.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"]
    assert len(rows) > 40
    named = set(re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in rows)))
    assert named <= set(NAMED) | set(ELSEWHERE)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_the_command_line_writes_an_example_and_checks_it(adapter, tmp_path, capfd):
    out = tmp_path / "out"
    assert run(["phantom", str(out), "--layout", adapter.name, "--cases", "3", "--seed", "5"]) == 0
    assert run(["check", str(out), "--json"]) == 0
    document = json.loads(capfd.readouterr().out.partition("\n")[2])
    assert document["ok"]
    assert document["adapter"] == adapter.name


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_ten_steps_of_training(adapter, tmp_path, capfd):
    out = tmp_path / "out"
    assert run(["phantom", str(out), "--layout", adapter.name, "--cases", "6"]) == 0
    assert run(["check", str(out)]) == 0
    small = ["epochs=1", "steps_per_epoch=10", "base_filters=4", "batch_size=2"]
    words = [word for setting in small for word in ("--set", setting)]
    run_folder = str(tmp_path / "run")
    command = ["train", "--model", "unet", "--data", str(out), "--run", run_folder, *words]
    assert run(command) == 0, capfd.readouterr().err
    assert (tmp_path / "run/model.keras").is_file()
