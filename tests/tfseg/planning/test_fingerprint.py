"""The fingerprint of synthetic data sets, by hand."""

import numpy as np
import pytest

from tfseg.datasets import open_dataset
from tfseg.errors import DataError
from tfseg.planning import take_fingerprint


def case(shape, spacing, value, box):
    image = np.full(shape, -1000, np.int16)
    label = np.zeros(shape, np.uint8)
    label[box] = 1
    image[box] = value
    return image, label, spacing


def test_sizes_spacings_and_foreground(write_msd):
    root = write_msd(
        [
            case((4, 6, 8), (3.0, 1.0, 1.0), 40, np.s_[1:3, 2:4, 2:5]),
            case((5, 6, 7), (2.0, 0.5, 0.5), 60, np.s_[0:1, 0:1, 0:2]),
        ]
    )
    dataset = open_dataset(root)
    seen = []

    def progress(cases):
        for item in cases:
            seen.append(item.id)
            yield item

    fingerprint = take_fingerprint(dataset, dataset.cases, progress)
    assert seen == ["case_0", "case_1"]
    assert fingerprint.shapes.tolist() == [[4, 6, 8], [5, 6, 7]]
    np.testing.assert_allclose(fingerprint.spacings_mm, [[3, 1, 1], [2, 0.5, 0.5]], rtol=1e-6)
    assert fingerprint.foreground.shape == (12 + 2, 1)
    assert sorted(fingerprint.foreground[:, 0]) == [40] * 12 + [60] * 2


def test_large_foregrounds_are_sampled_and_cases_weigh_alike(write_msd):
    image = np.arange(40 * 40 * 40, dtype=np.float32).reshape(40, 40, 40)
    cases = [(image + shift, np.ones(image.shape, np.uint8), (1, 1, 1)) for shift in (0, 100_000)]
    dataset = open_dataset(write_msd(cases))
    first, second = (take_fingerprint(dataset, dataset.cases).foreground[:, 0] for _ in range(2))
    assert len(first) == 40_000
    assert (first >= 100_000).sum() == 20_000
    assert len(set(first)) == 40_000
    np.testing.assert_array_equal(first, second)


def test_channels_stay_apart(write_msd):
    image = np.stack([np.full((4, 4, 4), 1), np.full((4, 4, 4), 2)], axis=-1).astype(np.int16)
    dataset = open_dataset(
        write_msd([(image, np.ones((4, 4, 4), np.uint8), (1, 1, 1))], modalities=("T1", "T2"))
    )
    foreground = take_fingerprint(dataset, dataset.cases).foreground
    assert foreground.shape == (64, 2)
    assert np.unique(foreground, axis=0).tolist() == [[1, 2]]


@pytest.mark.parametrize("count", [0, 2])
def test_no_foreground_is_refused(write_msd, count):
    empty = (np.zeros((4, 4, 4), np.int16), np.zeros((4, 4, 4), np.uint8), (1, 1, 1))
    dataset = open_dataset(write_msd([empty] * max(1, count), labels=("background", "liver")))
    with pytest.raises(DataError, match=r"no case has a foreground voxel.*at least one of: liver"):
        take_fingerprint(dataset, dataset.cases[:count])
