"""2.5D FCN: three FCN-8s, one for each direction of slices, and their vote."""

import keras
import numpy as np
import pytest
from kit import counted

from tfseg.cli.main import run
from tfseg.models import build, inference_model
from tfseg.models.cost import params

TINY = {"base_filters": 2, "fc_factor": 1, "norm": "none", "dropout": 0}
VIEWS = ("axial", "coronal", "sagittal")


@pytest.mark.parametrize("classes", [2, 20])
def test_the_paper_form_is_three_fcn8s(classes):
    """Trunk, fc6 and fc7; the scores of 4096, 512 and 256 channels; three deconvolutions."""
    model = counted("fcn_2p5d", (None, None, None, 3), classes, faithful=True)
    scores = (4096 + 512 + 256 + 3) * classes
    deconvolutions = (2 * 4 * 4 + 16 * 16) * classes**2
    assert params(model) == 3 * (134_260_544 + scores + deconvolutions)
    assert params(model) == 3 * params(counted("fcn8s", (None, None, 3), classes, faithful=True))


def with_the_same_weights_in_each_view(shape, classes=3, **options):
    keras.utils.set_random_seed(0)
    model = build("fcn_2p5d", shape, classes, **{**TINY, **options})
    for layer in model.layers:
        if layer.name.startswith("axial_") and layer.weights:
            for view in VIEWS[1:]:
                other = model.get_layer(layer.name.replace("axial_", f"{view}_"))
                other.set_weights(layer.get_weights())
    return model


@pytest.mark.parametrize("vote", ["mean", "majority", "product"])
def test_a_view_is_the_2d_network_on_the_slices_across_its_axis(vote):
    """For a volume that is no cube, and whose edges no power of two divides."""
    shape = (5, 12, 9, 2)
    model = with_the_same_weights_in_each_view(shape, vote=vote)
    flat = build("fcn8s", (None, None, 2), 3, **TINY)
    for layer in flat.layers:
        if layer.weights:
            layer.set_weights(model.get_layer(f"axial_{layer.name}").get_weights())
    volume = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    fused, *views = model(volume)
    assert fused.shape == (2, 5, 12, 9, 3)
    for axis, view in enumerate(views, start=1):
        front = np.moveaxis(volume, axis, 1)
        expected = flat(front.reshape(-1, *front.shape[2:])).numpy()
        expected = np.moveaxis(expected.reshape(*front.shape[:-1], 3), 1, axis)
        np.testing.assert_allclose(view, expected, atol=1e-4)


def test_views_that_agree_are_the_answer():
    """A volume that is the same across its three axes, through three equal networks."""
    model = with_the_same_weights_in_each_view((8, 8, 8, 1), vote="majority")
    grid = np.abs(np.arange(8) - 3.5)
    volume = (grid[:, None, None] + grid[None, :, None] + grid)[None, ..., None].astype(np.float32)
    fused, axial, *_ = model(volume)
    np.testing.assert_array_equal(np.argmax(fused, -1), np.argmax(axial, -1))


def test_a_slice_of_a_view_sees_nothing_of_its_neighbours():
    model = build("fcn_2p5d", (6, 8, 10, 1), 2, **TINY)
    volume = np.random.default_rng(0).normal(size=(1, 6, 8, 10, 1)).astype(np.float32)
    changed = volume.copy()
    changed[:, 2, 3, 4] += 5
    for axis, place in ((1, 2), (2, 3), (3, 4)):
        before, after = (np.asarray(model(x)[axis]) for x in (volume, changed))
        others = tuple(other for other in range(5) if other != axis)
        assert np.flatnonzero(np.any(before != after, axis=others)).tolist() == [place]


def test_only_the_fused_answer_is_for_use():
    model = build("fcn_2p5d", (8, 8, 8, 1), 2, **TINY)
    alone = inference_model(model)
    assert len(alone.outputs) == 1
    assert set(VIEWS) <= {layer.name.partition("_")[0] for layer in alone.layers}


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ("vote=sum", "vote: Input should be 'mean', 'majority' or 'product'; got 'sum'"),
        ("pad100=true", "pad100: needs backbone vgg16 or vgg19"),
    ],
)
def test_bad_input_options_of_25d_fcn(setting, rule, tmp_path, capfd):
    arguments = ["train", "--model", "fcn_2p5d", "--set", setting, "--run", str(tmp_path / "run")]
    assert run(arguments) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert rule in line
    assert list(tmp_path.iterdir()) == []
