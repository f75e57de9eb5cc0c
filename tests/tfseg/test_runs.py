"""Run folders and the pointer to the latest."""

import re

import pytest

from tfseg.errors import ConfigError, DataError
from tfseg.runs import existing_run, mark_latest, new_run_folder


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make_run(folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_a_new_run_is_named_by_model_and_date(tmp_path):
    folder = new_run_folder("unet", None)
    assert re.fullmatch(r"runs/unet-\d{8}-\d{6}", folder.as_posix())
    assert new_run_folder("unet", "mine").as_posix() == "mine"
    assert list(tmp_path.iterdir()) == []


def test_an_existing_run_is_not_overwritten(tmp_path):
    make_run(tmp_path / "mine")
    with pytest.raises(ConfigError, match=r"mine holds a run already\. Use --resume"):
        new_run_folder("unet", "mine")


def test_the_latest_run(tmp_path):
    first, second = make_run(tmp_path / "runs/a"), make_run(tmp_path / "elsewhere/b")
    for run in (first, second, first):
        mark_latest(run)
        assert existing_run(None) == run
    assert (tmp_path / "runs/latest").readlink().as_posix() == "a"
    assert existing_run("elsewhere/b") == second
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["a", "latest"]


def test_the_pointer_moves_with_the_folder(tmp_path):
    mark_latest(make_run(tmp_path / "runs/a"))
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert (tmp_path / "moved/latest/config.json").is_file()


def test_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no run yet: runs/latest/config\.json"):
        existing_run(None)
    with pytest.raises(DataError, match=r"nowhere is no run folder: .*Train one: tfseg train"):
        existing_run("nowhere")
