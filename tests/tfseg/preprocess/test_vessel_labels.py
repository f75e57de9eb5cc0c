"""Five classes of vessels and back."""

import numpy as np
import pytest
from scipy import ndimage

from tfseg.errors import ConfigError, DataError
from tfseg.preprocess.vessel_labels import expand_vessels, vessel_probability, vessels_of


def test_a_thick_and_a_thin_vessel_by_hand():
    """Rows 2 to 6 are thick, row 11 is thin; both run through the whole image."""
    mask = np.zeros((14, 9), np.uint8)
    mask[2:7] = mask[11] = 1
    expected = np.array([0, 1, 3, 3, 3, 3, 3, 1, 0, 0, 2, 4, 2, 0])
    np.testing.assert_array_equal(expand_vessels(mask), np.repeat(expected[:, None], 9, 1))


def test_where_bands_meet_the_thick_one_wins():
    mask = np.zeros((12, 9), bool)
    mask[1:6] = mask[7] = True
    assert expand_vessels(mask)[:, 4].tolist() == [1, 3, 3, 3, 3, 3, 1, 4, 2, 0, 0, 0]


@pytest.mark.parametrize("size", [(40, 30), (12, 14, 16)])
@pytest.mark.parametrize(("radius", "band"), [(1, 1), (2, 1), (2, 3)])
def test_there_and_back_gives_the_mask(size, radius, band):
    rng = np.random.default_rng(0)
    mask = ndimage.gaussian_filter(rng.normal(size=size), 1.5) > 0.05
    labels = expand_vessels(mask, radius_vox=radius, band_vox=band)
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(vessels_of(labels), mask)
    # Every band voxel is near a vessel of its kind, every other background voxel is not.
    for vessel, around in [(3, 1), (4, 2)]:
        if (labels == around).any():
            distance = ndimage.distance_transform_edt(labels != vessel)
            assert (distance[labels == around] <= band).all()
    distance = ndimage.distance_transform_edt(~mask)
    assert (distance[labels == 0] > band).all()


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (1, 3)])
def test_nothing_and_everything(value, expected):
    labels = expand_vessels(np.full((6, 7), value, np.uint8))
    np.testing.assert_array_equal(labels, expected)


def test_the_probability_of_a_vessel_is_that_of_both_kinds():
    probabilities = np.array([[0.1, 0.2, 0.3, 0.15, 0.25], [1, 0, 0, 0, 0]])
    np.testing.assert_allclose(vessel_probability(probabilities), [0.4, 0])
    with pytest.raises(ConfigError, match=r"must have 5 classes .* got shape \(3, 2\)"):
        vessel_probability(np.zeros((3, 2)))


def test_bad_masks_and_sizes():
    with pytest.raises(DataError, match="must hold 0 and 1 only; got 0 to 255"):
        expand_vessels(np.array([[0, 255]]))
    with pytest.raises(ConfigError, match="must be at least 1; got 0 and 1"):
        expand_vessels(np.zeros((4, 4)), radius_vox=0)
