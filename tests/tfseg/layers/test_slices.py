"""Volume to stacks of slices and back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.layers import SliceStacks, SlicesToVolume


def volumes(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_the_ends_repeat_their_slice():
    """12 slices, as published: the first stack is 0, 0, 1 and the last 10, 11, 11."""
    numbered = np.arange(12, dtype=np.float32).reshape(1, 12, 1, 1, 1)
    stacks = SliceStacks()(numbered).numpy().reshape(12, 3)
    assert stacks[0].tolist() == [0, 0, 1]
    assert stacks[1].tolist() == [0, 1, 2]
    assert stacks[-1].tolist() == [10, 11, 11]


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_by_loops(reach):
    v = volumes(2, 5, 3, 4, 2)
    stacks = SliceStacks(reach)(v).numpy()
    assert stacks.shape == (10, 3, 4, 2 * (2 * reach + 1))
    for sample in range(2):
        for z in range(5):
            near = [min(max(z + step, 0), 4) for step in range(-reach, reach + 1)]
            expected = np.concatenate([v[sample, slice_] for slice_ in near], -1)
            np.testing.assert_array_equal(stacks[sample * 5 + z], expected)


def test_back_from_stacks_their_middle_is_the_volume():
    v = volumes(2, 5, 3, 4, 2)
    stacks = SliceStacks()(v)
    again = SlicesToVolume()([stacks[..., 2:4], v])
    np.testing.assert_array_equal(again, v)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("reach", [0, 1])
def test_across_another_axis_it_is_the_turned_volume_that_is_stacked(axis, reach):
    v = volumes(2, 5, 3, 4, 2)
    turned = np.ascontiguousarray(np.moveaxis(v, axis + 1, 1))
    stacks = SliceStacks(reach, axis)(v)
    np.testing.assert_array_equal(stacks, SliceStacks(reach)(turned))
    middle = stacks[..., 2 * reach : 2 * reach + 2]
    np.testing.assert_array_equal(SlicesToVolume(axis)([middle, v]), v)


def test_a_volume_of_one_slice():
    v = volumes(1, 1, 2, 2, 1)
    np.testing.assert_array_equal(SliceStacks()(v)[..., 0], v[0, ..., 0])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sizes_may_be_left_open_and_a_saved_pair_answers_the_same(axis, tmp_path):
    inputs = keras.Input((None, None, None, 2))
    stacks = SliceStacks(2, axis, name="stacks")(inputs)
    assert stacks.shape == (None, None, None, 10)
    outputs = SlicesToVolume(axis, name="back")([stacks, inputs])
    assert outputs.shape == (None, None, None, None, 10)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    v = volumes(2, 3, 4, 5, 2)
    in_graph = tf.function(model, input_signature=[tf.TensorSpec((None,) * 4 + (2,))])
    np.testing.assert_array_equal(in_graph(v), model(v))
    np.testing.assert_array_equal(again(v), model(v))


def test_known_sizes_are_known_after_too():
    inputs = keras.Input((6, 4, 5, 1), batch_size=2)
    for axis, shape in enumerate([(12, 4, 5, 3), (8, 6, 5, 3), (10, 6, 4, 3)]):
        stacks = SliceStacks(axis=axis)(inputs)
        assert stacks.shape == shape
        assert SlicesToVolume(axis)([stacks, inputs]).shape == (2, 6, 4, 5, 3)
