"""Reading boxes from maps and drawing masks into images, against SciPy and loops."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates

from tfseg.layers import RoiAlign
from tfseg.layers.roi_align import fill_boxes, paste_masks, pool_boxes

BOXES = {
    2: [[0.0, 0, 7, 9], [1.5, 2.25, 4, 8], [3, 3, 3.5, 3.2], [5, 0, 7, 9]],
    3: [[0.0, 0, 0, 5, 7, 9], [1.5, 2.25, 0.5, 4, 6, 8], [2, 2, 2, 2.2, 2.5, 3]],
}
SIZE = {2: (7, 9), 3: (5, 7, 9)}


def points_of(box, cells, sampling):
    """Sampling points of every axis, voxel centres at whole numbers."""
    rank = len(box) // 2
    shares = (np.arange(cells * sampling) + 0.5) / (cells * sampling)
    return [box[axis] + (box[rank + axis] - box[axis]) * shares - 0.5 for axis in range(rank)]


def by_scipy(x, box, cells, sampling):
    """Interpolate at every point, then average those of a cell; (cells..., c)."""
    rank = x.ndim - 1
    grid = np.stack(np.meshgrid(*points_of(box, cells, sampling), indexing="ij"))
    read = [map_coordinates(x[..., c], grid, order=1, mode="nearest") for c in range(x.shape[-1])]
    split = np.stack(read, -1).reshape(*(cells, sampling) * rank, x.shape[-1])
    return split.mean(axis=tuple(range(1, 2 * rank, 2)))


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(("cells", "sampling"), [(3, 2), (4, 1)])
def test_against_scipy(rank, cells, sampling):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *SIZE[rank], 3)).astype(np.float32)
    boxes = np.array([BOXES[rank], BOXES[rank][::-1]], np.float32)
    pooled = pool_boxes(tf.constant(x), tf.constant(boxes), cells=cells, sampling=sampling)
    assert pooled.shape == (2, boxes.shape[1], *(cells,) * rank, 3)
    for sample, number in itertools.product(range(2), range(boxes.shape[1])):
        expected = by_scipy(x[sample], boxes[sample, number], cells, sampling)
        np.testing.assert_allclose(pooled[sample, number], expected, atol=1e-5)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_ramp_gives_the_centres_of_the_cells(rank):
    size = (16,) * rank
    ramp = np.stack(np.meshgrid(*[np.arange(16.0) + 0.5] * rank, indexing="ij"), -1)
    box = np.array([2.0, 3, 4][:rank] + [10, 13, 9][:rank], np.float32)
    pooled = RoiAlign(4)([tf.constant(ramp[np.newaxis], tf.float32), box[np.newaxis, np.newaxis]])
    edge = (box[rank:] - box[:rank]) / 4
    expected = np.stack(
        np.meshgrid(*[box[a] + edge[a] * (np.arange(4) + 0.5) for a in range(rank)], indexing="ij"),
        -1,
    )
    assert size == ramp.shape[:-1]
    np.testing.assert_allclose(pooled[0, 0], expected, rtol=1e-5)


def test_each_box_is_read_from_one_level():
    """Levels of strides 4, 8, 16 with values 1, 2, 3; edges of 8 * 14 = 112 and 224 change them."""
    levels = [tf.fill((1, 400 // s, 400 // s, 1), float(v)) for s, v in ((4, 1), (8, 2), (16, 3))]
    edges = [1.0, 111, 113, 223, 225, 399]
    boxes = tf.constant([[[0.0, 0, edge, edge] for edge in edges]])
    pooled = RoiAlign(2, (4, 8, 16))([*levels, boxes])
    np.testing.assert_allclose(pooled[0, :, 0, 0, 0], [1, 1, 2, 2, 3, 3], rtol=1e-6)


def test_sizes_unknown_until_it_runs():
    x, boxes = keras.Input((None, None, 2)), keras.Input((3, 4))
    model = keras.Model([x, boxes], RoiAlign(2, (2,))([x, boxes]))
    image = np.random.default_rng(0).normal(size=(1, 6, 8, 2)).astype(np.float32)
    where = np.array([BOXES[2][:3]], np.float32)
    expected = pool_boxes(tf.constant(image), where / 2, cells=2)
    np.testing.assert_allclose(tf.function(model)([image, where]), expected, atol=1e-6)


@pytest.mark.parametrize("rank", [2, 3])
def test_drawn_masks_against_scipy(rank):
    """Zero around the mask, linear between its cells: SciPy's grid-constant."""
    rng = np.random.default_rng(0)
    masks = rng.uniform(size=(1, 3, *(4,) * rank, 2)).astype(np.float32)
    boxes = np.array([BOXES[rank][:3]], np.float32)
    drawn = paste_masks(tf.constant(masks), tf.constant(boxes), SIZE[rank])
    for number in range(3):
        low, high = boxes[0, number, :rank], boxes[0, number, rank:]
        axes = [
            (np.arange(n) + 0.5 - low[a]) / (high[a] - low[a]) * 4 - 0.5
            for a, n in enumerate(SIZE[rank])
        ]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"))
        for channel in range(2):
            mask = masks[0, number, ..., channel]
            expected = map_coordinates(mask, grid, order=1, mode="grid-constant")
            np.testing.assert_allclose(drawn[0, number, ..., channel], expected, atol=1e-5)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_mask_of_the_boxs_own_grid_comes_back(rank):
    """Pooling with one point a cell, then drawing, changes nothing inside."""
    x = np.random.default_rng(0).normal(size=(1, *(8,) * rank, 1)).astype(np.float32)
    box = tf.constant([[[1.0] * rank + [6.0] * rank]])
    mask = pool_boxes(tf.constant(x), box, cells=5, sampling=1)
    drawn = np.array(paste_masks(mask, box, (8,) * rank))[0, 0]
    inside = (slice(1, 6),) * rank
    np.testing.assert_allclose(drawn[inside], x[0][inside], atol=1e-5)
    drawn[inside] = 0
    np.testing.assert_allclose(drawn, 0, atol=1e-5)


def test_boxes_fill_the_share_of_a_voxel_that_they_cover():
    filled = np.asarray(fill_boxes(tf.constant([[[0.5, 1.0, 2.0, 2.25]]]), (3, 4)))[0, 0]
    expected = np.outer([0.5, 1, 0], [0, 1, 0.25, 0])
    np.testing.assert_allclose(filled, expected)
