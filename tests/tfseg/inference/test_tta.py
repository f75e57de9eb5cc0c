"""Averaging over mirror images, against the mean taken by hand."""

import itertools

import numpy as np
import pytest
from scipy.special import softmax

from tests.backends import Answers
from tfseg.artifact import Manifest
from tfseg.errors import ConfigError
from tfseg.inference.predictor import Predictor
from tfseg.inference.tta import Mirrored, mirrored
from tfseg.plan import Plan
from tfseg.volume import Volume


def manifest(dims=3, training=None):
    plan = Plan.parse(
        {
            "dims": dims,
            "spacing_mm": None,
            "patch_size": (4, 6, 8)[-dims:],
            "batch_size": 1,
            "channels": [{"name": "CT", "normalisation": {"kind": "scale"}}],
            "labels": ["background", "a", "b"],
        },
        "test",
    )
    return Manifest(format="run", model="unet", plan=plan, training=training or {})


def scores(batch):
    return np.concatenate([batch, 2 * batch, 1 - batch**2], axis=-1)


def pointwise(batch):
    return softmax(scores(batch), axis=-1)


def directional(batch):
    ramp = np.linspace(-1, 1, batch[0, ..., 0].size, dtype=np.float32)
    return softmax(scores(batch) * ramp.reshape(batch.shape), axis=-1)


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("axes", [(-2,), (-4, -3, -2), (-4, -2)])
def test_it_is_the_mean_over_all_mirror_images(axes):
    batch = noise(1, 4, 6, 8, 1)
    views = [
        np.flip(directional(np.flip(batch, subset)), subset)
        for size in range(len(axes) + 1)
        for subset in itertools.combinations(axes, size)
    ]
    answer = Mirrored(Answers(directional), axes)(batch)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, np.mean(views, axis=0), atol=1e-6)
    assert not np.allclose(answer, directional(batch), atol=1e-3)


@pytest.mark.parametrize(("dims", "told", "calls"), [(3, "zyx", 8), (3, "x", 2), (2, "zyx", 4)])
def test_an_equivariant_network_keeps_its_answer_to_the_bit(dims, told, calls):
    asked = []

    def network(batch):
        asked.append(batch.flags.c_contiguous)
        return pointwise(batch)

    model = Predictor(Answers(network), manifest(dims, {"mirrored": told}))
    volume = Volume.from_geometry(noise(5, 9, 9))
    alone = model.predict(volume, probabilities=True)
    before = len(asked)
    both = model.refine(tta=True).predict(volume, probabilities=True)
    assert len(asked) == before * (1 + calls)
    assert all(asked)
    np.testing.assert_array_equal(both.probabilities, alone.probabilities)
    np.testing.assert_array_equal(both.labels.array, alone.labels.array)


@pytest.mark.parametrize(
    ("training", "dims", "rule"),
    [
        ({}, 3, "the model does not say which"),
        ({"mirrored": 3}, 3, "the model does not say which"),
        ({"mirrored": ""}, 3, "it mirrored none"),
        ({"mirrored": "z"}, 2, "it mirrored none"),
    ],
)
def test_axes_that_the_training_did_not_mirror_are_refused(training, dims, rule):
    with pytest.raises(ConfigError, match=rf"{rule}.*leave --tta out|{rule}.*Leave --tta out"):
        mirrored(Answers(pointwise), manifest(dims, training))


def test_detectors_are_refused():
    detector = Answers(pointwise)
    detector.finds_instances = True
    with pytest.raises(ConfigError, match="draws its label map from the objects"):
        mirrored(detector, manifest(training={"mirrored": "x"}))
