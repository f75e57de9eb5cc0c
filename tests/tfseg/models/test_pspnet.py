"""PSPNet: counts of the paper's form, feature size, context."""

import keras
import numpy as np
import pytest

from tfseg.models import build


def without_numbers(*args, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build("pspnet", *args, **options)


@pytest.mark.parametrize(
    ("backbone", "auxiliary", "parameters"),
    [
        # Trunk + 4 x (2048 * 512 + 2 * 512) + 9 * 4096 * 512 + 2 * 512 + 512 * 21 + 21;
        # the auxiliary head adds 9 * 1024 * 256 + 2 * 256 + 256 * 21 + 21.
        ("resnet50", False, 23_508_032 + 4 * 1_049_600 + 18_875_392 + 10_773),
        ("resnet50", True, 48_957_802),
        ("resnet101", False, 65_584_725),
        ("resnet101", True, 67_949_930),
    ],
)
def test_paper_form(backbone, auxiliary, parameters):
    model = without_numbers(
        (473, 473, 3), 21, faithful=True, backbone=backbone, auxiliary=auxiliary
    )
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == parameters
    assert model.get_layer("pyramid_concat").output.shape == (None, 60, 60, 4096)
    assert [output.shape for output in model.outputs] == [(None, 473, 473, 21)] * (1 + auxiliary)


def test_two_ways_to_the_same_count():
    assert 23_508_032 + 4 * 1_049_600 + 18_875_392 + 10_773 == 46_592_597
    assert 46_592_597 + 9 * 1024 * 256 + 2 * 256 + 256 * 21 + 21 == 48_957_802


def test_a_given_option_wins_over_the_paper():
    model = without_numbers((64, 64, 1), 2, faithful=True, base_filters=4, bins=(1, 2))
    assert model.get_layer("pyramid_concat").output.shape[-1] == 4 * 8 * 4 * 2


@pytest.mark.parametrize("rank", [2, 3])
def test_the_pyramid_sees_the_whole_image(rank):
    """A change in one corner reaches the opposite one, which no convolution here could do."""
    size = 32
    model = build("pspnet", (size,) * rank + (1,), 2, base_filters=2, norm="none", auxiliary=False)
    image = np.random.default_rng(0).normal(size=(1, *(size,) * rank, 1)).astype(np.float32)
    changed = image.copy()
    changed[(0, *(slice(0, 4),) * rank)] += 20
    corner = (0, *(-1,) * rank)
    assert not np.allclose(model(image)[corner], model(changed)[corner], atol=1e-6)


@pytest.mark.parametrize(
    ("backbone", "parameters"), [("resnet50", 35_322_218), ("resnet101", 54_314_346)]
)
def test_without_a_pyramid_it_is_the_published_dilated_fcn(backbone, parameters):
    """torchvision's fcn_resnet50 and 101: a 512-channel head on the map of 2048, and the aux."""
    model = without_numbers((473, 473, 3), 21, faithful=True, backbone=backbone, bins=())
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == parameters


def test_the_pyramid_may_take_maxima():
    """As many weights; each cell is the largest value of its voxels."""
    options = {"backbone": "resnet18", "base_filters": 4, "auxiliary": False}
    average, largest = (
        build("pspnet", (24, 24, 1), 2, pooling=p, **options) for p in ("average", "max")
    )
    assert [w.path for w in average.weights] == [w.path for w in largest.weights]
    cell = largest.get_layer("pyramid_pool1")
    seen = keras.Model(largest.input, [cell.input, cell.output])
    deep, pooled = seen(np.random.default_rng(0).normal(size=(1, 24, 24, 1)).astype(np.float32))
    np.testing.assert_array_equal(pooled[0, 0, 0], np.max(deep, axis=(0, 1, 2)))
