"""Every layer, activation and loss against what the real TensorFlow Addons answered."""

import copy
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.compat import addons

GOLDENS = Path(__file__).resolve().parents[2] / "goldens" / "addons"
ARRAYS = dict(np.load(GOLDENS / "layers.npz", allow_pickle=False))
ABOUT = json.loads(str(ARRAYS.pop("about")))
LAYERS = pytest.mark.parametrize("name", ABOUT["layers"])
WEIGHT_NORMS = pytest.mark.parametrize("name", ["weight_dense", "weight_conv", "weight_conv_3d"])


def golden(name, kind):
    """The arrays ``kind`` 0, 1, ... of a case."""
    keys = [f"{name}/{kind}{i}" for i in range(10)]
    return [ARRAYS[key] for key in keys if key in ARRAYS]


def built(name, **options):
    """The layer of a case, with the weights that Addons had, and its inputs."""
    case = ABOUT["layers"][name]
    inputs = [tf.constant(ARRAYS[key]) for key in case["inputs"]]
    config = {**copy.deepcopy(case["config"]), **options}
    if "layer" in config:
        config["layer"]["config"].update(options)
    layer = getattr(addons, case["class"]).from_config(config)
    layer.build([x.shape for x in inputs] if len(inputs) > 1 else inputs[0].shape)
    set_weights(layer, golden(name, "weight"))
    return layer, inputs


def set_weights(layer, values):
    variables = layer.trainable_weights + layer.non_trainable_weights
    # Weight normalisation's scratch copy of its layer comes last in Addons.
    for variable, value in zip(variables, values[: len(variables)], strict=True):
        assert variable.shape == value.shape
        variable.assign(value)


def call(layer, inputs):
    if "Unpooling" in type(layer).__name__:
        return layer(*inputs)
    return layer(inputs[0] if len(inputs) == 1 else inputs)


def slope_like(output):
    """The weights of the sum that was differentiated; make_addons_goldens.py has the same."""
    return np.cos(np.arange(np.size(output), dtype=np.float32)).reshape(output.shape)


def test_the_goldens_are_of_the_last_addons():
    assert ABOUT["versions"] == {"tensorflow": "2.15.1", "tensorflow-addons": "0.23.0"}


@LAYERS
def test_outputs(name):
    layer, inputs = built(name)
    output = call(layer, inputs)
    np.testing.assert_allclose(output, ARRAYS[f"{name}/output"], rtol=1e-5, atol=1e-5)
    assert output.dtype == tf.float32


@LAYERS
def test_gradients(name):
    layer, inputs = built(name)
    with tf.GradientTape() as tape:
        tape.watch(inputs[0])
        output = call(layer, inputs)
        total = tf.reduce_sum(output * slope_like(output))
    found = tape.gradient(total, [inputs[0], *layer.trainable_weights])
    expected = golden(name, "gradient")
    if name in {"average_3d_first", "average_3d", "max_3d", "max_3d_first"} and not expected:
        assert np.isfinite(found[0]).all()  # Addons had none
        return
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@LAYERS
def test_symbolic_shape_is_that_of_the_output(name):
    case = ABOUT["layers"][name]
    layer, _ = built(name)
    inputs = [keras.Input(ARRAYS[key].shape[1:], dtype=ARRAYS[key].dtype) for key in case["inputs"]]
    output = call(layer, inputs)
    assert output.shape == (None, *ARRAYS[f"{name}/output"].shape[1:])


@LAYERS
def test_as_part_of_a_saved_model(name, tmp_path):
    """Options and weights come back from a .keras file in safe mode."""
    layer, inputs = built(name)
    symbols = [keras.Input(x.shape[1:], dtype=x.dtype) for x in inputs]
    model = keras.Model(symbols, call(layer, symbols))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert again.layers[-1].get_config() == layer.get_config()
    np.testing.assert_array_equal(again(inputs), model(inputs))
    np.testing.assert_allclose(model(inputs), ARRAYS[f"{name}/output"], rtol=1e-5, atol=1e-5)


@LAYERS
def test_options_have_the_names_that_addons_has(name):
    case = ABOUT["layers"][name]
    ours, theirs = set(built(name)[0].get_config()), set(case["config"])
    # Instance normalisation stored its number of channels; draws had no seed of their own.
    assert theirs - ours <= {"groups"}
    assert ours - theirs <= {"name", "seed"}


@LAYERS
def test_mixed_precision(name):
    layer, inputs = built(name, dtype="mixed_float16")
    output = call(layer, inputs)
    assert output.dtype == tf.float16
    assert {w.dtype for w in layer.weights} <= {"float32", "bool"}
    expected = ARRAYS[f"{name}/output"]
    np.testing.assert_allclose(output, expected, rtol=0.01, atol=0.01 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["spectral_dense", "spectral_conv"])
def test_spectral_normalisation_in_training(name):
    layer, inputs = built(name)
    output = layer(inputs[0], training=True)
    np.testing.assert_allclose(output, ARRAYS[f"{name}/trained_output"], rtol=1e-4, atol=1e-5)
    weights = layer.trainable_weights + layer.non_trainable_weights
    for ours, theirs in zip(weights, golden(name, "trained"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@WEIGHT_NORMS
@pytest.mark.parametrize("graph", [False, True])
def test_weight_normalisation_starts_as_addons_does(name, graph):
    case = ABOUT["layers"][name]
    image = tf.constant(ARRAYS[case["inputs"][0]])
    layer = addons.WeightNormalization.from_config(copy.deepcopy(case["config"]))
    layer.build(image.shape)
    first = golden(name, "first")
    layer.layer.kernel.assign(first[1])
    run = tf.function(layer) if graph else layer
    output = run(image)
    for ours, theirs in zip(layer.trainable_weights, first, strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert bool(layer.initialized.numpy())
    # What the first call answers is what the layer then is.
    np.testing.assert_allclose(run(image), output, rtol=1e-5, atol=1e-6)


def test_outputs_start_with_mean_0_and_variance_1_where_the_kernel_has_length_1():
    x = tf.constant(np.random.default_rng(0).normal(3, 5, (40, 6)), tf.float32)
    dense = keras.layers.Dense(4, kernel_initializer=keras.initializers.Orthogonal(seed=1))
    output = addons.WeightNormalization(dense)(x).numpy()
    np.testing.assert_allclose(output.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(output.var(0), 1, atol=1e-4)


def test_a_trained_weight_normalisation_leaves_nothing_in_the_graph_to_assign():
    layer, inputs = built("weight_conv")
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec(inputs[0].shape)).graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert not {kind for kind in kinds if kind in {"If", "StatelessIf", "AssignVariableOp"}}


@pytest.mark.parametrize(
    "name",
    [key.split("/")[1] for key in ARRAYS if key.startswith("activations/") and "input" not in key],
)
def test_activations(name):
    x = ARRAYS["activations/input"]
    expected = ARRAYS[f"activations/{name}"]
    np.testing.assert_allclose(getattr(addons, name)(x), expected, rtol=1e-5, atol=1e-6)
    layer = keras.layers.Activation(getattr(addons, name))
    again = keras.layers.Activation.from_config(layer.get_config())
    np.testing.assert_allclose(again(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ABOUT["losses"])
def test_losses(name):
    case = ABOUT["losses"][name]
    loss = getattr(addons, case["class"]).from_config(case["config"])
    given = tf.constant(ARRAYS[f"{name}/predictions"])
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = loss(ARRAYS[f"{name}/targets"], given)
    np.testing.assert_allclose(value, ARRAYS[f"{name}/value"], rtol=1e-5, atol=1e-6)
    gradient = tape.gradient(value, given)
    np.testing.assert_allclose(gradient, ARRAYS[f"{name}/gradient"], rtol=1e-4, atol=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
