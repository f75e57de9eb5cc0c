"""Importing TensorFlow, and calling other native code, without its chatter."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
    with stderr_held():
        import tensorflow as tf

        tf.config.list_physical_devices()


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
        except BaseException:
            if show_on_error:
                held.seek(0)
                os.write(shown, held.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)
