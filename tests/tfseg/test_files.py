"""Atomic files: whole or absent, whatever happens in between."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from tfseg import files
from tfseg.errors import DataError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_and_raise(target: Path, error: Exception) -> None:
    with files.atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error


def test_atomic_path_gives_the_suffix_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.nii.gz"
    with files.atomic_path(target) as temporary:
        assert temporary.name == "a.nii.gz"
        assert temporary.parent.parent == target.parent  # one file system: a rename, no copy
        temporary.write_text("first")
        assert not target.exists()
    files.write_text(target, "second")
    assert target.read_text() == "second"
    assert names(target.parent) == ["a.nii.gz"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KeyError):
        write_and_raise(target, KeyError("stop"))
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "run"
    for content in ("one", "two"):
        with files.atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert names(target) == ["two"]
    assert names(tmp_path) == ["run"]


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".tfseg-abc.partial" / "1").mkdir(parents=True)
    (tmp_path / "1").mkdir()
    with files.atomic_path(tmp_path / "2") as temporary:
        files.remove_abandoned(tmp_path)
        assert names(tmp_path) == sorted(["1", temporary.parent.name])
        temporary.mkdir()
    assert names(tmp_path) == ["1", "2"]
    files.remove_abandoned(tmp_path / "gone")


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with pytest.raises(DataError, match=r"cannot write .*a\.bin: the disk is full"):
        write_and_raise(target, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert names(tmp_path) == []


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*Choose an output folder"):
        files.write_text(tmp_path / "file" / "a.txt", "x")


def test_json_refuses_nan_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "a.json", {"dice": float("nan")})
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "the plan is missing: there is no file"),
        (b'{"a": 1,}', "not valid JSON: .*line 1"),
        (b"\xff\xfe{\0}\0", "not valid JSON: .*written in UTF-16"),
        (b"[" * 100_000, "not valid JSON: .*nested more than 64 deep"),
    ],
)
def test_read_json_says_what_is_wrong(tmp_path: Path, content: bytes | None, rule: str) -> None:
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rule):
        files.read_json(path, "the plan")


def test_read_json_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LARGEST_JSON", 3)
    (tmp_path / "a.json").write_text("1234")
    with pytest.raises(DataError, match=r"may have 3 bytes; .* has 4"):
        files.read_json(tmp_path / "a.json", "the plan")


def test_sha256_of_more_than_one_block(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 17)
    files.write_bytes(tmp_path / "a", data)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_a_library_that_words_a_full_disk_in_its_own_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="disk is full"), files.atomic_path(tmp_path / "x.npy"):
        raise ValueError("71136 requested and 65408 written")


def test_a_failure_inside_another_write_names_the_final_place(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError) as caught,
        files.atomic_path(tmp_path / "run") as outer,
        files.atomic_path(outer / "model.npy"),
    ):
        raise OSError(28, "No space left on device")
    assert f"cannot write {tmp_path / 'run' / 'model.npy'}: the disk is full" in str(caught.value)


def test_a_failure_takes_the_folders_it_made_with_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.atomic_path(tmp_path / "a" / "b" / "c.txt"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_a_native_library_that_quotes_the_system(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="disk is full"), files.atomic_path(tmp_path / "x"):
        raise RuntimeError("SaveV2 part-00000-of-00001; No space left on device [Op:SaveV2]")
