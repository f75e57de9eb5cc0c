"""Steps on label maps, against searches by brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.backends import Answers
from tfseg.artifact import Manifest
from tfseg.errors import ConfigError
from tfseg.geometry import Reorientation
from tfseg.inference.postprocess import (
    fill_holes,
    largest_component,
    parse_post,
    postprocess,
    remove_small,
)
from tfseg.inference.predictor import Predictor
from tfseg.plan import Plan
from tfseg.volume import Volume

NAMES = ("background", "liver", "left kidney")
MAPS = arrays(
    np.uint8,
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
    elements=st.sampled_from([0, 0, 1, 2]),
)
PLAN = Plan.parse(
    {
        "dims": 3,
        "spacing_mm": None,
        "patch_size": (4, 4, 4),
        "batch_size": 1,
        "channels": [{"name": "CT", "normalisation": {"kind": "scale"}}],
        "labels": NAMES[:2],
    },
    "test",
)
MANIFEST = Manifest(format="run", model="unet", plan=PLAN)
WAYS = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]
FACES = [step for step in WAYS if sum(map(abs, step)) == 1]


def flood(places, ways):
    """Parts of a set of voxels, in the order of their first voxels."""
    left, parts = sorted(places), []
    while left:
        part, edge = {left[0]}, [left[0]]
        while edge:
            here = edge.pop()
            for way in ways:
                there = tuple(a + b for a, b in zip(here, way, strict=True))
                if there in places and there not in part:
                    part.add(there)
                    edge.append(there)
        parts.append(part)
        left = [place for place in left if place not in part]
    return parts


def where(labels, value):
    return {tuple(map(int, place)) for place in np.argwhere(labels == value)}


def without(labels, parts):
    result = labels.copy()
    for place in itertools.chain(*parts):
        result[place] = 0
    return result


@settings(deadline=None, max_examples=60)
@given(MAPS)
def test_components_by_brute_force(labels):
    before = labels.copy()
    parts = flood(where(labels, 1), WAYS)
    largest = max(parts, key=len, default=None)
    expected = without(labels, [part for part in parts if part is not largest])
    np.testing.assert_array_equal(largest_component(labels, 1), expected)
    expected = without(labels, [part for part in parts if len(part) < 3])
    np.testing.assert_array_equal(remove_small(labels, 1, 3), expected)
    np.testing.assert_array_equal(labels, before)


@settings(deadline=None, max_examples=60)
@given(MAPS)
def test_holes_by_brute_force(labels):
    outside = set(np.ndindex(labels.shape)) - where(labels, 1)
    expected = labels.copy()
    for part in flood(outside, FACES):
        ends = [
            axis
            for axis, size in enumerate(labels.shape)
            if size > 1 and any(place[axis] in {0, size - 1} for place in part)
        ]
        for place in () if ends or not where(labels, 1) else part:
            if labels[place] == 0:
                expected[place] = 1
    np.testing.assert_array_equal(fill_holes(labels, 1), expected)


def test_what_lies_in_a_hole_stays():
    labels = np.zeros((1, 5, 5), np.uint8)
    labels[0, 1:4, 1:4] = 1
    labels[0, 2, 2:4] = 0, 1
    assert fill_holes(labels, 1)[0, 2, 2] == 1
    labels[0, 2, 2] = 2
    np.testing.assert_array_equal(fill_holes(labels, 1), labels)


def test_steps_in_their_order_and_for_their_labels():
    labels = np.zeros((1, 6, 12), np.uint8)
    labels[0, 0:3, 0:3] = 1
    labels[0, 1, 1] = 0
    labels[0, 5, 0:2] = 1
    labels[0, 0, 6:9] = 2
    labels[0, 3, 6] = 2
    steps = parse_post(["fill_holes( liver )", "remove_small(mm3=12)"], NAMES)
    assert [str(step) for step in steps] == ["fill_holes(liver)", "remove_small(mm3=12)"]
    result = postprocess(labels, steps, NAMES, (4.0, 1.0, 1.0))
    expected = np.zeros_like(labels)
    expected[0, 0:3, 0:3] = 1  # filled
    expected[0, 0, 6:9] = 2  # 3 voxels of 4 mm3: the limit itself stays
    np.testing.assert_array_equal(result, expected)
    small = parse_post(["remove_small(voxels=2, left kidney)"], NAMES)
    assert str(small[0]) == "remove_small(voxels=2, left kidney)"
    assert postprocess(labels, small, NAMES, (1.0, 1.0, 1.0))[0, 5, 0] == 1


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("opening", "is one of largest_component, remove_small, fill_holes"),
        ("fill_holes(liver", "is one of"),
        ("fill_holes(spleen)", r"labels of the model \(liver, left kidney\); got 'spleen'"),
        ("fill_holes(background)", "got 'background'"),
        ("fill_holes(mm3=3)", "got 'mm3=3'"),
        ("fill_holes(liver,)", "got ''"),
        ("remove_small", "must have mm3=NUMBER or voxels=NUMBER"),
        ("remove_small(liver)", "must have mm3=NUMBER"),
        ("remove_small(mm3=3, voxels=2)", "got 'voxels=2'"),
        ("remove_small(mm3=-1)", "above 0; got '-1'"),
        ("remove_small(mm3=nan)", "above 0; got 'nan'"),
        ("remove_small(mm3=two)", "above 0; got 'two'"),
    ],
)
def test_what_is_no_step_is_refused(text, rule):
    with pytest.raises(ConfigError, match=rule):
        parse_post([text], NAMES)


@pytest.mark.parametrize("flips", [*itertools.product([False, True], repeat=3)])
def test_the_stored_orientation_does_not_matter(flips):
    """Of equal components the same one of the patient stays."""
    network = Answers(lambda batch: np.concatenate([1 - batch, batch], axis=-1))
    model = Predictor(network, MANIFEST)
    model = model.refine(post=["largest_component"])
    assert model.remarks == ("post-processing: largest_component",)
    array = np.zeros((4, 5, 6), np.float32)
    array[0, 0, 0] = array[3, 4, 5] = 1
    scan = Volume.from_geometry(array, (1.0, 2.0, 3.0))
    way = Reorientation((2, 0, 1), flips)
    turned = Volume(way.apply(array), way.apply_affine(scan.affine, scan.shape))
    expected = model.predict(scan).labels.array
    assert expected.sum() == 1
    np.testing.assert_array_equal(model.predict(turned).labels.array, way.apply(expected))


def test_detectors_are_refused():
    detector = Answers(lambda batch: batch)
    detector.finds_instances = True
    with pytest.raises(ConfigError, match="unet draws it from the objects"):
        Predictor(detector, MANIFEST).refine(post=["fill_holes"])
