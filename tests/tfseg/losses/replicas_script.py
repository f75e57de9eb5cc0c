"""Run losses on two logical devices and on one; print the largest difference of each.

A process of its own: logical devices must be made before TensorFlow starts.
"""

import json
import sys

import numpy as np
import tensorflow as tf

from tfseg.losses import build_loss

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

rng = np.random.default_rng(0)
LABELS = rng.integers(0, 3, (4, 6, 5)).astype(np.int32)
LABELS[3] = 0  # one sample without foreground: per batch differs from per image
FEATURES = rng.normal(size=(4, 6, 5, 2)).astype(np.float32)
WEIGHTS = rng.normal(size=(2, 3)).astype(np.float32)
IMAGE = rng.normal(size=(4, 6, 5, 1)).astype(np.float32)
MAP = rng.uniform(0, 5, (4, 6, 5)).astype(np.float32)


def step(loss, variable, batch):
    """Return this share of the global batch's loss and gradient."""
    labels, features, image, voxel_map = batch
    needs = loss.needs
    with tf.GradientTape() as tape:
        each = loss.per_sample(
            labels,
            tf.linalg.matmul(features, variable),
            image=image if "image" in needs else None,
            voxel_map=voxel_map if "map" in needs else None,
        )
        total = tf.reduce_sum(each) / len(LABELS)
    return total, tape.gradient(total, variable)


def compare(expression):
    """Return the largest difference between one device and two, relative to the value."""
    loss = build_loss(expression)
    whole = (LABELS, FEATURES, IMAGE, MAP)
    alone = tf.Variable(WEIGHTS)
    value, gradient = step(loss, alone, tuple(map(tf.constant, whole)))
    with strategy.scope():
        shared = tf.Variable(WEIGHTS, aggregation=tf.VariableAggregation.SUM)
    data = tf.data.Dataset.from_tensors(whole).unbatch().batch(4)
    batch = next(iter(strategy.experimental_distribute_dataset(data)))

    @tf.function
    def both():
        shares = strategy.run(lambda part: step(loss, shared, part), args=(batch,))
        return [strategy.reduce(tf.distribute.ReduceOp.SUM, share, axis=None) for share in shares]

    value_2, gradient_2 = both()
    scale = max(1.0, abs(float(value)))
    return max(
        abs(float(value - value_2)) / scale,
        float(tf.reduce_max(tf.abs(gradient - gradient_2))) / scale,
    )


found = {expression: compare(expression) for expression in sys.argv[1:]}
for overlap in ("dice", "iou", "tversky", "generalised_dice"):
    found[f"{overlap} per batch"] = compare(f"{overlap}(per_image=False)")
print(json.dumps(found))
