"""Run folders and the pointer to the latest."""

import errno
import os
import re
from pathlib import Path

import pytest

from tfseg.errors import ConfigError, DataError
from tfseg.runs import existing_run, mark_latest, new_run, resumed_run


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make_run(folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_a_new_run_is_named_by_model_and_date(tmp_path):
    with new_run("unet", None) as folder:
        assert re.fullmatch(r"runs/unet-\d{8}-\d{6}", folder.as_posix())
    with new_run("unet", "mine") as folder:
        assert folder.as_posix() == "mine"
    assert list(tmp_path.iterdir()) == []


def test_runs_that_begin_in_the_same_second(monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "now")
    make_run(Path("runs/unet-now"))
    with new_run("unet", None) as second, new_run("unet", None) as third:
        assert second.name == "unet-now-2"
        assert third.name == "unet-now-3"


def test_an_existing_run_is_not_overwritten(tmp_path):
    make_run(tmp_path / "mine")
    with pytest.raises(ConfigError, match=r"mine holds a run already\. Use --resume"):
        new_run("unet", "mine").__enter__()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["config.json"]


@pytest.mark.parametrize("second", [lambda: new_run("unet", "mine"), lambda: resumed_run("mine")])
def test_one_process_trains_in_a_run(tmp_path, second):
    message = rf"mine is being trained by process {os.getpid()} on .*Wait for its end"
    with new_run("unet", "mine") as folder:
        (folder / "config.json").write_text("{}")
        with pytest.raises(ConfigError, match=message):
            second().__enter__()
    with resumed_run("mine"), pytest.raises(ConfigError, match=r"holds a run|is being trained"):
        second().__enter__()


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write file/run: Not a directory"):
        new_run("unet", "file/run").__enter__()


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


def test_without_links_the_latest_run_is_the_one_that_began_last(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    for age, name in ((0, "b"), (60, "a")):
        folder = make_run(tmp_path / "runs" / name)
        os.utime(folder / "config.json", (1e9 - age, 1e9 - age))
        mark_latest(folder)
    assert "runs/latest was not set (Operation not permitted). Name the run" in caplog.text
    assert existing_run(None).name == "b"
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["a", "b"]


def test_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no run yet: runs/latest/config\.json"):
        existing_run(None)
    with pytest.raises(DataError, match=r"nowhere is no run folder: .*Train one: tfseg train"):
        existing_run("nowhere")
