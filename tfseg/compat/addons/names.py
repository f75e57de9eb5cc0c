"""The package name that files of TensorFlow Addons have for its classes and functions."""

from __future__ import annotations

from typing import TypeVar

import keras

PACKAGE = "Addons"

_T = TypeVar("_T")


def of_addons(thing: _T) -> _T:
    """Register a class or function as ``Addons>its name``; return it."""
    registered: _T = keras.saving.register_keras_serializable(PACKAGE)(thing)
    return registered
