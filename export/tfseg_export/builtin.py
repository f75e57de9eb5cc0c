"""3D layers written in what TensorFlow Lite has, and does well: operations on slices.

TensorFlow Lite has no 3D pooling, no 3D PReLU and no 3D dilation as Keras writes it, and its 3D
convolution copies every voxel once for each voxel of the kernel: 4 GB for a U-Net on a window of
64^3. Its 2D convolution copies nothing, and is what phones' accelerators know. A network is
therefore exported with these layers in place of Keras' own: the same weights and the same answer,
written in another way. Training keeps Keras' layers.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfseg.layers import spatial_shape


def with_builtin_layers(network: Any) -> Any:
    """Return the functional ``network`` with such layers replaced; the others are shared."""
    return keras.models.clone_model(network, clone_function=_replacement, recursive=True)


def _replacement(layer: Any) -> Any:
    # Exact types: a subclass may compute something else.
    if type(layer) is keras.layers.MaxPooling3D:
        return PlanarPooling3D(layer, tf.nn.max_pool2d)
    if type(layer) is keras.layers.AveragePooling3D:
        return PlanarPooling3D(layer, tf.nn.avg_pool2d)
    if type(layer) is keras.layers.Conv3D and layer.groups == 1:
        return PlanarConv3D(layer)
    if type(layer) is keras.layers.PReLU and len(layer.alpha.shape) == 4:
        return PiecewisePReLU(layer)
    return layer


class PlanarPooling3D(keras.layers.Layer):
    """Maximum or average over boxes: over (y, x) of every slice, then over z of every column.

    Both are separable. So they are at margins of ``same`` padding: what is outside does not
    count, and what is inside is a box.
    """

    def __init__(self, layer: Any, pool: Any) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self._size, self._stride = layer.pool_size, layer.strides
        self._padding = layer.padding.upper()
        self._pool = pool

    def call(self, x: tf.Tensor) -> tf.Tensor:
        channels = x.shape[-1]
        z, *plane = spatial_shape(x)
        slices = tf.reshape(x, (-1, *plane, channels))  # (batch * z, y, x, c)
        slices = self._pool(slices, self._size[1:], self._stride[1:], self._padding)
        rows, width = spatial_shape(slices)
        columns = tf.reshape(slices, (-1, z, rows * width, channels))
        columns = self._pool(columns, (self._size[0], 1), (self._stride[0], 1), self._padding)
        return tf.reshape(columns, (-1, columns.shape[1], rows, width, channels))


class PlanarConv3D(keras.layers.Layer):
    """A 3D convolution as a 2D convolution of all slices.

    Each slice gets its neighbours under the kernel as further channels; the kernel's depth, which
    is how much larger the tensor becomes, is folded into its input channels.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        kernel = layer.kernel.numpy()  # (kz, ky, kx, c, filters)
        self._depth, *plane, channels, filters = kernel.shape
        folded = np.moveaxis(kernel, 0, 2).reshape(*plane, self._depth * channels, filters)
        self.kernel = keras.Variable(folded, trainable=False, name="kernel")
        self.bias = layer.bias
        self._stride, self._dilation = layer.strides, layer.dilation_rate
        self._padding = layer.padding.upper()
        self._activation = layer.activation

    def call(self, x: tf.Tensor) -> tf.Tensor:
        x = self._beside_neighbours(x)  # (batch, z', y, x, kz * c)
        z, *plane = spatial_shape(x)
        y = tf.nn.conv2d(
            tf.reshape(x, (-1, *plane, x.shape[-1])),
            tf.cast(tf.convert_to_tensor(self.kernel), x.dtype),
            self._stride[1:],
            self._padding,
            dilations=self._dilation[1:],
        )
        if self.bias is not None:
            y = tf.nn.bias_add(y, tf.cast(tf.convert_to_tensor(self.bias), y.dtype))
        y = tf.reshape(y, (-1, z, *spatial_shape(y), y.shape[-1]))
        return self._activation(y)

    def _beside_neighbours(self, x: tf.Tensor) -> tf.Tensor:
        stride, reach = self._stride[0], (self._depth - 1) * self._dilation[0]
        if self._padding == "SAME":
            # TensorFlow's rule: as many outputs as strides fit, the odd voxel behind.
            outside = max((-(-x.shape[1] // stride) - 1) * stride + reach + 1 - x.shape[1], 0)
            margins = (outside // 2, outside - outside // 2)
            x = tf.pad(x, [(0, 0), margins, (0, 0), (0, 0), (0, 0)])
        last = x.shape[1] - reach
        taps = range(0, reach + 1, self._dilation[0])
        return tf.concat([x[:, tap : tap + last : stride] for tap in taps], -1)


class PiecewisePReLU(keras.layers.Layer):
    """max(x, 0) + alpha * min(x, 0).

    Keras' way to write it is taken for TensorFlow Lite's PReLU, which ends at 2D.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.alpha = layer.alpha

    def call(self, x: tf.Tensor) -> tf.Tensor:
        alpha = tf.cast(tf.convert_to_tensor(self.alpha), x.dtype)
        return tf.maximum(x, 0) + alpha * tf.minimum(x, 0)
