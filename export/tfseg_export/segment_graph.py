"""The whole way from a raw volume to its label map as one TensorFlow graph.

This is the in-graph form of :mod:`tfseg.preprocess` and :mod:`tfseg.inference.sliding`: the same
formulas, in the same order, from stock TensorFlow operations alone, so that any TF-Serving
client can use it. A test holds the two together.

Memory is bounded by one slab, not by the volume. With window (pz, py, px), working grid
(nz, ny, nx), source grid (sz, sy, sx) and k classes, the graph holds, beside its input and its
output, a few copies of (pz, ny, nx, k) and one slice (sy, sx, k); where the plan has steps on
intensities, also the volume after them:

* windows are visited in order of z, then y, then x, and add up into the slab's accumulator;
* what the next slab no longer touches is final: its slices are interpolated back to the source
  grid one by one, reduced to labels and forgotten;
* what the next slab still touches is carried over to it, and so is the last final slice, so
  that interpolation along z has no seam.

A slab of many classes on large planes is larger than any memory: 128 x 512 x 512 x 105 classes are
14 GB. Where it would exceed ``MAX_SLAB_BYTES`` the volume is cut into tiles along y and x, each
done by itself. Windows that reach over a cut are asked for each of its tiles, so labels are the
same, bit for bit. No tile is cut narrower than half a window, so that with the windows it shares
with its neighbours even the narrowest may be nearly three windows wide.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfseg.plan import Plan
from tfseg.preprocess.resample import ANISOTROPIC
from tfseg_export.axes_graph import Axis, whole_axis
from tfseg_export.normalise_graph import normaliser
from tfseg_export.resample_graph import cubic_taps, interpolate, linear_taps
from tfseg_export.steps_graph import after_steps

# As in tfseg.preprocess.resample: spacings that differ by less are the same.
_SAME_SPACING = 1e-3

# A working grid of more voxels overflows the 32-bit sizes inside TensorFlow's kernels. Only a
# wrong spacing asks for it: 10 m voxels, say, where millimetres were meant.
MAX_WORKING_VOXELS = 2**31 - 1

# Probabilities that are added up at a time. A plan of 128^3 voxels and 32 classes keeps below it
# on planes of 512 x 512.
MAX_SLAB_BYTES = 2**32

Network = Callable[[tf.Tensor], tf.Tensor]


class SegmentGraph(tf.Module):
    """Whole-volume segmentation around a window classifier.

    Attributes:
        segment: ``tf.function`` (volume, spacing_mm) -> {"labels"}:
            volume: float32 (z, y, x, c), raw intensities in canonical orientation (axes to
                Superior, Posterior, Left); any size. For a 2D network z counts images.
            spacing_mm: float32 (3,), voxel size (z, y, x); read only if the plan has a spacing.
            labels: uint8 (z, y, x), on the volume's own grid.

    Raises (when called):
        tf.errors.InvalidArgumentError: another rank or channel count, an empty axis, NaN or
            infinite voxels, a spacing that is not positive or asks for a huge working grid.
    """

    def __init__(
        self, network: Network, plan: Plan, *, max_slab_bytes: int = MAX_SLAB_BYTES
    ) -> None:
        """Trace nothing yet.

        Args:
            network: float32 window (1, [pz,] py, px, c) -> class probabilities
                (1, [pz,] py, px, k).
            plan: what was used in training.
            max_slab_bytes: a volume whose slab of probabilities is larger is cut into tiles.
        """
        super().__init__(name="segment")
        self._plan = plan
        # A 2D network sees one slice at a time: a window of one voxel along z.
        self._window = (1, *plan.patch_size) if plan.dims == 2 else plan.patch_size
        self._network = network
        self._max_slab_bytes = max_slab_bytes
        self.segment = tf.function(
            self._segment,
            input_signature=[
                tf.TensorSpec((None, None, None, len(plan.channels)), tf.float32, name="volume"),
                tf.TensorSpec((3,), tf.float32, name="spacing_mm"),
            ],
            autograph=False,
        )

    def _segment(self, volume: tf.Tensor, spacing_mm: tf.Tensor) -> dict[str, tf.Tensor]:
        volume, spacing_mm = self._checked(volume, spacing_mm)
        axes = self._axes(tf.shape(volume)[:3], spacing_mm)
        volume = after_steps(self._plan, volume)
        normalise = normaliser(self._plan, volume)
        z, y, x = axes
        rows, columns = self._tiles(y, x)

        def tile(number: tf.Tensor, tiles: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            parts = y.part(number // columns, rows), x.part(number % columns, columns)
            return number + 1, tiles.write(number, self._tile(volume, (z, *parts), normalise))

        count = rows * columns
        _, tiles = tf.while_loop(
            lambda number, _: number < count,
            tile,
            (
                tf.constant(0),
                tf.TensorArray(
                    tf.uint8, size=count, element_shape=(None, None, None), infer_shape=False
                ),
            ),
            parallel_iterations=1,
        )
        return {"labels": _joined(tiles, rows, columns)}

    def _tiles(self, y: Axis, x: Axis) -> tuple[tf.Tensor, tf.Tensor]:
        """Return into how many rows and columns of tiles the volume is cut, () int32 each."""
        voxel_bytes = 4.0 * self._window[0] * self._plan.num_classes
        most_y, most_x = y.most_parts(), x.most_parts()

        def too_big(count: tf.Tensor) -> tf.Tensor:
            sides = y.widest(tf.minimum(count, most_y)), x.widest(tf.minimum(count, most_x))
            area = tf.cast(sides[0], tf.float64) * tf.cast(sides[1], tf.float64)
            small = count < tf.maximum(most_y, most_x)
            return tf.logical_and(small, area * voxel_bytes > self._max_slab_bytes)

        (count,) = tf.while_loop(too_big, lambda count: (count + 1,), (tf.constant(1),))
        return tf.minimum(count, most_y), tf.minimum(count, most_x)

    def _tile(
        self, volume: tf.Tensor, axes: tuple[Axis, Axis, Axis], normalise: Network
    ) -> tf.Tensor:
        """Return the labels of a part of the volume, uint8 (z, y, x) of the axes' sources."""
        z, y, x = axes
        classes = self._plan.num_classes
        count = tf.size(z.windows.starts)
        labels = tf.TensorArray(
            tf.uint8, size=z.source, element_shape=(None, None), infer_shape=False
        )

        def slab(
            index: tf.Tensor,
            carry: tf.Tensor,
            last: tf.Tensor,
            written: tf.Tensor,
            labels: tf.TensorArray,
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.TensorArray]:
            image = self._working_slab(volume, axes, normalise, index)
            blended = self._blend(image, axes, index, carry)

            start = z.windows.starts[index]
            following = tf.concat([z.windows.starts, [z.windows.padded]], 0)[index + 1]
            carry = blended[following - start :]
            # Final slices, without the padding: working slices [begin, end).
            begin = tf.maximum(start - z.windows.before, 0)
            end = tf.minimum(following - z.windows.before, z.working)
            first = begin + z.windows.before - start
            chunk = blended[
                first : first + end - begin,
                y.kept[0] : y.kept[0] + y.kept[1],
                x.kept[0] : x.kept[0] + x.kept[1],
            ]
            chunk = tf.concat([last, chunk], 0)  # (kept + end - begin, ny, nx, k)
            # Source slices whose upper neighbour is final can be written now.
            ready = tf.math.count_nonzero(z.back.others[0] < end, dtype=tf.int32)
            labels = _write_labels(labels, chunk, end - tf.shape(chunk)[0], axes, written, ready)
            return index + 1, carry, chunk[-1:], ready, labels

        _, _, _, _, labels = tf.while_loop(
            lambda index, *_: index < count,
            slab,
            (
                tf.constant(0),
                tf.zeros((0, y.windows.padded, x.windows.padded, classes)),
                tf.zeros((0, y.kept[1], x.kept[1], classes)),
                tf.constant(0),
                labels,
            ),
            shape_invariants=(
                tf.TensorShape(()),
                tf.TensorShape((None, None, None, classes)),
                tf.TensorShape((None, None, None, classes)),
                tf.TensorShape(()),
                tf.TensorShape(None),
            ),
            parallel_iterations=1,
        )
        return labels.stack()

    def _checked(self, volume: tf.Tensor, spacing_mm: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        channels = len(self._plan.channels)
        # A server feeds what the client sent, whatever the signature says, and the optimiser
        # folds checks of shapes it believes static: look at the inputs as if nothing was known.
        volume = tf.raw_ops.PlaceholderWithDefault(input=volume, shape=tf.TensorShape(None))
        spacing_mm = tf.raw_ops.PlaceholderWithDefault(input=spacing_mm, shape=tf.TensorShape(None))
        shape, sizes = tf.shape(volume), tf.shape(spacing_mm)
        names = ", ".join(channel.name for channel in self._plan.channels)
        right_shape = tf.logical_and(
            tf.equal(tf.size(shape), 4),
            tf.logical_and(tf.equal(shape[-1], channels), tf.reduce_all(shape > 0)),
        )
        right_spacing = tf.logical_and(
            tf.reduce_all(tf.equal(tf.concat([sizes, [3]], 0)[:2], [3, 3])),
            tf.reduce_all(tf.logical_and(spacing_mm > 0, tf.math.is_finite(spacing_mm))),
        )
        checks = [
            tf.debugging.Assert(
                right_shape,
                [
                    "volume must be (z, y, x, c) with no empty axis and "
                    f"c = {channels} channels ({names}); got shape",
                    shape,
                ],
                summarize=8,
            ),
            tf.debugging.Assert(
                right_spacing,
                ["spacing_mm must be 3 positive sizes (z, y, x) in mm; got", spacing_mm],
                summarize=8,
            ),
        ]
        with tf.control_dependencies(checks):
            volume = tf.ensure_shape(tf.identity(volume), (None, None, None, channels))
            spacing_mm = tf.ensure_shape(tf.identity(spacing_mm), (3,))
        return volume, spacing_mm

    def _axes(self, source: tf.Tensor, spacing_mm: tf.Tensor) -> tuple[Axis, Axis, Axis]:
        working = self._working_sizes(source, spacing_mm)
        too_coarse = spacing_mm > ANISOTROPIC * tf.reduce_min(spacing_mm)
        axes = []
        for axis, size in enumerate(self._window):
            n_source, n_working = source[axis], working[axis]
            if self._plan.interpolation == "cubic":
                forth = cubic_taps(n_source, n_working, too_coarse[axis])
            else:
                forth = linear_taps(n_source, n_working)
            axes.append(whole_axis(n_source, n_working, forth, size, self._plan.overlap))
        return axes[0], axes[1], axes[2]

    def _working_sizes(self, source: tf.Tensor, spacing_mm: tf.Tensor) -> tf.Tensor:
        """Return the working grid's size, (3,) int32."""
        if self._plan.spacing_mm is None:
            return source
        resampled = len(self._plan.spacing_mm)  # the last two axes for a 2D network
        kept = source[: 3 - resampled]
        sizes = tf.cast(source[3 - resampled :], tf.float64)
        ratio = tf.cast(spacing_mm[3 - resampled :], tf.float64) / self._plan.spacing_mm
        wanted = tf.maximum(tf.round(sizes * ratio), 1)  # tf.round rounds half to even
        wanted = tf.where(tf.abs(ratio - 1) < _SAME_SPACING, sizes, wanted)
        voxels = tf.reduce_prod(wanted) * tf.cast(tf.reduce_prod(kept), tf.float64)
        possible = tf.debugging.Assert(
            voxels <= MAX_WORKING_VOXELS,
            [
                f"spacing_mm resampled to {self._plan.spacing_mm} mm makes more than "
                f"{MAX_WORKING_VOXELS} voxels; is it in millimetres? got",
                spacing_mm,
            ],
            summarize=8,
        )
        with tf.control_dependencies([possible]):
            return tf.concat([kept, tf.cast(wanted, tf.int32)], 0)

    def _working_slab(
        self,
        volume: tf.Tensor,
        axes: tuple[Axis, Axis, Axis],
        normalise: Network,
        index: tf.Tensor,
    ) -> tf.Tensor:
        """Return slab ``index`` of the padded working grid, (pz, padded y, padded x, c)."""
        z, y, x = axes
        size = z.windows.size
        start = z.windows.starts[index] - z.windows.before
        begin, end = tf.maximum(start, 0), tf.minimum(start + size, z.working)
        taps, lowest, highest = z.forth.part(begin, end)
        part = normalise(
            volume[
                lowest : highest + 1,
                y.read[0] : y.read[1] + 1,
                x.read[0] : x.read[1] + 1,
            ]
        )
        for axis, along in enumerate((taps, y.forth, x.forth)):
            part = interpolate(part, along, axis)
        margins = [
            (begin - start, start + size - end),
            *((a.windows.before, a.windows.padded - a.working - a.windows.before) for a in (y, x)),
            (0, 0),
        ]
        return tf.ensure_shape(tf.pad(part, margins), (size, None, None, part.shape[-1]))

    def _blend(
        self,
        image: tf.Tensor,
        axes: tuple[Axis, Axis, Axis],
        index: tf.Tensor,
        carry: tf.Tensor,
    ) -> tf.Tensor:
        """Return weighted probabilities of slab ``index``, (pz, padded y, padded x, k).

        ``carry`` (fewer z, padded y, padded x, k) is what earlier slabs contributed to it.
        """
        z, y, x = axes
        pz, py, px = self._window
        channels, classes = len(self._plan.channels), self._plan.num_classes
        columns = tf.size(x.windows.starts)
        count = tf.size(y.windows.starts) * columns
        weight_z = z.windows.weights[index][:, tf.newaxis, tf.newaxis, tf.newaxis]

        def window(number: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            row, column = number // columns, number % columns
            y0, x0 = y.windows.starts[row], x.windows.starts[column]
            patch = tf.slice(image, [0, y0, x0, 0], [pz, py, px, channels])
            batch = patch if self._plan.dims == 2 else patch[tf.newaxis]
            scores = tf.reshape(self._network(batch), (pz, py, px, classes))
            weight = (
                weight_z
                * y.windows.weights[row][:, tf.newaxis, tf.newaxis]
                * x.windows.weights[column][:, tf.newaxis]
            )
            begin, end = [0, y0, x0, 0], [pz, y0 + py, x0 + px, classes]
            steps = [1, 1, 1, 1]
            value = tf.strided_slice(total, begin, end, steps) + scores * weight
            # Works in place: the accumulator has no other reader left by now.
            total = tf.raw_ops.TensorStridedSliceUpdate(
                input=total, begin=begin, end=end, strides=steps, value=value
            )
            return number + 1, total

        fresh = pz - tf.shape(carry)[0]
        total = tf.pad(carry, [(0, fresh), (0, 0), (0, 0), (0, 0)])
        total = tf.ensure_shape(total, (pz, None, None, classes))
        _, total = tf.while_loop(
            lambda number, _: number < count,
            window,
            (tf.constant(0), total),
            parallel_iterations=1,
        )
        return total


def _joined(tiles: tf.TensorArray, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Return the labels (z, y, x) of all tiles, which lie row by row."""
    shape = tf.TensorShape((None, None, None))

    def strip(row: tf.Tensor) -> tf.Tensor:
        _, joined = tf.while_loop(
            lambda column, _: column < columns,
            lambda column, so_far: (
                column + 1,
                tf.concat([so_far, tiles.read(row * columns + column)], 2),
            ),
            (tf.constant(1), tiles.read(row * columns)),
            shape_invariants=(tf.TensorShape(()), shape),
            parallel_iterations=1,
        )
        return joined

    _, labels = tf.while_loop(
        lambda row, _: row < rows,
        lambda row, so_far: (row + 1, tf.concat([so_far, strip(row)], 1)),
        (tf.constant(1), strip(tf.constant(0))),
        shape_invariants=(tf.TensorShape(()), shape),
        parallel_iterations=1,
    )
    return labels


def _write_labels(
    labels: tf.TensorArray,
    chunk: tf.Tensor,
    first: tf.Tensor,
    axes: tuple[Axis, Axis, Axis],
    begin: tf.Tensor,
    end: tf.Tensor,
) -> tf.TensorArray:
    """Write source slices [begin, end); ``chunk`` (n, ny, nx, k) starts at slice ``first``."""
    z, y, x = axes

    def write(index: tf.Tensor, labels: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        low = chunk[z.back.first[index] - first]  # (ny, nx, k)
        high = chunk[z.back.others[0, index] - first]
        plane = low + (high - low) * z.back.weights[0, index]
        plane = interpolate(interpolate(plane, y.back, 0), x.back, 1)  # (sy, sx, k)
        winner = tf.argmax(plane, axis=-1, output_type=tf.int32)  # the first of equals
        return index + 1, labels.write(index, tf.cast(winner, tf.uint8))

    _, labels = tf.while_loop(
        lambda index, _: index < end, write, (begin, labels), parallel_iterations=1
    )
    return labels
