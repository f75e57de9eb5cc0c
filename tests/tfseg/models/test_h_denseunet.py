"""H-DenseUNet: the authors' counts part by part, grids, and that both ways are fused."""

import functools

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build, inference_model

TINY = {"base_filters": 4, "blocks_2d": (1, 1), "blocks_3d": (1, 1)}


def without_numbers(*args, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build("h_denseunet", *args, **options)


@functools.cache
def authors_form():
    return without_numbers((12, 224, 224, 1), 3, faithful=True)


def part_of(layer):
    prefix = layer.name.split("_")[0]
    return prefix if prefix in {"slices", "volume"} else "fusion"


def counts(model):
    """Trainable parameters of the 2D network, the 3D network and the fusion."""
    found = {"slices": 0, "volume": 0, "fusion": 0}
    for layer in model.layers:
        found[part_of(layer)] += sum(int(np.prod(w.shape)) for w in layer.trainable_weights)
    return found


def test_the_authors_code():
    model = authors_form()
    assert counts(model) == {"slices": 44_862_339, "volume": 15_977_467, "fusion": 110_979}
    assert [output.shape[1:] for output in model.outputs] == [(12, 224, 224, 3)] * 3


def test_the_papers_skips():
    """Block 3 is projected to fit: 2112 to 2208 channels in 2D, 496 to 504 in 3D."""
    model = without_numbers((12, 224, 224, 1), 3, faithful=True, skips=True)
    assert counts(model) == {
        "slices": 44_862_339 + 2112 * 2208 + 2208,
        "volume": 15_977_467 + 496 * 504 + 504,
        "fusion": 110_979,
    }
    assert (2112 * 2208 + 2208, 496 * 504 + 504) == (4_665_504, 250_488)


def test_grids_and_widths():
    """The stem pools slices twice, everything after it pools y and x only."""
    model = authors_form()
    assert model.get_layer("stacks").output.shape == (None, 224, 224, 3)
    assert model.get_layer("slices_end_act").output.shape == (None, 7, 7, 2208)
    assert model.get_layer("volume_input").output.shape == (None, 12, 224, 224, 4)
    assert model.get_layer("volume_end_act").output.shape == (None, 3, 7, 7, 504)
    flat = [model.get_layer(f"slices_up{step}_conv").filters for step in (4, 3, 2, 1, 0)]
    deep = [model.get_layer(f"volume_up{step}_conv").filters for step in (4, 3, 2, 1, 0)]
    assert (flat, deep) == ([768, 384, 96, 96, 64], [504, 224, 192, 96, 64])


@pytest.mark.parametrize("skips", [True, False])
def test_other_numbers_of_blocks(skips):
    for blocks in ((1, 2), (1, 2, 1), (1, 1, 1, 1, 1)):
        options = {"base_filters": 4, "blocks_2d": blocks, "blocks_3d": (2, 1), "skips": skips}
        model = without_numbers((8, 64, 64, 2), 3, **options)
        assert model.outputs[0].shape == (None, 8, 64, 64, 3)


def test_the_2d_networks_scores_are_an_output_and_an_input_of_the_3d_one():
    keras.utils.set_random_seed(0)
    model = build("h_denseunet", (4, 16, 16, 1), 3, **TINY, dropout=0, score_scale=10.0)
    x = np.random.default_rng(0).normal(size=(1, 4, 16, 16, 1)).astype(np.float32)
    seen = keras.Model(model.input, model.get_layer("volume_input").output)(x)
    _, _, scores = model(x)
    np.testing.assert_allclose(seen, np.concatenate([x, 10 * np.asarray(scores)], -1), rtol=1e-5)


def test_a_slice_of_the_2d_network_sees_its_neighbours_only():
    model = build("h_denseunet", (8, 16, 16, 1), 2, **TINY, norm="none")
    x = np.random.default_rng(0).normal(size=(1, 8, 16, 16, 1)).astype(np.float32)
    changed = x.copy()
    changed[:, 3] += 5
    alone = keras.Model(model.input, model.outputs[2])
    differs = np.any(np.asarray(alone(x)) != np.asarray(alone(changed)), axis=(0, 2, 3, 4))
    assert np.flatnonzero(differs).tolist() == [2, 3, 4]


def test_the_answer_needs_both_networks():
    model = build("h_denseunet", (4, 16, 16, 1), 2, **TINY)
    alone = inference_model(model)
    x = np.random.default_rng(0).normal(size=(1, 4, 16, 16, 1)).astype(np.float32)
    before = np.asarray(alone(x))
    for name in ("slices_up0_conv", "volume_up0_conv"):
        layer = alone.get_layer(name)
        kept = layer.get_weights()
        layer.set_weights([weight * 0 for weight in kept])
        assert not np.allclose(alone(x), before, atol=1e-4), name
        layer.set_weights(kept)


def test_without_auxiliary_outputs():
    model = without_numbers((4, 16, 16, 1), 2, **TINY, auxiliary=False)
    assert len(model.outputs) == 1
    assert "volume_logits" not in [layer.name for layer in model.layers]


def test_sizes_that_do_not_pool():
    with pytest.raises(ConfigError, match=r"by \(4, 32, 32\); got \(6, 64, 64\)\. Use \(8, 64"):
        without_numbers((6, 64, 64, 1), 2)
