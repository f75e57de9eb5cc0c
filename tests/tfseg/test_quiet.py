"""TensorFlow's start-up says nothing, unless it fails."""

import os
import subprocess
import sys

import pytest

from tfseg.quiet import stderr_held


def test_importing_tensorflow_writes_nothing():
    code = (
        "from tfseg.quiet import import_tensorflow; import_tensorflow();"
        "import os, sys; assert 'tensorflow' in sys.modules;"
        "assert os.environ['TF_ENABLE_ONEDNN_OPTS'] == '1'"
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_was_held_is_dropped_when_all_went_well(capfd):
    with stderr_held():
        os.write(2, b"chatter")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_what_was_held_is_shown_on_failure(capfd):
    def failing_import():
        with stderr_held():
            os.write(2, b"the reason")
            raise ImportError

    with pytest.raises(ImportError):
        failing_import()
    assert capfd.readouterr().err == "the reason"


def test_what_was_held_is_dropped_on_failure_if_asked(capfd):
    def failing_call():
        with stderr_held(show_on_error=False):
            os.write(2, b"many lines")
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        failing_call()
    assert capfd.readouterr().err == ""


def test_what_was_held_can_be_read(capfd):
    with stderr_held() as said:
        assert said() == ""
        os.write(2, b"warning: ")
        os.write(2, b"damaged")
        assert said() == "warning: damaged"
    assert capfd.readouterr().err == ""
