"""The way back from max-pooling, by the flat index of each maximum.

The index of voxel (z, y, x) and channel c in its own sample is ((z Y + y) X + x) C + c, without
the z part in 2D: what ``tf.nn.max_pool_with_argmax`` returns by default. New networks use
:class:`tfseg.layers.MaxPoolWithMask` and :class:`tfseg.layers.MaxUnpool`, which every exporter
takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfseg.compat.addons.names import of_addons
from tfseg.errors import ConfigError
from tfseg.layers import spatial_shape


def _sizes(value: int | Iterable[int], rank: int, what: str) -> tuple[int, ...]:
    sizes = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(sizes) != rank or min(sizes) < 1:
        raise ConfigError(f"{what} must be {rank} positive numbers; got {value}.")
    return sizes


def _scatter(updates: tf.Tensor, places: tf.Tensor, spatial: list[Any]) -> tf.Tensor:
    """Return (batch, *spatial, c) with each of ``updates`` at its place, zeros elsewhere."""
    batch, channels = tf.shape(updates, tf.int64)[0], updates.shape[-1]
    sample = tf.reduce_prod(tf.cast(tf.stack(spatial), tf.int64)) * channels
    start = tf.reshape(tf.range(batch) * sample, [-1] + [1] * (len(updates.shape) - 1))
    flat = tf.reshape(tf.cast(places, tf.int64) + start, [-1, 1])
    whole = tf.scatter_nd(flat, tf.reshape(updates, [-1]), [batch * sample])
    return tf.reshape(whole, [-1, *spatial, channels])


def _pair(updates: Any, mask: Any) -> tuple[Any, Any]:
    """Return values and indices, given as two arguments or as one list.

    Keras itself fills an argument named ``mask`` with its time-step masks, so a list goes first.
    """
    return tuple(updates) if isinstance(updates, (list, tuple)) else (updates, mask)


class _MaxUnpooling(keras.layers.Layer):
    """Put values back where a max-pooling took them from.

    Call it with the values and their flat indices, each (batch, [z,] y, x, c), as two arguments
    or as one list. Where the pooling's windows overlap, values of one place are added.

    Args:
        pool_size: the pooling's window.
        strides: the pooling's strides.
        padding: the pooling's. With ``SAME`` the result is ``strides`` times as large, with
            ``VALID`` it is (size - 1) strides + pool_size.
        **kwargs: those of any layer.

    Raises:
        ConfigError: sizes or padding are not valid.
    """

    rank: ClassVar[int]

    def __init__(
        self,
        pool_size: int | Iterable[int] = 2,
        strides: int | Iterable[int] = 2,
        padding: str = "SAME",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = _sizes(pool_size, self.rank, f"{type(self).__name__}: pool_size")
        self.strides = _sizes(strides, self.rank, f"{type(self).__name__}: strides")
        if padding.upper() not in {"SAME", "VALID"}:
            raise ConfigError(
                f"{type(self).__name__}: padding must be SAME or VALID; got {padding!r}."
            )
        self.padding = padding

    def call(self, updates: Any, mask: tf.Tensor | None = None) -> tf.Tensor:
        updates, mask = _pair(updates, mask)
        return _scatter(updates, mask, self._unpooled(spatial_shape(updates)))

    def _unpooled(self, spatial: Iterable[Any]) -> list[Any]:
        same = self.padding.upper() == "SAME"
        sizes = zip(spatial, self.strides, self.pool_size, strict=True)
        return [
            None if n is None else n * step if same else (n - 1) * step + window
            for n, step, window in sizes
        ]

    def compute_output_spec(self, updates: Any, mask: Any = None) -> keras.KerasTensor:
        updates, mask = _pair(updates, mask)
        batch, *spatial, channels = updates.shape
        shape = (batch, *self._unpooled(spatial), channels)
        return keras.KerasTensor(shape, dtype=updates.dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
        }


@of_addons
class MaxUnpooling2D(_MaxUnpooling):
    """Unpool (batch, y, x, c); see :class:`_MaxUnpooling`."""

    rank = 2


@keras.saving.register_keras_serializable("tfseg")
class MaxUnpooling3D(_MaxUnpooling):
    """Unpool (batch, z, y, x, c), which Addons never could; see :class:`_MaxUnpooling`."""

    rank = 3


@of_addons
class MaxUnpooling2DV2(keras.layers.Layer):
    """As :class:`MaxUnpooling2D`, to a size that is given: of several a pooling may come from.

    Args:
        output_size: (batch, y, x, c). Batch and channels are those of the values, whatever is
            said here.
        **kwargs: those of any layer.
    """

    def __init__(self, output_size: Iterable[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.output_size = tuple(output_size)
        if len(self.output_size) != 4:
            raise ConfigError(
                "MaxUnpooling2DV2: output_size must be (batch, y, x, channels); "
                f"got {self.output_size}."
            )

    def call(self, updates: Any, mask: tf.Tensor | None = None) -> tf.Tensor:
        updates, mask = _pair(updates, mask)
        return _scatter(updates, mask, list(self.output_size[1:3]))

    def compute_output_spec(self, updates: Any, mask: Any = None) -> keras.KerasTensor:
        updates, mask = _pair(updates, mask)
        shape = (updates.shape[0], *self.output_size[1:3], updates.shape[-1])
        return keras.KerasTensor(shape, dtype=updates.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "output_size": self.output_size}


@keras.saving.register_keras_serializable("tfseg")
class MaxPoolingWithArgmax(keras.layers.Layer):
    """Max-pool (batch, [z,] y, x, c) -> (pooled, int64 flat indices of the maxima).

    ``tf.nn.max_pool_with_argmax`` as a layer, and its like in 3D, where TensorFlow has none. Of
    equal maxima the first counts.

    Args:
        pool_size: the window.
        strides: of the windows; the window's size by default, and always in 3D.
        padding: ``SAME`` or ``VALID``; in 3D ``SAME`` needs sizes that ``pool_size`` divides.
        **kwargs: those of any layer.

    Raises:
        ConfigError: what 3D lacks is asked for.
    """

    def __init__(
        self,
        pool_size: int | Iterable[int] = 2,
        strides: int | Iterable[int] | None = None,
        padding: str = "VALID",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = pool_size if isinstance(pool_size, int) else tuple(pool_size)
        strides = pool_size if strides is None else strides
        self.strides = strides if isinstance(strides, int) else tuple(strides)
        self.padding = padding.upper()
        if self.padding not in {"SAME", "VALID"}:
            raise ConfigError(f"{self.name}: padding must be SAME or VALID; got {padding!r}.")

    def build(self, input_shape: Any) -> None:
        *spatial, _ = input_shape[1:]
        window = _sizes(self.pool_size, len(spatial), f"{self.name}: pool_size")
        strides = _sizes(self.strides, len(spatial), f"{self.name}: strides")
        uneven = any(n is None or n % p for n, p in zip(spatial, window, strict=True))
        if len(spatial) == 3 and (strides != window or (uneven and self.padding == "SAME")):
            raise ConfigError(
                f"{self.name}: in 3D windows must not overlap, and divide the sizes where "
                f"padding is SAME; got pool_size {window}, strides {strides} for "
                f"{tuple(spatial)}. Use tfseg.layers.MaxPoolWithMask."
            )

    def call(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if len(x.shape) == 4:
            return tuple(tf.nn.max_pool_with_argmax(x, self.pool_size, self.strides, self.padding))
        window = _sizes(self.pool_size, 3, "pool_size")
        batch, channels = tf.shape(x)[0], x.shape[-1]
        sizes = spatial_shape(x)
        counts = [n // p for n, p in zip(sizes, window, strict=True)]
        cut = x[(slice(None), *(slice(c * p) for c, p in zip(counts, window, strict=True)))]
        split = [n for pair in zip(counts, window, strict=True) for n in pair]
        cells = tf.reshape(cut, [batch, *split, channels])  # (b, Z, p, Y, p, X, p, c)
        cells = tf.transpose(cells, [0, 1, 3, 5, 2, 4, 6, 7])
        cells = tf.reshape(cells, [batch, *counts, int(np.prod(window)), channels])
        # Where in its window, as (z, y, x); then where in the sample.
        inside = tf.math.argmax(cells, -2)
        offsets = tf.unravel_index(tf.reshape(inside, [-1]), tf.constant(window, tf.int64))
        flat = tf.zeros_like(inside)
        for axis, (size, count, step) in enumerate(zip(sizes, counts, window, strict=True)):
            corner = tf.range(count, dtype=tf.int64) * step
            corner = tf.reshape(corner, [-1] + [1] * (3 - axis))
            place = corner + tf.reshape(offsets[axis], tf.shape(inside))
            flat = flat * tf.cast(size, tf.int64) + place
        return tf.reduce_max(cells, -2), flat * channels + tf.range(channels, dtype=tf.int64)

    def compute_output_spec(self, x: Any) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        batch, *spatial, channels = x.shape
        window = _sizes(self.pool_size, len(spatial), "pool_size")
        strides = _sizes(self.strides, len(spatial), "strides")
        pooled = [
            n and (-(-n // s) if self.padding == "SAME" else (n - p) // s + 1)
            for n, p, s in zip(spatial, window, strides, strict=True)
        ]
        shape = (batch, *pooled, channels)
        return keras.KerasTensor(shape, x.dtype), keras.KerasTensor(shape, "int64")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
        }
