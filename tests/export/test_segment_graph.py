"""The in-graph pipeline against a plain, full-size numpy pipeline written from the formulas."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tests.backends import Answers
from tfseg.inference.sliding import segment_array
from tfseg.plan import Plan
from tfseg.preprocess import prepare
from tfseg.volume import Volume
from tfseg_export.segment_graph import MAX_SLAB_BYTES, SegmentGraph

CLIP = {"kind": "clip_zscore", "low": -100.0, "high": 100.0, "mean": 10.0, "std": 50.0}
ZSCORE = {"kind": "zscore"}
SCALE = {"kind": "scale", "offset": 3.0, "scale": 40.0}


def make_plan(
    patch: tuple[int, ...],
    spacing: tuple[float, ...] | None,
    rules: list[dict[str, Any]] | None = None,
    overlap: float = 0.5,
) -> Plan:
    rules = rules or [CLIP]
    return Plan(
        dims=len(patch),
        spacing_mm=spacing,
        patch_size=patch,
        batch_size=1,
        channels=[{"name": f"channel{i}", "normalisation": rule} for i, rule in enumerate(rules)],
        labels=["background", "one", "two"],
        overlap=overlap,
    )


def make_network(plan: Plan, seed: int = 0) -> Any:
    """A 3^n convolution with zero padding, so that a window's answer depends on its place."""
    rng = np.random.default_rng(seed)
    shape = (3,) * plan.dims + (len(plan.channels), plan.num_classes)
    kernel = tf.constant(rng.normal(0, 1, shape), tf.float32)
    convolve = tf.nn.conv2d if plan.dims == 2 else tf.nn.conv3d
    return lambda image: tf.nn.softmax(convolve(image, kernel, [1] * (plan.dims + 2), "SAME"))


# --- the oracle: no slabs, no carry, np.interp for every interpolation -----------------------


def oracle_probabilities(
    volume: NDArray[np.float32], spacing_mm: tuple[float, ...], plan: Plan, network: Any
) -> NDArray[np.float64]:
    """Return class probabilities (z, y, x, k) on the source grid."""
    image = np.empty(volume.shape, np.float32)
    for index, channel in enumerate(plan.channels):
        values, rule = volume[..., index], channel.normalisation.model_dump()
        if rule["kind"] == "clip_zscore":
            values = (np.clip(values, rule["low"], rule["high"]) - rule["mean"]) / rule["std"]
        elif rule["kind"] == "scale":
            values = (values - rule["offset"]) / rule["scale"]
        else:
            wide = values.astype(np.float64)
            values = (wide - wide.mean()) / max(wide.std(), 1e-8)
        image[..., index] = values
    source = volume.shape[:3]
    working = []
    for size, source_mm, target_mm in zip(
        source, spacing_mm, plan.target_spacing(spacing_mm), strict=True
    ):
        ratio = float(np.float32(source_mm)) / target_mm
        working.append(size if abs(ratio - 1) < 1e-3 else max(1, round(size * ratio)))
    image = _resample(image, working).astype(np.float32)
    window = (1,) * (3 - plan.dims) + plan.patch_size
    low = [max(0, w - n) // 2 for n, w in zip(working, window, strict=True)]
    high = [max(0, w - n) - b for n, w, b in zip(working, window, low, strict=True)]
    image = np.pad(image, [*zip(low, high, strict=True), (0, 0)])

    bell = np.ones(window)
    for axis, size in enumerate(window):
        profile = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / (size / 8)) ** 2)
        bell *= np.maximum(profile, 1e-3).reshape([-1 if k == axis else 1 for k in range(3)])
    total = np.zeros((*image.shape[:3], plan.num_classes))
    weight = np.zeros((*image.shape[:3], 1))
    starts = [_starts(n, w, plan.overlap) for n, w in zip(image.shape[:3], window, strict=True)]
    for corner in itertools.product(*starts):
        place = tuple(slice(s, s + w) for s, w in zip(corner, window, strict=True))
        batch = image[place] if plan.dims == 2 else image[place][np.newaxis]
        total[place] += network(batch).numpy().reshape(*window, -1) * bell[..., np.newaxis]
        weight[place] += bell[..., np.newaxis]
    inner = tuple(slice(b, b + n) for b, n in zip(low, working, strict=True))
    return _resample((total / weight)[inner], source)


def _starts(size: int, window: int, overlap: float) -> list[int]:
    if size <= window:
        return [0]
    count = math.ceil((size - window) / max(1, math.floor(window * (1 - overlap)))) + 1
    return [round(start) for start in np.linspace(0, size - window, count)]


def _resample(array: NDArray[Any], shape: Any) -> NDArray[np.float64]:
    for axis, size in enumerate(shape):
        old = array.shape[axis]
        centres = (np.arange(size) + 0.5) * old / size - 0.5
        array = np.apply_along_axis(
            lambda line, at=centres, n=old: np.interp(at, np.arange(n), line), axis, array
        )
    return array


CASES = {
    # name: (patch, plan spacing, normalisations, volume shape, volume spacing)
    "up and down": ((8, 8, 8), (1.0, 1.0, 1.0), [CLIP], (10, 21, 9), (1.3, 0.8, 1.0)),
    "smaller than the patch": ((8, 12, 8), (3.0, 1.0, 1.0), [CLIP], (5, 7, 6), (3.0, 1.0, 1.0)),
    "one voxel": ((4, 4, 4), (1.0, 1.0, 1.0), [SCALE], (1, 1, 1), (0.2, 1.0, 3.4)),
    "one slice, anisotropic": ((4, 12, 8), (3.0, 1.0, 1.0), [CLIP], (1, 40, 33), (5, 0.7, 0.9)),
    "own spacing": ((8, 8, 8), None, [CLIP], (17, 13, 8), (1.0, 2.0, 3.0)),
    "channels of each kind": (
        (6, 8, 8),
        (2.0, 1.0, 1.0),
        [CLIP, ZSCORE, SCALE],
        (30, 10, 17),
        (1.0, 1.9, 0.51),
    ),
    "many working slices a source slice": (
        (8, 8, 8),
        (0.5, 1.0, 1.0),
        [ZSCORE],
        (15, 9, 9),
        (1.7, 0.8, 1.0),
    ),
    "spacing equal but for rounding": (
        (4, 8, 8),
        (2.5, 0.7, 0.7),
        [CLIP],
        (9, 11, 8),
        (2.501, 0.7004, 0.6996),
    ),
    "2D": ((8, 16), None, [SCALE, SCALE, SCALE], (3, 30, 21), (1.0, 1.0, 1.0)),
    "2D resampled, zscore over all slices": (
        (8, 16),
        (1.0, 1.2),
        [ZSCORE],
        (4, 9, 50),
        (4.0, 0.8, 1.0),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_labels_equal_the_plain_pipeline(case: str) -> None:
    patch, spacing, rules, shape, spacing_mm = CASES[case]
    plan = make_plan(patch, spacing, rules)
    network = make_network(plan)
    volume = np.random.default_rng(1).normal(5, 60, (*shape, len(rules))).astype(np.float32)

    graph = SegmentGraph(network, plan)
    labels = graph.segment(tf.constant(volume), tf.constant(spacing_mm, tf.float32))["labels"]

    assert labels.dtype == tf.uint8
    expected = oracle_probabilities(volume, spacing_mm, plan, network)
    _assert_same_labels(labels.numpy(), expected)
    given = Volume.from_geometry(volume, spacing_mm)
    ours = segment_array(
        prepare(given, plan), Answers(lambda batch: network(batch).numpy()), plan, given.shape
    )
    _assert_same_labels(ours, expected)


@pytest.mark.parametrize(
    "case", ["one slice, anisotropic", "own spacing", "2D resampled, zscore over all slices"]
)
def test_tiles_change_no_label(case: str) -> None:
    patch, spacing, rules, shape, spacing_mm = CASES[case]
    plan = make_plan(patch, spacing, rules)
    network = make_network(plan)
    volume = np.random.default_rng(1).normal(5, 60, (*shape, len(rules))).astype(np.float32)
    inputs = tf.constant(volume), tf.constant(spacing_mm, tf.float32)
    whole = SegmentGraph(network, plan).segment(*inputs)["labels"]
    tiled = SegmentGraph(network, plan, max_slab_bytes=0).segment(*inputs)["labels"]
    np.testing.assert_array_equal(tiled, whole)


@pytest.mark.parametrize("overlap", [0.0, 0.7])
def test_any_overlap_and_size_of_one_graph(overlap: float) -> None:
    plan = make_plan((4, 6, 6), (1.0, 1.0, 1.0), overlap=overlap)
    network = make_network(plan)
    graph = SegmentGraph(network, plan)
    rng = np.random.default_rng(2)
    for _ in range(3):
        shape = tuple(rng.integers(1, 15, 3))
        spacing_mm = tuple(float(size) for size in rng.uniform(0.5, 2, 3))
        volume = rng.normal(5, 60, (*shape, 1)).astype(np.float32)
        labels = graph.segment(tf.constant(volume), tf.constant(spacing_mm, tf.float32))["labels"]
        _assert_same_labels(labels.numpy(), oracle_probabilities(volume, spacing_mm, plan, network))


def _assert_same_labels(labels: NDArray[Any], probabilities: NDArray[Any]) -> None:
    assert labels.shape == probabilities.shape[:-1]
    differ = labels != probabilities.argmax(-1)
    best = np.sort(probabilities, -1)
    # Where the two best classes tie within rounding either label is right.
    assert (best[..., -1] - best[..., -2])[differ].max(initial=0) < 1e-5


def test_constant_network_labels_every_voxel() -> None:
    plan = make_plan((4, 4, 4), (1.0, 1.0, 1.0))

    def second(image: tf.Tensor) -> tf.Tensor:
        return tf.broadcast_to([0.1, 0.7, 0.2], (*image.shape[:-1], 3))

    graph = SegmentGraph(second, plan)
    labels = graph.segment(tf.zeros((7, 5, 9, 1)), tf.constant([0.7, 1.0, 1.4]))["labels"]
    assert (labels.numpy() == 1).all()


def test_the_first_of_equal_classes_wins() -> None:
    plan = make_plan((4, 4, 4), None)
    graph = SegmentGraph(lambda image: tf.fill((*image.shape[:-1], 3), 1 / 3), plan)
    labels = graph.segment(tf.zeros((6, 9, 5, 1)), tf.ones(3))["labels"]
    assert not labels.numpy().any()


def test_only_stock_operations_and_no_python() -> None:
    graph = SegmentGraph(make_network(make_plan((4, 4, 4), None)), make_plan((4, 4, 4), None))
    definition = graph.segment.get_concrete_function().graph.as_graph_def()
    operations = {node.op for node in definition.node}
    for function in definition.library.function:
        operations |= {node.op for node in function.node_def}
    assert not operations & {"PyFunc", "EagerPyFunc", "PyFuncStateless", "NumpyFunction"}


BAD_CALLS = {
    "NaN voxel": ((4, 4, 4), np.nan, (1, 1, 1), "NaN or infinite voxels"),
    "infinite voxel": ((4, 4, 4), np.inf, (1, 1, 1), "NaN or infinite voxels"),
    "spacing zero": ((4, 4, 4), 0.0, (1, 0, 1), "3 positive sizes"),
    "spacing negative": ((4, 4, 4), 0.0, (1, -2, 1), "3 positive sizes"),
    "spacing NaN": ((4, 4, 4), 0.0, (1, np.nan, 1), "3 positive sizes"),
    "spacing in micrometres": ((4, 4, 4), 0.0, (5e3, 5e3, 5e3), "is it in millimetres"),
    "empty axis": ((4, 0, 4), 0.0, (1, 1, 1), "no empty axis"),
}


@pytest.fixture(scope="module")
def guarded() -> SegmentGraph:
    plan = make_plan((4, 4, 4), (1.0, 1.0, 1.0))
    return SegmentGraph(make_network(plan), plan)


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_input_is_an_invalid_argument(case: str, guarded: SegmentGraph) -> None:
    shape, value, spacing_mm, rule = BAD_CALLS[case]
    volume = np.zeros((*shape, 1), np.float32)
    volume[:1, :1, :1] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match=rule):
        guarded.segment(tf.constant(volume), tf.constant(spacing_mm, tf.float32))


def test_memory_is_bounded_by_a_slab() -> None:
    """Full-size probabilities here are 66 MB, a slab 6.5 MB."""
    plan = make_plan((4, 80, 80), (1.0, 1.0, 1.0), overlap=0).model_copy(
        update={"labels": tuple(str(label) for label in range(16))}
    )
    graph = SegmentGraph(lambda image: tf.nn.softmax(image * tf.range(16.0)), plan)
    spacing_mm = tf.constant([1.0, 0.9, 1.1])
    graph.segment(tf.zeros((8, 160, 160, 1)), spacing_mm)  # traces, allocates the slab
    volume = tf.zeros((40, 160, 160, 1))
    # Linux: 5 resets the high-water mark of resident memory (proc(5)).
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_mb()
    graph.segment(volume, spacing_mm)
    assert _peak_mb() - before < 40


@pytest.mark.parametrize(
    ("patch", "classes", "plane", "limit", "tiles"),
    [
        ((128, 128, 128), 32, (512, 512), MAX_SLAB_BYTES, (1, 1)),
        ((128, 128, 128), 105, (512, 512), MAX_SLAB_BYTES, (4, 4)),
        ((128, 128, 128), 105, (300, 1100), MAX_SLAB_BYTES, None),
        ((128, 128, 128), 105, (2048, 2048), MAX_SLAB_BYTES, None),
        ((64, 160, 96), 200, (700, 900), MAX_SLAB_BYTES, None),
        ((8, 8), 5, (100, 90), 4 * 5 * 30 * 30, None),
        ((4, 16, 8), 2, (15, 7), 1, (1, 1)),  # never narrower than half a window
        ((4, 16, 8), 2, (400, 90), 1, (50, 22)),
    ],
)
def test_no_tile_is_larger_than_the_limit(patch, classes, plane, limit, tiles) -> None:
    plan = make_plan(patch, None).model_copy(
        update={"labels": tuple(str(label) for label in range(classes))}
    )
    graph = SegmentGraph(lambda image: image, plan, max_slab_bytes=limit)
    _, y, x = graph._axes(tf.constant([5, *plane]), tf.ones(3))
    counts = [int(one) for one in graph._tiles(y, x)]
    assert tiles is None or tuple(counts) == tiles
    depth = patch[0] if len(patch) == 3 else 1
    widest = []
    for axis, count, size in zip((y, x), counts, patch[-2:], strict=True):
        parts = [axis.part(tf.constant(number), tf.constant(count)) for number in range(count)]
        assert sum(int(part.source) for part in parts) == int(axis.source)
        widest.append(max(int(part.windows.padded) for part in parts))
        assert widest[-1] == int(axis.widest(tf.constant(count)))
        assert limit > 1 or widest[-1] < 3 * size
    if limit > 1:
        assert 4 * depth * widest[0] * widest[1] * classes <= limit


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024
