"""A cascade goes the whole way as any network does: trained, predicted, exported."""

import json

import nibabel as nib
import numpy as np
import pytest

from tfseg.cli.main import run


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cascaded_vnet", "detect_then_segment"])
def test_a_cascade_from_scans_to_one_artifact(model, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def tfseg(*words):
        code = run([str(word) for word in words])
        out, err = capfd.readouterr()
        assert code == 0, err
        return out

    tfseg("phantom", "scans", "--kind", "ct-abdomen", "--cases", 3)
    small = {
        "cascaded_vnet": ("--set", "encoder=1,1,2", "--set", "decoder=1,1"),
        "detect_then_segment": ("--set", "depth=3"),
    }[model]
    tfseg(
        "train", "--model", model, "--data", "scans", "--run", "r", "--epochs", 4,
        "--set", "patch_size=16,32,32", "--set", "batch_size=2", "--set", "base_filters=4",
        "--set", "steps_per_epoch=10", "--set", "validation_cases=1", "--fold", 0, *small,
    )  # fmt: skip
    scan = next((tmp_path / "scans" / "imagesTr").glob("*.nii.gz"))
    tfseg("predict", "r", scan, "-o", "labels")
    answer = next((tmp_path / "labels").glob("*.nii.gz"))
    classes = json.loads((tmp_path / "r" / "plan.json").read_text())["labels"]
    labels = np.asarray(nib.load(answer).dataobj)
    assert labels.shape == nib.load(scan).shape
    assert labels.max() < len(classes)
    assert len(np.unique(labels)) > 1
    outcome = json.loads(tfseg("export", "r", "--format", "onnx", "-o", "out", "--json"))
    assert outcome["parity"]["passed"], outcome
