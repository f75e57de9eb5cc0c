"""What every network of the registry promises, in every rank it is offered in."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.models import MODELS, build, inference_model, model_config

# The cheapest form of each that still has all its parts, training heads included.
SMALL = {
    "unet": {"base_filters": 4, "depth": 4},
    "pspnet": {"base_filters": 4, "backbone": "resnet18"},
}
NETWORKS = [(name, rank) for name, info in MODELS.items() for rank in info.dims]
every_network = pytest.mark.parametrize(
    ("name", "rank"), NETWORKS, ids=[f"{name}-{rank}d" for name, rank in NETWORKS]
)


def test_every_network_is_here():
    assert set(SMALL) == set(MODELS)


def small(name, shape, classes=2, **options):
    keras.utils.set_random_seed(0)
    return build(name, shape, classes, **{**SMALL[name], **options})


def images(shape, batch=1):
    return np.random.default_rng(0).normal(size=(batch, *shape)).astype(np.float32)


def outputs_of(answer):
    return answer if isinstance(answer, list) else [answer]


@every_network
def test_any_size_fits_or_is_refused_with_one_that_does(name, rank):
    divisor = model_config(name, **SMALL[name]).divisor(rank)
    for size in [(16,) * rank, (24, 16, 8)[:rank], (17, 19, 23)[:rank], (8, 12, 30)[:rank]]:
        with keras.StatelessScope(initialize_variables=False):
            if all(n % factor == 0 for n, factor in zip(size, divisor, strict=True)):
                model = small(name, (*size, 1))
                assert model.outputs[0].shape == (None, *size, 2)
            else:
                with pytest.raises(ConfigError) as caught:
                    small(name, (*size, 1))
                assert f"divisible by {divisor}; got {size}. Use (" in str(caught.value)


@every_network
def test_a_size_left_open_answers_like_a_fixed_one(name, rank):
    """In a graph, too, where sizes are tensors."""
    free = small(name, (None,) * rank + (1,))
    in_graph = tf.function(free, input_signature=[tf.TensorSpec((None,) * (rank + 1) + (1,))])
    size = (24, 16, 8)[:rank]
    fixed = small(name, (*size, 1))
    x = images((*size, 1))
    for expected, answer in zip(outputs_of(fixed(x)), outputs_of(in_graph(x)), strict=True):
        np.testing.assert_allclose(answer, expected, atol=2e-5)


@every_network
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_gradient_reaches_every_weight_from_the_training_outputs(name, rank, norm):
    model = small(name, (16,) * rank + (2,), 3, norm=norm)
    x = images((16,) * rank + (2,), batch=2)
    rng = np.random.default_rng(1)
    with tf.GradientTape() as tape:
        answers = outputs_of(model(x, training=True))
        loss = tf.add_n([tf.reduce_sum(y * rng.normal(size=y.shape)) for y in answers])
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    dead = [
        weight.path
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if gradient is None or not np.any(gradient) or not np.isfinite(gradient).all()
    ]
    assert dead == []


@every_network
@pytest.mark.parametrize(("classes", "channels"), [(1, 1), (5, 2), (2, 4)])
def test_classes_and_channels(name, rank, classes, channels):
    model = small(name, (8,) * rank + (channels,), classes)
    for answer in outputs_of(model(images((8,) * rank + (channels,)))):
        assert answer.shape[-1] == classes
        assert np.isfinite(answer).all()


@every_network
def test_saved_and_loaded_in_safe_mode_it_answers_the_same(name, rank, tmp_path):
    model = inference_model(small(name, (16,) * rank + (1,)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    x = images((16,) * rank + (1,))
    np.testing.assert_array_equal(again(x), model(x))


@every_network
def test_without_its_training_heads_it_answers_the_first_output(name, rank):
    model = small(name, (16,) * rank + (1,))
    assert len(model.outputs) > 1
    alone = inference_model(model)
    x = images((16,) * rank + (1,), batch=2)
    assert [output.shape for output in alone.outputs] == [(None, *(16,) * rank, 2)]
    np.testing.assert_array_equal(alone(x), model(x)[0])
    assert inference_model(alone) is alone
    assert len(alone.weights) < len(model.weights)


@pytest.fixture
def mixed_precision():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    yield
    keras.mixed_precision.set_dtype_policy("float32")


@every_network
@pytest.mark.usefixtures("mixed_precision")
def test_mixed_precision_keeps_weights_and_logits_in_float32(name, rank):
    model = small(name, (8,) * rank + (1,))
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert {output.dtype for output in model.outputs} == {"float32"}
    convolutions = [layer for layer in model.layers if type(layer).__name__ == f"Conv{rank}D"]
    halves = [layer for layer in convolutions if layer.compute_dtype == "float16"]
    assert len(halves) >= len(convolutions) - len(model.outputs)


@every_network
def test_two_builds_name_their_weights_alike(name, rank):
    """Weights files are matched by these names, so they may not depend on a counter."""
    with keras.StatelessScope(initialize_variables=False):
        first, second = (small(name, (16,) * rank + (1,)) for _ in range(2))
    assert [w.path for w in first.weights] == [w.path for w in second.weights]


@every_network
def test_the_same_seed_gives_the_same_weights(name, rank):
    first, second = (small(name, (8,) * rank + (1,)).get_weights() for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
