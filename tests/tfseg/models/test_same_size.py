"""Unpadded networks in a mirrored margin."""

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build, model_config
from tfseg.models.config import ModelConfig
from tfseg.models.same_size import build_same_size
from tfseg.models.unet import UNetConfig

TINY = {"base_filters": 2, "faithful": True}
U_NET = {**TINY, "depth": 3}


def built(name, shape, classes, **options):
    """The network of these options in its margin."""
    return build_same_size(name, shape, classes, model_config(name, **options))


@pytest.mark.parametrize(
    ("name", "options", "size", "wide"),
    [
        # 5 levels take 184 voxels; what fits is 4 + 16 n voxels of answer, of which 388 is one.
        ("unet", {"faithful": True}, (388, 388), (572, 572)),
        ("unet", {"faithful": True}, (384, 389), (572, 588)),
        ("unet", {"faithful": True, "padding": "same"}, (384, 389), (384, 389)),
        ("unet3d", {"faithful": True}, (28, 44, 44), (116, 132, 132)),
        ("unet3d", {"faithful": True}, (3, 45, 52), (92, 140, 140)),
        ("sulci_unet3d", {"faithful": True}, (16, 16, 16), (16, 16, 16)),
        ("cfcn", {"faithful": True}, (388, 300), (572, 492)),
        ("cfcn", {}, (64, 64), (64, 64)),
        ("vnet", {"faithful": True}, (5, 6, 7), (5, 6, 7)),
    ],
)
def test_the_smallest_input_whose_output_covers(name, options, size, wide):
    assert model_config(name, **options).wider_input(size) == wide


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("unet", U_NET, (17, 30)),
        ("unet", {**U_NET, "pooling": "stride"}, (18, 16)),
        ("unet", {**U_NET, "pooling": "stride", "convs": 1, "depth": 2}, (7, 8)),
        pytest.param("unet", U_NET, (6, 8, 10), marks=pytest.mark.slow),
        pytest.param("unet3d", TINY, (5, 4, 12), marks=pytest.mark.slow),
        ("cfcn", U_NET, (20, 24)),
    ],
)
def test_it_is_the_network_on_the_mirrored_image(name, options, size):
    """NumPy mirrors and cuts; the network is built apart, with the same weights."""
    keras.utils.set_random_seed(0)
    model = built(name, (*size, 1), 3, **options)
    wide = model_config(name, **options).wider_input(size)
    plain = build(name, (*wide, 1), 3, **options)
    plain.set_weights(model.get_weights())
    image = np.random.default_rng(0).normal(size=(2, *size, 1)).astype(np.float32)
    margins = [((w - n) // 2, w - n - (w - n) // 2) for n, w in zip(size, wide, strict=True)]
    mirrored = np.pad(image, [(0, 0), *margins, (0, 0)], mode="reflect")
    answers = [keras.tree.flatten(network(x)) for network, x in ((model, image), (plain, mirrored))]
    assert len(answers[0]) == len(plain.outputs)
    for got, whole in zip(*answers, strict=True):
        starts = [(have - want) // 2 for have, want in zip(whole.shape[1:-1], size, strict=True)]
        middle = tuple(slice(start, start + want) for start, want in zip(starts, size, strict=True))
        assert got.shape == (2, *size, whole.shape[-1])
        np.testing.assert_allclose(got, whole.numpy()[(slice(None), *middle)], atol=1e-5)


# An unpadded strided convolution sets its cells half a voxel further at every level, which no cut
# undoes; the papers pool by maxima.
@pytest.mark.parametrize(("pooling", "shift"), [("max", 0.1), ("stride", 1.1)])
def test_a_voxels_answer_lies_on_the_voxel(pooling, shift):
    """What a voxel of the image moves is moved evenly around the same voxel of the answer."""
    options = {**U_NET, "pooling": pooling, "activation": "leaky_relu", "dropout": 0.0}
    model = built("unet", (33, 33, 1), 1, **options)
    for weight in model.trainable_weights:
        weight.assign(np.full(weight.shape, 1.0 / np.prod(weight.shape[:-1])))
    image = np.zeros((1, 33, 33, 1), np.float32)
    image[0, 16, 16, 0] = 1
    moved = np.asarray(model(image) - model(np.zeros_like(image)))[0, ..., 0]
    place = np.arange(33)
    centre = [moved.sum(axis=axis) @ place / moved.sum() for axis in (1, 0)]
    np.testing.assert_allclose(centre, 16, atol=shift)


def test_layers_keep_their_names_and_weights_their_number():
    model = built("cfcn", (20, 20, 1), 3, **U_NET)
    plain = build("cfcn", (60, 60, 1), 3, **U_NET)
    assert {weight.path for weight in plain.weights} == {weight.path for weight in model.weights}
    assert model.count_params() == plain.count_params()


def test_saved_and_loaded_in_safe_mode_it_answers_the_same(tmp_path):
    model = built("unet", (20, 20, 1), 2, **U_NET)
    image = np.random.default_rng(0).normal(size=(1, 20, 20, 1)).astype(np.float32)
    model.save(tmp_path / "unet.keras")
    loaded = keras.saving.load_model(tmp_path / "unet.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(image), model(image))


def test_an_unpadded_network_that_does_not_say_so_is_refused(monkeypatch):
    monkeypatch.setattr(UNetConfig, "wider_input", ModelConfig.wider_input)
    with pytest.raises(ConfigError, match=r"unet answers \(20, 20\) for \(60, 60\)\. Use padded"):
        built("unet", (60, 60, 1), 2, **U_NET)


def test_outputs_of_several_sizes_are_refused():
    with pytest.raises(ConfigError, match="deep_supervision=false"):
        built("unet", (20, 20, 1), 2, **{**U_NET, "depth": 4}, deep_supervision=True)
