"""Operations: nothing at strength zero, each what it says, none touching another's draws."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.interpolate import CubicSpline

from tfseg.augmentation import SETS, AugmentationConfig
from tfseg.errors import ConfigError
from tfseg.pipeline import augment
from tfseg.pipeline.augment import Box, check_augmentation
from tfseg.pipeline.cache import PreparedCase
from tfseg.pipeline.field import control_distance, spline_weights
from tfseg.pipeline.patches import PatchSampler
from tfseg.plan import Channel, Plan, Scale

NONE = AugmentationConfig(preset="none")
ZERO = {
    "rotation": {"rotation_degrees": 0},
    "scale": {"scale_range": (1, 1)},
    "elastic": {"elastic_sigma_vox": 0},
    "bias": {"bias_std": 0},
    "noise": {"noise_std": 0},
    "blur": {"blur_sigma_vox": (0, 0)},
    "contrast": {"contrast_range": (1, 1)},
    "brightness": {"brightness_shift": 0},
    "low_resolution": {"low_resolution_zoom": (1, 1)},
    "inverted_gamma": {"gamma_range": (1, 1)},
    "gamma": {"gamma_range": (1, 1)},
    "colour": {"hue_degrees": 0, "saturation_range": (1, 1)},
}
GEOMETRY = ("rotation", "scale", "elastic")


def plan(patch, spacing=None, names="RGB"):
    return Plan(
        dims=len(patch),
        spacing_mm=spacing,
        patch_size=patch,
        batch_size=1,
        channels=tuple(Channel(name=name, normalisation=Scale()) for name in names),
        labels=("background", "a", "b"),
    )


def sampler(patch, seed=0, **rule):
    rng = np.random.default_rng(3)
    shape = (4, 20, 21) if len(patch) == 2 else (18, 20, 21)
    label = rng.integers(0, 3, shape).astype(np.uint8)
    image = ndimage.gaussian_filter(rng.normal(size=(*shape, 3)), (1, 1, 1, 0))
    case = PreparedCase("a", image.astype(np.float32), label, {1: np.argwhere(label == 1)})
    return PatchSampler([case], plan(patch), NONE.model_copy(update=rule), 0.5, seed)


def picture(*shape, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(2, 3, (channels, *shape)), (0, 1, 1, 1))
    return smooth.astype(np.float32)


def box(*size, spacing=(1.0, 1.0, 1.0)):
    return Box(3, size, spacing)


class Drawn:
    """Random numbers that are given; uniform ones at a share of their range."""

    def __init__(self, share=1.0, angles=None):
        self.share, self.angles = share, angles

    def uniform(self, low, high, size=None):
        if self.angles is not None:
            return self.angles.pop(0)
        value = low + self.share * (high - low)
        return value if size is None else np.full(size, value)


def test_every_operation_has_its_probability():
    assert {*augment._GEOMETRY, *augment._INTENSITY} - {"flip"} | {"elastic"} == set(ZERO)
    assert set(ZERO) <= set(AugmentationConfig.model_fields)
    off = AugmentationConfig(preset="none")
    assert off.flip == ""
    assert all(getattr(off, name) == 0 for name in ZERO)


@pytest.mark.parametrize("patch", [(12, 14), (10, 12, 14), (1, 9, 24)])
@pytest.mark.parametrize("name", ZERO)
def test_nothing_changes_at_strength_zero(name, patch):
    plain, zero = sampler(patch), sampler(patch, **{name: 1.0}, **ZERO[name])
    for index in range(4):
        for one, other in zip(plain(index), zero(index), strict=True):
            assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("patch", [(12, 14), (10, 12, 14)])
@pytest.mark.parametrize("name", ZERO)
def test_an_operation_acts_where_it_should_and_nowhere_else(name, patch):
    rule = {name: 1.0, "brightness_range": (0.8, 0.9)}
    plain, varied = sampler(patch), sampler(patch, **rule)
    source = varied.cases[0].image.copy()
    for index in range(3):
        image, label = plain(index)
        other, others_label = varied(index)
        assert other.shape == image.shape
        assert other.dtype == np.float32
        assert np.isfinite(other).all()
        assert not np.array_equal(image, other)
        assert np.array_equal(label, others_label) == (name not in GEOMETRY)
    np.testing.assert_array_equal(varied.cases[0].image, source)


def test_what_one_draws_does_not_depend_on_another():
    """Whether a patch bends, and how, is the same whatever is done to its intensities."""
    quiet = {"brightness": 1.0, "rotation": 0.5, "elastic": 0.5}
    labels = [sampler((10, 12, 14), **quiet)(index)[1] for index in range(20)]
    more = sampler((10, 12, 14), **quiet, blur=1.0, noise=1.0, gamma=0.5, colour=1.0, bias=0.5)
    for index, label in enumerate(labels):
        np.testing.assert_array_equal(more(index)[1], label)


def test_probabilities_are_shares_of_patches():
    plain, some = sampler((12, 14)), sampler((12, 14), gamma=0.25)
    changed = [not np.array_equal(plain(i)[0], some(i)[0]) for i in range(400)]
    assert np.mean(changed) == pytest.approx(0.25, abs=0.09)  # four standard deviations


@pytest.mark.parametrize("apart", [False, True])
def test_channels_have_draws_of_their_own_where_asked_for(apart):
    plain = sampler((12, 14))
    varied = sampler((12, 14), brightness=1.0, brightness_shift=1.0, per_channel=apart)
    shifts = (varied(1)[0] - plain(1)[0]).mean((0, 1))
    assert (np.ptp(shifts) > 1e-3) == apart


def test_blur_is_scipys_gaussian_filter():
    image = picture(9, 16, 17, channels=2)
    rule = AugmentationConfig(blur_sigma_vox=(0.3, 1.3))
    made = augment._blur(image.copy(), rule, box(9, 16, 17), Drawn())
    want = [ndimage.gaussian_filter(c, 1.3, mode="nearest", truncate=3.0) for c in image]
    np.testing.assert_allclose(made, want, atol=1e-5)
    thick = box(9, 16, 17, spacing=(3.2, 1.0, 1.0))
    made = augment._blur(image.copy(), rule, thick, Drawn())
    want = ndimage.gaussian_filter(image, (0, 0, 1.3, 1.3), mode="nearest", truncate=3.0)
    np.testing.assert_allclose(made, want, atol=1e-5)


@pytest.mark.parametrize("zoom", [0.5, 0.63, 0.9])
def test_low_resolution_is_a_coarser_grid_read_linearly(zoom):
    size = (8, 15, 16)
    image = picture(*size)
    rule = AugmentationConfig(low_resolution_zoom=(zoom, zoom))
    made = augment._low_resolution(image, rule, box(*size, spacing=(3.1, 1.0, 1.0)), Drawn())
    coarse = [size[0], *(round(n * zoom) for n in size[1:])]
    taken = [((np.arange(m) + 0.5) * n / m).astype(int) for m, n in zip(coarse, size, strict=True)]
    small = image[0][np.ix_(*taken)].astype(float)
    scale = np.array(coarse) / size
    where = np.moveaxis((np.moveaxis(np.indices(size), 0, -1) + 0.5) * scale - 0.5, -1, 0)
    want = ndimage.map_coordinates(small, where, order=1, mode="nearest")
    np.testing.assert_allclose(made[0], want, atol=1e-4)


def test_noise_is_normal():
    rule = AugmentationConfig(noise_std=0.5)

    class Most(Drawn):
        bit_generator = np.random.Philox(0)

    image = np.zeros((2, 40, 50, 50), np.float32)
    noise = augment._noise(image, rule, box(40, 50, 50), Most()).ravel() / 0.5
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(1, abs=0.01)
    for limit, share in ((1, 0.3173), (2, 0.0455), (3, 0.0027)):
        assert np.mean(np.abs(noise) > limit) == pytest.approx(share, abs=0.004)


@pytest.mark.parametrize("name", ["gamma", "inverted_gamma"])
def test_gamma_is_a_power_of_the_range_with_mean_and_deviation_restored(name):
    image = picture(6, 7, 8)
    rule = AugmentationConfig(gamma_range=(0.5, 2.0))
    made = getattr(augment, f"_{name}")(image.copy(), rule, box(6, 7, 8), Drawn())
    x = image.astype(float) * (-1 if name == "inverted_gamma" else 1)
    power = ((x - x.min()) / np.ptp(x)) ** 2
    want = (power - power.mean()) / power.std() * x.std() + x.mean()
    np.testing.assert_allclose(made, want if name == "gamma" else -want, atol=1e-4)
    flat = np.full((1, 2, 2, 2), 7, np.float32)
    np.testing.assert_array_equal(augment._gamma(flat.copy(), rule, box(2, 2, 2), Drawn()), flat)


def test_contrast_and_brightness():
    image = picture(6, 7, 8)
    rule = AugmentationConfig(contrast_range=(0.5, 2), brightness_range=(1, 3), brightness_shift=1)
    mean = image.mean(dtype=float)
    made = augment._contrast(image.copy(), rule, box(6, 7, 8), Drawn())
    want = ((image - mean) * 2 + mean).clip(image.min(), image.max())
    np.testing.assert_allclose(made, want, atol=1e-5)
    made = augment._brightness(image.copy(), rule, box(6, 7, 8), Drawn())
    np.testing.assert_allclose(made, 3 * image + 1, rtol=1e-5)


def test_a_bias_field_is_smooth_positive_and_as_strong_as_asked_for():
    """Between its 27 values it is natural cubic splines, in the logarithm; the lowest stays."""
    size = (9, 11, 13)
    rule = AugmentationConfig(bias_std=0.3)
    drawn = []
    for seed in range(40):
        image = picture(*size, channels=2, seed=seed)
        image[0].flat[5], image[1].flat[7] = -20, -30
        rng = np.random.default_rng(seed)
        made = augment._bias(image.copy(), rule, box(*size), rng)
        above = image - image.min((1, 2, 3), keepdims=True)
        with np.errstate(invalid="ignore"):
            field = np.log((made - image.min((1, 2, 3), keepdims=True)) / above)
        field[0].flat[5], field[1].flat[7] = field[1].flat[5], field[0].flat[7]
        np.testing.assert_allclose(field[0], field[1], atol=1e-4)
        corners = field[0][np.ix_((0, 4, 8), (0, 5, 10), (0, 6, 12))]
        line = CubicSpline((0, 6, 12), corners[1, 1], bc_type="natural")(np.arange(13))
        np.testing.assert_allclose(field[0][4, 5], line, atol=1e-4)
        drawn.append(corners)
    assert np.std(drawn) == pytest.approx(0.3, rel=0.1)


def test_colours_turn_about_grey():
    """A third of a turn moves red to green; saturation scales what differs from the mean."""
    image = picture(1, 6, 7, channels=3)
    rule = AugmentationConfig(saturation_range=(0.5, 2.0))
    third = augment._colour(image, rule, box(1, 6, 7), Drawn(angles=[120.0, 0.0]))
    np.testing.assert_allclose(third, image[[2, 0, 1]], atol=1e-5)
    grey = image.mean(0)
    vivid = augment._colour(image, rule, box(1, 6, 7), Drawn(angles=[0.0, np.log(2)]))
    np.testing.assert_allclose(vivid, grey + 2 * (image - grey), atol=1e-5)
    some = augment._colour(image, rule, box(1, 6, 7), np.random.default_rng(0))
    np.testing.assert_allclose(some.mean(0), grey, atol=1e-5)


@pytest.mark.parametrize("names", ["R", "CT", ("T1", "T2", "PD"), "BGR", "RGBA"])
def test_colours_of_what_is_no_photograph_are_refused(names):
    rule = NONE.model_copy(update={"colour": 0.1})
    with pytest.raises(ConfigError, match=r"colour needs the three channels R, G, B .*; got"):
        check_augmentation(rule, plan((8, 8), names=names))
    check_augmentation(NONE, plan((8, 8), names=names))
    check_augmentation(rule, plan((8, 8), names=("Red", "Green", "Blue")))


def test_displacements_are_the_same_in_millimetres_along_all_axes():
    rule = AugmentationConfig(elastic=1, elastic_sigma_vox=2.0)
    where = Box(3, (16, 40, 40), (3.0, 0.75, 1.5))
    drawn = [augment._bend(rule, where, np.random.default_rng(i)) for i in range(200)]
    np.testing.assert_allclose(np.std(drawn, (0, 2, 3, 4)), [0.5, 2.0, 1.0], rtol=0.06)
    flat = augment._bend(rule, Box(2, (1, 40, 40), (1.0, 0.5, 0.5)), np.random.default_rng(0))
    assert flat.shape == (3, 1, 3, 3)
    assert not flat[0].any()


@pytest.mark.parametrize("spline", ["cubic", "bspline"])
@pytest.mark.parametrize("grid", [2, 3, 6])
def test_a_field_that_follows_the_patch_never_folds(grid, spline):
    rule = AugmentationConfig(elastic=1, elastic_grid=grid, elastic_spline=spline)
    size = (8, 20, 14)
    weights = [spline_weights(n, grid, spline) for n in size]
    for seed in range(40):
        knots = augment._bend(rule, box(*size), np.random.default_rng(seed))
        where = np.einsum("vabc,ai,bj,ck->vijk", knots, *weights) + np.indices(size)
        slopes = np.array([np.gradient(part) for part in where])
        assert np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1))).min() > 0


def test_a_field_that_would_fold_is_refused_with_what_fits():
    rule = AugmentationConfig(preset="unet")
    check_augmentation(rule, plan((572, 572)))  # the paper's tile
    check_augmentation(AugmentationConfig(preset="vnet"), plan((64, 128, 128)))
    with pytest.raises(ConfigError, match=r"got 10 for patches of 64 x 64 .* Use 7\.87 or less"):
        check_augmentation(rule, plan((64, 64)))
    check_augmentation(rule.model_copy(update={"elastic_sigma_vox": 7.8}), plan((64, 64)))
    # 31 voxels of 3 mm are as long as 93 of 1 mm.
    check_augmentation(rule, plan((32, 100, 100), spacing=(3.0, 1.0, 1.0)))
    assert control_distance(128, 2, "bspline") == 63.5


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("patch", [(12, 14), (10, 12, 14)])
def test_every_set_makes_patches(name, patch):
    rule = AugmentationConfig(preset=name, **({"elastic_sigma_vox": 1.0} if "net" in name else {}))
    draw = sampler(patch, **rule.model_dump())
    for index in range(10):
        image, label = draw(index)
        assert image.shape == (*patch, 3)
        assert np.isfinite(image).all()
        assert set(np.unique(label)) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"blur": 1.5}, "less than or equal to 1"),
        ({"blur": "0.5"}, "valid number"),
        ({"scale_range": (1.2, 0.8)}, "the lower end of a range must come first"),
        ({"gamma_range": (0.0, 1.0)}, "greater than or equal to 0.2"),
        ({"low_resolution_zoom": (0.5, 1.5)}, "less than or equal to 1"),
        ({"elastic_grid": 1}, "greater than or equal to 2"),
        ({"elastic_spline": "linear"}, "'cubic' or 'bspline'"),
        ({"preset": "nnUNet"}, "preset must be one of none, default, strong, nnunet, unet, vnet"),
        ({"preset": ["none"]}, "preset must be one of"),
    ],
)
def test_other_entries_are_refused(entry, message):
    with pytest.raises(ValueError, match=message):
        AugmentationConfig(**entry)


def test_the_page_has_every_entry_and_set():
    page = (Path(__file__).parents[3] / "docs/training.md").read_text(encoding="utf-8")
    for name, field in AugmentationConfig.model_fields.items():
        value = "null" if field.default is None else field.default
        text = ",".join(f"{v:g}" for v in value) if isinstance(value, tuple) else value
        text = f"{text:g}" if isinstance(text, float) else text
        if name == "per_channel":
            assert field.default is False
        elif name in ZERO or name == "flip":
            assert f"| `{name}` | {text} |".replace("| zyx", "| `zyx`") in page
        else:
            assert f"`{name}={text}`" in page
    assert all(f"| `{name}` |" in page for name in SETS)
