"""Attention U-Net: published counts of both forms, where gates stand, what they return."""

import keras
import numpy as np
import pytest

from tfseg.models import build
from tfseg.models.attention_unet import attention_maps


def without_numbers(*args, **options):
    """Build shapes only: counting needs no memory for the weights."""
    with keras.StatelessScope(initialize_variables=False):
        return build("attention_unet", *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        # The CT network, four classes. The heads of four levels add (16 + 32 + 64 + 128 + 4) * 4
        # weights and 4 * 4 biases less what one head alone has.
        ({"gate": "none", "deep_supervision": False}, 5_887_028),
        ({"gate": "none"}, 5_888_004),
        # The signal 256 * 256 + 3 * 256; a gate of f on g channels 8 f^2 + g f + f + f + 1 and
        # f^2 + 3 f behind it; merging f^2 + 3 f for one, 2 f^2 + 3 f for two; at f, g = 128, 256;
        # 64, 128; 32, 64.
        ({"gate": "single"}, 6_214_151),
        ({}, 6_473_322),
    ],
)
def test_the_ct_network(options, parameters):
    model = without_numbers((160, 160, 96, 1), 4, faithful=True, **options)
    assert model.output_shape == (None, 160, 160, 96, 4)
    assert trainable(model) == parameters


def test_gate_arithmetic():
    """The counts above from each other, as their comment says."""

    def gate(f, g):
        return 8 * f * f + (g * f + f) + (f + 1) + (f * f + 3 * f)

    levels = [(128, 256), (64, 128), (32, 64)]
    signal, gates = 256 * 256 + 3 * 256, sum(gate(f, g) for f, g in levels)
    single = signal + gates + sum(f * f + 3 * f for f, _ in levels)
    multi = signal + 2 * gates + sum(2 * f * f + 3 * f for f, _ in levels)
    assert 5_887_028 - (16 * 4 + 4) + 4 * (16 + 32 + 64 + 128 + 4) + (16 * 4 + 4) == 5_888_004
    assert 5_888_004 + single == 6_214_151
    assert 5_888_004 + multi == 6_473_322


def test_the_common_2d_form():
    """64 to 1024 channels, four gates on their own grid with a norm after each 1x1."""
    options = {"gate": "same_grid", "base_filters": 64, "deep_supervision": False}
    model = without_numbers((64, 64, 3), 1, faithful=True, **options)
    assert trainable(model) == 34_878_573
    maps = attention_maps(model).output
    assert {name: alpha.shape[1:] for name, alpha in maps.items()} == {
        f"gate{level}_alpha": (64 // 2**level,) * 2 + (1,) for level in range(4)
    }


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(("gate", "gates"), [("single", 1), ("multi", 2)])
def test_gates_stand_at_every_level_but_the_finest(rank, gate, gates):
    model = without_numbers((32,) * rank + (1,), 2, gate=gate)
    assert {name: alpha.shape[1] for name, alpha in attention_maps(model).output.items()} == {
        f"gate{level}_{index + 1}_alpha": 16 // 2**level  # half the grid of the skip
        for level in (1, 2, 3)
        for index in range(gates)
    }


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("gate", ["single", "multi", "same_grid"])
def test_attention_is_between_0_and_1_and_looks_at_the_image(rank, gate):
    keras.utils.set_random_seed(0)
    model = build("attention_unet", (16,) * rank + (1,), 2, base_filters=4, depth=3, gate=gate)
    maps = attention_maps(model)
    rng = np.random.default_rng(0)
    first, second = (
        maps(rng.normal(size=(1, *(16,) * rank, 1)).astype(np.float32)) for _ in range(2)
    )
    assert len(first) == {"single": 1, "multi": 2, "same_grid": 2}[gate]
    for name, alpha in first.items():
        assert 0 <= np.min(alpha) < np.max(alpha) <= 1
        assert not np.allclose(alpha, second[name], atol=1e-4)


def test_without_supervision_of_the_scales_there_is_one_head():
    model = without_numbers((32, 32, 1), 3, deep_supervision=False)
    assert [layer.name for layer in model.layers if layer.name.startswith("scale")] == []
    joined = without_numbers((32, 32, 1), 3).get_layer("scales").output
    assert joined.shape == (None, 32, 32, 4 * 3)
