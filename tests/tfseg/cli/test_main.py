"""The command line's frame: exit codes, one line per error, nothing heavy imported."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import click
import pytest

from tfseg import __version__
from tfseg.cli import console, main
from tfseg.cli.main import COMMANDS, run
from tfseg.errors import DataError, TfsegError


def probe(monkeypatch, error):
    """Make ``tfseg models`` raise instead."""

    @click.command()
    def failing():
        raise error

    monkeypatch.setattr(main.importlib, "import_module", lambda name: main)
    monkeypatch.setitem(COMMANDS, "models", ("tfseg.cli.main:probe", "x"))
    monkeypatch.setattr(main, "probe", failing, raising=False)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("no\n  such   thing"), 2, "tfseg: no such thing"),
        (TfsegError("it failed"), 1, "tfseg: it failed"),
        (KeyboardInterrupt(), 130, "tfseg: interrupted."),
        (MemoryError(), 1, "tfseg: out of memory. Use a smaller patch_size or batch_size."),
        (
            RuntimeError("some\nlibrary"),
            1,
            "tfseg: unexpected RuntimeError: some library (--debug shows where)",
        ),
        (click.FileError("f", "hint"), 2, "tfseg: Could not open file 'f': hint"),
    ],
)
def test_errors_become_one_line_and_a_code(monkeypatch, capsys, error, code, line):
    probe(monkeypatch, error)
    assert run(["models"]) == code
    captured = capsys.readouterr()
    # click answers ^C with a line feed, so that the message starts below it.
    assert captured.err.lstrip("\n") == f"{line}\n"
    assert captured.out == ""


@pytest.mark.parametrize("error", [DataError("x"), RuntimeError("y"), MemoryError()])
def test_debug_shows_the_traceback(monkeypatch, error):
    probe(monkeypatch, error)
    with pytest.raises(type(error)):
        run(["--debug", "models"])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["trian"], "unknown command 'trian'. Did you mean train or "),
        (["models", "--jsno"], "No such option '--jsno'"),
        (["losses", "dice", "extra"], "unexpected extra argument (extra)"),
        (["predict", "model"], "Missing argument 'INPUT...'"),
        (["plan"], "Missing argument 'DATA'"),
        (["plan", "x", "--dims", "4"], "'4' is not one of '2', '3'"),
        (["--nonsense"], "No such option '--nonsense'"),
    ],
)
def test_bad_input_on_the_command_line(capsys, arguments, part):
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert part in captured.err


def test_without_a_command_it_shows_its_help(capsys):
    assert run([]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: tfseg")
    assert all(f"\n  {name} " in out for name in COMMANDS)


def test_version(capsys):
    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_for_every_option(name):
    module, _, function = COMMANDS[name][0].partition(":")
    command = getattr(__import__(module, fromlist=[function]), function)
    assert command.help
    for option in command.params:
        assert isinstance(option, click.Argument) or option.help, option.name


def test_no_help_imports_tensorflow_or_numpy_for_the_list():
    code = (
        "import sys, json, contextlib, io\n"
        "from tfseg.cli.main import run, COMMANDS\n"
        "with contextlib.redirect_stdout(io.StringIO()): codes = [run(['--help'])]\n"
        "first = [m for m in ('numpy', 'pydantic', 'tensorflow') if m in sys.modules]\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    codes += [run([name, '--help']) for name in COMMANDS]\n"
        "print(json.dumps([codes, first, 'tensorflow' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    codes, first, tensorflow = json.loads(done.stdout)
    assert codes == [0] * (1 + len(COMMANDS))
    assert first == []
    assert not tensorflow


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_name_is_beyond_the_terminal(monkeypatch, encoding):
    """Neither letters that an encoding lacks nor file names that are no text end a command."""
    name = os.fsdecode(b"\xcf\x80\xff")
    streams = {stream: io.TextIOWrapper(io.BytesIO(), encoding) for stream in ("stdout", "stderr")}
    for stream, wrapper in streams.items():
        monkeypatch.setattr(sys, stream, wrapper)

    @click.command()
    def printing():
        console.print_table(name, [name], [[name]])
        console.note(name)
        print(name, file=sys.stderr)
        list(console.track([1], name))

    monkeypatch.setattr(main, "probe", printing, raising=False)
    monkeypatch.setitem(COMMANDS, "models", ("tfseg.cli.main:probe", "x"))
    with pytest.raises(SystemExit) as end:
        main.main(["models"])
    assert end.value.code == 0
    for wrapper in streams.values():
        wrapper.flush()
    shown = b"\xcf\x80" if encoding == "utf-8" else b"\\u03c0"
    assert shown + b"\\udcff" in streams["stdout"].buffer.getvalue()
    assert shown + b"\\udcff" in streams["stderr"].buffer.getvalue()


INTERRUPTIBLE = """
import sys, time
import click
from tfseg.cli import main
from tfseg.io.dicom import opened

@click.command()
def probe():
    with opened(sys.argv[1]) as folder:
        print(folder, flush=True)
        try:
            time.sleep(60)
        finally:
            time.sleep(0.2)  # a second signal comes while the first is answered
main.probe = probe
main.COMMANDS["models"] = ("tfseg.cli.main:probe", "")
main.main(["models"])
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_study_that_was_unpacked_does_not_outlive_a_signal(tmp_path, number, code):
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.writestr("a", "scan")
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, tmp_path / "study.zip"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        folder = Path(process.stdout.readline().strip())
        assert (folder / "a").exists()
        process.send_signal(number)
        if number != signal.SIGINT:
            time.sleep(0.1)
            process.send_signal(number)
        _, said = process.communicate()
    assert process.returncode == code
    assert said.strip() in {"tfseg: terminated.", "tfseg: interrupted."}
    assert not folder.exists()
