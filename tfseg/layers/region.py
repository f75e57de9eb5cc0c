"""Regions of interest inside a graph: found in logits, cut out, and pasted back.

Windows are found where the network runs, so their place is known at run time only. Cutting and
pasting are linear interpolation, axis by axis, as products with matrices made of the window: every
exporter has those, in 2D and 3D. Where a window has the cut's own size and lies on whole voxels,
both are exact. No gradient flows into a window's place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfseg.layers.shape import rank_of, spatial_shape

# A logit that is shut: exp(-120) is 0 in float32, and a wrongly shut voxel's loss stays readable.
SHUT = -120.0
_NOTHING = 1e-6  # share of the voxels; less counts as no region at all


def region_weight(logits: Any, *, name: str) -> Any:
    """Return how much likelier the region is than the rest: (batch, [z,] y, x, 1) in [0, 1].

    The region is all classes but the first, or the only one. With its probability p, this is
    max(0, 2 p - 1): exactly 0 wherever the rest is as likely or likelier, and without a jump
    there, so that rounding never opens or shuts a voxel. No gradient flows through it.

    Args:
        logits: (batch, [z,] y, x, k).
        name: of the layer.
    """
    if logits.shape[-1] == 1:
        p = keras.layers.Activation("sigmoid", dtype="float32", name=f"{name}_probability")(logits)
        excess = 2.0 * p - 1.0
    else:
        p = keras.layers.Softmax(dtype="float32", name=f"{name}_probability")(logits)
        excess = 1.0 - 2.0 * p[..., :1]
    excess = keras.ops.stop_gradient(excess)
    return keras.layers.ReLU(dtype="float32", name=name)(excess)


@keras.saving.register_keras_serializable("tfseg")
class RegionGate(keras.layers.Layer):
    """Multiply the odds of every foreground class by a region's weight: none outside it.

    Takes [logits (batch, [z,] y, x, k), weight (batch, [z,] y, x, 1) in [0, 1]] and returns
    logits: log(weight) is added to classes 1 to k - 1 (or to the only one), and where the weight
    is 0 they are shut: a softmax gives them exactly 0 in float32. No gradient flows into the
    weight. Computed in float32.
    """

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        logits, weight = inputs
        weight = tf.stop_gradient(tf.cast(weight, tf.float32))
        inside = weight > 0
        odds = tf.math.log(tf.where(inside, weight, tf.ones_like(weight)))
        background, foreground = _split(tf.cast(logits, tf.float32))
        foreground = tf.where(inside, foreground + odds, tf.fill(tf.shape(foreground), SHUT))
        if background is None:
            return foreground
        background = tf.where(inside, background, tf.zeros_like(background))
        return tf.concat([background, foreground], -1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]


class _Cut(keras.layers.Layer):
    """Cut a window out of an image.

    Takes [image (batch, [z,] y, x, c), weight (batch, [z,] y, x, 1)] and returns the cut (batch,
    *size, c) and its window (batch, rank, 2): first edge and length along each axis, in voxels of
    the image from its corner. The weight's grid may be coarser; both cover the same space.

    Args:
        size: of the cut, one number an axis, cut to the image's; ``None`` is ``share`` of the
            image, rounded up.
        multiple: of this many voxels, where ``size`` is ``None``.
        share: of the image's size, in (0, 1].
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        multiple: Sequence[int] | None = None,
        share: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = None if size is None else tuple(size)
        self.multiple = None if multiple is None else tuple(multiple)
        self.share = share

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        image, weight = inputs
        full = spatial_shape(image)
        size = [self._cut_size(axis, extent) for axis, extent in enumerate(full)]
        wide = tf.stop_gradient(tf.cast(weight, tf.float32))
        bounds = []
        for axis, (extent, wanted) in enumerate(zip(full, size, strict=True)):
            others = [other for other in range(1, rank_of(image) + 2) if other != 1 + axis]
            coarse = spatial_shape(weight)[axis]
            step = tf.cast(extent, tf.float32) / tf.cast(coarse, tf.float32)
            first, length = self.window(
                tf.reduce_sum(wide, others),
                tf.reduce_max(wide, others),
                step,
                tf.cast(extent, tf.float32),
                tf.cast(wanted, tf.float32),
            )
            bounds.append(tf.stack([first, length], -1))  # (batch, 2)
        window = tf.stack(bounds, 1)  # (batch, rank, 2)
        cut = tf.cast(image, tf.float32)
        for axis, (extent, wanted) in enumerate(zip(full, size, strict=True)):
            cut = _along(cut, self._matrix(window[:, axis], extent, wanted), axis)
        return tf.cast(cut, image.dtype), window

    def window(
        self, total: tf.Tensor, most: tf.Tensor, step: tf.Tensor, extent: tf.Tensor, size: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return first edge and length along one axis, each (batch,), in voxels.

        Args:
            total: (batch, n) the weight's sum over the other axes.
            most: (batch, n) its maximum over them.
            step: voxels a cell of the weight's grid.
            extent: of the image, in voxels.
            size: of the cut, in voxels.
        """
        raise NotImplementedError

    def _matrix(self, window: tf.Tensor, extent: Any, size: Any) -> tf.Tensor:
        """Return what interpolates one axis: (batch, size, extent)."""
        first, length = window[:, :1], window[:, 1:]
        cell = tf.cast(tf.range(size), tf.float32) + 0.5
        return _hat(first + cell * (length / tf.cast(size, tf.float32)) - 0.5, extent)

    def _cut_size(self, axis: int, extent: Any) -> Any:
        if self.size is not None:
            wanted: Any = self.size[axis]
        else:
            multiple = 1 if self.multiple is None else self.multiple[axis]
            if isinstance(extent, int):
                wanted = multiple * math.ceil(self.share * extent / multiple)
            else:
                cells = tf.math.ceil(self.share * tf.cast(extent, tf.float32) / multiple)
                wanted = multiple * tf.cast(cells, tf.int32)
        return min(wanted, extent) if isinstance(extent, int) else tf.minimum(wanted, extent)

    def compute_output_shape(self, input_shape: Any) -> Any:
        image, _ = input_shape
        size = [
            None if extent is None else self._cut_size(axis, extent)
            for axis, extent in enumerate(image[1:-1])
        ]
        return (image[0], *size, image[-1]), (image[0], len(size), 2)

    def get_config(self) -> dict[str, Any]:
        own = {"size": self.size, "multiple": self.multiple, "share": self.share}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("tfseg")
class CentreCut(_Cut):
    """Cut a window of fixed size around the centre of mass of a weight, whole inside the image.

    The voxels are the image's own. Without any weight the window is in the image's middle, and
    an image that is no larger than the window is taken whole.
    Inputs, outputs and arguments are those of :class:`_Cut`.
    """

    def window(
        self, total: tf.Tensor, most: tf.Tensor, step: tf.Tensor, extent: tf.Tensor, size: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        del most
        cells = tf.cast(tf.range(tf.shape(total)[1]), tf.float32) + 0.5
        mass = tf.reduce_sum(total, 1)
        least = _NOTHING * tf.cast(tf.shape(total)[1], tf.float32)
        moment = tf.reduce_sum(total * cells, 1) * step + least * extent / 2
        centre = moment / (mass + least)
        first = tf.clip_by_value(tf.floor(centre - size / 2 + 0.5), 0.0, extent - size)
        return first, tf.zeros_like(first) + size


@keras.saving.register_keras_serializable("tfseg")
class BoxCut(_Cut):
    """Cut the box around a weight's support, with a margin, and resize it to a fixed size.

    The box is a whole number of the weight's cells, stays inside the image, and is all of it where
    there is no weight. Inputs, outputs and further arguments are those of :class:`_Cut`.

    Args:
        margin: on each side, as a share of the box's edge.
        halo: voxels by which the cut is larger than ``size`` on each side; it shows what lies
            around the box, and past the image its border. For networks without padding, whose
            answers are smaller by as much.
    """

    def __init__(self, *args: Any, margin: float = 0.0, halo: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.margin = margin
        self.halo = halo

    def window(
        self, total: tf.Tensor, most: tf.Tensor, step: tf.Tensor, extent: tf.Tensor, size: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        del total, size
        cells = tf.cast(tf.range(tf.shape(most)[1]), tf.float32)
        last = tf.cast(tf.shape(most)[1], tf.float32)
        there = tf.cast(most > 0, tf.float32)
        low = tf.reduce_min(there * cells + (1 - there) * last, 1)
        high = tf.reduce_max(there * (cells + 1), 1)
        empty = tf.cast(high <= 0, tf.float32)
        low, high = low * (1 - empty), high * (1 - empty) + last * empty
        wider = tf.math.ceil(self.margin * (high - low))
        first = tf.maximum(low - wider, 0.0) * step
        return first, tf.minimum((high + wider) * step, extent) - first

    def _matrix(self, window: tf.Tensor, extent: Any, size: Any) -> tf.Tensor:
        first, length = window[:, :1], window[:, 1:]
        cell = tf.cast(tf.range(size + 2 * self.halo), tf.float32) - self.halo + 0.5
        return _hat(first + cell * (length / tf.cast(size, tf.float32)) - 0.5, extent)

    def compute_output_shape(self, input_shape: Any) -> Any:
        image, window = super().compute_output_shape(input_shape)
        size = [None if extent is None else extent + 2 * self.halo for extent in image[1:-1]]
        return (image[0], *size, image[-1]), window

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin, "halo": self.halo}


@keras.saving.register_keras_serializable("tfseg")
class PasteLogits(keras.layers.Layer):
    """Put the logits of a cut back to where its window was, resized linearly.

    Takes [logits (batch, *size, k), window (batch, rank, 2), others (batch, [z,] y, x, any)] and
    returns (batch, [z,] y, x, k). Computed in float32.

    Args:
        outside: what is around the window: ``others``, then logits of the same classes; or
            ``background``, where all foreground is shut.
    """

    def __init__(self, outside: str = "background", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outside = outside

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        logits, window, others = inputs
        window = tf.stop_gradient(tf.cast(window, tf.float32))
        pasted = tf.cast(logits, tf.float32)
        size = spatial_shape(logits)
        within: Any = None
        for axis, extent in enumerate(spatial_shape(others)):
            first, length = window[:, axis, :1], window[:, axis, 1:]
            place = tf.cast(tf.range(extent), tf.float32) + 0.5 - first  # (batch, extent)
            ratio = tf.cast(size[axis], tf.float32) / length
            pasted = _along(pasted, _hat(place * ratio - 0.5, size[axis]), axis)
            shape = [-1] + [1] * (rank_of(others) + 1)
            shape[1 + axis] = extent
            # On whole voxels, so that a centre is half a voxel from either face.
            inside = tf.cast((place > 0) & (place < length), tf.float32)
            inside = tf.reshape(inside, shape)
            within = inside if within is None else within * inside
        if self.outside == "others":
            return within * pasted + (1 - within) * tf.cast(others, tf.float32)
        background, foreground = _split(pasted)
        foreground = within * foreground + (1 - within) * SHUT
        if background is None:
            return foreground
        return tf.concat([within * background, foreground], -1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        logits, _, others = input_shape
        return (*others[:-1], logits[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "outside": self.outside}


def _split(logits: tf.Tensor) -> tuple[tf.Tensor | None, tf.Tensor]:
    """Return the background's channel and the others; a single one is no background."""
    return (None, logits) if logits.shape[-1] == 1 else (logits[..., :1], logits[..., 1:])


def _hat(place: tf.Tensor, extent: Any) -> tf.Tensor:
    """Return linear interpolation's weights: places (batch, m) of n voxels -> (batch, m, n).

    Past the ends the end voxels go on.
    """
    last = tf.cast(extent, tf.float32) - 1
    place = tf.clip_by_value(place, 0.0, last)
    voxels = tf.cast(tf.range(extent), tf.float32)
    return tf.nn.relu(1.0 - tf.abs(place[..., tf.newaxis] - voxels))


def _along(x: tf.Tensor, matrix: tf.Tensor, axis: int) -> tf.Tensor:
    """Multiply a spatial axis of (batch, [z,] y, x, c) by a (batch, m, n) matrix."""
    sizes, channels = spatial_shape(x), x.shape[-1]
    before, after = sizes[:axis], sizes[axis + 1 :]
    rows = tf.reshape(x, (-1, _product(before), sizes[axis], _product(after) * channels))
    rows = tf.matmul(matrix[:, tf.newaxis], rows)  # (batch, before, m, after * c)
    size = tf.shape(matrix)[1] if matrix.shape[1] is None else matrix.shape[1]
    batch = -1 if x.shape[0] is None else x.shape[0]
    return tf.reshape(rows, (batch, *before, size, *after, channels))


def _product(sizes: Sequence[Any]) -> Any:
    total: Any = 1
    for size in sizes:
        total = total * size
    return total
