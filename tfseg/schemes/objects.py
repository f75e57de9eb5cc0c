"""The objects of a label map: what a detector learns to find."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def find_objects(
    labels: NDArray[np.integer], most: int, *, merged: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int32]]:
    """Return the connected components of each label, largest first.

    Voxels that share a face are connected. A component that the map's border cuts is an object
    of its own, as far as it is seen.

    Args:
        labels: ([z,] y, x), 0 is the background.
        most: components that are returned, 1 to 255; smaller ones are left out.
        merged: components of all labels together, as one class.

    Returns:
        The number of each voxel's object from 1 on, ([z,] y, x), 0 where there is none; the
        boxes around the objects, (most, 2 * rank) in voxels, low and high corner, see
        :mod:`tfseg.layers.boxes`; their labels, (most,), with ``merged`` 1. Rows past the last
        object are 0.
    """
    values = [1] if merged else [int(value) for value in np.unique(labels) if value]
    found = []
    for value in values:
        pieces, count = ndimage.label(labels > 0 if merged else labels == value)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
        for number, where in enumerate(ndimage.find_objects(pieces), start=1):
            found.append((int(sizes[number - 1]), value, where, pieces[where] == number))
    found.sort(key=lambda entry: -entry[0])

    numbers = np.zeros(labels.shape, np.uint8)
    boxes = np.zeros((most, 2 * labels.ndim), np.float32)
    classes = np.zeros(most, np.int32)
    for index, (_, value, where, inside) in enumerate(found[:most]):
        numbers[where][inside] = index + 1
        boxes[index] = [part.start for part in where] + [part.stop for part in where]
        classes[index] = value
    return numbers, boxes, classes
