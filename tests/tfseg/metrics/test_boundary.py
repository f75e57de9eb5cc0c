"""The surface voxels of label maps, against a search of every voxel's six neighbours."""

import numpy as np
import pytest

from tfseg.metrics.boundary import find_boundary


def brute_surface(labels):
    """Each voxel that has a face to another label or the outside; one-voxel axes do not count."""
    surface = np.zeros_like(labels)
    for index in np.ndindex(*labels.shape):
        beside = []
        for axis, size in enumerate(labels.shape):
            if size == 1:
                continue
            for step in (-1, 1):
                there = list(index)
                there[axis] += step
                inside = 0 <= there[axis] < size
                beside.append(int(labels[tuple(there)]) if inside else -1)
        if not beside or any(label != labels[index] for label in beside):
            surface[index] = labels[index]
    return surface


SHAPES = [(5, 6, 7), (1, 8, 9), (4, 1, 6), (5, 6, 1), (1, 1, 9), (9, 1, 1), (2, 2, 2), (1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_against_brute_force(shape):
    rng = np.random.default_rng(shape)
    for classes in (2, 3, 255):
        # Blocks of equal labels, so that there are insides, too.
        labels = rng.integers(0, classes, shape).repeat(3, -1)[..., : shape[-1]].astype(np.uint8)
        found = find_boundary(labels)
        expected = brute_surface(labels)
        np.testing.assert_array_equal(found.labels, expected)
        np.testing.assert_array_equal(
            found.counts, [0, *((expected == label).sum() for label in range(1, 256))]
        )
        for label in np.unique(expected[expected > 0]):
            where = np.argwhere(expected == label)
            np.testing.assert_array_equal(
                found.boxes[label], np.c_[where.min(axis=0), where.max(axis=0) + 1]
            )


def test_wide_rows():
    """Rows longer than the processor's vectors, with ends that do not fill one."""
    rng = np.random.default_rng(1)
    labels = (rng.random((4, 5, 101)) < 0.9).astype(np.uint8)
    np.testing.assert_array_equal(find_boundary(labels).labels, brute_surface(labels))


def test_a_full_array_has_its_border_as_surface():
    assert find_boundary(np.ones((4, 4, 4), np.uint8)).counts[1] == 64 - 8


def test_touching_labels_are_both_on_the_surface():
    labels = np.array([[[1, 1, 1, 2, 2, 2]]], np.uint8)
    np.testing.assert_array_equal(find_boundary(labels).labels, [[[1, 0, 1, 2, 0, 2]]])
