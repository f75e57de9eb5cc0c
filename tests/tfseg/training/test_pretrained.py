"""Weights of keras.applications in our encoders: the published network is the oracle.

There is no network in the tests: its files are made with random weights, and with statistics
that are not those of a fresh normalisation.
"""

import re

import h5py
import keras
import numpy as np
import pytest

from tfseg.models import build
from tfseg.models.backbones import encoder, find_encoders
from tfseg.training.pretrained import _resnet, _vgg, identify
from tfseg.training.weights import _hdf5_arrays, load_weights

APPLICATIONS = {
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "resnet50_v1": "ResNet50",
    "densenet121": "DenseNet121",
    "xception": "Xception",
}
# What one unit of ours is in the images that the published networks saw.
UNIT = {"vgg": 255 * 0.226, "res": 255 * 0.226, "den": 1.0, "xce": 2 * 0.226}


def published(name, top=False):
    """A network of keras.applications with random weights and statistics."""
    keras.utils.set_random_seed(0)
    make = getattr(keras.applications, APPLICATIONS[name])
    network = make(weights=None, include_top=top, input_shape=None if top else (None, None, 3))
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, shape),
                    rng.normal(0, 0.2, shape),
                    rng.normal(0, 0.2, shape),
                    rng.uniform(0.5, 2, shape),
                ]
            )
        elif getattr(layer, "bias", None) is not None:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(0, 0.2, bias.shape)])
    return network


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Name -> (published network, its .h5 file), made on first use."""
    folder, made = tmp_path_factory.mktemp("published"), {}

    def get(name):
        if name not in made:
            network = published(name)
            network.save(folder / f"{name}_notop.h5")
            made[name] = network, folder / f"{name}_notop.h5"
        return made[name]

    return get


def ours(name, channels=3, rank=2, **options):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None,) * rank + (channels,))
    return keras.Model(inputs, encoder(inputs, name, **options).last)


def images(*shape):
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


def colours(x, name):
    """Our prepared image as the published network wants it."""
    x = x * UNIT[name[:3]]
    return x[..., ::-1] if name[:3] in {"vgg", "res"} else x


def agree(answer, expected):
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(answer / scale, expected / scale, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("vgg16", "none"),
        ("vgg16", "batch"),
        pytest.param("vgg19", "none", marks=pytest.mark.slow),
        ("resnet50_v1", "batch"),
        pytest.param("resnet50_v1", "none", marks=pytest.mark.slow),
        ("densenet121", "batch"),
    ],
)
def test_features_are_the_published_ones(files, name, norm):
    network, path = files(name)
    model = ours(name, norm=norm)
    loaded = load_weights(model, str(path))
    assert loaded.kept == ()
    assert set(loaded.taken) == {layer.name for layer in model.layers if layer.weights}
    # On odd sizes the published VGG and DenseNet leave out the last row; ours do not.
    x = images(1, 64, 64, 3)
    agree(model(x), network(colours(x, name)))


def test_features_are_the_published_ones_of_xception(files):
    """The classifier has the published, unpadded stem."""
    network, path = files("xception")
    classifier = build("xception", (75, 75, 3), 2, faithful=True)
    loaded = load_weights(classifier, str(path))
    assert loaded.kept == ()
    model = keras.Model(classifier.input, classifier.get_layer("xception_end_2_act").output)
    x = images(1, 75, 75, 3)
    agree(model(x), network(colours(x, "xception")))


def test_other_forms_of_a_network_take_what_fits(files):
    _, path = files("resnet50_v1")
    model = ours("se_resnet50")
    loaded = load_weights(model, str(path))
    assert len(loaded.kept) == 2 * 16  # two convolutions in each block's gate
    assert all("_gate_" in name for name in loaded.kept)
    assert "Only backbone=resnet50_v1 gives exactly" in str(loaded)
    assert "not se_resnet50_stage1_block1_gate_in" in str(loaded)
    assert "and 29 more" in str(loaded)


def test_instance_normalisation_takes_scale_and_offset(files):
    network, path = files("resnet50_v1")
    model = ours("resnet50", norm="instance")
    loaded = load_weights(model, str(path))
    assert loaded.kept == ()
    gamma, beta = model.get_layer("resnet50_stage2_block1_2_norm").get_weights()
    theirs = network.get_layer("conv3_block1_2_bn").get_weights()
    np.testing.assert_array_equal(gamma, theirs[0])
    np.testing.assert_array_equal(beta, theirs[1])


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channels_see_grey_colours(files, channels):
    """An image whose channels are all alike has the features of that image in grey."""
    network, path = files("vgg16")
    model = ours("vgg16", channels, norm="none")
    load_weights(model, str(path))
    x = images(1, 32, 32, 1)
    grey = np.repeat(x, 3, -1)
    agree(model(np.repeat(x, channels, -1)), network(colours(grey, "vgg16")))


@pytest.mark.parametrize("name", [pytest.param("vgg16", marks=pytest.mark.slow), "xception"])
def test_volumes_of_equal_slices_have_the_features_of_a_slice(files, name):
    """Far from the first and last slice, whose neighbours are zeros."""
    _, path = files(name)
    answers = {}
    x = images(1, 16, 16, 3)
    for rank in (2, 3):
        inputs = keras.Input((None,) * rank + (3,))
        features = encoder(inputs, name, norm="batch")
        whole = keras.Model(inputs, features.last)
        assert load_weights(whole, str(path)).kept == ()
        # What the first stage has before its pooling: it sees seven slices to either side.
        model = keras.Model(inputs, features.skips[0][1])
        answers[rank] = model(x if rank == 2 else np.repeat(x[:, np.newaxis], 33, 1)).numpy()
    agree(answers[3][:, answers[3].shape[1] // 2], answers[2])


def legacy(path, arrays):
    """Write the layout of Keras 1 and 2: names as bytes, weights below their layer."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in arrays]
        for name, values in arrays.items():
            group = file.create_group(name)
            names = [f"{name}/w{index}:0" for index in range(len(values))]
            group.attrs["weight_names"] = [weight.encode() for weight in names]
            for weight, value in zip(names, values, strict=True):
                group.create_dataset(weight, data=value)


def old_name(name):
    """As the published files have them: a slash in DenseNet, counters in Xception."""
    name = re.sub(r"^(conv\d|pool\d|conv\d_block\d+_\d)_(conv|bn)$", r"\1/\2", name)
    name = re.sub(r"^conv2d(?:_(\d+))?$", lambda m: f"convolution2d_{int(m[1] or 0) + 1}", name)
    found = re.fullmatch(r"batch_normalization(?:_(\d+))?", name)
    return f"batchnormalization_{int(found[1] or 0) + 1}" if found else name


@pytest.mark.parametrize(
    ("name", "layouts"),
    [
        pytest.param("densenet121", ["old.h5"], marks=pytest.mark.slow),
        ("xception", ["old.h5", "new.keras", "new.weights.h5"]),
    ],
)
def test_all_layouts_of_files_give_the_same(files, tmp_path, name, layouts):
    network, path = files(name)
    network.save(tmp_path / "new.keras")
    network.save_weights(tmp_path / "new.weights.h5")
    arrays = {old_name(layer.name): layer.get_weights() for layer in network.layers}
    assert set(arrays) - {layer.name for layer in network.layers}
    legacy(tmp_path / "old.h5", arrays)
    model = ours(name)
    load_weights(model, str(path))
    expected = model.get_weights()
    for layout in layouts:
        model.set_weights([np.zeros_like(value) for value in expected])
        load_weights(model, str(tmp_path / layout))
        for one, other in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_list_of_names_may_come_in_parts(tmp_path):
    """Attributes hold 64 kB; Keras splits longer ones."""
    legacy(tmp_path / "whole.h5", {"first": [np.zeros(2)], "second": [np.ones(3)]})
    with h5py.File(tmp_path / "whole.h5", "a") as file:
        names = file.attrs["layer_names"]
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:1], names[1:]
    arrays = _hdf5_arrays(tmp_path / "whole.h5")
    assert list(arrays) == ["first", "second"]
    np.testing.assert_array_equal(arrays["second"], [np.ones(3)])


def names_of(name, extra=()):
    """Arrays by which a file is recognised: only names count."""
    published = {"VGG16": _vgg("vgg16"), "ResNet50": _resnet("resnet50")}[name]
    names = [n for unit in published.units for n in (unit.conv, unit.norm) if n]
    return {name: [np.zeros(1)] for name in [*names, *extra]}


def test_a_classifier_at_the_end_is_no_other_network():
    found = identify(names_of("VGG16", ["fc1", "fc2", "predictions"]))
    assert found is not None
    assert found[0] == "VGG16"


@pytest.mark.parametrize(
    "arrays",
    [
        names_of("ResNet50", ["conv4_block7_1_conv"]),  # ResNet-101 and its like
        names_of("VGG16", ["block3_conv4"]),
        {name: value for name, value in names_of("VGG16").items() if name != "block5_conv3"},
        {},
    ],
)
def test_more_or_fewer_blocks_are_another_network(arrays):
    assert identify(arrays) is None


def test_encoders_of_a_network_are_found_by_name():
    inputs = keras.Input((32, 32, 1))
    one = encoder(inputs, "se_resnet50", base_filters=2, prefix="left_").last
    two = encoder(inputs, "resnet50", base_filters=2, norm="none").last
    other = keras.layers.Conv2D(1, 1, name="head_conv")(one)
    model = keras.Model(inputs, [other, two])
    found = find_encoders(model)
    assert set(found) == {("left_", "se_resnet50"), ("", "resnet50")}
    layers = found["left_", "se_resnet50"]
    assert layers["stem_conv"] is model.get_layer("left_se_resnet50_stem_conv")
    assert not any("head" in name for name in layers)


def test_every_encoder_of_that_kind_takes_them(files):
    _, path = files("vgg16")
    inputs = keras.Input((None, None, 1))
    maps = [encoder(inputs, "vgg16", norm="none", prefix=f"{n}_").last for n in ("a", "b")]
    model = keras.Model(inputs, maps)
    assert len(load_weights(model, str(path)).taken) == 26
    x = images(1, 32, 32, 1)
    one, other = model(x)
    np.testing.assert_array_equal(one, other)


def test_the_file_of_a_run_fits_by_name_and_says_what_it_left(tmp_path):
    donor = build("pspnet", (16, 16, 1), 3, base_filters=4)
    donor.save(tmp_path / "model.keras")
    model = build("pspnet", (16, 16, 1), 2, base_filters=4)
    loaded = load_weights(model, str(tmp_path))
    assert set(loaded.kept) == {"logits_coarse", "auxiliary_logits_coarse"}
    assert re.fullmatch(
        r"weights: \d+ of \d+ layers from .*model.keras; not (auxiliary_)?logits_coarse, .*",
        str(loaded),
    )


@pytest.fixture
def bad_files(tmp_path):
    """Files that cannot be taken, by name, in the current folder."""
    (tmp_path / "noise.h5").write_bytes(b"no HDF5 at all" * 100)
    (tmp_path / "noise.keras").write_bytes(b"no zip at all" * 100)
    (tmp_path / "weights.npz").write_bytes(b"")
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file["numbers"] = np.zeros(3)
    legacy(tmp_path / "mobile.h5", {"conv_pw_1": [np.zeros((1, 1, 3, 8))]})
    vgg = {unit.conv: [np.zeros((3, 3, 3, 8)), np.zeros(8)] for unit in _vgg("vgg16").units}
    legacy(tmp_path / "vgg.h5", vgg)


@pytest.mark.usefixtures("bad_files")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["weights=missing.h5"], "there is no file missing.h5"),
        (["weights=weights.npz"], "must be a run folder, a .keras, .weights.h5 or .h5 file; got"),
        (["weights=noise.h5"], "noise.h5 cannot be read"),
        (["weights=noise.keras"], "noise.keras cannot be loaded"),
        (["weights=empty.h5"], "it lists no layers"),
        (["weights=mobile.h5"], "its layers are conv_pw_1, ..."),
        (
            ["weights=vgg.h5"],
            "VGG16 need an encoder vgg16; the network has resnet18. Use --set backbone=vgg16",
        ),
        (["weights=vgg.h5", "backbone=vgg16"], "base_filters=64; the network's encoder has anoth"),
    ],
)
def test_bad_input_weights(tfseg, balls, tmp_path, words, expected):
    settings = [word for key in ("base_filters=4", *words) for word in ("--set", key)]
    code, out, err = tfseg(
        "train", "--model", "pspnet", "--data", balls, "--set", "patch_size=16,16,16", *settings
    )
    lines = err.strip().splitlines()
    assert code == 2, err
    assert expected in lines[-1]
    assert "Traceback" not in err
    assert out == ""
    assert not list(tmp_path.glob("runs/*/*.keras"))


@pytest.mark.parametrize("command", ["train", "plan"])
@pytest.mark.parametrize("name", ["resnet50", "vgg16", "p3d"])
def test_bad_input_a_backbone_is_no_segmentation_network(tfseg, balls, command, name):
    data = ["--data", balls] if command == "train" else [balls]
    code, out, err = tfseg(command, "--model", name, *data)
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
    assert f"must be a segmentation network; got '{name}', a backbone" in err
    assert "--set backbone=resnet50" in err
