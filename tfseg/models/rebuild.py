"""A network's graph once more, as a part of another."""

from __future__ import annotations

from typing import Any


def rebuilt_on(x: Any, template: Any, *, prefix: str = "") -> Any:
    """Return the outputs of a network of new layers on ``x``, which is built like ``template``.

    Args:
        x: (batch, [z,] y, x, c) of the graph that is being built, of the template's input shape.
        template: Keras functional model.
        prefix: before the names of all its layers.
    """
    copies: dict[int, Any] = {}

    def renamed(operation: Any) -> Any:
        # Once for each operation: a layer that is used twice shares its weights.
        if id(operation) not in copies:
            config = operation.get_config()
            config["name"] = f"{prefix}{operation.name}"
            copies[id(operation)] = type(operation).from_config(config)
        return copies[id(operation)]

    # As keras.models.clone_model does it, which would make a graph of its own, cut off from x.
    return template._run_through_graph(x, operation_fn=renamed)
