"""The plan applied to one volume: normalise on the source grid, then resample."""

import numpy as np

from tfseg.plan import Channel, ClipZScore, Plan
from tfseg.preprocess import prepare, prepare_label, resample_linear
from tfseg.preprocess.resample import resample_cubic, resample_labels_linear
from tfseg.volume import Volume


def plan(spacing, **changes):
    return Plan(
        dims=3,
        spacing_mm=spacing,
        patch_size=(4, 4, 4),
        batch_size=1,
        channels=(Channel(name="CT", normalisation=ClipZScore(low=0, high=10, mean=0, std=1)),),
        labels=("background", "organ"),
        **changes,
    )


def test_clipping_comes_before_interpolation():
    """0 and 1000, clipped to 10: halfway is 5. Interpolated first it would be 10."""
    volume = Volume.from_geometry(np.array([[[0, 1000]]], np.int16), (1, 1, 3))
    answer = prepare(volume, plan((1.0, 1.0, 2.0)))
    assert answer.shape == (1, 1, 3, 1)
    assert answer.ravel().tolist() == [0, 5, 10]


def test_label_lies_on_the_image_grid():
    rng = np.random.default_rng(0)
    volume = Volume.from_geometry(rng.normal(size=(6, 7, 8)), (3.0, 1.0, 0.7))
    label = volume.with_array(rng.integers(0, 2, (6, 7, 8)).astype(np.uint8))
    wanted = plan((2.0, 1.5, 1.5))
    assert prepare(volume, wanted).shape == (9, 5, 4, 1)
    assert prepare_label(label, wanted).shape == (9, 5, 4)


def test_without_a_spacing_the_grid_stays():
    volume = Volume.from_geometry(np.ones((2, 3, 4)), (3.0, 1.0, 0.7))
    assert prepare(volume, plan(None)).shape == (2, 3, 4, 1)


def test_interpolation_is_the_plans():
    scan = np.random.default_rng(0).uniform(0, 10, (6, 7, 8)).astype(np.float32)
    volume = Volume.from_geometry(scan, (5.0, 1.0, 0.7))
    label = volume.with_array((scan > 5).astype(np.uint8))
    wanted = plan((2.0, 1.5, 1.5), interpolation="cubic", label_interpolation="linear")
    size = (15, 5, 4)
    # 5 mm are more than three times 0.7 mm.
    expected = resample_cubic(resample_linear(scan, (15, 7, 8)), size)
    np.testing.assert_allclose(prepare(volume, wanted)[..., 0], expected, atol=1e-6)
    answer = prepare_label(label, wanted)
    np.testing.assert_array_equal(answer, resample_labels_linear(label.array, size))
