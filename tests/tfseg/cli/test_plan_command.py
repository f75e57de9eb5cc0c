"""``tfseg plan`` on tiny data sets."""

import json

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.plan import Plan


@pytest.fixture
def data(write_msd):
    image = np.random.default_rng(0).integers(-100, 100, (6, 20, 24)).astype(np.int16)
    label = np.zeros(image.shape, np.uint8)
    label[2:4, 5:15, 5:15] = 1
    return write_msd([(image, label, (4.0, 1.0, 1.0))] * 2)


def test_it_prints_one_plan(data, capsys):
    assert run(["plan", str(data)]) == 0
    captured = capsys.readouterr()
    plan = Plan.parse(json.loads(captured.out), "stdout")
    assert plan.spacing_mm == (4, 1, 1)
    assert plan.patch_size == (8, 24, 24)
    assert plan.labels == ("background", "organ")
    # In-plane pooling first; the note is beside the document, not in it.
    assert '"strides": [[1, 2, 2], [' in captured.err


def test_it_writes_a_plan_that_can_be_read_again(data, tmp_path, capsys):
    out = tmp_path / "deep" / "plan.json"
    assert run(["plan", str(data), "--dims", "2", "--model", "pspnet", "-o", str(out)]) == 0
    assert capsys.readouterr().out == ""
    assert Plan.load(out).dims == 2
    assert [path.name for path in out.parent.iterdir()] == ["plan.json"]


def test_it_is_the_plan_that_training_makes(data, tmp_path, capsys):
    """Both look at the cases that a fold leaves: another intensity in a held-out one is unseen."""
    from tfseg.config import TrainConfig
    from tfseg.training.run import plan_run

    for fold in ("0", "1", "all"):
        assert run(["plan", str(data), "--fold", fold]) == 0
        plan = Plan.parse(json.loads(capsys.readouterr().out), "stdout")
        config = TrainConfig(
            model="unet", data=str(data), fold="all" if fold == "all" else int(fold)
        )
        assert plan_run(config, {}).plan == plan


def edit(data, **changes):
    file = data / "dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def no_foreground(data):
    import nibabel

    for path in (data / "labelsTr").iterdir():
        label = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.zeros(label.shape, np.uint8), label.affine), path)


def other_grid(data):
    import nibabel

    path = data / "labelsTr" / "case_1.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4)), path)


BAD = {
    "no folder": (lambda data: None, ["{data}/gone"], "gone"),
    "no data set": (lambda data: None, ["{data}/imagesTr"], "no known data set layout"),
    "no foreground": (no_foreground, ["{data}"], "no case has a foreground voxel"),
    "grids differ": (other_grid, ["{data}"], "case case_1: image and label must lie on one grid"),
    "cut image": (
        lambda data: (data / "imagesTr/case_0.nii.gz").write_bytes(b"\x1f\x8b\x08"),
        ["{data}", "--fold", "all"],
        "case_0.nii.gz",
    ),
    "missing label": (
        lambda data: (data / "labelsTr/case_1.nii.gz").unlink(),
        ["{data}"],
        "case_1.nii.gz",
    ),
    "label outside": (
        lambda data: edit(data, labels={"0": "background", "2": "organ"}),
        ["{data}"],
        "label values must be among 0, 2; it has 1",
    ),
    "channels": (
        lambda data: edit(data, modality={"0": "CT", "1": "PET"}),
        ["{data}"],
        "declares 2 channels (CT, PET); the image has 1",
    ),
    "names twice": (
        lambda data: edit(data, labels={"0": "x", "1": "x"}),
        ["{data}"],
        "labels must have different names; got ('x', 'x')",
    ),
    "fold": (lambda data: None, ["{data}", "--fold", "one"], "a number or all; got 'one'"),
    "model": (lambda data: None, ["{data}", "--model", "unett"], "unknown model 'unett'"),
    "output is a folder below a file": (
        lambda data: None,
        ["{data}", "-o", "{data}/dataset.json/plan.json"],
        "dataset.json/plan.json",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_to_plan(data, tmp_path, capsys, name):
    damage, arguments, part = BAD[name]
    damage(data)
    before = sorted(path for path in tmp_path.rglob("*"))
    code = run(["plan", *(argument.format(data=data) for argument in arguments)])
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("tfseg: ")]
    assert (code, captured.out) == (2, "")
    assert len(lines) == 1
    assert part in lines[0]
    assert sorted(path for path in tmp_path.rglob("*")) == before
