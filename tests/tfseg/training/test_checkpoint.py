"""Checkpoints hold everything and say what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tfseg.errors import DataError
from tfseg.training.checkpoint import Counters, Groups, load, load_latest, save


def _network(width: int = 3) -> tuple[keras.Model, keras.Optimizer]:
    inputs = keras.Input((4,))
    x = keras.layers.Dropout(0.5, seed=7)(keras.layers.Dense(width)(inputs))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(x))
    optimizer = keras.optimizers.AdamW(0.01)
    optimizer.build(model.trainable_variables)
    return model, optimizer


def _groups(model: keras.Model, optimizer: keras.Optimizer) -> Groups:
    return {"segmenter/network": model.variables, "segmenter/optimizer": optimizer.variables}


def _step(model: keras.Model, optimizer: keras.Optimizer) -> None:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(tf.ones((2, 4)), training=True) ** 2 + 1)
    optimizer.apply(tape.gradient(loss, model.trainable_variables))


def test_restores_weights_moments_and_dropout_state(tmp_path: Path) -> None:
    model, optimizer = _network()
    _step(model, optimizer)
    save(tmp_path / "last.npz", _groups(model, optimizer), Counters(epoch=3, scheme={"stage": 1}))
    _step(model, optimizer)
    expected = [variable.numpy() for variable in (*model.variables, *optimizer.variables)]

    other, other_optimizer = _network()
    counters = load(tmp_path / "last.npz", _groups(other, other_optimizer))
    _step(other, other_optimizer)

    assert (counters.epoch, counters.scheme) == (3, {"stage": 1})
    restored = [variable.numpy() for variable in (*other.variables, *other_optimizer.variables)]
    for a, b in zip(expected, restored, strict=True):
        np.testing.assert_array_equal(a, b)


def test_refuses_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    save(tmp_path / "last.npz", _groups(*_network(3)), Counters())
    with pytest.raises(DataError, match="another network"):
        load(tmp_path / "last.npz", _groups(*_network(5)))


@pytest.mark.parametrize("content", [b"", b"no zip at all", None])
def test_refuses_a_damaged_or_missing_checkpoint(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "last.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"last\.npz"):
        load(path, _groups(*_network()))


def test_a_torn_write_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.npz"
    save(path, _groups(*_network()), Counters(epoch=1))
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(DataError, match="disk is full"):
        save(path, _groups(*_network()), Counters(epoch=2))
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == ["last.npz"]


def test_no_flipped_bit_passes(tmp_path: Path) -> None:
    path, (model, optimizer) = tmp_path / "last.npz", _network()
    save(path, _groups(model, optimizer), Counters(epoch=3))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    expected = [variable.numpy() for variable in (*model.variables, *optimizer.variables)]
    refused = 0
    for place in rng.integers(0, len(whole), 200):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            counters = load(path, _groups(model, optimizer))
        except DataError:
            refused += 1
            continue
        found = [variable.numpy() for variable in (*model.variables, *optimizer.variables)]
        assert counters.epoch == 3
        assert all(map(np.array_equal, found, expected))
    assert refused > 100


def test_the_checkpoint_before_takes_the_place_of_a_damaged_or_missing_one(tmp_path: Path) -> None:
    path, network = tmp_path / "last.npz", _network()
    for epoch in (1, 2, 3):
        save(path, _groups(*network), Counters(epoch=epoch))
    assert load_latest(path, _groups(*network)).epoch == 3
    path.write_bytes(path.read_bytes()[:-9])
    assert load_latest(path, _groups(*network)).epoch == 2
    assert not path.exists()
    assert load_latest(path, _groups(*network)).epoch == 2
    with pytest.raises(DataError, match=r"there is no checkpoint .*last\.npz"):
        load_latest(path, _groups(*_network(5)))


def test_a_damaged_checkpoint_does_not_take_the_place_of_the_good_one(tmp_path: Path) -> None:
    path, network = tmp_path / "last.npz", _network(4)
    for epoch in (1, 2):
        save(path, _groups(*network), Counters(epoch=epoch))
    path.write_bytes(b"damaged")
    assert load_latest(path, _groups(*network)).epoch == 1
    save(path, _groups(*network), Counters(epoch=2))
    path.write_bytes(b"damaged again")
    assert load_latest(path, _groups(*network)).epoch == 1
