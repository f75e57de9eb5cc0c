"""Volume: shapes, geometry and the canonical orientation."""

from __future__ import annotations

import numpy as np
import pytest

from tfseg.errors import DataError
from tfseg.volume import Volume


def test_default_direction_is_canonical() -> None:
    volume = Volume.from_geometry(np.zeros((2, 3, 4)), (5, 2, 1), (10, 20, 30))
    assert volume.spacing_mm == (5, 2, 1)
    assert volume.origin_mm == (10, 20, 30)
    # One step along z, y, x goes to Superior, Posterior, Left: LPS (0,0,5), (0,2,0), (1,0,0).
    assert (volume.affine @ [1, 1, 1, 1])[:3].tolist() == [11, 22, 35]
    assert volume.canonical()[0].array.shape == (2, 3, 4)
    assert np.array_equal(volume.canonical()[0].affine, volume.affine)


def test_channels_and_channel_last() -> None:
    assert Volume.from_geometry(np.zeros((2, 3, 4))).channels == 1
    volume = Volume.from_geometry(np.zeros((2, 3, 4, 5)))
    assert (volume.channels, volume.shape) == (5, (2, 3, 4))
    assert Volume.from_geometry(np.zeros((2, 3, 4))).channel_last().shape == (2, 3, 4, 1)


def test_canonical_turns_a_sagittal_volume_and_back() -> None:
    # Array axes: z to Right, y to Inferior, x to Posterior, as sagittal MR is often stored.
    direction = [[-1, 0, 0], [0, 0, 1], [0, -1, 0]]
    array = np.arange(24).reshape(2, 3, 4)
    volume = Volume.from_geometry(array, (4, 1, 2), direction=direction, modality="MR")
    turned, way = volume.canonical()
    assert turned.shape == (3, 4, 2)
    assert turned.spacing_mm == (1, 2, 4)
    assert turned.modality == "MR"
    # The most superior, anterior, right voxel: y = 0, x = 0, z = 1 (the last, most right).
    assert turned.array[-1, 0, 0] == array[1, 0, 0]
    assert np.array_equal(way.undo(turned.array), array)


def test_with_array_keeps_the_grid() -> None:
    volume = Volume.from_geometry(np.zeros((2, 3, 4)), (5, 2, 1), modality="CT")
    label = volume.with_array(np.ones((2, 3, 4), np.uint8))
    assert label.same_grid(volume)
    assert label.modality == "CT"
    with pytest.raises(DataError, match=r"\(2, 3, 5\) does not fit the grid \(2, 3, 4\)"):
        volume.with_array(np.ones((2, 3, 5)))


@pytest.mark.parametrize("shape", [(3, 4), (1, 2, 3, 4, 5), (0, 3, 4), (2, 3, 4, 0)])
def test_a_volume_has_three_axes_and_voxels(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="no empty axis; got shape"):
        Volume(np.zeros(shape), np.eye(4))
