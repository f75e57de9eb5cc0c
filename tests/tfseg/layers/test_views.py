"""Fusing the logits of several networks, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.layers import FuseLogits


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sure(label, classes=3, size=9.0):
    """Logits of one voxel that are sure of a label."""
    return size * np.eye(classes, dtype=np.float32)[label]


@pytest.mark.parametrize("vote", ["mean", "majority", "product"])
@pytest.mark.parametrize(("labels", "winner"), [((1, 1, 2), 1), ((2, 0, 2), 2), ((0, 0, 0), 0)])
def test_two_of_three_win(vote, labels, winner):
    assert np.argmax(FuseLogits(vote)([sure(label) for label in labels])) == winner


def test_the_majority_wins_against_any_mean():
    """Two views prefer class 1 by little, the third is sure of class 2."""
    views = [[0.0, 0.3, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 50.0]]
    views = [np.array(view, np.float32) for view in views]
    assert np.argmax(FuseLogits("majority")(views)) == 1
    assert np.argmax(FuseLogits("mean")(views)) == 2


def test_a_three_way_tie_goes_to_the_higher_mean_probability():
    views = [sure(0, size=1.0), sure(1, size=3.0), sure(2, size=2.0)]
    assert np.argmax(FuseLogits("majority")(views)) == 1


def random_views(classes=4, seed=0, scale=3.0):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, scale, (2, 5, 4, 3, classes)).astype(np.float32) for _ in range(3)]


def test_probabilities_are_as_stated():
    views = random_views()
    p = np.stack([softmax(view.astype(np.float64)) for view in views])
    votes = np.stack([softmax(20 * view.astype(np.float64)) for view in views]).sum(0)
    product = p.prod(0)
    expected = {
        "mean": p.mean(0),
        "majority": (votes + p.mean(0)) / 4,
        "product": product / product.sum(-1, keepdims=True),
    }
    for vote, probabilities in expected.items():
        answer = softmax(FuseLogits(vote)(views).numpy().astype(np.float64))
        np.testing.assert_allclose(answer, probabilities, atol=1e-6)


def test_rounding_does_not_turn_the_answer():
    """One logit in a million more, on the brink of another vote, is next to nothing."""
    undecided = [np.zeros(2, np.float32), np.array([1e-6, 0], np.float32)]
    p = [softmax(FuseLogits("majority")([sure(0, 2), sure(1, 2), x]).numpy()) for x in undecided]
    np.testing.assert_allclose(*p, atol=1e-4)


def test_the_majority_is_that_of_the_label_maps():
    """Of views that prefer one class clearly."""
    views = [np.round(view, 0) for view in random_views(seed=1)]
    views = [view + 0.25 * np.arange(4, dtype=np.float32) for view in views]
    labels = np.stack([view.argmax(-1) for view in views])
    counts = np.stack([(labels == label).sum(0) for label in range(4)], -1)
    agreed = counts.max(-1) >= 2
    answer = FuseLogits("majority")(views).numpy().argmax(-1)
    np.testing.assert_array_equal(answer[agreed], counts.argmax(-1)[agreed])
    assert 0.3 < agreed.mean() < 1


@pytest.mark.parametrize("vote", ["mean", "majority", "product"])
def test_one_channel_is_the_foreground_against_zero(vote):
    views = random_views(1)
    both = [np.concatenate([np.zeros_like(view), view], -1) for view in views]
    two = FuseLogits(vote)(both).numpy()
    one = FuseLogits(vote)(views).numpy()
    np.testing.assert_allclose(one[..., 0], two[..., 1] - two[..., 0], atol=1e-5)


@pytest.mark.parametrize("vote", ["mean", "majority", "product"])
def test_extreme_logits_stay_finite_with_their_gradients(vote):
    views = [tf.constant(sure(label, size=1e4)) for label in (0, 1, 1)]
    with tf.GradientTape() as tape:
        tape.watch(views)
        fused = FuseLogits(vote)(views)
        loss = -tf.nn.log_softmax(fused)[2]
    gradients = tape.gradient(loss, views)
    assert np.isfinite(fused).all()
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_it_stays_in_float32_and_is_restored():
    layer = FuseLogits("product", dtype="float16", name="fused")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (again.vote, again.name, again.compute_dtype) == ("product", "fused", "float32")


def test_another_vote_is_refused():
    with pytest.raises(ConfigError, match="vote must be one of mean, majority, product; got 'max'"):
        FuseLogits("max")
