"""``tfseg evaluate`` through the command line: predictions, runs, exports, bad input."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.backends import Answers
from tfseg.artifact import Manifest
from tfseg.cli.main import run
from tfseg.datasets import open_dataset
from tfseg.datasets.split import Split
from tfseg.inference.predictor import Predictor
from tfseg.io import write_volume
from tfseg.plan import Channel, Plan, Scale
from tfseg.volume import Volume

LABELS = ("background", "organ")
CASES = tuple(f"scan_{number}" for number in range(1, 6))
SPACING = (3.0, 1.0, 1.0)


def organ(case: str) -> np.ndarray:
    """A box of 4 x 4 x (2 + number) voxels."""
    label = np.zeros((8, 12, 14), np.uint8)
    label[2:6, 3:7, 4 : 6 + int(case[-1])] = 1
    return label


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five cases in the Decathlon layout; the organ is 100, the rest 0."""
    root = tmp_path / "data"
    entries = []
    for case in CASES:
        label = organ(case)
        write_volume(
            Volume.from_geometry(label.astype(np.float32) * 100, SPACING),
            root / f"imagesTr/{case}.nii.gz",
        )
        write_volume(Volume.from_geometry(label, SPACING), root / f"labelsTr/{case}.nii.gz")
        entries.append({"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"})
    document = {
        "name": "Boxes",
        "modality": {"0": "CT"},
        "labels": {str(value): name for value, name in enumerate(LABELS)},
        "training": entries,
        "test": [],
    }
    (root / "dataset.json").write_text(json.dumps(document))
    return root


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """Label maps of all cases, each shifted by its number minus one along x."""
    folder = tmp_path / "predictions"
    for case in CASES:
        shifted = np.roll(organ(case), int(case[-1]) - 1, axis=2)
        write_volume(Volume.from_geometry(shifted, SPACING), folder / f"{case}.nii.gz")
    return folder


def plan(labels: tuple[str, ...] = LABELS) -> Plan:
    return Plan(
        dims=3,
        spacing_mm=None,
        patch_size=(8, 8, 8),
        batch_size=1,
        channels=(Channel(name="CT", normalisation=Scale(scale=100.0)),),
        labels=labels,
    )


def threshold(batch: np.ndarray) -> np.ndarray:
    """A network that calls everything above 50 organ."""
    return np.concatenate([batch < 0.5, batch >= 0.5], axis=-1).astype(np.float32)


@pytest.fixture
def trained(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder, opened with the threshold in place of its network."""
    folder = tmp_path / "run"
    folder.mkdir()
    split = Split.of(*open_dataset(data).split(1, 3))
    split.save(folder)
    training = {"fold": 1, "seed": 3, "mirrored": "x", "images": split.digests}
    manifest = Manifest(format="run", model="unet", plan=plan(), training=training)
    manifest.save(folder, "manifest.json")
    config = {"data": str(data), "fold": 1, "seed": 3, "model": "unet"}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(Predictor, "open", lambda path: Predictor(Answers(threshold), manifest))
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_predictions_are_measured_by_name(data, predictions, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["evaluate", str(predictions), "--data", str(data), "--json", "-o", str(out)]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert captured.err == ""
    assert document == json.loads((out / "metrics.json").read_text())
    # A box of n = 3..7 columns shifted by n - 3 overlaps in 3 of n columns: Dice 3/n.
    scores = {row["case"]: row["mean_dice"] for row in document["per_case"]}
    assert scores == {
        case: pytest.approx(3 / n) for case, n in zip(CASES, range(3, 8), strict=True)
    }
    assert document["per_case"][0]["case"] == "scan_5"
    assert document["mean_dice"] == pytest.approx(np.mean([3 / n for n in range(3, 8)]))
    # The far face is the shift away.
    assert document["per_case"][0]["scores"]["organ"]["hd95"] == 4.0
    assert sorted(path.name for path in (out / "pictures").iterdir()) == [
        "1-scan_5.png", "2-scan_4.png", "3-scan_3.png",
    ]  # fmt: skip


def test_the_table_names_classes_and_worst_cases(data, predictions, capsys):
    assert run(["evaluate", str(predictions), "--data", str(data)]) == 0
    table = capsys.readouterr().out
    for part in ("organ", "jaccard", "hd95 mm", "±", "Worst cases", "scan_5", "0.429"):
        assert part in table
    assert sorted(path.name for path in predictions.iterdir()) == [f"{c}.nii.gz" for c in CASES]


def test_gaps_are_named(data, predictions, capsys):
    (predictions / "scan_2.nii.gz").unlink()
    (predictions / "scan_4.nii.gz").rename(predictions / "other.nii.gz")
    assert run(["evaluate", str(predictions), "--data", str(data), "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["missing"] == ["scan_2", "scan_4"]
    assert document["unmatched"] == ["other.nii.gz"]
    assert "no prediction for 2 cases: scan_2, scan_4" in captured.err


def test_a_run_is_measured_on_its_held_out_fold(trained, data, capsys):
    from tfseg.datasets import open_dataset

    _, held_out = open_dataset(data).split(1, seed=3)
    assert run(["evaluate", str(trained), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["case"] for row in document["per_case"]] == [case.id for case in held_out]
    assert document["mean_dice"] == 1.0
    assert document["source"] == "held-out fold 1 (seed 3)"
    assert (trained / "cases.csv").is_file()
    assert (trained / f"pictures/1-{held_out[0].id}.png").is_file()
    assert run(["evaluate", str(trained), "--all-cases", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"] == 5


def test_a_run_keeps_its_page_and_a_network_gives_probabilities(trained, capsys):
    assert run(["evaluate", str(trained), "--metrics", "auc_roc", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["classes"]["organ"]["metrics"]["auc_roc"]["mean"] == 1.0
    page = (trained / "evaluation.html").read_text()
    assert f"tfseg evaluate {trained} --metrics auc_roc" in page
    assert "--json" not in page


def test_a_run_is_compared_with_predictions_of_its_held_out_cases(
    trained, predictions, tmp_path, capsys
):
    out = tmp_path / "out"
    arguments = ["evaluate", str(trained), "--against", str(predictions), "-o", str(out)]
    assert run([*arguments, "--json"]) == 0
    comparison = json.loads(capsys.readouterr().out)["comparison"]
    assert comparison["cases"] == 1
    assert comparison["only_this"] == []
    assert len(comparison["only_other"]) == 4
    assert comparison["mean_dice"]["p_value"] is None  # one case says nothing
    assert not (trained / "metrics.json").exists()


def test_the_latest_run_is_the_default(trained, monkeypatch, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/latest").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    assert run(["evaluate"]) == 0
    assert (trained / "metrics.json").is_file()


def test_an_export_is_measured_and_left_as_it_is(trained, data, tmp_path, capsys):
    export = tmp_path / "unet-onnx"
    export.mkdir()
    Manifest.load(trained, "manifest.json").save(export)
    before = tree(export)
    assert run(["evaluate", str(export), "--data", str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "held-out fold 1 (seed 3)"
    assert tree(export) == before


def test_images_of_another_kind_are_refused(trained, data, capsys):
    description = data / "dataset.json"
    description.write_text(description.read_text().replace('"CT"', '"MRI"'))
    arguments = ["evaluate", str(trained), "--data", str(data), "--all-cases"]
    assert run(arguments) == 2
    assert "it is MR, the training images are CT" in capsys.readouterr().err
    assert run([*arguments, "--anyway", "--json"]) == 0
    assert "it is MR" in str(json.loads(capsys.readouterr().out)["remarks"])


def test_one_failing_case_ends_with_1_after_the_others(data, predictions, tmp_path, capsys):
    wrong = Volume.from_geometry(organ("scan_3"), (3.0, 1.0, 1.5))
    write_volume(wrong, predictions / "scan_3.nii.gz")
    out = tmp_path / "out"
    assert run(["evaluate", str(predictions), "--data", str(data), "--json", "-o", str(out)]) == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["cases"] == 4
    assert [failure["case"] for failure in document["failed"]] == ["scan_3"]
    assert "1 of 5 cases could not be evaluated: scan_3" in captured.err.splitlines()[-1]
    assert json.loads((out / "metrics.json").read_text()) == document


def test_predictions_need_no_tensorflow(data, predictions):
    import subprocess
    import sys

    code = (
        "import sys; from tfseg.cli.main import run;"
        f"code = run(['evaluate', {str(predictions)!r}, '--data', {str(data)!r}]);"
        "sys.exit(code or 10 * ('tensorflow' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- bad input: exit code 2, one line with the rule and the value, nothing left on disk --------


def refused(arguments: list[str], capsys, *parts: str) -> None:
    assert run(["evaluate", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    for part in parts:
        assert part in captured.err


def test_bad_input_no_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused([], capsys, "no run is named and there is no runs/latest")
    refused(["nowhere"], capsys, "there is no nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [(), ("notes.txt",), (".hidden.nii.gz",)])
def test_bad_input_folder_that_is_nothing(content, capsys, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in content:
        (folder / name).write_text("x")
    refused([str(folder)], capsys, "is no run folder", "holds no label maps", str(folder))


def test_bad_input_predictions_without_data(predictions, capsys):
    refused([str(predictions)], capsys, "need references", "--data", str(predictions))


@pytest.mark.parametrize(
    ("name", "rule"), [("missing", "no such folder"), ("predictions", "no known data set layout")]
)
def test_bad_input_data_that_is_no_data_set(name, rule, predictions, tmp_path, capsys):
    refused([str(predictions), "--data", str(tmp_path / name)], capsys, rule, name)


def test_bad_input_no_matching_names(data, predictions, capsys):
    for path in list(predictions.iterdir()):
        path.rename(predictions / f"seg-{path.name}")
    refused(
        [str(predictions), "--data", str(data)],
        capsys, "no prediction belongs to a labelled case", "seg-scan_1.nii.gz", "scan_1",
    )  # fmt: skip


def test_bad_input_two_predictions_of_one_case(data, predictions, capsys):
    write_volume(Volume.from_geometry(organ("scan_1"), SPACING), predictions / "scan_1.nii")
    refused(
        [str(predictions), "--data", str(data)],
        capsys, "case scan_1 has two predictions", "scan_1.nii and scan_1.nii.gz",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("array", "spacing", "parts"),
    [
        (organ("scan_1")[:, :-1], SPACING, ("reference's grid", "8 x 11 x 14", "8 x 12 x 14")),
        (organ("scan_1"), (3.0, 1.0, 2.0), ("reference's grid", "3 x 1 x 2 mm")),
        (organ("scan_1") * 7, SPACING, ("the value 7", "labels are 0 to 1", "organ")),
        (organ("scan_1") * np.float32(0.25), SPACING, ("the value 0.25", "labels are 0 to 1")),
    ],
    ids=["shape", "spacing", "label", "fraction"],
)
def test_bad_input_predictions_that_do_not_fit(array, spacing, parts, data, tmp_path, capsys):
    folder, out = tmp_path / "p", tmp_path / "out"
    write_volume(Volume.from_geometry(array, spacing), folder / "scan_1.nii.gz")
    arguments = [str(folder), "--data", str(data), "-o", str(out)]
    refused(arguments, capsys, "case scan_1", *parts)
    assert not out.exists()


def test_bad_input_truncated_prediction(data, tmp_path, capsys):
    folder = tmp_path / "p"
    write_volume(Volume.from_geometry(organ("scan_1"), SPACING), folder / "scan_1.nii.gz")
    whole = (folder / "scan_1.nii.gz").read_bytes()
    (folder / "scan_1.nii.gz").write_bytes(whole[: len(whole) // 2])
    refused([str(folder), "--data", str(data)], capsys, "scan_1.nii.gz")


def test_bad_input_output_is_a_file(data, predictions, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    refused(
        [str(predictions), "--data", str(data), "-o", str(tmp_path / "out/deeper")],
        capsys, "cannot write", str(tmp_path / "out"),
    )  # fmt: skip
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_bad_input_output_is_read_only(data, predictions, tmp_path, capsys):
    (tmp_path / "locked").mkdir(mode=0o500)
    arguments = [str(predictions), "--data", str(data), "-o", str(tmp_path / "locked/out")]
    refused(arguments, capsys, "cannot write", "locked")


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        (None, ("configuration is missing", "config.json")),
        ("{", ("not valid JSON", "config.json")),
        ({"data": "DATA", "fold": "first"}, ("held out", "fold", "'first'")),
        ({"data": "/gone/away", "fold": 0}, ("data set is gone", "/gone/away", "--data")),
        ({"fold": 0}, ("names no data set", "--data")),
    ],
    ids=["missing", "damaged", "word", "moved", "unnamed"],
)
def test_bad_input_run_configuration(config, parts, trained, data, capsys):
    path = trained / "config.json"
    path.unlink()
    if config is not None:
        text = config if isinstance(config, str) else json.dumps(config)
        path.write_text(text.replace("DATA", str(data)))
    before = tree(trained)
    refused([str(trained)], capsys, *parts)
    assert tree(trained) == before


def test_bad_input_nothing_was_held_out_or_it_is_not_known(trained, data, capsys):
    Split.of(open_dataset(data).labelled, []).save(trained)
    refused([str(trained)], capsys, "has no case that", "was not trained on: 5 trained on")
    (trained / "split.json").unlink()
    refused([str(trained)], capsys, "split.json is missing")


def test_bad_input_labels_of_another_model(trained, capsys, monkeypatch):
    other = Manifest(format="run", model="unet", plan=plan(("background", "liver")))
    monkeypatch.setattr(Predictor, "open", lambda path: Predictor(Answers(threshold), other))
    refused([str(trained)], capsys, "labels must be those of", "background, liver")


def test_bad_input_export_that_does_not_say_its_fold(trained, data, tmp_path, capsys, monkeypatch):
    export = tmp_path / "export"
    export.mkdir()
    manifest = Manifest(format="onnx", model="unet", plan=plan())
    manifest.save(export)
    monkeypatch.setattr(Predictor, "open", lambda path: Predictor(Answers(threshold), manifest))
    refused([str(export)], capsys, "needs cases", "--data")
    refused([str(export), "--data", str(data)], capsys, "held out", "--all-cases", "fold")


def test_bad_input_unknown_option(capsys):
    refused(["--fold", "3"], capsys, "No such option", "--fold")


def test_a_model_is_measured_as_it_is_to_be_used(trained, predictions, data, capsys):
    arguments = ["evaluate", str(trained), "--tta", "--post", "largest_component", "--json"]
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["remarks"] == [
        "test-time augmentation: averaged over mirror images",
        "post-processing: largest_component",
    ]
    refused([str(predictions), "--data", str(data), "--tta"], capsys, "nothing more is done")
