"""U-Net for lazy labels: preset counts, and that absent labels leave a head alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.models import build
from tfseg.models.lazy_multitask_unet import TASKS


def without_numbers(*args, **options):
    """Build shapes only: counting needs no memory for the weights."""
    with keras.StatelessScope(initialize_variables=False):
        return build("lazy_multitask_unet", *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_preset():
    model = without_numbers((64, 64, 1), 2, faithful=True)
    assert [output.shape for output in model.outputs] == [(None, 64, 64, 2)] * 3
    assert trainable(model) == 7_762_630
    assert model.count_params() == 7_768_518


def test_segmentation_comes_first():
    model = without_numbers((64, 64, 1), 2)
    for task, output in zip(TASKS, model.outputs, strict=True):
        assert output is model.get_layer(f"{task}_logits").output
    assert len(without_numbers((64, 64, 1), 2, lazy_heads=False).outputs) == 1


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("absent", TASKS)
def test_a_task_without_labels_moves_the_others_only(rank, absent):
    keras.utils.set_random_seed(0)
    model = build("lazy_multitask_unet", (16,) * rank + (1,), 2, base_filters=4, depth=3)
    x = np.random.default_rng(0).normal(size=(1, *(16,) * rank, 1)).astype(np.float32)
    with tf.GradientTape() as tape:
        outputs = dict(zip(TASKS, model(x, training=True), strict=True))
        loss = tf.add_n([tf.reduce_mean(outputs[t] ** 2) for t in TASKS if t != absent])
    weights = [weight.value for weight in model.trainable_weights]
    gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
    moved = {
        weight.path
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if np.any(gradient)
    }
    head = {weight.path for weight in model.get_layer(f"{absent}_logits").weights}
    assert moved == {weight.path for weight in model.trainable_weights} - head
