"""Sliding windows with networks whose answer is known, and bounded memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from tests.backends import Answers
from tfseg.errors import DataError, TfsegError
from tfseg.inference import sliding
from tfseg.inference.backend import Backend
from tfseg.plan import Channel, Plan, Scale
from tfseg.preprocess import resample_linear


def plan(patch, classes=3, overlap=0.5):
    return Plan(
        dims=len(patch),
        spacing_mm=None,
        patch_size=patch,
        batch_size=1,
        channels=tuple(Channel(name=f"c{i}", normalisation=Scale()) for i in range(classes)),
        labels=tuple(f"label{i}" for i in range(classes)),
        overlap=overlap,
    )


def segment_array(image, network, *arguments, **options):
    backend = network if isinstance(network, Logits) else Answers(network)
    return sliding.segment_array(image, backend, *arguments, **options)


def probability_array(image, network, plan, shape=None):
    full = np.empty((*(shape or image.shape[:3]), plan.num_classes), np.float32)
    segment_array(image, network, plan, shape, probabilities=full)
    return full


def slabs(image, network, plan):
    return sliding.slabs(image, Answers(network), plan)


def pointwise(batch):
    """A network without context: blending windows must not change its answer."""
    return softmax(batch, axis=-1)


def noise(*size, classes=3):
    return np.random.default_rng(0).normal(0, 2, (*size, classes)).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "patch"),
    [
        ((20, 17, 23), (8, 8, 8)),
        ((5, 30, 9), (8, 16, 4)),  # thinner than the window along z: padded
        ((3, 3, 3), (8, 8, 8)),  # smaller than the window everywhere
        ((8, 8, 8), (8, 8, 8)),
        ((40, 9, 9), (1, 8, 8)),
        ((6, 21, 19), (8, 8)),  # 2D: slice by slice
        ((2, 5, 30), (8, 8)),
        ((1, 1, 1), (4, 4)),
    ],
)
def test_a_pointwise_network_is_reproduced(size, patch):
    image = noise(*size)
    answer = probability_array(image, pointwise, plan(patch))
    np.testing.assert_allclose(answer, softmax(image, axis=-1), atol=2e-6)
    labels = segment_array(image, pointwise, plan(patch))
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, image.argmax(-1))


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 14), st.integers(1, 14), st.integers(1, 14)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    st.floats(0, 0.9),
)
def test_a_constant_network_gives_constant_probabilities(size, patch, overlap):
    constant = np.array([0.2, 0.5, 0.3], np.float32)
    answer = probability_array(
        noise(*size), lambda batch: np.broadcast_to(constant, batch.shape), plan(patch, 3, overlap)
    )
    assert answer.shape == (*size, 3)
    np.testing.assert_allclose(answer, np.broadcast_to(constant, answer.shape), atol=1e-6)


def by_definition(image, network, patch):
    """Every window added to full-size sums, then divided: no slabs, no separable weights."""
    size = image.shape[:3]
    sums, total = np.zeros(image.shape), np.zeros((*size, 1))
    axes = []
    for n, p in zip(size, patch, strict=True):
        count = int(np.ceil((n - p) / max(1, p // 2))) + 1
        axes.append(np.round(np.linspace(0, n - p, count)).astype(int))
    grid = np.meshgrid(*[np.arange(p) - (p - 1) / 2 for p in patch], indexing="ij")
    per_axis = [
        np.maximum(np.exp(-0.5 * (d / (p / 8)) ** 2), 1e-3)
        for d, p in zip(grid, patch, strict=True)
    ]
    weight = np.prod(per_axis, axis=0)[..., np.newaxis]
    for z in axes[0]:
        for y in axes[1]:
            for x in axes[2]:
                box = tuple(slice(s, s + p) for s, p in zip((z, y, x), patch, strict=True))
                sums[box] += network(image[box][np.newaxis])[0] * weight
                total[box] += weight
    return sums / total


def edge_sensitive(batch):
    """A network that answers differently near its window's border, as real ones do."""
    ramp = np.linspace(-2, 2, batch.shape[-2], dtype=np.float32)[:, np.newaxis]
    return softmax(batch + ramp * np.array([1, 0, -1], np.float32), axis=-1)


@pytest.mark.parametrize(("size", "patch"), [((13, 12, 15), (6, 5, 8)), ((9, 8, 7), (4, 8, 3))])
def test_blending_is_the_weighted_mean_of_the_windows(size, patch):
    image = noise(*size)
    answer = probability_array(image, edge_sensitive, plan(patch))
    np.testing.assert_allclose(answer, by_definition(image, edge_sensitive, patch), atol=1e-5)


@pytest.mark.parametrize("patch", [(6, 6, 6), (3, 8, 5), (20, 4, 4), (6, 6)])
@pytest.mark.parametrize(
    "shape", [(20, 9, 15), (7, 5, 4), (10, 8, 9), (1, 1, 1), (37, 16, 9), (10, 24, 27)]
)
def test_labels_on_another_grid_are_the_largest_interpolated_probability(patch, shape):
    """To the bit: the slab-wise interpolation does the whole-volume one's arithmetic."""
    image = noise(10, 8, 9)
    full = probability_array(image, edge_sensitive, plan(patch))
    expected = resample_linear(full, shape)
    np.testing.assert_array_equal(
        segment_array(image, edge_sensitive, plan(patch), shape), expected.argmax(-1)
    )
    resampled = probability_array(image, edge_sensitive, plan(patch), shape)
    np.testing.assert_array_equal(resampled, expected)


def test_the_first_of_equals_wins():
    labels = segment_array(
        noise(4, 4, 4), lambda batch: np.full_like(batch, 1 / 3), plan((4, 4, 4)), (7, 5, 4)
    )
    assert not labels.any()


def test_the_network_sees_one_window_at_a_time_padded_evenly():
    seen = []

    def network(batch):
        seen.append(batch.copy())
        return pointwise(batch)

    image = 1 + np.abs(noise(3, 5, 9))
    probability_array(image, network, plan((8, 8, 8)))
    assert {batch.shape for batch in seen} == {(1, 8, 8, 8, 3)}
    first = seen[0][0]
    # 5 voxels are missing along z: 2 before, 3 behind; 3 along y: 1 and 2. Outside is 0.
    np.testing.assert_array_equal(first[2:5, 1:6], image[:, :, :8])
    assert not first[:2].any()
    assert not first[5:].any()
    assert not first[:, 0].any()
    assert not first[:, 6:].any()


def test_a_2d_network_sees_one_slice_at_a_time():
    shapes = []

    def network(batch):
        shapes.append((batch.shape, batch.dtype, batch.flags.c_contiguous))
        return pointwise(batch)

    segment_array(noise(3, 12, 8), network, plan((8, 8)))
    assert shapes == [((1, 8, 8, 3), np.float32, True)] * 6


@pytest.mark.parametrize(("depth", "patch"), [(40, (8, 8, 8)), (5, (8, 8, 8)), (7, (8, 8))])
def test_slabs_are_in_order_and_never_thicker_than_a_window(depth, patch):
    window = patch[0] if len(patch) == 3 else 1
    expected_start = 0
    for slab in slabs(noise(depth, 9, 10), pointwise, plan(patch)):
        assert slab.first == expected_start
        assert 0 < slab.stop - slab.first <= window
        assert slab.probabilities.shape == (slab.stop - slab.first, 9, 10, 3)
        assert slab.total.shape == (window + 1, 9, 10, 3)
        expected_start = slab.stop
    assert expected_start == depth


def test_slabs_together_are_the_answer():
    image = noise(30, 8, 8)
    kept = [slab.probabilities for slab in slabs(image, pointwise, plan((8, 8, 8)))]
    np.testing.assert_allclose(np.concatenate(kept), softmax(image, axis=-1), atol=2e-6)


def test_progress_rises_to_one():
    shares = []
    segment_array(noise(30, 8, 8), pointwise, plan((8, 8, 8)), (11, 8, 8), shares.append)
    assert shares == sorted(set(shares))
    assert shares[0] > 0
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    "network",
    [lambda batch: batch[..., :2], lambda batch: batch[:, ::2], lambda batch: batch[0, ..., 0]],
    ids=["classes", "size", "rank"],
)
def test_a_network_that_does_not_fit_the_plan_is_refused(network):
    with pytest.raises(TfsegError, match=r"must answer \(1, 4, 4, 4, 3\).* got \("):
        segment_array(noise(4, 4, 4), network, plan((4, 4, 4)))


class Logits(Backend):
    """Streams what it is given, as logits."""

    streams_logits = True

    def __init__(self):
        self.asked = 0

    def __call__(self, batch):
        return softmax(batch, axis=-1)

    def stream(self, batches):
        for batch in batches:
            self.asked += 1
            yield batch


@pytest.mark.parametrize("classes", [2, 3, 20])
@pytest.mark.parametrize("size", [1, 30, 1000])
def test_the_softmax_taken_while_blending_is_scipys(classes, size):
    """Logits of any size: differences beyond what exp can hold are 0 and 1."""
    image = size * noise(13, 9, 11, classes=classes)
    image[0, 0, 0] = 0  # all the same
    answer = probability_array(image, Logits(), plan((6, 6, 6), classes))
    np.testing.assert_allclose(answer, softmax(image.astype(float), axis=-1), rtol=2e-5, atol=2e-7)


def test_windows_of_one_value_are_asked_once():
    """And the answer is the same to the bit as where each is asked."""
    image = np.full((24, 8, 8, 3), -1, np.float32)
    image[20:, 4:, 4:] = noise(4, 4, 4)
    backend = Logits()
    answer = probability_array(image, backend, plan((8, 8, 8)))
    assert backend.asked == 2  # windows begin at 0, 4, 8, 12 and 16: the last one differs
    backend.repeatable, backend.asked = False, 0
    np.testing.assert_array_equal(probability_array(image, backend, plan((8, 8, 8))), answer)
    assert backend.asked == 5
    image[0, 0, 0, 0] = np.nextafter(np.float32(-1), np.float32(0))
    backend.repeatable, backend.asked = True, 0
    segment_array(image, backend, plan((8, 8, 8)))
    assert backend.asked == 3


@pytest.mark.parametrize("logits", [True, False])
def test_a_network_that_answers_nan_is_refused(logits):
    image = noise(4, 4, 4)
    image[1, 2, 3] = np.nan
    network = Logits() if logits else (lambda batch: batch)
    with pytest.raises(DataError, match="must be numbers; they are NaN at 1 voxels"):
        segment_array(np.abs(image), network, plan((4, 4, 4)))
