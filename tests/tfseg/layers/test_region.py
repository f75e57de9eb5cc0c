"""Regions: weights, gates, cutting out and pasting back."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfseg.layers import BoxCut, CentreCut, PasteLogits, RegionGate, region_weight

RANKS = [2, 3]


def blob(size, corner, extent, batch=1):
    """A weight of 0.5 in a box, 0 elsewhere."""
    weight = np.zeros((batch, *size, 1), np.float32)
    inside = tuple(slice(low, low + n) for low, n in zip(corner, extent, strict=True))
    weight[(slice(None), *inside)] = 0.5
    return weight


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_the_weight_is_by_how_much_the_region_is_likelier(classes):
    given = keras.Input((5, 4, classes))
    model = keras.Model(given, region_weight(given, name="weight"))
    logits = 2 * noise(3, 5, 4, classes)
    if classes == 1:
        p = 1 / (1 + np.exp(-logits[..., 0]))
    else:
        odds = np.exp(logits)
        p = odds[..., 1:].sum(-1) / odds.sum(-1)
    expected = np.maximum(0, 2 * p - 1)
    answer = model(logits).numpy()[..., 0]
    np.testing.assert_allclose(answer, expected, atol=1e-6)
    assert (answer[p < 0.4999] == 0).all()


def test_foreground_is_exactly_zero_where_the_gate_is_shut():
    logits = 50 * noise(2, 6, 6, 3)  # as sure as networks get
    weight = np.zeros((2, 6, 6, 1), np.float32)
    weight[:, 2, 2:4], weight[:, 3, 2:4] = 0.25, 1.0
    gated = RegionGate()([logits, weight])
    p = tf.nn.softmax(gated).numpy()
    shut = weight[..., 0] == 0
    assert (p[shut][:, 1:] == 0).all()
    assert (p[shut][:, 0] == 1).all()
    np.testing.assert_array_equal(gated[:, 3, 2:4], logits[:, 3, 2:4])
    # A quarter of the odds, not of the probabilities.
    odds = np.exp((logits[0, 2, 2] - logits[0, 2, 2, 0]) / 50 * 2)
    small = RegionGate()([np.log(odds)[None, None, None], np.full((1, 1, 1, 1), 0.25)])
    expected = odds * [1, 0.25, 0.25]
    np.testing.assert_allclose(tf.nn.softmax(small)[0, 0, 0], expected / expected.sum(), rtol=1e-5)


def test_a_single_class_is_all_foreground():
    gated = RegionGate()([np.full((1, 2, 2, 1), 9.0), np.array([0, 0, 1, 1.0]).reshape(1, 2, 2, 1)])
    assert (tf.sigmoid(gated).numpy()[0, 0] == 0).all()
    assert (gated.numpy()[0, 1] == 9).all()


def test_no_gradient_flows_into_the_weight():
    logits, weight = tf.constant(noise(1, 4, 4, 2)), tf.fill((1, 4, 4, 1), 0.5)
    with tf.GradientTape() as tape:
        tape.watch([logits, weight])
        value = tf.reduce_sum(RegionGate()([logits, weight]))
    assert tape.gradient(value, weight) is None


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize(
    ("corner", "first"),
    [
        ((6, 5, 4), (4, 3, 2)),  # box 6..9, 5..8, 4..7: centre 8, 7, 6; window of 8 around it
        ((0, 0, 0), (0, 0, 0)),  # clamped at the lower border
        ((12, 12, 12), (8, 8, 8)),  # and at the upper one: 16 - 8
    ],
)
def test_a_window_around_the_centre_of_mass_lies_inside(rank, corner, first):
    size, corner, first = (16,) * rank, corner[:rank], first[:rank]
    image = noise(2, *size, 3)
    cut, window = CentreCut((8,) * rank)([image, blob(size, corner, (4,) * rank, batch=2)])
    np.testing.assert_array_equal(window[0], [[low, 8] for low in first])
    inside = tuple(slice(low, low + 8) for low in first)
    np.testing.assert_array_equal(cut, image[(slice(None), *inside)])


@pytest.mark.parametrize("rank", RANKS)
def test_cut_and_paste_give_the_image_back(rank):
    size = (12, 16, 20)[:rank]
    image = noise(2, *size, 2)
    weight = blob(size, (1, 9, 3)[:rank], (2, 4, 5)[:rank], batch=2)
    cut, window = CentreCut((4, 8, 8)[:rank])([image, weight])
    np.testing.assert_array_equal(PasteLogits("others")([cut, window, image]), image)
    background = PasteLogits()([cut, window, image]).numpy()
    inside = background[..., 1] > -100
    assert inside.sum() == 2 * np.prod((4, 8, 8)[:rank])
    np.testing.assert_array_equal(background[inside], image[inside])
    assert (tf.nn.softmax(background)[..., 1].numpy()[~inside] == 0).all()


def test_a_coarse_weight_says_where_in_the_fine_image():
    image = noise(1, 32, 32, 1)
    cut, window = CentreCut((8, 8))([image, blob((8, 8), (2, 5), (1, 1))])  # cells of 4 voxels
    np.testing.assert_array_equal(window[0], [[6, 8], [18, 8]])  # centres 10 and 22
    np.testing.assert_array_equal(cut, image[:, 6:14, 18:26])


@pytest.mark.parametrize("layer", [CentreCut, BoxCut])
def test_without_any_weight(layer):
    image = noise(1, 16, 12, 1)
    cut, window = layer((8, 8))([image, np.zeros((1, 16, 12, 1))])
    if layer is CentreCut:
        np.testing.assert_array_equal(cut, image[:, 4:12, 2:10])
    else:
        np.testing.assert_array_equal(window[0], [[0, 16], [0, 12]])


def test_a_smaller_image_is_taken_whole():
    image = noise(1, 6, 20, 1)
    cut, window = CentreCut((8, 8))([image, blob((6, 20), (0, 0), (1, 1))])
    assert cut.shape == (1, 6, 8, 1)
    np.testing.assert_array_equal(window[0], [[0, 6], [0, 8]])


@pytest.mark.parametrize("extent", [16, None])
def test_a_size_that_is_not_given_is_a_share_of_the_image(extent):
    given = keras.Input((extent, extent, 1)), keras.Input((extent, extent, 1))
    cut, window = CentreCut(multiple=(4, 4), share=0.6)(given)
    assert cut.shape[1] == (12 if extent else None)  # 9.6 voxels, in fours
    image = noise(1, 16, 16, 1)
    answer, _ = keras.Model(given, [cut, window])([image, np.zeros_like(image)])
    assert answer.shape == (1, 12, 12, 1)


@pytest.mark.parametrize("rank", RANKS)
def test_a_box_holds_its_weight_and_a_margin(rank):
    size = (20, 24, 16)[:rank]
    weight = blob(size, (4, 8, 0)[:rank], (5, 10, 4)[:rank])
    _, tight = BoxCut()([weight, weight])
    np.testing.assert_array_equal(tight[0], [[4, 5], [8, 10], [0, 4]][:rank])
    _, wide = BoxCut(margin=0.3)([weight, weight])  # 1.5, 3 and 1.2 voxels, rounded up
    np.testing.assert_array_equal(wide[0], [[2, 9], [5, 16], [0, 6]][:rank])


def test_a_box_is_resized_like_scipy_does():
    image = noise(1, 20, 24, 1)
    cut, _ = BoxCut((8, 9))([image, blob((20, 24), (4, 6), (12, 15))])
    places = np.meshgrid(
        4 + (np.arange(8) + 0.5) * 12 / 8 - 0.5, 6 + (np.arange(9) + 0.5) * 15 / 9 - 0.5,
        indexing="ij",
    )  # fmt: skip
    expected = ndimage.map_coordinates(image[0, ..., 0], places, order=1)
    np.testing.assert_allclose(cut[0, ..., 0], expected, atol=1e-5)


def test_a_pasted_box_is_resized_like_scipy_does():
    logits = noise(1, 8, 9, 2)
    window = np.array([[[4, 12], [6, 15]]], np.float32)
    pasted = PasteLogits()([logits, window, np.zeros((1, 20, 24, 1))]).numpy()
    places = np.meshgrid(
        (np.arange(12) + 0.5) * 8 / 12 - 0.5, (np.arange(15) + 0.5) * 9 / 15 - 0.5, indexing="ij"
    )
    expected = ndimage.map_coordinates(logits[0, ..., 1], places, order=1, mode="nearest")
    np.testing.assert_allclose(pasted[0, 4:16, 6:21, 1], expected, atol=1e-5)
    shut = np.ones((20, 24), bool)
    shut[4:16, 6:21] = False
    assert (pasted[0, shut, 1] == -120).all()
    assert (pasted[0, shut, 0] == 0).all()


def test_a_halo_shows_what_lies_around_the_box():
    image = noise(1, 20, 24, 1)
    weight = blob((20, 24), (4, 0), (8, 24))
    around, _ = BoxCut((8, 24), halo=3)([image, weight])
    expected = np.pad(image, ((0, 0), (0, 0), (3, 3), (0, 0)), mode="edge")[:, 1:15]
    np.testing.assert_allclose(around, expected, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        BoxCut((8, 4), (4, 4), share=0.5, margin=0.2, halo=2),
        CentreCut((8, 4), (4, 4), 0.5),
        PasteLogits("others"),
    ],
)
def test_a_configuration_makes_the_same_layer(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
