"""Han's 2.5D cascade: counts, five slices at once, coarse pixels, lesions inside the organ."""

import keras
import numpy as np
import pytest
from kit import counted

from tfseg.cli.main import run
from tfseg.errors import ConfigError
from tfseg.models import build, inference_model, model_config

TINY = {"base_filters": 2, "depth": 2, "norm": "none"}
SHAPE = (8, 16, 16, 1)


def tiny(classes=3, shape=SHAPE, **options):
    keras.utils.set_random_seed(0)
    return build("han_dcnn25d", shape, classes, **{**TINY, **options})


def volume(shape=SHAPE, batch=1):
    return np.random.default_rng(0).normal(size=(batch, *shape)).astype(np.float32)


def test_the_preset_s_networks_for_liver_and_lesion():
    """Each is the residual U-Net without attention, of five slices and two classes."""
    model = counted("han_dcnn25d", (None, 512, 512, 1), 3, faithful=True)
    found = {"organ": 0, "lesion": 0}
    for layer in model.layers:
        size = sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
        if size:
            found[layer.name.partition("_")[0]] += size
    assert found == {"organ": 32_446_530, "lesion": 32_446_530}
    # 512 / 2.5 = 204.8, of which 208 is the nearest multiple of 16.
    assert model.get_layer("coarse_slices").output.shape == (None, 208, 208, 5)


def test_a_channel_is_a_neighbouring_slice_and_ends_repeat():
    model = tiny()
    seen = keras.Model(model.input, model.get_layer("slices").output)
    x = volume()
    stacks = np.asarray(seen(x)).reshape(8, 16, 16, 5)
    for z in range(8):
        for channel in range(5):
            expected = x[0, min(max(z + channel - 2, 0), 7), ..., 0]
            np.testing.assert_array_equal(stacks[z, ..., channel], expected)


@pytest.mark.parametrize(("context", "reach"), [(1, 0), (5, 2)])
def test_an_answer_depends_on_as_many_slices_as_context(context, reach):
    model = tiny(context=context)
    x = volume()
    changed = x.copy()
    changed[:, 4] += 5
    for before, after in zip(model(x)[1:], model(changed)[1:], strict=True):
        differs = np.any(np.asarray(before) != np.asarray(after), axis=(0, 2, 3, 4))
        assert np.flatnonzero(differs).tolist() == list(range(4 - reach, 4 + reach + 1))


def set_scores(model, organ, lesion):
    """Let each network answer the same logits everywhere."""
    for name, scores in (("organ_logits", organ), ("lesion_logits", lesion)):
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([kernel * 0, np.array(scores, bias.dtype)])


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_lesions_are_zero_outside_the_organ():
    model = tiny()
    set_scores(model, [0.1, 0.0], [-20.0, 20.0])
    p = softmax(np.asarray(model(volume())[0], np.float64))
    assert np.all(p[..., 2] < 1e-30)
    assert np.all(p.argmax(-1) == 0)


def test_probabilities_are_of_the_organ_times_inside_it():
    model = tiny(classes=4)
    set_scores(model, [0.0, 3.0], [1.0, 0.0, 2.0])
    organ = 1 / (1 + np.exp(-3.0))
    odds = np.exp([1.0, 0.0, 2.0]) * np.array([1, 2 * organ - 1, 2 * organ - 1])
    inside = odds / odds.sum()
    p = softmax(np.asarray(model(volume())[0], np.float64))
    expected = np.array([1 - organ, *(organ * inside)])
    np.testing.assert_allclose(p, np.broadcast_to(expected, p.shape), atol=1e-6)


def test_what_each_network_learns():
    config = model_config("han_dcnn25d")
    assert config.label_groups(3) == (None, (0, 1, 1), (0, 0, 1))
    assert config.label_groups(2) == (None, (0, 1), None)
    assert [stage.prefix for stage in config.training_stages()] == ["organ_", "lesion_"]
    assert [stage.loss_weights for stage in config.training_stages()] == [(0, 1, 0), (0, 0, 1)]
    (joint,) = model_config("han_dcnn25d", stages="joint").training_stages()
    assert joint.loss_weights == (0, 1, 1)


@pytest.mark.parametrize(("classes", "inner"), [(1, 1), (2, 2), (3, 2), (5, 4)])
def test_classes_of_the_outputs(classes, inner):
    with keras.StatelessScope(initialize_variables=False):
        model = tiny(classes=classes)
    assert [output.shape[-1] for output in model.outputs] == [classes, 2, inner]
    assert len(inference_model(model).outputs) == 1


def test_only_slices_are_pooled():
    with keras.StatelessScope(initialize_variables=False):
        assert tiny(shape=(3, 8, 4, 2), depth=3).outputs[0].shape == (None, 3, 8, 4, 3)
        with pytest.raises(ConfigError, match=r"divisible by \(1, 4, 4\); got \(3, 6, 8\)\. Use"):
            tiny(shape=(3, 6, 8, 1), depth=3)


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ("context=4", "context: must be odd, a slice and as many on either side; got 4"),
        ("coarse=0.5", "coarse: Input should be greater than or equal to 1; got 0.5"),
        ("stages=both", "stages: Input should be 'successive' or 'joint'; got 'both'"),
    ],
)
def test_bad_input_options_of_han_dcnn25d(setting, rule, tmp_path, capfd):
    folder = str(tmp_path / "run")
    assert run(["train", "--model", "han_dcnn25d", "--set", setting, "--run", folder]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert rule in line
    assert list(tmp_path.iterdir()) == []
