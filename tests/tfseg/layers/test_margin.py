"""Margins around an image."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.layers import MirrorMargin


@pytest.mark.parametrize(
    ("size", "wide"),
    [((5,), (9,)), ((5, 4), (8, 4)), ((3, 4, 5), (6, 21, 40)), ((2, 2), (9, 8)), ((1, 3), (4, 5))],
)
def test_it_is_numpys_reflection(size, wide):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    margins = [((w - n) // 2, w - n - (w - n) // 2) for n, w in zip(size, wide, strict=True)]
    expected = np.pad(x, [(0, 0), *margins, (0, 0)], mode="reflect")
    layer = MirrorMargin(wide)
    np.testing.assert_array_equal(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape


def test_saved_and_loaded_in_safe_mode_it_answers_the_same(tmp_path):
    x = np.random.default_rng(0).normal(size=(1, 4, 6, 2)).astype(np.float32)
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, MirrorMargin((10, 7))(inputs))
    model.save(tmp_path / "margin.keras")
    loaded = keras.saving.load_model(tmp_path / "margin.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_it_keeps_the_type(dtype):
    assert MirrorMargin((4, 4), dtype=dtype)(tf.zeros((1, 2, 2, 1), dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("shape", "wide", "message"),
    [
        ((1, 4, 4, 1), (3, 4), r"at least as large as its input; got \(3, 4\) for \(4, 4\)"),
        ((1, 4, 4, 1), (8,), r"one number an axis; got \(8,\) for \(4, 4\)"),
        ((1, None, 4, 1), (8, 8), r"known size; got \(None, 4\)"),
    ],
)
def test_bad_input_sizes(shape, wide, message):
    with pytest.raises(ConfigError, match=message):
        MirrorMargin(wide)(keras.Input(shape[1:]))
