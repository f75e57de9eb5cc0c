"""Real references as their own predictions: every layout, name and grid fits, every score is 1."""

import json
from pathlib import Path

import pytest

from tfseg.cli.main import run
from tfseg.datasets import open_dataset
from tfseg.io import write_volume


@pytest.mark.parametrize(
    ("name", "suffix", "unit"),
    [("Task04_Hippocampus", ".nii.gz", "mm"), ("DRIVE", ".png", "px")],
)
def test_a_reference_agrees_with_itself(name, suffix, unit, real_data, tmp_path, capsys):
    dataset = open_dataset(real_data / name)
    predictions = tmp_path / "predictions"
    cases = dataset.labelled[:3]
    for case in cases:
        # DRIVE's cases are numbers: 21, whose picture is 21_training.tif. Both names will do.
        stem = case.image.name.split(".")[0] if case is cases[0] else case.id
        write_volume(dataset.read_label(case), predictions / f"{stem}{suffix}")
    out = tmp_path / "out"
    arguments = ["evaluate", str(predictions), "--data", str(dataset.root), "--json"]
    assert run([*arguments, "-o", str(out)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert sorted(row["case"] for row in document["per_case"]) == sorted(c.id for c in cases)
    assert document["mean_dice"] == 1.0
    assert document["distance_unit"] == unit
    for summary in document["classes"].values():
        assert summary["hd95"]["mean"] == 0.0
        assert summary["reference_ml"]["mean"] > 0
    assert len(list(Path(out / "pictures").glob("*.png"))) == 3
