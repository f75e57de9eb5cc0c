"""Several networks as one: the mean of their class probabilities, in one graph.

So everything that takes a network takes an ensemble: prediction, every export, serving.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfseg.errors import ConfigError
from tfseg.models import inference_model
from tfseg.models.detector import is_detector
from tfseg.models.rebuild import rebuilt_on

_FLOOR = 1e-7  # of a probability, before its logarithm; half precision has no smaller number


def ensemble_of(members: Sequence[Any], name: str) -> Any:
    """Return one network that answers with the logarithm of the members' mean probabilities.

    Args:
        members: Keras functional models that return logits of one shape for inputs of one shape;
            training heads are left out. They stay as they are: the ensemble has copies.
        name: of the ensemble.

    Returns:
        ``keras.Model``: image -> logits, whose softmax is the mean of the members' softmax, to
        1e-7.

    Raises:
        ConfigError: no member, members of different shapes, or detectors, which answer with lists
            of objects.
    """
    members = [inference_model(member) for member in members]
    if not members:
        raise ConfigError("an ensemble must have at least one member; got none.")
    shapes = {(tuple(one.input_shape), tuple(one.output_shape)) for one in members}
    if len(shapes) > 1:
        raise ConfigError(
            f"the members of an ensemble must have one shape of input and output; got {shapes}."
        )
    if any(map(is_detector, members)):
        raise ConfigError(
            "an ensemble averages probabilities; a detector answers with objects. Use the runs of "
            "the folds one by one."
        )
    (shape, _) = shapes.pop()
    image = keras.Input(shape[1:], name="image")
    answers = [
        keras.layers.Softmax(dtype="float32", name=f"fold{index}_probabilities")(
            keras.tree.flatten(rebuilt_on(image, member, prefix=f"fold{index}_"))[0]
        )
        for index, member in enumerate(members)
    ]
    mean = keras.layers.Average(name="mean")(answers) if len(answers) > 1 else answers[0]
    whole = keras.Model(image, keras.ops.log(keras.ops.maximum(mean, _FLOOR)), name=name)
    for index, member in enumerate(members):
        for layer in member.layers:
            if layer.weights:
                whole.get_layer(f"fold{index}_{layer.name}").set_weights(layer.get_weights())
    return whole
