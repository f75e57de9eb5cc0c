"""What every network of the registry promises, in every rank it is offered in.

The cheapest promises of one network a family are tested every time; all promises of all networks,
marked slow, by `make conformance`.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from kit import (
    CASES,
    SEGMENTERS,
    divisor_of,
    every_network,
    images,
    learned_by,
    manifest_of,
    marks_of,
    outputs_of,
    promise,
    shape_of,
    small,
    training_of,
)

from tfseg.errors import ConfigError
from tfseg.inference.backends.keras_run import KerasBackend
from tfseg.inference.predictor import Predictor
from tfseg.models import inference_model, model_config, model_info
from tfseg.models.detector import is_detector
from tfseg.volume import Volume


def test_every_network_is_here():
    assert set(CASES) == set(SEGMENTERS)


def odd_sizes(name, rank):
    """The case's size, one that differs along each axis, and two that few networks take."""
    edge, divisor = CASES[name].edge, divisor_of(name, rank)
    yield (edge,) * rank
    yield tuple(edge + factor * step for step, factor in enumerate(divisor))
    yield tuple(edge + 1 + 2 * axis for axis in range(rank))
    yield (edge, *(edge + 3,) * (rank - 1))


@promise("sizes")
@every_network
def test_any_size_fits_or_is_refused_with_one_that_does(name, rank):
    divisor = divisor_of(name, rank)
    for size in odd_sizes(name, rank):
        with keras.StatelessScope(initialize_variables=False):
            if all(n % factor == 0 for n, factor in zip(size, divisor, strict=True)):
                model = small(name, (*size, 1))
                assert model.outputs[0].shape == (None, *size, 2)
            else:
                with pytest.raises(ConfigError) as caught:
                    small(name, (*size, 1))
                assert f"divisible by {divisor}; got {size}. Use (" in str(caught.value)


@promise("sizes")
@pytest.mark.slow
@every_network
def test_a_size_left_open_answers_like_a_fixed_one(name, rank):
    """In a graph, too, where sizes are tensors."""
    free = small(name, (None,) * rank + (1,))
    in_graph = tf.function(free, input_signature=[tf.TensorSpec((None,) * (rank + 1) + (1,))])
    size = list(odd_sizes(name, rank))[1]
    fixed = small(name, (*size, 1))
    fixed.set_weights(free.get_weights())
    x = images((*size, 1))
    # CFUN's logits reach 14; even a graph of fixed sizes differs from them by 2.5e-4.
    rtol = 1e-4 if name == "cfun" else 0
    for expected, answer in zip(outputs_of(fixed(x)), outputs_of(in_graph(x)), strict=True):
        np.testing.assert_allclose(answer, expected, rtol=rtol, atol=1e-4)


def norms(name):
    """The choices of normalisation that a network has, or its only one."""
    config = model_config(name, **CASES[name].options)
    return ["instance", "batch", "none"] if hasattr(config, "norm") else [None]


NORMED = [
    pytest.param(
        name,
        rank,
        norm,
        id=f"{name}-{rank}d-{norm}",
        marks=marks_of(name) if norm == norms(name)[0] else (pytest.mark.slow,),
    )
    for name, info in SEGMENTERS.items()
    for rank in info.dims
    for norm in norms(name)
]


@promise("gradient")
@pytest.mark.parametrize(("name", "rank", "norm"), NORMED)
def test_gradient_reaches_every_weight_from_the_training_outputs(name, rank, norm):
    options = {} if norm is None else {"norm": norm}
    model = small(name, shape_of(name, rank, 2), 3, **options)
    x = images(shape_of(name, rank, 2), batch=2)
    rng = np.random.default_rng(1)
    with tf.GradientTape() as tape:
        if is_detector(model):  # whose outputs are drawn, not learned
            labels = np.stack([ball_of(name, rank), 2 * ball_of(name, rank)])
            loss = tf.reduce_sum(learned_by(name, model, 3)(tf.constant(x), tf.constant(labels)))
        else:
            answers = outputs_of(model(x, training=True))
            loss = tf.add_n([tf.reduce_sum(y * rng.normal(size=y.shape)) for y in answers])
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    dead = [
        weight.path
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if gradient is None or not np.any(gradient) or not np.isfinite(gradient).all()
    ]
    assert dead == []


@promise("classes")
@pytest.mark.slow
@every_network
@pytest.mark.parametrize(("classes", "channels"), [(1, 1), (5, 2), (2, 4)])
def test_classes_and_channels(name, rank, classes, channels):
    shape = shape_of(name, rank, channels)
    model = small(name, shape, classes)
    for answer, group in zip(
        outputs_of(model(images(shape))), training_of(name, classes)[1], strict=False
    ):
        if answer.shape.rank > 1:  # not a loss that the network computes itself
            assert answer.shape[-1] == (classes if group is None else max(group) + 1)
        assert np.isfinite(answer).all()


@promise("batch of 1")
@pytest.mark.slow
@every_network
def test_a_batch_of_one_answers_as_in_a_batch_of_two(name, rank):
    """Sums in another order: float32's last digits differ, in the scale of the greatest logit."""
    shape = shape_of(name, rank)
    model = small(name, shape)
    x = images(shape, batch=2)
    for alone, both in zip(outputs_of(model(x[:1])), outputs_of(model(x)), strict=True):
        np.testing.assert_allclose(alone, both[:1], atol=1e-3 * max(1, np.abs(both).max()))


@promise("predict")
@pytest.mark.slow
@every_network
def test_predict_pads_and_crops_odd_sizes(name, rank):
    """Smaller than a window: by hand; larger along one axis: two windows."""
    edge, network = CASES[name].edge, KerasBackend(small(name, shape_of(name, rank)))
    predictor = Predictor(network, manifest_of(name, rank))
    size = (3, edge - 1, edge - 5)
    image = images((*size, 1))[0]
    window = (3, edge, edge) if rank == 2 else (edge,) * 3
    before = [(whole - part) // 2 for whole, part in zip(window, size, strict=True)]
    inside = tuple(slice(low, low + part) for low, part in zip(before, size, strict=True))
    padded = np.zeros((*window, 1), np.float32)
    padded[inside] = image
    batches = padded[:, np.newaxis] if rank == 2 else padded[np.newaxis, np.newaxis]
    expected = np.concatenate([network(batch) for batch in batches]).reshape(*window, 2)[inside]
    answer = predictor.predict(Volume.from_geometry(image), probabilities=True).probabilities
    np.testing.assert_allclose(answer, expected, atol=1e-6)

    larger = (size[0], size[1], edge + 3)
    labels = predictor.predict(Volume.from_geometry(images((*larger, 1))[0])).labels
    assert labels.shape == larger
    assert labels.array.max() <= 1


@promise("config")
@pytest.mark.slow
@every_network
def test_its_configuration_builds_it_again(name, rank):
    with keras.StatelessScope(initialize_variables=False):
        model = small(name, shape_of(name, rank))
        again = keras.models.model_from_json(model.to_json())
    assert again.to_json() == model.to_json()
    assert [(w.path, w.shape) for w in again.weights] == [(w.path, w.shape) for w in model.weights]


@promise("keras file")
@every_network
def test_saved_and_loaded_in_safe_mode_it_answers_the_same(name, rank, tmp_path):
    model = inference_model(small(name, shape_of(name, rank)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    x = images(shape_of(name, rank))
    np.testing.assert_array_equal(again(x), model(x))


@promise("heads")
@pytest.mark.slow
@every_network
def test_without_its_training_heads_it_answers_the_first_output(name, rank):
    shape = shape_of(name, rank)
    model = small(name, shape)
    assert len(model.outputs) == 1 or len(model_info(name).loss_weights) >= len(model.outputs)
    alone = inference_model(model)
    x = images(shape, batch=2)
    assert [output.shape for output in alone.outputs] == [(None, *shape[:-1], 2)]
    np.testing.assert_array_equal(alone(x), outputs_of(model(x))[0])
    assert inference_model(alone) is alone


@pytest.fixture
def mixed_precision():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    yield
    keras.mixed_precision.set_dtype_policy("float32")


@promise("float16")
@pytest.mark.slow
@every_network
@pytest.mark.usefixtures("mixed_precision")
def test_mixed_precision_keeps_weights_norms_and_logits_in_float32(name, rank):
    with keras.StatelessScope(initialize_variables=False):
        model = small(name, shape_of(name, rank))
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert {output.dtype for output in model.outputs} == {"float32"}
    # Logits inside the network, a detector's, are as wide as those that leave it.
    inner = ("rpn_objectness", "rpn_deltas", "_classes")
    convolutions = [
        layer
        for layer in model.layers
        if type(layer).__name__ == f"Conv{rank}D" and not layer.name.endswith(inner)
    ]
    halves = [layer for layer in convolutions if layer.compute_dtype == "float16"]
    assert len(halves) >= len(convolutions) - len(model.outputs)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization | keras.layers.GroupNormalization):
            assert layer.compute_dtype == "float32", layer.name


@promise("names")
@pytest.mark.slow
@every_network
def test_two_builds_name_their_weights_alike(name, rank):
    """Weights files are matched by these names, so they may not depend on a counter."""
    with keras.StatelessScope(initialize_variables=False):
        first, second = (small(name, shape_of(name, rank)) for _ in range(2))
    assert [w.path for w in first.weights] == [w.path for w in second.weights]


@promise("seed")
@pytest.mark.slow
@every_network
def test_the_same_seed_gives_the_same_weights(name, rank):
    first, second = (small(name, shape_of(name, rank)).get_weights() for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def ball_of(name, rank):
    """Labels of the case's size: 1 in a ball in the middle, half as wide."""
    shape = shape_of(name, rank)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape[:-1]], indexing="ij"), -1)
    inside = np.linalg.norm(grid - (CASES[name].edge - 1) / 2, axis=-1) < CASES[name].edge / 4
    return inside.astype(np.int32)


@promise("learns")
@pytest.mark.slow
@every_network
def test_thirty_steps_halve_the_loss(name, rank):
    """One noisy image with a bright ball, again and again, by the trainer's own loss."""
    shape = shape_of(name, rank)
    ball = ball_of(name, rank)
    labels = tf.constant(ball[np.newaxis])
    x = tf.constant(images(shape) * 0.3 + 2.0 * ball[np.newaxis, ..., np.newaxis], tf.float32)
    model = small(name, shape)
    learned = learned_by(name, model)
    optimizer = keras.optimizers.Adam(CASES[name].learning_rate)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(learned(x, labels))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return value

    values = [float(step()) for _ in range(31)]
    assert min(values[-3:]) < 0.5 * values[0]
