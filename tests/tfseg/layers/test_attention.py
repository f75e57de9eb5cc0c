"""Squeeze-and-excitation and attention gates."""

import keras
import numpy as np
import pytest
from scipy.special import expit

from tfseg.layers import attention_gate, squeeze_excite


def filled(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.weights])
    return model


@pytest.mark.parametrize("rank", [2, 3])
def test_squeeze_and_excitation_by_hand(rank):
    inputs = keras.Input((4,) * rank + (6,))
    model = filled(keras.Model(inputs, squeeze_excite(inputs, reduction=3, name="se")))
    x = np.random.default_rng(1).normal(size=(2, *(4,) * rank, 6)).astype(np.float32)
    w1, b1, w2, b2 = (np.squeeze(w) for w in model.get_weights())
    mean = x.reshape(2, -1, 6).mean(1)
    gate = expit(np.maximum(mean @ w1 + b1, 0) @ w2 + b2)
    np.testing.assert_allclose(model(x), x * gate.reshape(2, *(1,) * rank, 6), atol=1e-5)
    assert model.count_params() == 2 * 6 * 2 + 2 + 6


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_alpha_is_between_0_and_1_and_weighs_the_skip(rank, stride):
    skip = keras.Input((8,) * rank + (4,))
    signal = keras.Input((8 // stride,) * rank + (6,))
    gated = attention_gate(skip, signal, filters=3, stride=stride, project=False, name="gate")
    model = filled(keras.Model([skip, signal], gated))
    both = keras.Model([skip, signal], [gated, model.get_layer("gate_alpha").output])
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1, *(8,) * rank, 4)).astype(np.float32)
    g = rng.normal(size=(1, *(8 // stride,) * rank, 6)).astype(np.float32)
    y, alpha = (np.asarray(part) for part in both([x, g]))
    assert alpha.shape == (1, *(8 // stride,) * rank, 1)
    assert (alpha >= 0).all()
    assert (alpha <= 1).all()
    assert alpha.std() > 0.01
    # One factor a voxel, the same for all its channels.
    factor = (y * x).sum(-1, keepdims=True) / (x * x).sum(-1, keepdims=True)
    np.testing.assert_allclose(y, x * factor, atol=1e-4)
    if stride == 1:
        np.testing.assert_allclose(factor, alpha, atol=1e-4)


def test_the_paper_counts():
    """theta 2x2x2 without bias, phi and psi with, W 1x1 and batch norm: by hand."""
    skip, signal = keras.Input((8, 8, 8, 4)), keras.Input((4, 4, 4, 6))
    model = keras.Model([skip, signal], attention_gate(skip, signal, filters=5, name="gate"))
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trainable == 8 * 4 * 5 + (6 * 5 + 5) + (5 + 1) + (4 * 4 + 4) + 2 * 4


@pytest.mark.parametrize(("norm", "bias"), [("none", False), ("batch", False), ("batch", True)])
def test_biases_under_a_norm_are_kept_on_request(norm, bias):
    """At the same grid, without the closing convolution: 4 and 6 channels to 3, then to 1."""
    skip, signal = keras.Input((8, 8, 4)), keras.Input((8, 8, 6))
    gated = attention_gate(
        skip, signal, filters=3, stride=1, norm=norm, project=False, bias=bias, name="gate"
    )
    trainable = sum(int(np.prod(w.shape)) for w in keras.Model([skip, signal], gated).weights)
    kernels = 4 * 3 + 6 * 3 + 3
    # Each normalised channel has gamma, beta and two moving statistics.
    expected = {"none": 3 + 1, "batch": 4 * (3 + 3 + 1) + bias * (3 + 3 + 1)}[norm]
    assert trainable == kernels + expected


def test_the_closing_norm_is_a_choice():
    skip, signal = keras.Input((8, 8, 4)), keras.Input((4, 4, 6))
    gated = attention_gate(
        skip, signal, filters=3, project_norm="instance", bias=False, name="gate"
    )
    model = keras.Model([skip, signal], gated)
    assert type(model.get_layer("gate_project_norm")).__name__ == "InstanceNormalization"
    assert not model.get_layer("gate_project").use_bias
    assert not model.get_layer("gate_theta").use_bias
    assert model.get_layer("gate_phi").use_bias
