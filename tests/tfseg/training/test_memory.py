"""The estimate of a training step's memory, by hand."""

from __future__ import annotations

import keras
import pytest

from tfseg.errors import ConfigError
from tfseg.layers import SliceStacks, SlicesToVolume
from tfseg.training import memory


def _network() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))


def test_counts_activations_and_weights() -> None:
    # 64 voxels in, 128 out, three copies, batch 5; 2 weights and 2 biases, four copies; 4 bytes.
    assert memory.training_bytes(_network(), 5) == 4 * (3 * (64 + 128) * 5 + 4 * 4)


def test_counts_every_slice_of_a_volume() -> None:
    inputs = keras.Input((5, 4, 4, 1))
    filtered = keras.layers.Conv2D(2, 1, use_bias=False)(SliceStacks(reach=1)(inputs))
    model = keras.Model(inputs, SlicesToVolume()((filtered, inputs)))
    # 80 voxels in, 3 and 2 channels of them as slices, 2 as a volume; 6 weights.
    assert memory.training_bytes(model, 1) == 4 * (3 * 80 * (1 + 3 + 2 + 2) + 4 * 6)


def test_refuses_what_the_machine_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    need = memory.training_bytes(_network(), 5)
    monkeypatch.setattr(memory, "_machine_bytes", lambda: need)
    memory.check_memory(_network(), 5, (8, 8))
    monkeypatch.setattr(memory, "_machine_bytes", lambda: need - 1)
    with pytest.raises(ConfigError, match=r"patch_size \(8, 8\) with batch_size 5"):
        memory.check_memory(_network(), 5, (8, 8))
