"""Pooling to a given number of cells, where they divide the input."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfseg.compat.addons.names import of_addons
from tfseg.errors import ConfigError
from tfseg.layers import spatial_shape

Reduce = Callable[..., tf.Tensor]


def _checked_format(data_format: str | None) -> str:
    chosen = data_format or keras.config.image_data_format()
    if chosen not in {"channels_last", "channels_first"}:
        raise ConfigError(
            f"data_format must be channels_last or channels_first; got {data_format!r}."
        )
    return chosen


def _pool(x: tf.Tensor, cells: tuple[int, ...], reduce: Reduce) -> tf.Tensor:
    """Reduce (batch, [z,] y, x, c) to ``cells`` along its spatial axes.

    One axis after the other: mean and maximum over a box are separable, and no tensor has more
    than one axis above the input's.
    """
    for axis, count in enumerate(cells, start=1):
        sizes = [tf.shape(x)[0], *spatial_shape(x), x.shape[-1]]
        sizes[axis : axis + 1] = [count, sizes[axis] // count]
        x = reduce(tf.reshape(x, sizes), axis + 1)
    return x


class _AdaptivePooling(keras.layers.Layer):
    """Pool (batch, [[z,] y,] x, c) to ``output_size`` cells, which must divide the sizes.

    Args:
        output_size: cells of each spatial axis, or one number for all.
        data_format: ``channels_last`` or ``channels_first``; Keras' own setting by default.
        **kwargs: those of any layer.

    Raises:
        ConfigError: another number of axes; sizes that are not a multiple of the cells.
    """

    rank: ClassVar[int]
    reduce: ClassVar[Reduce]

    def __init__(
        self, output_size: int | Iterable[int], data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        sizes = [output_size] * self.rank if isinstance(output_size, int) else list(output_size)
        if len(sizes) != self.rank or min(sizes) < 1:
            raise ConfigError(
                f"{type(self).__name__}: output_size must be {self.rank} positive numbers; "
                f"got {output_size}."
            )
        self.output_size = tuple(sizes)
        self.data_format = _checked_format(data_format)

    def build(self, input_shape: Any) -> None:
        for size, cells in zip(self._spatial(input_shape), self.output_size, strict=True):
            if size is not None and size % cells:
                raise ConfigError(
                    f"{type(self).__name__}: output_size must divide the input's sizes; "
                    f"got {self.output_size} for {tuple(self._spatial(input_shape))}. "
                    "Use tfseg.layers.AdaptiveAveragePooling, which takes any size."
                )

    def _spatial(self, shape: Any) -> Any:
        return shape[1:-1] if self.data_format == "channels_last" else shape[2:]

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if self.data_format == "channels_last":
            return _pool(x, self.output_size, type(self).reduce)
        first, *spatial = range(1, len(x.shape))
        x = _pool(tf.transpose(x, [0, *spatial, first]), self.output_size, type(self).reduce)
        return tf.transpose(x, [0, len(x.shape) - 1, *range(1, len(x.shape) - 1)])

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self.data_format == "channels_last":
            return (input_shape[0], *self.output_size, input_shape[-1])
        return (*input_shape[:2], *self.output_size)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "output_size": self.output_size,
            "data_format": self.data_format,
        }


@of_addons
class AdaptiveAveragePooling1D(_AdaptivePooling):
    """Mean of each cell of (batch, x, c); see :class:`_AdaptivePooling`."""

    rank, reduce = 1, tf.reduce_mean


@of_addons
class AdaptiveAveragePooling2D(_AdaptivePooling):
    """Mean of each cell of (batch, y, x, c); see :class:`_AdaptivePooling`."""

    rank, reduce = 2, tf.reduce_mean


@of_addons
class AdaptiveAveragePooling3D(_AdaptivePooling):
    """Mean of each cell of (batch, z, y, x, c); see :class:`_AdaptivePooling`."""

    rank, reduce = 3, tf.reduce_mean


@of_addons
class AdaptiveMaxPooling1D(_AdaptivePooling):
    """Maximum of each cell of (batch, x, c); see :class:`_AdaptivePooling`."""

    rank, reduce = 1, tf.reduce_max


@of_addons
class AdaptiveMaxPooling2D(_AdaptivePooling):
    """Maximum of each cell of (batch, y, x, c); see :class:`_AdaptivePooling`."""

    rank, reduce = 2, tf.reduce_max


@of_addons
class AdaptiveMaxPooling3D(_AdaptivePooling):
    """Maximum of each cell of (batch, z, y, x, c); see :class:`_AdaptivePooling`."""

    rank, reduce = 3, tf.reduce_max


@of_addons
class SpatialPyramidPooling2D(keras.layers.Layer):
    """Average-pool to several grids, flattened and joined: (batch, y, x, c) -> (batch, cells, c).

    Rows and columns beyond the greatest multiple of a grid's cells are left out of it. He et al.
    2014, arXiv:1406.4729.

    Args:
        bins: of each grid its cells along y and x, or one number for both.
        data_format: ``channels_last`` or ``channels_first``; Keras' own setting by default.
        **kwargs: those of any layer.
    """

    def __init__(
        self, bins: Iterable[int | Iterable[int]], data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.bins = [[b, b] if isinstance(b, int) else list(b) for b in bins]
        self.data_format = _checked_format(data_format)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        last = self.data_format == "channels_last"
        x = x if last else tf.transpose(x, [0, 2, 3, 1])
        grids = []
        for cells in self.bins:
            rows, columns = (n // b * b for n, b in zip(spatial_shape(x), cells, strict=True))
            grid = _pool(x[:, :rows, :columns], tuple(cells), tf.reduce_mean)
            grids.append(tf.reshape(grid, [-1, cells[0] * cells[1], x.shape[-1]]))
        joined = tf.concat(grids, 1)
        return joined if last else tf.transpose(joined, [0, 2, 1])

    def compute_output_shape(self, input_shape: Any) -> Any:
        cells = sum(rows * columns for rows, columns in self.bins)
        if self.data_format == "channels_last":
            return (input_shape[0], cells, input_shape[-1])
        return (input_shape[0], input_shape[1], cells)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins, "data_format": self.data_format}
