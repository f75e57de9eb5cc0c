"""U-Net: the paper's figures, and where its poolings and crops put voxels."""

import contextlib

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build, model_config


def without_numbers(*args, **options):
    """Build shapes only, so that 31 million parameters cost nothing."""
    with keras.StatelessScope(initialize_variables=False):
        return build("unet", *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("size", "channels", "classes", "options", "out", "parameters"),
    [
        # Ronneberger et al. 2015, figure 1; the counts follow from its layers:
        # 9 c k^2 + c for a 3x3 convolution, 4 c k + c for an up-convolution.
        (572, 1, 2, {}, 388, 31_030_658),
        (188, 1, 2, {}, 4, 31_030_658),
        (556, 1, 1, {}, 372, 31_030_593),
        # The widely used padded form with batch normalisation and no biases.
        (64, 3, 1, {"norm": "batch", "padding": "same"}, 64, 31_037_633),
        # The baseline of Ibtehaz and Rahman 2019, arXiv:1902.04049.
        (None, 1, 1, {"base_filters": 32}, None, 7_759_521),
    ],
)
def test_published_figures(size, channels, classes, options, out, parameters):
    model = without_numbers((size, size, channels), classes, faithful=True, **options)
    assert model.output_shape == (None, out, out, classes)
    assert trainable(model) == parameters


def test_the_paper_has_23_convolutions_and_dropout_twice():
    model = without_numbers((None, None, 1), 2, faithful=True)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Conv2D") + kinds.count("Conv2DTranspose") == 23
    assert kinds.count("Dropout") == 2
    assert kinds.count("ReLU") == 18


@pytest.mark.parametrize("convs", [1, 2])
def test_evenly_pooled_unpadded_sizes_are_taken(convs):
    """Those that the smallest bottoms lead to, going up: the pooled size doubles exactly."""
    margin = 2 * convs
    expected = [
        ((bottom + margin) * 2 + margin) * 2 + margin
        for bottom in range(1, 20)
        if min(bottom * 2 - margin, (bottom * 2 - margin) * 2 - margin) > 0
    ]
    options = {"padding": "valid", "pooling": "max", "depth": 3, "convs": convs, "base_filters": 1}
    assert taken(range(1, 72), options) == [size for size in expected if size < 72]


@pytest.mark.parametrize("convs", [1, 2])
def test_unpadded_strided_sizes_are_taken_from_the_smallest_that_leaves_a_voxel(convs):
    """A strided 3x3 convolution takes any parity: (n - 3) // 2 + 1."""
    options = {"padding": "valid", "pooling": "stride", "depth": 2, "convs": convs}
    sizes = range(1, 32)
    ends = {size: ((size - 2 * convs - 3) // 2 + 1 - 2 * (convs - 1)) for size in sizes}
    expected = [size for size in sizes if ends[size] > 0 and 2 * ends[size] - 2 * convs > 0]
    assert taken(sizes, {"base_filters": 1, **options}) == expected


def taken(sizes, options):
    """The sizes that are not refused; each of them really builds."""
    accepted = []
    for size in sizes:
        with contextlib.suppress(ConfigError):
            model = without_numbers((size, size, 1), 2, **options)
            assert min(model.outputs[0].shape[1:3]) > 0
            accepted.append(size)
    return accepted


def test_an_unfit_unpadded_size_is_refused_with_one_that_fits():
    with pytest.raises(ConfigError, match=r"depth 5 .* got input size 570\. Use 572\."):
        without_numbers((572, 570, 1), 2, faithful=True)
    # 172 pools evenly but leaves nothing after the last decoder level.
    with pytest.raises(ConfigError, match=r"got input size 172\. Use 188\."):
        without_numbers((172, 188, 1), 2, faithful=True)


@pytest.mark.parametrize(("rank", "size", "shift"), [(2, 64, 8), (3, 44, 4)])
def test_unpadded_tiles_join_without_a_seam(rank, size, shift):
    """Overlap-tile strategy: the answer for a tile is a cut of the answer for the whole image.

    It holds only if the skips are cropped exactly where the up-convolutions lie.
    """
    options = {"faithful": True, "depth": 3, "base_filters": 2, "dropout": 0}
    keras.utils.set_random_seed(1)
    model = build("unet", (None,) * rank + (1,), 2, **options)
    whole = np.random.default_rng(0).normal(size=(1, *(size + shift,) * rank, 1))
    tile = whole[(slice(None), *(slice(shift, None),) * rank)]
    full, part = model(whole.astype(np.float32)), model(tile.astype(np.float32))
    assert part.shape[1] == size - 40
    np.testing.assert_allclose(full[(slice(None), *(slice(shift, None),) * rank)], part, atol=1e-5)


@pytest.mark.parametrize(
    ("strides", "bottom", "divisor"),
    [
        (None, (2, 4, 4), (4, 4, 4)),
        (((1, 2, 2), (2, 2, 2)), (4, 4, 4), (2, 4, 4)),
        (((1, 2, 2), (1, 1, 1)), (8, 8, 8), (1, 2, 2)),
        (((3, 1, 2), (1, 2, 2)), (3, 8, 4), (3, 2, 4)),
    ],
)
@pytest.mark.parametrize("pooling", ["stride", "max"])
def test_strides_per_axis(strides, bottom, divisor, pooling):
    options = {"depth": 3, "base_filters": 2, "strides": strides, "pooling": pooling}
    assert model_config("unet", **options).divisor(3) == divisor
    size = (9, 16, 16) if divisor[0] == 3 else (8, 16, 16)
    model = without_numbers((*size, 1), 2, **options)
    assert model.get_layer("encoder2_2_act").output.shape[1:4] == bottom
    assert model.outputs[0].shape[1:4] == size


def test_width_doubles_up_to_the_limit():
    model = without_numbers((None, None, 1), 2, base_filters=8, max_filters=24, depth=4)
    widths = [model.get_layer(f"encoder{level}_2_conv").filters for level in range(4)]
    assert widths == [8, 16, 24, 24]


@pytest.mark.parametrize(
    ("depth", "grids"), [(2, [32]), (3, [32]), (4, [32, 16]), (5, [32, 16, 8])]
)
def test_deep_supervision_leaves_the_two_coarsest_levels_out(depth, grids):
    model = without_numbers((32, 32, 1), 3, depth=depth, base_filters=2)
    assert [output.shape[1:] for output in model.outputs] == [(n, n, 3) for n in grids]
    alone = without_numbers((32, 32, 1), 3, depth=depth, base_filters=2, deep_supervision=False)
    assert len(alone.outputs) == 1


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((17, 24, 1), r"must be divisible by \(4, 4\); got \(17, 24\)\. Use \(20, 24\)"),
        ((None, 10, 1), r"divisible by \(4, 4\); got \(None, 10\)\. Use \(None, 12\)"),
        ((6, 8, 8, 1), r"divisible by \(4, 4, 4\); got \(6, 8, 8\)\. Use \(8, 8, 8\)"),
    ],
)
def test_sizes_that_do_not_pool_are_refused_with_ones_that_do(shape, message):
    with pytest.raises(ConfigError, match=message):
        without_numbers(shape, 2, depth=3)


@pytest.mark.parametrize("strides", [((2, 2),), ((2, 2, 2), (2, 2, 2)), ((2, 2), (2, 2), (2, 2))])
def test_strides_must_fit_depth_and_rank(strides):
    with pytest.raises(ConfigError, match=r"depth - 1 = 2 tuples of 2 factors; got \(\(2, 2"):
        without_numbers((16, 16, 1), 2, depth=3, strides=strides)
