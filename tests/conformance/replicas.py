"""Answer on standard output whether networks train alike on one device and on two.

A process of its own, since logical devices must be made before TensorFlow starts; it serves many
networks, since starting takes seconds. For every line ``name rank`` on standard input it writes
one line of JSON: the loss of one step, and the norm of its gradient, on one device and on two; or
the error that came instead.
"""

import gc
import json
import sys

import keras
import numpy as np
import tensorflow as tf
from kit import images, learned_by, shape_of, small

from tfseg.layers import GaussianSample
from tfseg.training.devices import open_strategy

BATCH = 2


def batch_of(model, shape):
    """Return images and labels of a batch; its samples differ where nothing mixes them."""
    x = images(shape, batch=BATCH)
    labels = (np.random.default_rng(1).random((BATCH, *shape[:-1])) < 0.3).astype(np.int32)
    if any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers):
        # Statistics are each device's own, as everywhere. Those of equal samples are equal.
        x[1:], labels[1:] = x[0], labels[0]
    return x, labels


def step(model, name, x, labels):
    """Return the share of the batch's loss, and its gradient."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(learned_by(name, model)(x, tf.constant(labels))) / BATCH
    return loss, tape.gradient(loss, model.trainable_variables)


def compare(strategy, name, rank):
    """Return {"loss": [on one, on two], "gradient": [on one, on two]}."""
    shape = shape_of(name, rank)
    with strategy.scope():
        model = small(name, shape)
    for layer in model._flatten_layers():
        # Each device would drop other units, and draw other numbers.
        if isinstance(layer, keras.layers.Dropout | keras.layers.GaussianDropout):
            layer.rate = 0.0
        if isinstance(layer, GaussianSample):
            layer.noise = 0.0
    x, labels = batch_of(model, shape)

    def share():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        return step(model, name, x[number : number + 1], labels[number : number + 1])

    answers = [step(model, name, x, labels)]
    shares = strategy.run(share)
    answers.append(
        tuple(
            tf.nest.map_structure(
                lambda part: strategy.reduce(tf.distribute.ReduceOp.SUM, part, axis=None), shares
            )
        )
    )
    return {
        "loss": [float(loss) for loss, _ in answers],
        "gradient": [float(tf.linalg.global_norm(gradient)) for _, gradient in answers],
    }


def main():
    """Serve until standard input ends."""
    strategy = open_strategy(replicas=2)
    for line in sys.stdin:
        name, rank = line.split()
        try:
            answer = compare(strategy, name, int(rank))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
        keras.backend.clear_session()
        gc.collect()


if __name__ == "__main__":
    main()
