"""The harness sees what it is there to see."""

from __future__ import annotations

from pathlib import Path

import harness
import pytest

from tfseg.errors import DataError

GOOD = harness.Source("a.bin", b"good")


def refuse(message: str) -> None:
    raise DataError(message)


@pytest.mark.parametrize(
    ("read", "oracle", "result"),
    [
        (lambda path: 1, None, "answered"),
        (lambda path: refuse("no"), None, "refused"),
        (lambda path: 1 / 0, None, "ZeroDivisionError"),
        (lambda path: 1, lambda path, source, answer: "checksum", "silent: checksum"),
        (lambda path: refuse("no"), lambda path, source, answer: "checksum", "refused"),
    ],
)
def test_what_a_reading_comes_to(tmp_path: Path, read, oracle, result: str) -> None:
    reader = harness.Reader(lambda: [GOOD], read, oracle=oracle)
    assert harness.attempt(reader, tmp_path, GOOD).startswith(result)


def test_failures_are_kept_and_tell_the_exit_code(tmp_path: Path, monkeypatch, capsys) -> None:
    arguments = ["fuzz", "--inputs", "5", "--keep", str(tmp_path / "kept")]
    monkeypatch.setattr("sys.argv", arguments)
    monkeypatch.setattr("resource.setrlimit", lambda *limits: None)
    beside = harness.Source("a.hdr", b"good", {"a.img": b"data"}, damages="a.img")
    seen: list[bytes] = []

    def read(path: Path) -> None:
        assert path.read_bytes() == b"good"
        seen.append(path.with_name("a.img").read_bytes())
        raise ValueError

    assert harness.main("", {"pair": harness.Reader(lambda: [beside], read)}) == 1
    assert "5 inputs from 1 files, seed 0: 0 answered, 0 refused, 5 failures" in (
        capsys.readouterr().out
    )
    assert len(set(seen)) > 1
    assert [path.read_bytes() for path in (tmp_path / "kept").iterdir()] == [seen[0]]
