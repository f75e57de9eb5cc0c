"""SegResNet with its autoencoder: the branch has its count and grids, and is for training only."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.cli.main import run
from tfseg.errors import ConfigError
from tfseg.losses import build_loss
from tfseg.losses.loss import supervised_loss
from tfseg.models import build, inference_model, model_config, model_info
from tfseg.training.checkpoint import Counters, load, save

TINY = {"base_filters": 4, "encoder": (1, 1), "decoder": (1,), "latent": 4, "code_grid": 2}


def without_numbers(*args, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build("segresnet_vae", *args, **options)


def count(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_the_paper_form():
    """Group norm and 16-channel code of 256 channels; two dense layers on 10 x 12 x 8 x 16; a 1x1
    convolution back to 256; levels of 128, 64 and 32; a 1x1 convolution to 4 modalities."""
    model = without_numbers((160, 192, 128, 4), 3, faithful=True)
    code = 2 * 256 + 27 * 256 * 16
    flat = 10 * 12 * 8 * 16
    dense = (flat * 256 + 256) + (128 * flat + flat)
    levels = sum(2 * f * f + 2 * (2 * f + 27 * f * f) for f in (128, 64, 32))
    branch = code + dense + 16 * 256 + levels + 32 * 4 + 4
    assert count(model) == 18_798_627 + branch
    assert count(inference_model(model)) == 18_798_627
    assert [tuple(output.shape) for output in model.outputs] == [(None, 160, 192, 128, 3), (None,)]
    grids = {"vae_code_conv": (10, 12, 8, 16), "vae_up": (20, 24, 16, 256)}
    grids |= {"vae_image": (160, 192, 128, 4), "vae_sample": (128,)}
    for name, shape in grids.items():
        assert tuple(model.get_layer(name).output.shape[1:]) == shape


def test_the_paper_s_code_is_of_one_size():
    with pytest.raises(ConfigError, match=r"code_grid=None needs a fixed input size; got \(None, "):
        without_numbers((None, None, 4), 3, faithful=True)


@pytest.mark.parametrize("rank", [2, 3])
def test_by_default_the_code_is_of_any_size(rank):
    small, large = (without_numbers((n,) * rank + (1,), 2) for n in (16, 64))
    assert [w.shape for w in small.weights] == [w.shape for w in large.weights]


def test_what_answers_is_segresnet():
    keras.utils.set_random_seed(0)
    options = {"base_filters": 4, "encoder": (1, 1), "decoder": (1,)}
    model = build("segresnet_vae", (8, 8, 8, 1), 2, **options)
    alone, plain = inference_model(model), build("segresnet", (8, 8, 8, 1), 2, **options)
    assert [w.path for w in alone.weights] == [w.path for w in plain.weights]
    plain.set_weights(alone.get_weights())
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(alone(x), plain(x))
    np.testing.assert_array_equal(alone(x), model(x)[0])


def objective(model, x, labels):
    outputs = model(x, training=True)
    weights = model_info("segresnet_vae").loss_weights
    return outputs, supervised_loss(build_loss("dice"), labels, outputs, weights)


def test_its_loss_joins_the_segmentation_s_with_the_paper_s_weight():
    keras.utils.set_random_seed(0)
    model = build("segresnet_vae", (8, 8, 1), 2, **TINY)
    x = tf.random.stateless_normal((3, 8, 8, 1), seed=(0, 1))
    labels = tf.cast(x[..., 0] > 0, tf.int32)
    (logits, own), total = objective(model, x, labels)
    alone = build_loss("dice").per_sample(labels, logits)
    np.testing.assert_allclose(total, alone + 0.1 * own, rtol=1e-6)


def test_the_autoencoder_alone_teaches_the_encoder_and_not_the_decoder():
    keras.utils.set_random_seed(0)
    model = build("segresnet_vae", (8, 8, 1), 2, **TINY)
    x = tf.random.stateless_normal((2, 8, 8, 1), seed=(0, 1))
    with tf.GradientTape() as tape:
        _, own = model(x, training=True)
    gradients = tape.gradient(own, [weight.value for weight in model.trainable_weights])
    taught = {
        weight.path.split("/")[0]
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if gradient is not None
    }
    names = {layer.name for layer in model.layers if layer.trainable_weights}
    answering = {name for name in names if name.startswith(("up", "decoder", "head", "logits"))}
    assert taught == names - answering
    assert "first" in taught


def test_it_learns_to_rebuild():
    keras.utils.set_random_seed(0)
    model = build("segresnet_vae", (8, 8, 1), 2, **{**TINY, "latent": 16})
    grid = np.linspace(-1, 1, 8, dtype=np.float32)
    x = tf.constant(np.stack([grid[:, None] * np.ones(8), grid * np.ones((8, 1))])[..., None])
    x = tf.cast(x, tf.float32)
    optimizer = keras.optimizers.Adam(1e-2)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(x, training=True)[1])
        gradients = tape.gradient(loss, model.trainable_variables)
        pairs = zip(gradients, model.trainable_variables, strict=True)
        optimizer.apply_gradients([pair for pair in pairs if pair[0] is not None])
        return loss

    losses = [float(step()) for _ in range(60)]
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ("latent=0", "latent: Input should be greater than or equal to 1; got 0"),
        ("code_grid=64", "code_grid: Input should be less than or equal to 32; got 64"),
        ("decoder=[1]", "decoder: must have one level fewer than encoder"),
    ],
)
def test_bad_input_options_of_the_autoencoder(setting, rule, tmp_path, capfd):
    folder = str(tmp_path / "run")
    assert run(["train", "--model", "segresnet_vae", "--set", setting, "--run", folder]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert rule in line
    assert list(tmp_path.iterdir()) == []


def test_the_paper_s_values_are_those_of_segresnet():
    ours, plain = (model_config(name, faithful=True) for name in ("segresnet_vae", "segresnet"))
    assert plain.model_dump().items() <= ours.model_dump().items()


def test_a_resumed_run_draws_the_codes_of_the_uninterrupted_one(tmp_path):
    def start():
        keras.utils.set_random_seed(0)
        model = build("segresnet_vae", (8, 8, 1), 2, **TINY)
        return model, {"network": model.variables}

    model, groups = start()
    x = tf.random.stateless_normal((2, 8, 8, 1), seed=(0, 1))
    model(x, training=True)
    save(tmp_path / "last.npz", groups, Counters())
    expected = model(x, training=True)[1].numpy()
    again, groups = start()
    load(tmp_path / "last.npz", groups)
    np.testing.assert_array_equal(again(x, training=True)[1], expected)
    assert not np.array_equal(again(x, training=True)[1], expected)
