"""Adaptive pooling and the pyramid pooling module."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfseg.layers.conv import conv_norm_act
from tfseg.layers.resize import resize_like
from tfseg.layers.shape import rank_of, spatial_shape


@keras.saving.register_keras_serializable("tfseg")
class AdaptiveAveragePooling(keras.layers.Layer):
    """Average-pool (batch, [z,] y, x, c) to ``bins`` cells an axis, whatever the size.

    Cell i of an axis of n voxels averages voxels floor(i n / bins) to ceil((i+1) n / bins) - 1,
    the rule of PyTorch's ``AdaptiveAvgPool``. The average over a box is separable, so each axis
    is one product with a (bins, n) matrix: no pooling operator with a run-time window is
    needed, which no exporter has in 3D. Computed in float32.
    """

    def __init__(self, bins: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins = bins

    def call(self, x: tf.Tensor) -> tf.Tensor:
        pooled = tf.cast(x, tf.float32)
        if rank_of(x) == 2:
            rows, columns = (self._matrix(size) for size in spatial_shape(x))
            pooled = tf.einsum("iy,byxc->bixc", rows, pooled)
            pooled = tf.einsum("jx,bixc->bijc", columns, pooled)
        else:
            planes, rows, columns = (self._matrix(size) for size in spatial_shape(x))
            pooled = tf.einsum("iz,bzyxc->biyxc", planes, pooled)
            pooled = tf.einsum("jy,biyxc->bijxc", rows, pooled)
            pooled = tf.einsum("kx,bijxc->bijkc", columns, pooled)
        return tf.cast(pooled, x.dtype)

    def _matrix(self, size: Any) -> tf.Tensor:
        cell = tf.range(self.bins)[:, tf.newaxis]
        voxel = tf.range(size)[tf.newaxis, :]
        start = cell * size // self.bins
        end = -(-(cell + 1) * size // self.bins)
        inside = tf.cast((voxel >= start) & (voxel < end), tf.float32)
        return inside / tf.cast(end - start, tf.float32)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *(self.bins,) * (len(input_shape) - 2), input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins}


@keras.saving.register_keras_serializable("tfseg")
class AdaptiveMaxPooling(keras.layers.Layer):
    """Max-pool (batch, [z,] y, x, c) to ``bins`` cells an axis, whatever the size.

    The cells are those of :class:`AdaptiveAveragePooling`. A maximum over a box is separable,
    so each axis is cut into its cells in turn.
    """

    def __init__(self, bins: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins = bins

    def call(self, x: tf.Tensor) -> tf.Tensor:
        for axis, size in enumerate(spatial_shape(x), start=1):
            before = (slice(None),) * axis
            cells = []
            for cell in range(self.bins):
                start, end = cell * size // self.bins, -(-(cell + 1) * size // self.bins)
                cells.append(tf.reduce_max(x[(*before, slice(start, end))], axis, keepdims=True))
            x = tf.concat(cells, axis)
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *(self.bins,) * (len(input_shape) - 2), input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins}


_POOLINGS: dict[str, Any] = {"average": AdaptiveAveragePooling, "max": AdaptiveMaxPooling}


def pyramid_pooling(
    x: Any,
    *,
    bins: tuple[int, ...],
    pooling: str = "average",
    norm: str,
    activation: str,
    name: str,
) -> Any:
    """Pyramid pooling module of PSPNet: pooled context at several scales, concatenated to ``x``.

    Each of the n ``bins`` becomes a 1x1 convolution to c / n channels, resized back; the result
    has c + n * (c // n) channels. Zhao et al. 2016, arXiv:1612.01105, section 3.2.
    ``pooling`` is ``average`` or ``max``.
    """
    branches = [x]
    for count in bins:
        branch = _POOLINGS[pooling](count, name=f"{name}_pool{count}")(x)
        branch = conv_norm_act(
            branch,
            filters=max(1, x.shape[-1] // len(bins)),
            kernel=1,
            # One voxel has no variance of its own: instance norm would erase the global cell.
            norm="none" if norm == "instance" and count == 1 else norm,
            activation=activation,
            name=f"{name}_bin{count}",
        )
        branches.append(resize_like(branch, x, name=f"{name}_up{count}"))
    return keras.layers.Concatenate(name=f"{name}_concat")(branches)
