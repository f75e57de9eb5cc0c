"""Importing TensorFlow, and calling other native code, without its chatter."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tfseg.errors import ConfigError

_MOST_HELD = 1 << 16


def import_tensorflow() -> None:
    """Import TensorFlow and let it look for devices; show its log only if that fails.

    Native code writes to file descriptor 2 before its log level is set: that it found no GPU
    driver is no error on a machine without one. Commands call this before anything else
    imports TensorFlow.
    """
    if "tensorflow" in sys.modules:
        return
    # Read when TensorFlow loads: oneDNN is several times faster on every recent CPU.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with stderr_held(), _without_keras_file():
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()
    settle_keras()


@contextmanager
def _without_keras_file() -> Iterator[None]:
    """Hide ``~/.keras/keras.json``: TensorFlow's import fails where other back ends' values are."""
    given = os.environ.get("KERAS_HOME")
    with tempfile.TemporaryDirectory() as empty:
        os.environ["KERAS_HOME"] = empty
        try:
            yield
        finally:
            if given is None:
                del os.environ["KERAS_HOME"]
            else:
                os.environ["KERAS_HOME"] = given


def settle_keras() -> None:
    """Let Keras build networks in float32 with channels last, whatever the user's settings.

    Those of ``~/.keras/keras.json`` are for other programs: the same command gives the same
    network for every user.

    Raises:
        ConfigError: this process has imported Keras with another library than TensorFlow.
    """
    import keras

    if keras.config.backend() != "tensorflow":
        raise ConfigError(
            f"Keras must run on TensorFlow; this process has imported it with "
            f"{keras.config.backend()}. Import tfseg before keras."
        )
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)


@contextmanager
def stderr_held(*, show_on_error: bool = True) -> Iterator[Callable[[], str]]:
    """Keep back what is written to file descriptor 2, by native code too.

    Yields a function that returns what has been written so far: some libraries tell of errors
    in no other way.

    Args:
        show_on_error: show it if the block raises. Without, it is dropped: for blocks whose
            exceptions say what went wrong.
    """
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield lambda: os.pread(held.fileno(), _MOST_HELD, 0).decode(errors="replace")
        except Exception:  # not where the user interrupted
            if show_on_error:
                held.seek(0)
                os.write(shown, held.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)
