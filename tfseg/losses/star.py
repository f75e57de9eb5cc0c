"""The star shape prior: seen from an object's centre, nothing changes twice along a ray."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfseg.losses.fields import Fields


def star_shape(f: Fields) -> tf.Tensor:
    """Return the mean over voxels u of sum_v B_uv |p_u - q_u| |q_u - q_v|, (batch,).

    v runs over the voxels nearer to the centre on the digital segment from u to the centroid of
    the true object; B_uv is 1 where both have the same label (1 - |p_u - p_v| for soft targets).
    A class that an image does not have costs nothing there. To be added to a cross-entropy, of
    which the authors take 1 beside 40 of this. Mirikharaji & Hamarneh 2018, arXiv:1806.08437, who
    print the sum over u: ``voxel_reduction="sum"``.

    Time grows with the longest ray times the number of voxels; memory with the voxels only. An
    ignored voxel is neither a u nor a v.

    Args:
        f: targets and probabilities; class 0 does not count unless the settings say so. Every
            class has one centre.
    """
    first = 0 if f.counts_background(default=False) else 1
    counted = tf.ones_like(f.p[..., 0]) if f.valid is None else f.valid
    costs = [tf.zeros_like(counted)] * first + [
        ray_costs(f.p[..., c], f.q[..., c], counted, centroid(f.p[..., c]))
        for c in range(first, f.classes)
    ]
    return f.class_mean(f.class_averages(tf.stack(costs, -1)))


def centroid(p: tf.Tensor) -> tf.Tensor:
    """Return the voxel nearest to the mean place of an object, (batch, rank) int32.

    Args:
        p: (batch, [z,] y, x) membership; where it is 0 throughout, the centre is the first voxel.
    """
    places = tf.cast(_places(p), p.dtype)  # (voxels, rank)
    flat = tf.reshape(p, [tf.shape(p)[0], -1])
    total = tf.reduce_sum(flat, -1, keepdims=True)
    return tf.cast(tf.floor(tf.math.divide_no_nan(flat @ places, total) + 0.5), tf.int32)


def ray_costs(p: tf.Tensor, q: tf.Tensor, counted: tf.Tensor, centre: tf.Tensor) -> tf.Tensor:
    """Return sum_v B_uv |p_u - q_u| |q_u - q_v| of every voxel u, as ``p``.

    Args:
        p: (batch, [z,] y, x) targets of one class.
        q: its probabilities, likewise.
        counted: 1 for the voxels that may be a v, likewise.
        centre: (batch, rank) int32 where all rays end.

    Returns:
        0 in an image where p is 0 throughout.
    """
    shape = tf.shape(p)
    flat = [shape[0], -1]
    present = tf.reduce_max(tf.reshape(p, flat), -1, keepdims=True) > 0
    rays = _Rays(tf.reshape(p, flat), tf.reshape(counted, flat), _places(p), centre, shape[1:])

    def costs(q: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        # The loops' own gradient would keep every step of every ray.
        wrong = tf.abs(rays.p - q)
        apart, sides = rays.differences(q)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            own = upstream * (tf.sign(q - rays.p) * apart + wrong * sides)
            return own - rays.spread(q, upstream * wrong)

        return wrong * apart, gradient

    found = tf.where(present, tf.custom_gradient(costs)(tf.reshape(q, flat)), tf.zeros_like(rays.p))
    return tf.reshape(found, shape)


class _Rays:
    """The digital segments from every voxel to the centre, one voxel of each at a time.

    A segment has as many steps as its longest axis has; step t from the centre lies at
    t / steps of the way, rounded to the nearest voxel, halves away from the centre.
    """

    def __init__(
        self,
        p: tf.Tensor,
        counted: tf.Tensor,
        places: tf.Tensor,
        centre: tf.Tensor,
        size: tf.Tensor,
    ) -> None:
        self.p = p  # (batch, voxels), as all that follow
        self._counted = counted
        self._centre = centre[:, tf.newaxis]  # (batch, 1, rank)
        self._away = places - self._centre  # (batch, voxels, rank)
        self._steps = tf.reduce_max(tf.abs(self._away), -1)
        self._strides = tf.math.cumprod(size, exclusive=True, reverse=True)
        self._longest = tf.reduce_max(self._steps)

    def differences(self, q: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the sums over v of B |q_u - q_v| and of B sign(q_u - q_v)."""

        def add(j: tf.Tensor, apart: tf.Tensor, sides: tf.Tensor) -> tuple[tf.Tensor, ...]:
            _, same, difference = self._at(j, q)
            return j + 1, apart + same * tf.abs(difference), sides + same * tf.sign(difference)

        nothing = tf.zeros_like(q)
        _, apart, sides = self._walk(add, nothing, nothing)
        return apart, sides

    def spread(self, q: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Return, at every v, the sum over u of weight_u B sign(q_u - q_v)."""
        batch, voxels = tf.unstack(tf.shape(q))
        first = (tf.range(batch) * voxels)[:, tf.newaxis]

        def add(j: tf.Tensor, received: tf.Tensor) -> tuple[tf.Tensor, ...]:
            index, same, difference = self._at(j, q)
            sent = weights * same * tf.sign(difference)
            received += tf.math.unsorted_segment_sum(
                tf.reshape(sent, [-1]), tf.reshape(index + first, [-1]), batch * voxels
            )
            return j + 1, received

        _, received = self._walk(add, tf.zeros([batch * voxels], q.dtype))
        return tf.reshape(received, [batch, voxels])

    def _walk(self, body: Callable[..., tuple[tf.Tensor, ...]], *start: tf.Tensor) -> list:
        return tf.while_loop(
            lambda j, *_: j <= self._longest, body, [tf.constant(1), *start], parallel_iterations=1
        )

    def _at(self, j: tf.Tensor, q: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return index, B and q_u - q_v of the voxel v that is j steps nearer than u."""
        steps = tf.maximum(self._steps, 1)[..., tf.newaxis]
        left = tf.maximum(self._steps - j, 0)[..., tf.newaxis]
        # In integers: a float could fall on either side of a half.
        rounded = (2 * tf.abs(self._away) * left + steps) // (2 * steps)
        place = self._centre + tf.sign(self._away) * rounded
        index = tf.reduce_sum(place * self._strides, -1)
        there = tf.gather(tf.stack([self.p, q, self._counted], -1), index, batch_dims=1)
        same = (1 - tf.abs(self.p - there[..., 0])) * there[..., 2]
        same *= tf.cast(self._steps >= j, q.dtype)
        return index, same, q - there[..., 1]


def _places(p: tf.Tensor) -> tf.Tensor:
    """Return the index of every voxel along each axis, (voxels, rank) int32."""
    size = tf.shape(p)[1:]
    rank = len(p.shape) - 1
    grids = tf.meshgrid(*(tf.range(size[axis]) for axis in range(rank)), indexing="ij")
    return tf.reshape(tf.stack(grids, -1), [-1, rank])
