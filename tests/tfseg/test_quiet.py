"""TensorFlow's start-up says nothing, unless it fails."""

import json
import os
import subprocess
import sys

import keras
import pytest

from tfseg.errors import ConfigError
from tfseg.quiet import settle_keras, stderr_held


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


COMMAND = "from tfseg.quiet import import_tensorflow; import_tensorflow()"


@pytest.mark.parametrize(
    ("code", "floatx"),
    [
        (COMMAND, "bfloat16"),  # with which TensorFlow cannot be imported
        (COMMAND, "float16"),
        ("import tfseg.layers", "float16"),
    ],
)
def test_the_settings_of_other_programs_change_no_network(tmp_path, code, floatx):
    theirs = {
        "backend": "jax", "floatx": floatx, "image_data_format": "channels_first", "epsilon": 0.5,
    }  # fmt: skip
    (tmp_path / "keras.json").write_text(json.dumps(theirs))
    code += (
        "\nimport keras; config = keras.config\n"
        "print(config.backend(), config.floatx(), config.image_data_format(), config.epsilon(),"
        " keras.layers.Dense(1).dtype_policy.name)"
    )
    environment = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == "tensorflow float32 channels_last 1e-07 float32\n"
    assert json.loads((tmp_path / "keras.json").read_text()) == theirs


def test_keras_on_another_library_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(ConfigError, match=r"must run on TensorFlow; .* with torch\. Import tfseg"):
        settle_keras()


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
