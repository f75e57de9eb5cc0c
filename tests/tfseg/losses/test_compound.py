"""Dice plus cross-entropy, and the sum over training outputs."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.losses import cross_entropy, dice_ce, soft_dice_loss, supervised_loss


def sample(size, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (2, *size)).astype(np.uint8)
    return labels, rng.normal(size=(2, *size, classes)).astype(np.float32)


def test_sum_of_the_two():
    labels, logits = sample((4, 4))
    expected = soft_dice_loss(labels, logits) + cross_entropy(labels, logits)
    np.testing.assert_allclose(dice_ce(labels, logits), expected, rtol=1e-6)


@pytest.mark.parametrize("size", [(8, 12), (8, 12, 4)])
def test_outputs_are_weighted_to_sum_one_and_met_at_their_own_grid(size):
    labels, fine = sample(size)
    half, quarter = tuple(n // 2 for n in size), tuple(n // 4 for n in size)
    middle, coarse = sample(half, seed=1)[1], sample(quarter, seed=2)[1]
    every_second = labels[(slice(None), *(slice(1, None, 2),) * len(size))]
    every_fourth = labels[(slice(None), *(slice(2, None, 4),) * len(size))]
    answer = supervised_loss(tf.constant(labels), [fine, middle, coarse], (1, 0.5, 0.25, 0.125))
    expected = (
        4 * dice_ce(labels, fine)
        + 2 * dice_ce(every_second, middle)
        + dice_ce(every_fourth, coarse)
    ) / 7
    np.testing.assert_allclose(answer, expected, rtol=1e-5)


def test_a_grid_may_be_coarser_along_some_axes_only():
    labels, logits = sample((4, 6, 6))
    coarse = logits[:, :, ::3, ::3]
    answer = supervised_loss(tf.constant(labels), [coarse], (1.0,))
    np.testing.assert_allclose(answer, dice_ce(labels[:, :, 1::3, 1::3], coarse), rtol=1e-6)


def test_one_output_has_the_whole_weight():
    labels, logits = sample((4, 4))
    answer = supervised_loss(tf.constant(labels), [logits], (0.3, 0.7))
    np.testing.assert_allclose(answer, dice_ce(labels, logits), rtol=1e-6)


def test_fewer_weights_than_outputs_is_an_error():
    labels, logits = sample((4, 4))
    with pytest.raises(ValueError, match="shorter"):
        supervised_loss(tf.constant(labels), [logits, logits], (1.0,))
