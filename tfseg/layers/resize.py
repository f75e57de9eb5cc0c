"""Linear resizing and cropping to another tensor's size, in 2D and 3D."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfseg.layers.shape import rank_of, spatial_shape


@keras.saving.register_keras_serializable("tfseg")
class LinearResize(keras.layers.Layer):
    """Resize ``inputs[0]`` (batch, [z,] y, x, c) to the spatial size of ``inputs[1]``.

    Bilinear or trilinear with half-pixel centres (``align_corners=False``), no anti-aliasing:
    the convention of ``tf.image.resize``, ONNX ``half_pixel`` and PyTorch's default. In 3D the
    three axes are separable: first y and x of every slice, then z, with 2D resizes only, so
    that every exporter can take it. Computed in float32.
    """

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        x, reference = inputs
        size = spatial_shape(reference)
        # Compare known sizes only: `2 == tensor` is a tensor, which a graph cannot branch on.
        known = tuple(reference.shape[1:-1])
        if None not in known and tuple(x.shape[1:-1]) == known:
            return x
        return linear_resize(x, size)

    def compute_output_shape(self, input_shape: Any) -> Any:
        x, reference = input_shape
        return (x[0], *reference[1:-1], x[-1])


def linear_resize(x: tf.Tensor, size: list[Any]) -> tf.Tensor:
    """Resize (batch, [z,] y, x, c) to ``size``, as :class:`LinearResize` describes."""
    wide = tf.cast(x, tf.float32)
    channels = x.shape[-1]
    if rank_of(x) == 2:
        return tf.cast(tf.image.resize(wide, size), x.dtype)
    z, y, x_size = spatial_shape(x)
    slices = tf.reshape(wide, (-1, y, x_size, channels))
    slices = tf.image.resize(slices, size[1:])
    columns = tf.reshape(slices, (-1, z, size[1] * size[2], channels))
    columns = tf.image.resize(columns, (size[0], size[1] * size[2]))
    resized = tf.reshape(columns, (-1, *size, channels))
    return tf.cast(resized, x.dtype)


@keras.saving.register_keras_serializable("tfseg")
class CropLike(keras.layers.Layer):
    """Cut the centre of ``inputs[0]`` to the spatial size of ``inputs[1]``."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        x, reference = inputs
        cuts = [slice(None)]
        for have, want in zip(spatial_shape(x), spatial_shape(reference), strict=True):
            start = (have - want) // 2
            cuts.append(slice(start, start + want))
        return x[tuple(cuts)]

    def compute_output_shape(self, input_shape: Any) -> Any:
        x, reference = input_shape
        return (x[0], *reference[1:-1], x[-1])


def resize_like(x: Any, reference: Any, *, dtype: str | None = None, name: str) -> Any:
    """Resize ``x`` linearly to the spatial size of ``reference``, in ``dtype`` if given."""
    return LinearResize(dtype=dtype, name=name)([x, reference])


def crop_and_concat(skip: Any, x: Any, *, crop: bool, name: str) -> Any:
    """Concatenate ``skip``, centre-cropped to ``x`` where ``crop`` says so, and ``x``."""
    if crop:
        skip = CropLike(name=f"{name}_crop")([skip, x])
    return keras.layers.Concatenate(name=f"{name}_concat")([skip, x])
