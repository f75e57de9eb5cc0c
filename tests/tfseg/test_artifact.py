"""The manifest: round trip, refusals, and the files it vouches for."""

import hashlib
import json

import pytest

from tfseg.artifact import FILE_NAME, Manifest, digest_files, label_colour, verify_files
from tfseg.errors import ConfigError, DataError
from tfseg.plan import Channel, Plan, ZScore


def manifest(**changes):
    plan = Plan(
        dims=3,
        spacing_mm=(2, 1, 1),
        patch_size=(8, 8, 8),
        batch_size=1,
        channels=(Channel(name="MR", normalisation=ZScore()),),
        labels=("background", "liver", "lesion"),
    )
    return Manifest(**{"format": "onnx", "model": "unet", "plan": plan, **changes})


def test_round_trip(tmp_path):
    written = manifest(
        config={"depth": 3, "strides": [[1, 2, 2]]},
        training={"steps": 10, "fold": "all"},
        metrics={"dice": {"liver": 0.9}},
        files={"model.onnx": "ab"},
        parity={"passed": True, "max": 1e-6},
    )
    written.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert Manifest.load(tmp_path) == written


def test_colours_are_written_by_name(tmp_path):
    manifest().save(tmp_path, "other.json")
    document = json.loads((tmp_path / "other.json").read_text())
    assert document["label_colours"] == {
        "background": [0, 0, 0],
        "liver": [230, 25, 75],
        "lesion": [60, 180, 75],
    }
    assert Manifest.load(tmp_path, "other.json") == manifest()


def test_label_colours_are_distinct_and_background_is_black():
    colours = [label_colour(value) for value in range(16)]
    assert len(set(colours)) == 16
    assert label_colour(16) == label_colour(1) != label_colour(0) == (0, 0, 0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_figure_that_is_no_number_is_written_as_null(tmp_path, bad):
    """NaN is no JSON: other languages' readers would refuse the whole file."""
    manifest(metrics={"dice": {"liver": bad}}).save(tmp_path)
    text = (tmp_path / FILE_NAME).read_text()
    assert json.loads(text, parse_constant=pytest.fail)["metrics"] == {"dice": {"liver": None}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patient": "Doe"}, r"patient: Extra inputs are not permitted; got 'Doe'"),
        ({"format_version": 2}, r"format_version: .*1; got 2"),
        ({"plan": None}, r"plan: .*; got None"),
        ({"files": {"a": 1}}, r"files.a: .*string; got 1"),
    ],
)
def test_other_documents_are_refused(tmp_path, change, message, caplog):
    caplog.set_level("ERROR")
    document = {**manifest().model_dump(mode="json"), **change}
    (tmp_path / FILE_NAME).write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=rf"tfseg\.json is no valid manifest: {message}"):
        Manifest.load(tmp_path)


def test_no_manifest(tmp_path):
    with pytest.raises(DataError, match="the manifest is missing: there is no file"):
        Manifest.load(tmp_path)
    (tmp_path / FILE_NAME).write_text("[1]")
    with pytest.raises(ConfigError, match="no valid manifest: document: "):
        Manifest.load(tmp_path)


@pytest.fixture
def artifact(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "model.pb").write_bytes(b"graph")
    (tmp_path / "variables" / "data").write_bytes(b"weights")
    manifest(files=digest_files(tmp_path)).save(tmp_path)
    return tmp_path


def test_files_are_listed_by_digest(artifact):
    assert Manifest.load(artifact).files == {
        "model.pb": hashlib.sha256(b"graph").hexdigest(),
        "variables/data": hashlib.sha256(b"weights").hexdigest(),
    }
    verify_files(artifact, Manifest.load(artifact))
    assert digest_files(artifact) == Manifest.load(artifact).files  # itself left out


def test_a_changed_manifest_is_refused(tmp_path, caplog):
    manifest(metrics={"a": 1e-7, "b": [0.1, None]}, training={"n": "\u00e9"}).save(tmp_path)
    path = tmp_path / FILE_NAME
    text = path.read_text()
    path.write_text(json.dumps(json.loads(text), sort_keys=True))  # the same content
    assert Manifest.load(tmp_path).training == {"n": "\u00e9"}
    assert not caplog.records
    for old, new in (('"lesion"', '"tumour"'), ("2.0,", "2.5,"), ("0.1", "0.2"), ("230", "231")):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(DataError, match=r"was changed after it was written.*remove its entry"):
            Manifest.load(tmp_path)
    changed = {**json.loads(text), "model": "vnet"}
    del changed["sha256"]
    path.write_text(json.dumps(changed))
    assert Manifest.load(tmp_path).model == "vnet"
    assert "nothing vouches for its plan and labels" in caplog.text


def test_a_file_that_is_not_named_is_refused(artifact):
    known = Manifest.load(artifact)
    verify_files(artifact, known, ["model.pb"])
    less = known.model_copy(update={"files": {}})
    with pytest.raises(DataError, match=r"nothing vouches for .*model\.pb"):
        verify_files(artifact, less, ["model.pb"])


def test_tampering_is_seen(artifact):
    (artifact / "variables" / "data").write_bytes(b"weightz")
    with pytest.raises(DataError, match=r"variables/data is damaged: its SHA-256"):
        verify_files(artifact, Manifest.load(artifact))
    (artifact / "variables" / "data").unlink()
    with pytest.raises(DataError, match=r"variables/data is missing although"):
        verify_files(artifact, Manifest.load(artifact))
