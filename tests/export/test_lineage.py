"""What an export is called, and what it may stand beside or replace."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tfseg.artifact import Manifest
from tfseg.errors import ConfigError
from tfseg.plan import Plan
from tfseg_export.formats import FORMATS, settings
from tfseg_export.lineage import model_name, refuse_another_lineage, refuse_another_run

PLAN: dict[str, Any] = {
    "dims": 3,
    "spacing_mm": [2, 1, 1],
    "patch_size": [8, 8, 8],
    "batch_size": 2,
    "labels": ["background", "liver"],
    "channels": [{"name": "CT", "unit": "HU", "normalisation": {"kind": "zscore"}}],
}


def source(run_id: str = "a" * 32, **changes: Any) -> Any:
    manifest = Manifest(
        format="run", run_id=run_id, model="unet", plan=Plan.parse({**PLAN, **changes}, "test")
    )
    return SimpleNamespace(folder=Path("runs/b"), run_id=run_id, manifest=manifest)


@pytest.mark.parametrize(
    ("folder", "given", "expected"),
    [
        ("first", None, "first"),
        ("my run (2)", None, "my-run-2-"),
        ("..x", None, "x"),
        ("first", "liver", "liver"),
    ],
)
def test_a_model_has_its_runs_name(
    folder: str, given: str | None, expected: str, tmp_path: Path
) -> None:
    assert model_name(tmp_path / folder, given) == expected
    (tmp_path / "latest").symlink_to(tmp_path / folder)
    assert model_name(tmp_path / "latest", given) == expected


@pytest.mark.parametrize(("folder", "given"), [("---", None), ("a", "../b"), ("a", "b c")])
def test_bad_input_names(folder: str, given: str | None, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"letters, digits.*--name"):
        model_name(tmp_path / folder, given)


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "labels": (
        {"labels": ["background", "spleen"]},
        "labels background, liver -> background, spleen",
    ),
    "order": ({"labels": ["liver", "background"]}, "labels background, liver -> liver, background"),
    "channels": ({"channels": PLAN["channels"] * 2}, "channels CT -> CT, CT"),
    "unit": (
        {"channels": [{**PLAN["channels"][0], "unit": "arbitrary"}]},
        "channel 0 unit HU -> arbitrary",
    ),
    "rank": ({"dims": 2, "spacing_mm": [1, 1], "patch_size": [8, 8]}, "dims 3 -> 2"),
    "patch": ({"patch_size": [8, 8, 16]}, r"patch_size \[8, 8, 8\] -> \[8, 8, 16\]"),
    "spacing": ({"spacing_mm": None}, "spacing_mm .* -> None"),
}


@pytest.mark.parametrize("format", [name for name, entry in FORMATS.items() if entry.versioned])
@pytest.mark.parametrize("case", DIFFERENT)
def test_a_version_of_another_lineage_is_refused(case: str, format: str, tmp_path: Path) -> None:
    changes, words = DIFFERENT[case]
    chosen = settings(format)
    source().manifest.save(tmp_path / "2" / chosen.format.manifest_folder)
    with pytest.raises(ConfigError, match=rf"differs from runs/b: .*{words}.*--new-lineage"):
        refuse_another_lineage(tmp_path, {1, 2}, source(**changes), chosen)
    anew = settings(format, new_lineage=True)
    assert refuse_another_lineage(tmp_path, {1, 2}, source(**changes), anew) is None


def test_a_version_of_the_same_lineage(tmp_path: Path) -> None:
    chosen = settings("triton")
    assert refuse_another_lineage(tmp_path, set(), source(), chosen) is None
    source().manifest.save(tmp_path / "1")
    assert refuse_another_lineage(tmp_path, {1}, source(batch_size=4), chosen) is None
    remark = refuse_another_lineage(tmp_path, {1}, source("b" * 32), chosen)
    assert remark is not None
    assert "is of another run" in remark
    with pytest.raises(ConfigError, match=r"the last one, .*/2, which tells none"):
        refuse_another_lineage(tmp_path, {1, 2}, source(), chosen)


@pytest.mark.parametrize(
    ("run_id", "words"), [("b" * 32, r"another run \(bbbbbbbbbbbb\)"), ("", "an unknown run")]
)
def test_nothing_replaces_another_runs_export(run_id: str, words: str, tmp_path: Path) -> None:
    source(run_id).manifest.save(tmp_path / "first-onnx")
    with pytest.raises(ConfigError, match=rf"was exported from {words}, and no export replaces"):
        refuse_another_run(tmp_path / "first-onnx", source())
    source().manifest.save(tmp_path / "first-onnx")
    refuse_another_run(tmp_path / "first-onnx", source())


def test_two_runs_of_one_name(
    run_folder: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from tfseg.cli.main import run

    for place, labels in (("a", "organ"), ("b", "tumour")):
        shutil.copytree(run_folder("unet-2d"), folder := tmp_path / place / "first")
        document = Manifest.load(folder, "manifest.json").model_dump(mode="json")
        document["plan"]["labels"][1] = labels
        document["run_id"] = place * 32
        Manifest.model_validate(document).save(folder, "manifest.json")
    out = tmp_path / "exports"

    def export(place: str, format: str, *options: str) -> int:
        given = ["export", str(tmp_path / place / "first"), "--format", format, "-o", str(out)]
        return run([*given, *options])

    assert export("a", "onnx") == 0
    assert export("b", "onnx") == 2
    assert "first-onnx was exported from another run (aaaaaaaaaaaa)" in capfd.readouterr().err
    assert Manifest.load(out / "first-onnx").run_id == "a" * 32
    assert export("a", "triton") == 0
    assert export("b", "triton") == 2
    assert "background, organ, lesion -> background, tumour, lesion" in capfd.readouterr().err
    assert [path.name for path in (out / "first").iterdir() if path.is_dir()] == ["1"]
    assert export("b", "triton", "--new-lineage") == 0
    assert Manifest.load(out / "first" / "2").plan.labels[1] == "tumour"
    assert export("a", "triton", "--name", "first-onnx") == 2
    assert "is an exported model itself and takes no versions" in capfd.readouterr().err
