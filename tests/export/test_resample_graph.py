"""Resampling in the served graph is that of training."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.backends import Answers
from tfseg.inference.sliding import segment_array
from tfseg.plan import Plan
from tfseg.preprocess import prepare, resample_linear
from tfseg.preprocess.resample import resample_cubic
from tfseg.volume import Volume
from tfseg_export.resample_graph import cubic_taps, interpolate, linear_taps
from tfseg_export.segment_graph import SegmentGraph

SIZES = [(7, 20), (40, 13), (1, 5), (2, 9), (3, 2), (6, 6), (30, 31)]


@pytest.fixture(scope="module")
def resampled():
    """(array, n_out, cubic, coarse) -> the array resampled along its second axis."""

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, 2), tf.float32),
            tf.TensorSpec((), tf.int32),
            tf.TensorSpec((), tf.bool),
        ]
    )
    def both(array, n_out, coarse):
        n_in = tf.shape(array)[1]
        linear = interpolate(array, linear_taps(n_in, n_out), 1)
        return linear, interpolate(array, cubic_taps(n_in, n_out, coarse), 1)

    return both


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_an_axis(resampled, old, new):
    array = np.random.default_rng(0).normal(100, 50, (3, old, 2)).astype(np.float32)
    linear, cubic = (answer.numpy() for answer in resampled(array, new, False))
    volume = array[np.newaxis]
    shape = (1, 3, new)
    np.testing.assert_allclose(linear, resample_linear(volume, shape)[0], rtol=1e-6)
    np.testing.assert_allclose(cubic, resample_cubic(volume, shape)[0], rtol=0, atol=2e-4)
    np.testing.assert_allclose(resampled(array, new, True)[1], linear, rtol=1e-6)
    for constant in resampled(tf.fill((3, old, 2), 0.3), new, False):
        np.testing.assert_array_equal(constant, np.float32(0.3))


@pytest.mark.parametrize("spacing_mm", [(1.7, 0.8, 1.3), (5.0, 0.8, 1.3)], ids=["fine", "coarse z"])
def test_whole_volumes_slab_by_slab(spacing_mm):
    plan = Plan(
        dims=3,
        spacing_mm=(1.2, 1, 1),
        patch_size=(6, 8, 8),
        batch_size=1,
        channels=[{"name": "MR", "normalisation": {"kind": "zscore"}}],
        labels=["background", "one", "two"],
        interpolation="cubic",
    )

    def network(image):
        return tf.nn.softmax(tf.concat([image * 0, image * 4, -image * 3], axis=-1))

    scan = np.random.default_rng(1).normal(5, 60, (19, 14, 11, 1)).astype(np.float32)
    labels = SegmentGraph(network, plan).segment(scan, tf.constant(spacing_mm, tf.float32))
    volume = Volume.from_geometry(scan, spacing_mm)
    ours = segment_array(
        prepare(volume, plan), Answers(lambda batch: network(batch).numpy()), plan, volume.shape
    )
    # A voxel whose classes tie within rounding may have either label.
    assert (labels["labels"].numpy() != ours).mean() < 1e-3
