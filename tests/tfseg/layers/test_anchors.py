"""Anchors, worked by hand."""

import numpy as np
import pytest

from tfseg.layers.anchors import anchor_shapes, level_anchors


def test_paper_sizes():
    """Scale 8 at stride 4: 32 voxels; ratio 2 is twice as high as wide, of the same area."""
    square, tall = anchor_shapes(4, (8.0,), (1.0, 2.0), 2)
    np.testing.assert_allclose(square, (32, 32))
    np.testing.assert_allclose(tall, (32 * 2**0.5, 32 / 2**0.5))


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
def test_volume_and_ratio(rank, ratio):
    ((first, *others),) = anchor_shapes(8, (3.0,), (ratio,), rank)
    assert first * np.prod(others) == pytest.approx(24**rank)
    assert first / others[-1] == pytest.approx(ratio)
    assert len(set(others)) == 1


def test_places_and_order():
    """A map of 1 x 2 cells of 4 voxels: centres (2, 2) and (2, 6), two shapes each."""
    anchors = level_anchors((1, 2), 4, [(2, 2), (4, 6)])
    expected = [[1, 1, 3, 3], [0, -1, 4, 5], [1, 5, 3, 7], [0, 3, 4, 9]]
    np.testing.assert_array_equal(anchors, expected)


def test_order_is_a_convolutions_in_3d():
    anchors = np.asarray(level_anchors((2, 3, 4), 2, [(2, 2, 2)]))
    centres = ((anchors[:, :3] + anchors[:, 3:]) / 2).reshape(2, 3, 4, 3)
    np.testing.assert_array_equal(centres[1, 2, 3], (3, 5, 7))
    np.testing.assert_array_equal(centres[0, 1, 0], (1, 3, 1))
