"""A run goes on with its own cases, from a whole checkpoint, to the length that is asked for."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tfseg.models import load_run

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def begun(
    tmp_path_factory: pytest.TempPathFactory,
    make_balls: Callable[..., Path],
    tiny: tuple[str, ...],
) -> Path:
    """A folder with a data set and a run of two epochs on it."""
    from tfseg.cli.main import run

    root = tmp_path_factory.mktemp("begun")
    make_balls(root / "data", cases=6)
    words = ["train", "--model", "unet", "--data", root / "data", "--run", root / "r", *tiny]
    assert run([*map(str, words), "--epochs", "2"]) == 0
    return root


@pytest.fixture
def place(begun: Path, tmp_path: Path) -> Path:
    """The same, moved, with the run's own idea of where the data are."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True, ignore=lambda *_: {".cache"})
    _configure(tmp_path, data=str(tmp_path / "data"))
    return tmp_path


def _configure(place: Path, **changes: object) -> None:
    path = place / "r/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _config(place: Path) -> dict[str, object]:
    return json.loads((place / "r/config.json").read_text())


def _epochs(place: Path) -> list[str]:
    with (place / "r/history.csv").open() as handle:
        return [row["epoch"] for row in csv.DictReader(handle)]


def _rewrite(data: Path, change: Callable[[dict[str, list[dict[str, str]]]], None]) -> None:
    path = data / "dataset.json"
    document = json.loads(path.read_text())
    change(document)
    document["numTraining"] = len(document["training"])
    path.write_text(json.dumps(document))


def _add(data: Path, name: str, like: str) -> None:
    for folder in ("imagesTr", "labelsTr"):
        content = (data / folder / f"{like}.nii.gz").read_bytes()
        # Another gzip member of nothing: another file with the same voxels.
        (data / folder / f"{name}.nii.gz").write_bytes(
            content + b"\x1f\x8b\x08" + bytes(5) + b"\0\3\3\0" + bytes(8)
        )
    entry = {key: f"./{key}sTr/{name}.nii.gz" for key in ("image", "label")}
    _rewrite(data, lambda document: document["training"].append(entry))


def _split(place: Path) -> dict[str, list[dict[str, str]]]:
    return json.loads((place / "r/split.json").read_text())


def test_added_cases_change_neither_the_held_out_ones_nor_the_training(place, tfseg):
    before = _split(place)
    held_out = [one["id"] for one in before["held_out"]]
    for number in range(4):
        _add(place / "data", f"added_{number}", "ball_0")
    code, out, err = tfseg("evaluate", "r", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert sorted(row["case"] for row in document["per_case"]) == held_out
    assert {row["role"] for row in document["per_case"]} == {"held out"}
    assert document["new"] == ["added_0", "added_1", "added_2", "added_3"]
    assert "new to the model, not measured without --all-cases (4): added_0" in err

    code, out, err = tfseg("train", "--resume", "--run", "r", "--epochs", 3, "--json")
    assert code == 0, err
    assert "not in this run, as they were added later: added_0" in err
    assert json.loads(out)["training"]["cases"] == len(before["training"])
    assert _split(place) == before
    manifest = json.loads((place / "r/manifest.json").read_text())
    assert "ball_" not in json.dumps(manifest)
    assert manifest["training"]["validation"]["classes"]["ball"]["cases"] == 1
    assert manifest["training"]["images"]["held_out"] == sorted(
        one["image"] for one in before["held_out"]
    )


def test_a_run_says_which_of_its_cases_are_gone_or_changed(place, tfseg):
    split = _split(place)
    changed, gone = split["training"][0]["id"], split["held_out"][0]["id"]
    (place / f"data/labelsTr/{changed}.nii.gz").write_bytes(
        (place / f"data/labelsTr/{gone}.nii.gz").read_bytes()
    )
    _rewrite(
        place / "data",
        lambda document: document.update(
            training=[one for one in document["training"] if gone not in one["image"]]
        ),
    )
    for folder in ("imagesTr", "labelsTr"):
        (place / "data" / folder / f"{gone}.nii.gz").unlink()
    before = _config(place)
    code, _, err = tfseg("train", "--resume", "--run", "r", "--epochs", 3)
    assert (code, len(err.strip().splitlines())) == (2, 2)  # what goes on, and why not
    assert f"1 are not in {place / 'data'}: {gone}" in err
    assert f"the reference of {changed} is not the one that the run began with" in err
    assert "start a new run from its network: weights=" in err
    assert _config(place) == before


def test_data_that_were_moved_are_named_and_recognised(place, tfseg):
    (place / "data").rename(place / "moved")
    code, _, err = tfseg("train", "--resume", "--run", "r", "--epochs", 3)
    assert code == 2
    assert f"there is no folder {place / 'data'}. Name where it is now (--data)" in err
    code, _, err = tfseg("train", "--resume", "--run", "r", "--data", "moved", "--epochs", 3)
    assert code == 0, err
    assert _epochs(place) == ["1", "2", "3"]
    assert _config(place)["data"] == str(place / "moved")


def test_settings_that_are_the_runs_own_are_taken_and_others_refused(place, tfseg):
    same = ("--seed", 0, "--fold", 0, "--set", "base_filters=4", "--set", "patch_size=16,16,16")
    same = (*same, "--set", "augmentation=default", "--set", "augmentation.flip=zyx")
    assert tfseg("train", "--resume", "--run", "r", "--model", "unet", *same)[0] == 0
    for words, expected in (
        (("--set", "loss=ce"), "loss cannot change from dice + ce to ce"),
        (("--set", "augmentation.flip=x"), "augmentation.flip cannot change from zyx to x"),
        (("--set", "augmentation=none"), "augmentation.flip cannot change from zyx to "),
        (("--set", "base_filters=8"), "base_filters cannot change from 4 to 8"),
        (("--fold", "all"), "fold cannot change from 0 to all"),
        (("--deterministic",), "deterministic cannot change from False to True"),
        (("--epochs", 1), "2 epochs are done, of 1"),
    ):
        before = _config(place)
        code, _, err = tfseg("train", "--resume", "--run", "r", *words)
        assert code == 2, words
        assert expected in err.strip().splitlines()[-1]
        assert _config(place) == before


def test_epochs_replace_a_time_budget_that_is_used_up(place, tfseg):
    _configure(place, epochs=100_000, time_budget_s=0.001)
    code, _, err = tfseg("train", "--resume", "--run", "r")
    assert code == 0, err
    assert "Nothing is left to train: the time budget of 0.001 s" in err
    assert _epochs(place) == ["1", "2"]
    code, _, err = tfseg("train", "--resume", "--run", "r", "--time-budget", "0.002s")
    assert code == 2
    assert "the time budget of 0.002 s, which counts all sessions, is used up" in err
    _configure(place, epochs=2)  # both limits were given: neither is dropped
    code, _, err = tfseg("train", "--resume", "--run", "r", "--epochs", 3)
    assert (code, "is used up" in err) == (2, True)
    code, _, err = tfseg("train", "--resume", "--run", "r", "--time-budget", "9m")
    assert (code, "2 epochs are done, of 2" in err) == (2, True)
    _configure(place, epochs=100_000)
    code, _, err = tfseg("train", "--resume", "--run", "r", "--epochs", 3)
    assert code == 0, err
    assert "now it goes on to epoch 3, however long that takes" in err
    assert _epochs(place) == ["1", "2", "3"]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(place, tfseg, caplog):
    (place / "r/history.csv").unlink()  # as if the process had died before it was written
    last, before = place / "r/checkpoints/last.npz", place / "r/checkpoints/previous.npz"
    last.write_bytes(last.read_bytes()[:-100])
    code, _, err = tfseg("train", "--resume", "--run", "r")
    assert code == 0, err
    assert (
        f"{last} is damaged or missing: going on from the one before it, of epoch 1." in caplog.text
    )
    assert _epochs(place) == ["1", "2"]
    whole = (place / "r/model.keras").read_bytes()
    (place / "r/model.keras").write_bytes(whole[:-99])
    code, _, err = tfseg("train", "--resume", "--run", "r")
    assert code == 0, err
    assert load_run(place / "r")[1].training["epochs"] == 2  # written again from the checkpoint
    for path in (last, before):
        path.write_bytes(b"PK")
    code, _, err = tfseg("train", "--resume", "--run", "r")
    assert code == 2
    assert err.strip().endswith(
        "is damaged. Start anew in another run folder, or with its last network in a new one: "
        f"weights={place / 'r'}."
    )
