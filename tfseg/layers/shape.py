"""What the blocks ask about a tensor's shape."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def rank_of(x: Any) -> int:
    """Return the spatial rank, 2 or 3, of a tensor (batch, [z,] y, x, channels)."""
    return len(x.shape) - 2


def spatial_shape(x: tf.Tensor) -> list[Any]:
    """Return the spatial sizes of ``x``: integers where known, else scalar tensors."""
    dynamic = tf.shape(x)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(x.shape)][1:-1]
