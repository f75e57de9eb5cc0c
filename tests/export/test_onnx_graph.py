"""What the ONNX graph looks like: what runtimes are fast at, and nothing beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from tfseg.layers import InstanceNormalization, conv, normalise, resize_like, transposed_conv
from tfseg_export import onnx as exporter
from tfseg_export.half import to_half
from tfseg_export.onnx_norms import with_marked_norms
from tfseg_export.source import Source, load_source

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def source_of(network: Any) -> Source:
    """Return any network, from an input of known size to logits of its size, as a source."""
    *window, channels = network.input_shape[1:]
    plan = SimpleNamespace(patch_size=tuple(window), channels=range(channels))
    manifest = SimpleNamespace(model="test", plan=plan)
    return Source(Path(), network, manifest, None)  # type: ignore[arg-type]


def answer(model: Any, x: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {"image": x})[0]


def kinds(model: Any) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize(
    "run",
    [
        "unet-2d",
        "unet-3d",
        pytest.param("pspnet-2d", marks=pytest.mark.slow),
        pytest.param("pspnet-3d", marks=pytest.mark.slow),
    ],
)
def test_every_instance_norm_is_one_node(run: str, run_folder: Callable[[str], Path]) -> None:
    source = load_source(run_folder(run))
    norms = [layer for layer in source.network.layers if isinstance(layer, InstanceNormalization)]
    found = kinds(exporter.convert(source))
    assert len(norms) > 5
    assert found["InstanceNormalization"] == len(norms)
    assert not {"ReduceMean", "Sqrt", "BatchNormalization"} & set(found)


@pytest.mark.parametrize("run", ["unet-2d", "unet-3d"])
def test_a_u_net_is_transposed_at_its_ends_only(
    run: str, run_folder: Callable[[str], Path]
) -> None:
    model = exporter.convert(load_source(run_folder(run)))
    assert kinds(model)["Transpose"] <= 2
    # Convolution, norm and activation are neighbours, nothing in between.
    after = {name: node for node in model.graph.node for name in node.input}
    norms = [node for node in model.graph.node if node.op_type == "InstanceNormalization"]
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    assert {made_by[norm.input[0]] for norm in norms} == {"Conv"}
    assert {after[norm.output[0]].op_type for norm in norms} == {"LeakyRelu"}


def test_half_precision_keeps_the_norms_in_float32(run_folder: Callable[[str], Path]) -> None:
    model = onnx.shape_inference.infer_shapes(
        to_half(exporter.convert(load_source(run_folder("unet-3d")))), strict_mode=True
    )
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    norms = [node for node in model.graph.node if node.op_type == "InstanceNormalization"]
    assert norms
    for norm in norms:
        assert {types[name] for name in norm.input} == {onnx.TensorProto.FLOAT}


def test_the_marks_keep_the_network_s_weights_and_names(
    run_folder: Callable[[str], Path],
) -> None:
    network = load_source(run_folder("unet-2d")).network
    marked = with_marked_norms(network)
    assert [layer.name for layer in marked.layers] == [layer.name for layer in network.layers]
    assert {id(weight) for weight in marked.weights} == {id(weight) for weight in network.weights}
    # Of one sample the mark is the same function.
    x = np.random.default_rng(0).normal(size=(1, *network.input_shape[1:])).astype(np.float32)
    np.testing.assert_allclose(marked(x), network(x), atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 4, 3), (4, 6, 8, 2)], ids=["2d", "3d"])
def test_group_normalisation_is_an_instance_norm_of_the_groups(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    image = keras.Input(shape, name="image")
    x = conv(image, filters=12, name="first")
    x = normalise(x, kind="group", name="groups")  # 4 groups: gcd(8, 12)
    x = keras.layers.GroupNormalization(3, scale=False, name="shifted")(x)
    x = keras.layers.GroupNormalization(-1, center=False, name="scaled")(x)
    network = keras.Model(image, conv(x, filters=2, name="last"))
    for weight in network.weights:
        weight.assign(rng.normal(size=weight.shape))
    source = source_of(network)
    model = exporter.convert(source)
    assert kinds(model)["InstanceNormalization"] == 3
    assert "ReduceMean" not in kinds(model)
    batch = rng.normal(3, 2, (3, *shape)).astype(np.float32)
    np.testing.assert_allclose(answer(model, batch), source.probabilities(batch), atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 23, 2), (9, 5, 49, 1)], ids=["2d", "3d"])
def test_what_is_resized_has_the_size_that_it_should(shape: tuple[int, ...]) -> None:
    image = keras.Input(shape, name="image")
    pool = keras.layers.MaxPooling3D if len(shape) == 4 else keras.layers.MaxPooling2D
    # 3 from 5 and 12 from 23: their ratios are no float32.
    small = pool(2, padding="same")(image)
    back = resize_like(conv(small, filters=2, name="logits"), image, name="resized")
    source = source_of(keras.Model(image, back))
    batch = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    model = exporter.convert(source)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    sizes = {
        tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)[2:]
        for node in inferred.node
        if node.op_type == "Resize"
        for value in inferred.value_info
        if value.name == node.output[0]
    }
    assert sizes
    assert all(set(size) <= {*shape[:-1], shape[1] * shape[2]} for size in sizes), sizes
    found = answer(model, batch)
    np.testing.assert_allclose(found, source.probabilities(batch), atol=1e-5)


def test_kernels_are_constants_in_the_end_and_nothing_is_computed_from_constants() -> None:
    """Every layer of Keras with a kernel of rank 4 or 5, with stride and dilation."""
    rng = np.random.default_rng(4)
    layers, image = keras.layers, keras.Input((12, 8, 3), name="image")
    x = layers.Conv2D(8, (3, 1), strides=2, padding="same", name="strided")(image)
    x = layers.Conv2D(8, 3, dilation_rate=2, padding="same", name="dilated")(x)
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.SeparableConv2D(4, 3, padding="same", name="separable")(x)
    x = transposed_conv(x, filters=5, stride=2, kernel=3, name="up")
    x = layers.Reshape((3, 4, 8, 5))(x)
    x = layers.Conv3D(4, 3, padding="same", activation="relu", name="solid")(x)
    x = transposed_conv(x, filters=2, stride=(2, 1, 1), name="up3d")
    network = keras.Model(image, layers.Dense(3, name="dense")(x))
    for weight in network.weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    source = source_of(network)
    model = exporter.convert(source)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ["image"]
    constants = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer
    }
    for node in model.graph.node:
        assert not set(node.input) <= set(constants), f"{node.op_type} computes a constant"
    kernel = network.get_layer("solid").kernel.numpy().transpose(4, 3, 0, 1, 2)
    assert any(np.array_equal(value, kernel) for value in constants.values())
    batch = rng.normal(size=(2, 12, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(answer(model, batch), source.probabilities(batch), atol=1e-5)


def test_a_kernel_used_twice_is_stored_once() -> None:
    shared = keras.layers.Conv2D(4, 3, padding="same", name="shared")
    image = keras.Input((8, 8, 4), name="image")
    network = keras.Model(image, shared(shared(image)))
    source = source_of(network)
    model = exporter.convert(source)
    size = tf.size(shared.kernel.value).numpy()
    large = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) == size]
    assert len(large) == 1
    batch = np.random.default_rng(5).normal(size=(2, 8, 8, 4)).astype(np.float32)
    np.testing.assert_allclose(answer(model, batch), source.probabilities(batch), atol=1e-5)


def test_batch_norms_go_into_the_convolutions_before_them(
    run_folder: Callable[[str], Path],
) -> None:
    source = load_source(run_folder("unet-2d-batch"))
    model = exporter.convert(source)
    assert not {"Mul", "Add", "BatchNormalization"} & set(kinds(model))
    batch = np.random.default_rng(6).normal(size=(2, *source.window_shape)).astype(np.float32)
    np.testing.assert_allclose(answer(model, batch), source.reference(batch), atol=1e-5)


def test_only_what_the_convolution_alone_feeds_is_folded_into_it() -> None:
    """One kernel with two scales; a map that is read before its scale, and one after."""
    rng = np.random.default_rng(8)
    layers, image = keras.layers, keras.Input((8, 8, 3), name="image")
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    first = layers.BatchNormalization(name="one")(shared(image))
    second = layers.BatchNormalization(name="two")(shared(first))
    raw = layers.Conv2D(3, 3, padding="same", use_bias=False, name="raw")(second)
    scaled = layers.BatchNormalization(name="three")(raw)
    up = layers.Conv2DTranspose(3, 2, strides=2, use_bias=False, name="up")(scaled + raw)
    up = layers.BatchNormalization(name="four")(up)
    network = keras.Model(image, layers.MaxPooling2D(2)(up * 2.0))
    for weight in network.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    source = source_of(network)
    model = exporter.convert(source)
    onnx.checker.check_model(model, full_check=True)
    # What is left: the third batch norm and the sum that reads what is before it.
    assert kinds(model)["Mul"] == 1
    assert kinds(model)["Add"] == 2
    batch = rng.normal(0, 0.01, (2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(answer(model, batch), source.probabilities(batch), atol=1e-4)
