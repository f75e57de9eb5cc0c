"""Networks that the real TensorFlow Addons and Keras 2 saved, as models of Keras 3."""

import json
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.compat import addons
from tfseg.compat.addons import load_addons_model
from tfseg.errors import DataError

GOLDENS = Path(__file__).resolve().parents[2] / "goldens" / "addons"
NETWORKS = ("network", "unpooling", "frozen")


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("addons")
    with zipfile.ZipFile(GOLDENS / "networks.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def edited(saved, tmp_path):
    """Return a function that copies a network's .h5 file with another configuration."""

    def edit(name, change):
        path = tmp_path / f"{name}.h5"
        shutil.copy(saved / f"{name}.h5", path)
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            file.attrs["model_config"] = json.dumps(change(config) or config)
        return path

    return edit


def check(model, saved, name, **tolerance):
    with np.load(saved / f"{name}.npz", allow_pickle=False) as golden:
        output = model(golden["image"]).numpy()
        np.testing.assert_allclose(output, golden["output"], **(tolerance or {"atol": 1e-5}))


def layer_of(config, name):
    (found,) = (layer for layer in config["config"]["layers"] if layer["name"] == name)
    return found


@pytest.mark.parametrize("suffix", [".h5", ""], ids=["hdf5", "savedmodel"])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_addons(name, suffix, saved, tmp_path):
    model = load_addons_model(saved / f"{name}{suffix}")
    assert model.name == name
    check(model, saved, name)

    # It is a model like any other: saved and loaded in safe mode, and served.
    model.save(tmp_path / "model.keras")
    check(keras.models.load_model(tmp_path / "model.keras", safe_mode=True), saved, name)
    if not suffix:
        model.export(tmp_path / "served", verbose=False)
        served = tf.saved_model.load(str(tmp_path / "served"))
        check(served.serve, saved, name)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_loaded_model_trains(name, saved):
    model = load_addons_model(saved / f"{name}.h5")
    image = np.load(saved / f"{name}.npz", allow_pickle=False)["image"]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.square(model(image, training=True)))
    gradients = tape.gradient(total, model.trainable_variables)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    # Biases that a normalisation takes away again have none.
    kernels = [i for i, weight in enumerate(model.trainable_weights) if "kernel" in weight.name]
    assert all(np.abs(gradients[i]).max() > 0 for i in kernels)

    logits = name != "network"  # that one ends in a sigmoid
    loss = addons.SigmoidFocalCrossEntropy(logits, reduction="sum_over_batch_size")
    model.compile(keras.optimizers.SGD(0.01), loss)
    before = [model.trainable_weights[i].numpy() for i in kernels]
    shape = model.output_shape[1:]
    model.fit(image, np.ones((len(image), *shape), np.float32), verbose=0)
    after = [model.trainable_weights[i].numpy() for i in kernels]
    assert all(np.any(old != new) for old, new in zip(before, after, strict=True))


def test_what_was_frozen_stays_frozen(saved):
    model = load_addons_model(saved / "frozen.h5")
    assert [layer.name for layer in model.layers if not layer.trainable_weights] == [
        "weight",
        "spectral",
    ]


def test_the_graph_of_a_saved_model_runs_as_a_layer(saved):
    layer = keras.layers.TFSMLayer(saved / "network", call_endpoint="serving_default")
    check(lambda image: layer(image)["answer"], saved, "network")


def test_functions_of_older_files_are_named_with_their_package(saved, edited):
    """Before version 2.12 of Keras an activation was its name alone."""

    def old(config):
        layer_of(config, "up")["config"]["activation"] = "Addons>lisht"
        layer_of(config, "mish")["config"]["activation"] = "Addons>mish"

    check(load_addons_model(edited("network", old)), saved, "network")


def test_wrapped_layers_of_older_files_have_no_module(saved, edited):
    def old(config):
        for name in ("weight", "spectral"):
            inner = layer_of(config, name)["config"]["layer"]
            del inner["module"], inner["registered_name"]

    check(load_addons_model(edited("network", old)), saved, "network")


def test_forms_of_older_files(saved, edited):
    """Marked tuples; the axis of a batch normalisation as a list."""

    def old(config):
        conv = layer_of(config, "first")["config"]
        conv["kernel_size"] = {"class_name": "__tuple__", "items": conv["kernel_size"]}
        layer_of(config, "batch")["config"]["axis"] = [3]
        places = layer_of(config, "tf.nn.max_pool_with_argmax")
        places["inbound_nodes"][0][3].update(ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1])

    check(load_addons_model(edited("unpooling", old)), saved, "unpooling")


def test_gelu_is_that_of_keras_unless_said_otherwise(edited):
    def change(config):
        layer_of(config, "up")["config"]["activation"] = "gelu"

    path = edited("network", change)
    x = np.linspace(-3, 3, 7, dtype=np.float32)
    exact = load_addons_model(path).get_layer("up").activation(x)
    np.testing.assert_allclose(exact, keras.activations.gelu(x, approximate=False), atol=1e-7)
    meant = load_addons_model(path, {"gelu": addons.gelu}).get_layer("up").activation(x)
    np.testing.assert_allclose(meant, keras.activations.gelu(x, approximate=True), atol=1e-7)


def test_custom_classes_are_taken_by_name(saved, edited):
    class Mine(keras.layers.LeakyReLU):
        pass

    def change(config):
        layer = layer_of(config, "leaky")
        layer["class_name"] = "Mine"
        layer["config"]["negative_slope"] = layer["config"].pop("alpha")

    path = edited("unpooling", change)
    check(load_addons_model(path, {"Mine": Mine}), saved, "unpooling")
    with pytest.raises(DataError, match=r"Unknown layer: 'Mine'.*custom_objects"):
        load_addons_model(path)


def lambda_layer(config):
    layer = layer_of(config, "leaky")
    layer["class_name"] = "Lambda"
    layer["config"] = {"name": "leaky", "function": ["4wEAAA==", None, None]}


def hidden_lambda(config):
    layer = layer_of(config, "leaky")
    inner = {"class_name": "Lambda", "config": {"name": "inside", "function": "x"}}
    layer["class_name"] = "TimeDistributed"
    layer["config"] = {"name": "leaky", "layer": inner}


def other_function(config):
    layer_of(config, "tf.nn.max_pool_with_argmax")["config"]["function"] = "io.read_file"


def other_options(config):
    node = layer_of(config, "tf.nn.max_pool_with_argmax")["inbound_nodes"][0]
    node[3]["include_batch_in_index"] = True


def subclassed(config):
    config["class_name"] = "MyNetwork"


def wider(config):
    layer_of(config, "first")["config"]["filters"] = 4


def unnamed(config):
    layer_of(config, "batch")["class_name"] = "Flatten"
    layer_of(config, "batch")["config"] = {"name": "batch"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda_layer, r"no Python code; its layer 'leaky' is a Lambda"),
        (hidden_lambda, r"no Python code; its layer 'inside' is a Lambda"),
        (other_function, r"must be nn.max_pool_with_argmax .* is io.read_file"),
        (other_options, r"of ksize, strides, padding; layer 'tf.nn.max_pool_with_argmax'"),
        (subclassed, r"must be Functional or Sequential; its class is MyNetwork"),
        (unnamed, r"Keras 3 cannot build the network"),
        (wider, r"weights of layer 'first' must have the shapes .*; got \[\(3, 3, 2, 3\)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_input_configurations(change, message, edited):
    with pytest.raises(DataError, match=message) as error:
        load_addons_model(edited("unpooling", change))
    assert "\n" not in str(error.value)


def nothing(path):
    return path / "absent.h5"


def other_suffix(path):
    (path / "model.keras").write_bytes(b"")
    return path / "model.keras"


def no_hdf5(path):
    (path / "model.h5").write_bytes(b"not HDF5")
    return path / "model.h5"


def weights_only(path):
    with h5py.File(path / "model.h5", "w") as file:
        file.create_group("model_weights")
    return path / "model.h5"


def no_json(path):
    with h5py.File(path / "model.h5", "w") as file:
        file.attrs["model_config"] = "{"
        file.create_group("model_weights")
    return path / "model.h5"


def empty_folder(path):
    return path


def damaged_metadata(path):
    (path / "keras_metadata.pb").write_bytes(b"\xff\xff")
    return path


def no_variables(path):
    document = json.dumps({"class_name": "Sequential", "config": {"layers": []}}).encode()
    node = b"\x1a\x04root" + b"*" + bytes([len(document)]) + document
    (path / "keras_metadata.pb").write_bytes(b"\n" + bytes([len(node)]) + node)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nothing, r"there is no model at .*absent\.h5"),
        (other_suffix, r"a \.h5 or \.hdf5 file or a SavedModel folder; got .*model\.keras"),
        (no_hdf5, r"model\.h5 cannot be read as HDF5"),
        (weights_only, r"holds weights but no model"),
        (no_json, r"its configuration is no valid JSON"),
        (empty_folder, r"no SavedModel of Keras 2: it has no keras_metadata\.pb"),
        (damaged_metadata, r"keras_metadata\.pb cannot be read"),
        (no_variables, r"its variables cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_input_files(make, message, tmp_path):
    with pytest.raises(DataError, match=message) as error:
        load_addons_model(make(tmp_path))
    assert "\n" not in str(error.value)


def test_bad_input_arrays_of_other_files(saved, tmp_path):
    """An HDF5 file may name another file of this machine as its array."""
    path = tmp_path / "model.h5"
    shutil.copy(saved / "unpooling.h5", path)
    (tmp_path / "secret").write_bytes(bytes(400))
    with h5py.File(path, "r+") as file:
        group = file["model_weights/last/last"]
        del group["bias:0"]
        group.create_dataset("bias:0", (2,), "f4", external=[(str(tmp_path / "secret"), 0, 8)])
    with pytest.raises(DataError, match="arrays must be in the file itself; 'last/bias:0'"):
        load_addons_model(path)


def test_bad_input_links_to_other_files(saved, tmp_path):
    path = tmp_path / "model.h5"
    shutil.copy(saved / "unpooling.h5", path)
    with h5py.File(path, "r+") as file:
        group = file["model_weights/last/last"]
        del group["bias:0"]
        group["bias:0"] = h5py.ExternalLink(str(saved / "network.h5"), "model_weights/up/up/bias:0")
    with pytest.raises(DataError, match="arrays must be in the file itself; 'last/bias:0'"):
        load_addons_model(path)
