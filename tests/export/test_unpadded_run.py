"""An unpadded network goes the whole way as any network does: trained, predicted, exported."""

import json

import pytest

from tfseg.cli.main import run
from tfseg.io import read_volume

U_NET = ("--set", "faithful=true", "--set", "depth=2", "--set", "base_filters=4")
FLAT = ("--set", "patch_size=96,96")
CASES = {
    "unet-2d": ("unet", ("savedmodel", "onnx"), (*U_NET, *FLAT), "(112, 112)"),
    "cfcn-2d": ("cfcn", ("savedmodel", "onnx", "openvino"), (*U_NET, *FLAT), "(112, 112)"),
    "unet-3d": (
        "unet",
        ("savedmodel", "onnx", "tflite", "openvino", "tensorrt"),
        (*U_NET, "--set", "patch_size=12,20,20"),
        "(28, 36, 36)",
    ),
    "unet3d-3d": (
        "unet3d",
        ("savedmodel", "onnx", "tflite", "openvino", "tensorrt"),
        ("--set", "faithful=true", "--set", "base_filters=4", "--set", "patch_size=12,20,20"),
        "(100, 108, 108)",
    ),
}


@pytest.mark.parametrize(
    ("model", "formats", "options", "seen"),
    [
        pytest.param(*case, id=name, marks=() if name == "unet-2d" else pytest.mark.slow)
        for name, case in CASES.items()
    ],
)
def test_an_unpadded_network_from_scans_to_its_exports(
    model, formats, options, seen, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)

    def tfseg(*words):
        code = run([str(word) for word in words])
        out, err = capfd.readouterr()
        assert code == 0, err
        return out, err

    flat = seen.count(",") == 1
    kind, images = ("fundus", "training/images/*") if flat else ("ct-abdomen", "imagesTr/*")
    tfseg("phantom", "scans", "--kind", kind, "--cases", 3)
    _, err = tfseg(
        "train", "--model", model, "--data", "scans", "--run", "r", "--epochs", 2,
        "--set", "batch_size=2", "--set", "steps_per_epoch=5", "--set", "validation_cases=1",
        "--fold", 0, *options,
    )  # fmt: skip
    assert f"{model} is unpadded: it sees patches mirrored at their borders, {seen}." in err
    scan = next((tmp_path / "scans").glob(images))
    tfseg("predict", "r", scan, "-o", "labels")
    (answer,) = (path for path in (tmp_path / "labels").iterdir() if path.suffix != ".json")
    assert read_volume(answer).array.shape[:3] == read_volume(scan).array.shape[:3]
    for format in formats:
        outcome = json.loads(tfseg("export", "r", "--format", format, "-o", "out", "--json")[0])
        assert outcome["parity"]["passed"], outcome
