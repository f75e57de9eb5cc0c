"""Steps in the served graph are those of training."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfseg.plan import Plan
from tfseg.preprocess import normalise, prepare
from tfseg.steps import KINDS
from tfseg.volume import Volume
from tfseg_export.segment_graph import SegmentGraph
from tfseg_export.steps_graph import after_steps

MARKS = [0, 5, 9, 14, 22, 30, 41, 55, 71, 88, 100]
SAME, CLOSE = 0.0, 1e-6  # of the result's size

# name: (steps, how far the graph's result may be from NumPy's, in parts of the largest)
STEPS = {
    "clip": ([{"kind": "clip", "low": -100.5, "high": 300}], SAME),
    "percentile_clip": ([{"kind": "percentile_clip", "low": 3, "high": 98.5}], CLOSE),
    "gaussian": ([{"kind": "gaussian", "sigma_vox": [0.6, 1.3, 2]}], CLOSE),
    "gaussian in the slice": ([{"kind": "gaussian"}], CLOSE),
    "median": ([{"kind": "median", "size_vox": [3, 3, 5]}], SAME),
    "nlm": ([{"kind": "nlm", "search_radius_vox": 2}], 1e-5),
    "hist_equalise": ([{"kind": "hist_equalise", "levels": 100}], CLOSE),
    "clahe": ([{"kind": "clahe", "tiles": 3, "levels": 64}], CLOSE),
    "clahe, one tile": ([{"kind": "clahe", "tiles": 1, "clip_limit": 1}], CLOSE),
    "hist_match": ([{"kind": "hist_match", "landmarks": MARKS}], CLOSE),
    "bias_field": ([{"kind": "bias_field", "iterations": 12}], CLOSE),
    "one after the other": (
        [
            {"kind": "clip", "low": -50, "high": 900},
            {"kind": "bias_field", "order": 2, "iterations": 5},
            {"kind": "gaussian", "sigma_vox": [0, 0.7, 0.7]},
            {"kind": "hist_match", "landmarks": MARKS},
            {"kind": "clahe", "tiles": 4},
            {"kind": "median"},
        ],
        1e-5,
    ),
}


def plan_of(*steps, rule="zscore", dims=3):
    channels = [
        {"name": f"c{index}", "steps": one, "normalisation": {"kind": rule}}
        for index, one in enumerate(steps)
    ]
    return Plan(
        dims=dims,
        spacing_mm=None,
        patch_size=(4, 8, 8)[3 - dims :],
        batch_size=1,
        channels=channels,
        labels=["background", "one"],
    )


def scans():
    rng = np.random.default_rng(0)
    scan = np.exp(rng.normal(4, 1, (5, 13, 11))).astype(np.float32) - 60
    yield "fractions", scan
    yield "integers", np.round(scan / 20)
    yield "half of it zero", np.where(scan > 0, scan, 0)
    yield "an outlier", np.where(np.arange(715).reshape(5, 13, 11) == 77, 1e6, scan)
    yield "constant", np.full_like(scan, 3.25)
    yield "all zero", np.zeros_like(scan)
    yield "one slice", scan[:1]
    yield "one voxel", scan[:1, :1, :1]


@pytest.fixture(scope="module")
def graphs():
    """Traced once for all sizes, as they are served."""
    traced = {}
    for name, (steps, _) in STEPS.items():
        plan = plan_of(steps)
        spec = tf.TensorSpec((None, None, None, 1), tf.float32)
        traced[name] = tf.function(
            lambda volume, plan=plan: after_steps(plan, volume),
            input_signature=[spec],
            autograph=False,
        )
    return traced


@pytest.mark.parametrize("name", STEPS)
def test_the_graph_does_what_training_does(graphs, name):
    steps, tolerance = STEPS[name]
    (channel,) = plan_of(steps, rule="scale").channels  # offset 0, scale 1: nothing changes
    for title, scan in scans():
        volume = scan[..., np.newaxis].astype(np.float32)
        expected = normalise(volume, [channel])
        answer = graphs[name](volume).numpy()
        assert answer.shape == expected.shape
        limit = tolerance * max(1, np.abs(expected).max())
        np.testing.assert_allclose(answer, expected, rtol=0, atol=limit, err_msg=title)


def test_the_whole_way_from_a_raw_volume_to_labels():
    """Labels of the served graph are those of the predictor, steps and all, in two channels."""
    steps = [{"kind": "bias_field", "iterations": 3}, {"kind": "clahe", "tiles": 2}]
    plan = plan_of(steps, [])
    scan = np.exp(np.random.default_rng(1).normal(4, 1, (6, 11, 9, 2))).astype(np.float32)

    def network(image):
        return tf.nn.softmax(tf.concat([image[..., :1] * 3, image[..., 1:]], axis=-1))

    graph = SegmentGraph(network, plan)
    labels = graph.segment(tf.constant(scan), tf.ones(3))["labels"].numpy()
    prepared = prepare(Volume.from_geometry(scan), plan)
    expected = prepared[..., 1] > 3 * prepared[..., 0]
    apart = np.abs(prepared[..., 1] - 3 * prepared[..., 0]) > 1e-4
    np.testing.assert_array_equal(labels[apart], expected[apart])
    assert apart.mean() > 0.99
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN or infinite voxels"):
        graph.segment(tf.fill((2, 2, 2, 2), np.nan), tf.ones(3))


def test_only_stock_operations(graphs):
    for graph in graphs.values():
        definition = graph.get_concrete_function().graph.as_graph_def()
        nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
        assert not {"PyFunc", "EagerPyFunc", "NumpyFunction"} & {node.op for node in nodes}


def test_without_steps_the_volume_is_not_copied():
    volume = tf.zeros((2, 3, 4, 1))
    assert after_steps(plan_of([]), volume) is volume


def test_every_kind_of_step_has_a_graph_and_a_test():
    assert {step["kind"] for steps, _ in STEPS.values() for step in steps} == set(KINDS)
