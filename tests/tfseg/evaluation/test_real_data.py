"""Real references as predictions: as they are every score is 1; shifted, NumPy and SciPy agree."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

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
        assert summary["metrics"]["hd95"]["mean"] == 0.0
        assert summary["metrics"]["reference_ml"]["mean"] > 0
    assert len(list(Path(out / "pictures").glob("*.png"))) == 3


def outline(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask)


def test_shifted_references_score_what_numpy_and_scipy_say(real_data, tmp_path, capsys):
    dataset = open_dataset(real_data / "Task04_Hippocampus")
    cases = dataset.labelled[:8]
    shifts = {case.id: (number % 2, number // 2 % 2, 1) for number, case in enumerate(cases)}
    labels, shifted = {}, {}
    for case in cases:
        volume = dataset.read_label(case)
        labels[case.id] = volume.array
        shifted[case.id] = np.roll(volume.array, shifts[case.id], axis=(0, 1, 2))
        write_volume(volume.with_array(shifted[case.id]), tmp_path / f"p/{case.id}.nii.gz")
    arguments = ["evaluate", str(tmp_path / "p"), "--data", str(dataset.root), "--json"]
    assert run(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["cases"] == len(cases)
    assert len(document["missing"]) == len(dataset.labelled) - len(cases)
    by_case = {row["case"]: row["scores"] for row in document["per_case"]}
    for case in cases:
        for value, name in enumerate(dataset.labels[1:], start=1):
            a, b = labels[case.id] == value, shifted[case.id] == value
            scores = by_case[case.id][name]
            assert scores["dice"] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
            # Voxels are 1 mm cubes.
            apart = [
                ndimage.distance_transform_edt(~outline(there))[outline(here)]
                for here, there in ((a, b), (b, a))
            ]
            assert scores["hd95"] == pytest.approx(max(np.percentile(d, 95) for d in apart))
            together = np.concatenate(apart)
            assert scores["assd"] == pytest.approx(together.mean())
            assert scores["nsd"] == pytest.approx(np.mean(together <= 1.0))
            assert scores["reference_ml"] == pytest.approx(a.sum() / 1000)
    means = [by_case[case.id]["Anterior"]["dice"] for case in cases]
    figures = document["classes"]["Anterior"]["metrics"]["dice"]
    assert figures["mean"] == pytest.approx(np.mean(means))
    assert figures["median"] == pytest.approx(np.median(means))
