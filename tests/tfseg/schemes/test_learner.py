"""What changes a network: the average of its weights, limits and gathers of its gradients."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.config import TrainConfig
from tfseg.schemes.learner import Average, Learner


def network(first: float = 1.0) -> keras.Model:
    given = keras.Input((2,))
    x = keras.layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(first))
    return keras.Model(given, x(given))


def config(**settings: object) -> TrainConfig:
    return TrainConfig.parse({"model": "unet", "data": "", **settings}, "test")


def test_the_average_is_the_exponential_mean_of_the_steps() -> None:
    """By hand: at step t what is kept is min(0.9, (1 + t) / (10 + t))."""
    model = network()
    average = Average(model, 0.9)
    expected = 1.0
    for step, value in enumerate(np.linspace(2, 80, 79), start=1):
        model.set_weights([np.full((2, 1), value, np.float32)])
        average.move()
        kept = min(0.9, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * value
    with average.in_place():
        np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-5)
    assert (model.get_weights()[0] == 80).all()
    average.restart()
    with average.in_place():
        assert (model.get_weights()[0] == 80).all()


def test_weights_come_back_after_an_error() -> None:
    model = network()
    learner = Learner(model, config())
    model.set_weights([np.full((2, 1), 5, np.float32)])

    def fail() -> None:
        with learner.averaged():
            assert (model.get_weights()[0] == 1).all()
            raise ValueError("in between")

    with pytest.raises(ValueError, match="in between"):
        fail()
    assert (model.get_weights()[0] == 5).all()


def step(learner: Learner, scale: float) -> None:
    with tf.GradientTape() as tape:
        loss = scale * tf.reduce_sum(learner.network(tf.ones((1, 2))))
    learner.minimise(tape, loss)


def test_gradients_are_limited_to_their_norm() -> None:
    """Gradient (scale, scale): its norm is limited to 3; plain descent shows it."""
    for scale, moved in ((1.0, 1.0), (100.0, 3 / np.sqrt(2))):
        learner = Learner(network(), config(clip_norm=3.0, weight_decay=0.0))
        learner.optimizer = keras.optimizers.SGD(1.0)
        learner.optimizer.build(learner.network.trainable_variables)
        step(learner, scale)
        np.testing.assert_allclose(learner.network.get_weights()[0], 1 - moved, rtol=1e-5)


def test_accumulated_steps_are_one_with_their_mean_gradient() -> None:
    settings = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.0}
    one = Learner(network(), config(**settings))
    step(one, 2.0)
    three = Learner(network(), config(**settings, accumulate=3))
    for scale in (1.0, 2.0, 3.0):
        assert (three.network.get_weights()[0] == 1).all()
        step(three, scale)
    np.testing.assert_allclose(three.network.get_weights()[0], one.network.get_weights()[0])
