"""Shading put into a phantom is found again, as well as by N4."""

import numpy as np
import pytest
from scipy import ndimage

from tfseg.io import read_volume
from tfseg.preprocess.bias import bias_field, correct_bias, exponents, legendre, sharpening
from tfseg.steps import BiasField

TISSUES = (80, 120, 160)


@pytest.fixture(scope="module")
def shaded():
    """A head of three tissues without shading, the log shading, and the shaded image."""
    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[-1:1:20j, -1:1:60j, -1:1:56j]
    radius = np.sqrt(z**2 + y**2 + x**2)
    spots = ndimage.gaussian_filter(rng.normal(size=radius.shape), 3) > 0.02
    clean = np.select([(radius < 0.9) & spots, radius < 0.6, radius < 0.9], [160, 120, 80], 0)
    log_field = 0.25 * x + 0.15 * y - 0.2 * x * y + 0.2 * z + 0.2 * y**2 - 0.1 * x**3
    image = clean * np.exp(log_field) + rng.normal(0, 3, clean.shape)
    return clean, log_field, image.astype(np.float32)


def spread(image, clean):
    return np.array([image[clean == t].std() / image[clean == t].mean() for t in TISSUES])


def test_tissues_are_even_again(shaded):
    clean, log_field, image = shaded
    assert (spread(image, clean) > 0.09).all()
    corrected = correct_bias(image, BiasField())
    # What is left is the noise: 3 of 80, 120 and 160.
    np.testing.assert_allclose(spread(corrected, clean), [3 / 80, 3 / 120, 3 / 160], rtol=0.15)
    found = np.log(bias_field(image, BiasField()))
    error = (found - log_field)[clean > 0]
    assert error.std() < 0.05 * log_field[clean > 0].std()


@pytest.mark.slow
def test_it_is_as_good_as_n4(shaded):
    import SimpleITK

    clean, _, image = shaded
    n4 = SimpleITK.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([20] * 4)
    mask = SimpleITK.GetImageFromArray((clean > 0).astype(np.uint8))
    theirs = SimpleITK.GetArrayFromImage(n4.Execute(SimpleITK.GetImageFromArray(image), mask))
    ours = correct_bias(image, BiasField())
    assert (spread(ours, clean) < 1.05 * spread(theirs, clean)).all()


@pytest.mark.slow
def test_shading_of_a_real_head_is_found_as_by_n4(real_data):
    import SimpleITK

    name = "mni152_nilearn/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    head = read_volume(real_data / name).canonical()[0].array[::2, ::2, ::2].astype(np.float32)
    z, y, x = (np.linspace(-1, 1, size) for size in head.shape)
    z, y = z[:, np.newaxis, np.newaxis], y[:, np.newaxis]
    log_field = 0.3 * x - 0.2 * y**2 + 0.15 * z * x
    image = (head * np.exp(log_field)).astype(np.float32)
    inside = image > image.mean()
    n4 = SimpleITK.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([30] * 3)
    given = SimpleITK.GetImageFromArray(image)
    mask = SimpleITK.GetImageFromArray(inside.astype(np.uint8))
    n4.Execute(SimpleITK.Shrink(given, [2] * 3), SimpleITK.Shrink(mask, [2] * 3))
    theirs = SimpleITK.GetArrayFromImage(n4.GetLogBiasFieldAsImage(given))
    ours = np.log(bias_field(image, BiasField()))
    ours, theirs = (np.std((found - log_field)[inside]) for found in (ours, theirs))
    assert ours < 1.1 * theirs
    assert ours < 0.4 * log_field[inside].std()


def test_the_field_undoes_the_correction_and_keeps_the_level(shaded):
    clean, _, image = shaded
    corrected = correct_bias(image, BiasField())
    back = corrected * bias_field(image, BiasField())
    np.testing.assert_allclose(back, image, rtol=1e-5, atol=1e-4)
    assert corrected[clean > 0].mean() == pytest.approx(image[clean > 0].mean(), rel=0.05)


def test_an_even_image_stays_even(shaded):
    clean = shaded[0].astype(np.float32)
    corrected = correct_bias(clean, BiasField())
    assert (spread(corrected, clean) < 0.01).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((3, 4, 5), np.float32),
        np.full((3, 4, 5), 7, np.float32),
        np.full((3, 4, 5), -7, np.float32),
        np.array([[[3]]], np.float32),
        np.arange(12, dtype=np.float32).reshape(1, 1, 12),
    ],
    ids=["zero", "constant", "negative", "one voxel", "one row"],
)
def test_images_with_nothing_to_learn_stay_finite(image):
    corrected = correct_bias(image, BiasField(order=5))
    assert np.isfinite(corrected).all()
    if np.ptp(image) == 0:
        np.testing.assert_array_equal(corrected, image)


def test_terms_and_polynomials():
    # Of total degree 3 in three variables there are (3 + 3 choose 3) = 20 terms; 1 comes first.
    assert len(exponents(3)) == 20
    assert exponents(3)[0] == (0, 0, 0)
    places = np.array([-0.75, -0.25, 0.25, 0.75])
    expected = np.stack([places**0, places, (3 * places**2 - 1) / 2], axis=1)
    np.testing.assert_allclose(legendre(4, 2), expected, rtol=1e-12)


def test_sharpening_undoes_its_blur():
    unblur, blur, centres = sharpening()
    np.testing.assert_allclose(blur.sum(axis=0)[60:-60], 1, rtol=1e-9)
    # Half the height is reached half of 0.15 away.
    row = np.interp(0.075, centres - centres[128], blur[128])
    assert row / blur[128, 128] == pytest.approx(0.5, rel=0.02)
    bump = np.exp(-0.5 * (centres / 0.2) ** 2)
    again = unblur @ (blur @ bump)
    np.testing.assert_allclose(again[60:-60], bump[60:-60] / 1.01, atol=0.02)
