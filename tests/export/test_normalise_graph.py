"""Normalisation in the served graph is normalisation in training."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfseg.plan import Plan
from tfseg.preprocess import normalise
from tfseg_export.normalise_graph import normaliser

RULES = [
    {"kind": "clip_zscore", "low": -100, "high": 300, "mean": 90, "std": 40},
    {"kind": "zscore"},
    {"kind": "scale", "offset": 10, "scale": 3},
    {"kind": "window", "low": -200, "high": 250},
    {"kind": "minmax"},
    {"kind": "percentiles", "low": 2.5, "high": 97},
    {"kind": "percentiles", "low": 0, "high": 100},
    {"kind": "nonzero_zscore"},
]


def plan_of(rules):
    return Plan(
        dims=3,
        spacing_mm=(1, 1, 1),
        patch_size=(8, 8, 8),
        batch_size=1,
        channels=[{"name": f"c{i}", "normalisation": rule} for i, rule in enumerate(rules)],
        labels=["background", "one"],
    )


def volumes():
    rng = np.random.default_rng(0)
    scan = rng.normal(100, 200, (9, 12, 10)).astype(np.float32)
    yield "fractions", scan
    yield "integers, many alike", np.round(scan / 50)
    yield "an outlier", np.where(np.arange(1080).reshape(9, 12, 10) == 77, 1e6, scan)
    yield "half of it zero", np.where(scan > 100, scan, 0)
    yield "all zero", np.zeros_like(scan)
    yield "constant", np.full_like(scan, 3.25)
    yield "one voxel", scan[:1, :1, :1]


@pytest.fixture(scope="module")
def graph():
    """Traced once for all sizes, as it is served."""
    plan = plan_of(RULES)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, len(RULES)), tf.float32)])
    def in_halves(image):
        of_part = normaliser(plan, image)
        half = tf.shape(image)[0] // 2
        return tf.concat([of_part(image[:half]), of_part(image[half:])], axis=0)

    return in_halves


@pytest.mark.parametrize("scan", [scan for _, scan in volumes()], ids=[n for n, _ in volumes()])
def test_the_graph_normalises_as_training_does(graph, scan):
    volume = np.repeat(scan[..., np.newaxis], len(RULES), axis=-1).astype(np.float32)
    expected = normalise(volume, plan_of(RULES).channels)
    answer = graph(volume).numpy()
    for index, rule in enumerate(RULES):
        np.testing.assert_allclose(
            answer[..., index], expected[..., index], rtol=2e-5, atol=1e-5, err_msg=rule["kind"]
        )
