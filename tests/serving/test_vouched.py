"""A server answers only with what the export wrote, or says that nothing vouches for it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from tfseg.artifact import Manifest, digest_files
from tfseg.plan import Channel, Plan, ZScore
from tfseg_serving.status import Code, StatusError
from tfseg_serving.vouched import check_version

PLAN = Plan(
    dims=2,
    spacing_mm=None,
    patch_size=(4, 6),
    batch_size=1,
    channels=(Channel(name="MR", normalisation=ZScore()),),
    labels=("background", "object"),
)


def manifest(folder: Path, **changes: Any) -> None:
    known = {"files": digest_files(folder), "parity": {"passed": True}, **changes}
    Manifest(format="savedmodel", model="unet", plan=PLAN, **known).save(folder / "assets.extra")


@pytest.fixture
def version(tmp_path: Path) -> Path:
    for name in ("saved_model.pb", "variables/variables.index", "assets.extra/warmup"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    manifest(tmp_path)
    return tmp_path


def test_what_was_exported_is_served(version: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    check_version(version)
    (version / "assets.extra" / "warmup").write_text("the keeper's own")
    check_version(version)
    assert not caplog.records
    shutil.rmtree(version / "assets.extra")
    check_version(version)
    assert "nothing vouches for its weights" in caplog.text


DAMAGE: dict[str, Any] = {
    "graph": lambda v: (v / "saved_model.pb").write_text("graph"),
    "weights": lambda v: (v / "variables/variables.index").write_text("weights"),
    "missing": lambda v: (v / "variables/variables.index").unlink(),
    "not listed": lambda v: (v / "variables/variables.data-00000-of-00001").write_text("more"),
    "no list": lambda v: manifest(v, files={}),
    "manifest": lambda v: (v / "assets.extra/tfseg.json").write_text(
        (v / "assets.extra/tfseg.json").read_text().replace("object", "subject")
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_has_changed_is_not(case: str, version: Path) -> None:
    DAMAGE[case](version)
    with pytest.raises(StatusError, match=r"damaged|missing|vouches|changed") as caught:
        check_version(version)
    assert caught.value.code is Code.DATA_LOSS


def test_what_failed_its_parity_is_not(version: Path) -> None:
    manifest(version, parity={"passed": False})
    with pytest.raises(StatusError, match="does not reproduce") as caught:
        check_version(version)
    assert caught.value.code is Code.FAILED_PRECONDITION
