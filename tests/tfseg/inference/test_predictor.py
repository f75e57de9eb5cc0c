"""Predictor: whatever way a volume is stored, the same voxels of the patient get the same label."""

import itertools

import numpy as np
import pytest
from scipy.special import softmax

from tests.backends import Answers
from tfseg.artifact import Manifest
from tfseg.errors import DataError
from tfseg.geometry import Reorientation
from tfseg.inference.predictor import Predictor
from tfseg.plan import Channel, ClipZScore, Plan, Scale
from tfseg.volume import Volume


def predictor(network, *, spacing=None, patch=(6, 6, 6), channels=1, labels=("bg", "a", "b")):
    plan = Plan(
        dims=len(patch),
        spacing_mm=spacing,
        patch_size=patch,
        batch_size=1,
        channels=tuple(
            Channel(name=f"c{i}", normalisation=ClipZScore(low=-5, high=5, mean=0, std=1))
            for i in range(channels)
        ),
        labels=labels,
    )
    return Predictor(Answers(network), Manifest(format="run", model="unet", plan=plan))


def directional(batch):
    """Three classes from position in the window and intensity: any mix-up of axes shows."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in batch.shape[1:4]], indexing="ij")
    value = batch[..., 0]
    logits = [value + 2 * x, z - 2 * value + y, 0.5 * value * y - z + 0.3 * np.ones_like(value)]
    return softmax(np.stack(logits, axis=-1), axis=-1).astype(np.float32)


OBLIQUE = np.array([[0.0, -0.17, 0.98], [0.1, 0.98, 0.17], [0.99, 0.0, 0.0]])


def scan(direction=((0, 0, 1), (0, 1, 0), (1, 0, 0))):
    array = np.random.default_rng(0).normal(size=(9, 10, 11)).astype(np.float32)
    direction = np.asarray(direction, float)
    direction = direction / np.linalg.norm(direction, axis=0)
    return Volume.from_geometry(array, (2.0, 1.0, 1.5), (10, -20, 30), direction)


WAYS = [
    Reorientation(axes, flips)
    for axes in itertools.permutations(range(3))
    for flips in itertools.product([False, True], repeat=3)
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.axes}-{way.flips}")
@pytest.mark.parametrize("direction", [np.eye(3)[:, ::-1], OBLIQUE], ids=["straight", "oblique"])
def test_the_stored_orientation_does_not_matter(way, direction):
    """Turning and flipping a volume, its affine with it, turns and flips the result."""
    original = scan(direction)
    turned = Volume(way.apply(original.array), way.apply_affine(original.affine, original.shape))
    model = predictor(directional)
    np.testing.assert_array_equal(
        model.predict(turned).labels.array, way.apply(model.predict(original).labels.array)
    )


def test_the_answer_is_not_the_same_in_every_orientation():
    """The test above would pass with a network that cannot tell directions: this one can."""
    labels = predictor(directional).predict(scan()).labels.array
    assert not np.array_equal(labels, labels[::-1, ::-1, ::-1])
    assert set(np.unique(labels)) == {0, 1, 2}


def test_the_result_lies_on_the_exact_grid():
    volume = scan(OBLIQUE)
    result = predictor(directional, spacing=(1.0, 1.0, 1.0)).predict(volume).labels
    assert result.array.dtype == np.uint8
    assert result.array.flags.c_contiguous
    assert result.shape == volume.shape
    np.testing.assert_array_equal(result.affine, volume.affine)


def test_a_large_object_survives_resampling():
    """A ball of 12 mm radius, predicted at 2 mm from 1 x 1.5 x 3 mm voxels."""
    volume = Volume.from_geometry(np.zeros((20, 24, 36), np.float32), (3.0, 1.5, 1.0))
    z, y, x = np.meshgrid(
        *[
            (np.arange(n) - (n - 1) / 2) * mm
            for n, mm in zip((20, 24, 36), (3, 1.5, 1), strict=True)
        ],
        indexing="ij",
    )
    ball = x**2 + y**2 + z**2 < 12**2
    volume = volume.with_array(np.where(ball, 4, -4).astype(np.float32))

    def threshold(batch):
        return softmax(np.concatenate([-batch, batch], axis=-1), axis=-1)

    model = predictor(threshold, spacing=(2.0, 2.0, 2.0), patch=(8, 8, 8), labels=("bg", "ball"))
    answer = model.predict(volume).labels.array.astype(bool)
    assert 2 * (answer & ball).sum() / (answer.sum() + ball.sum()) > 0.93


def test_probabilities_belong_to_the_labels():
    model = predictor(directional, spacing=(1.0, 1.5, 1.0))
    volume = scan(OBLIQUE[:, [1, 0, 2]])
    found = model.predict(volume, probabilities=True)
    assert found.probabilities.shape == (*volume.shape, 3)
    np.testing.assert_allclose(found.probabilities.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(found.probabilities.argmax(-1), found.labels.array)


def test_labels_and_probabilities_take_one_pass():
    windows = []

    def counted(batch):
        windows.append(len(batch))
        return directional(batch)

    model = predictor(counted, spacing=(1.0, 1.5, 1.0))
    volume = scan(OBLIQUE[:, [1, 0, 2]])
    labels, once = model.predict(volume).labels, len(windows)
    both = model.predict(volume, probabilities=True)
    assert len(windows) == 2 * once
    np.testing.assert_array_equal(both.labels.array, labels.array)


def test_a_2d_network_on_one_picture():
    def threshold(batch):
        grey = batch.mean(-1, keepdims=True)
        return np.concatenate([grey < 0, grey >= 0], axis=-1).astype(np.float32)

    picture = np.random.default_rng(0).normal(size=(1, 13, 17, 3))
    model = predictor(threshold, patch=(8, 8), channels=3, labels=("bg", "vessel"))
    answer = model.predict(Volume.from_geometry(picture)).labels.array
    np.testing.assert_array_equal(answer, picture.mean(-1) >= 0)


def test_progress_is_passed_on():
    shares = []
    predictor(directional).predict(scan(), shares.append)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        *[(bad, "holds NaN or infinite voxels") for bad in (np.nan, np.inf, -np.inf)],
        (-1.797e308, r"holds voxels of -1\.797e\+308; an intensity must lie"),  # invest#76
        (1e40, r"holds voxels of 1e\+40; an intensity must lie"),
        (2e15, r"holds voxels of 2e\+15; an intensity must lie"),
    ],
)
def test_voxels_that_are_no_intensities_are_refused(bad, rule):
    volume = scan()
    volume = volume.with_array(volume.array.astype(np.float64))
    volume.array[1, 2, 3] = bad
    with pytest.raises(DataError, match=rule):
        predictor(directional).predict(volume)


def test_another_number_of_channels_is_refused():
    with pytest.raises(DataError, match=r"takes 2 channels \(c0, c1\); the image has 1"):
        predictor(directional, channels=2).predict(scan())


def test_scale_is_applied():
    """A fixed map is part of what the network was trained on."""
    seen = []

    def network(batch):
        seen.append(batch.max())
        return softmax(np.concatenate([batch, -batch], axis=-1), axis=-1)

    plan = Plan(
        dims=3,
        spacing_mm=None,
        patch_size=(4, 4, 4),
        batch_size=1,
        channels=(Channel(name="c", normalisation=Scale(offset=100, scale=50)),),
        labels=("a", "b"),
    )
    volume = Volume.from_geometry(np.full((4, 4, 4), 200, np.int16))
    Predictor(Answers(network), Manifest(format="run", model="unet", plan=plan)).predict(volume)
    assert seen == [2.0]
