"""The engine drives a scheme that it has never heard of: two networks against each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.config import TrainConfig
from tfseg.errors import DivergedError
from tfseg.pipeline.streams import Stream
from tfseg.schemes.base import SEGMENTER
from tfseg.schemes.learner import Learner
from tfseg.training import hooks
from tfseg.training.devices import open_strategy
from tfseg.training.engine import Engine


def network(name: str, seed: int) -> keras.Model:
    given = keras.Input((4,))
    start = keras.initializers.GlorotUniform(seed)
    x = keras.layers.Dropout(0.3, seed=seed)(given)
    return keras.Model(given, keras.layers.Dense(4, kernel_initializer=start)(x), name=name)


class Duel:
    """A generator and a critic, with a stream each of another batch size."""

    name: ClassVar[str] = "duel"

    def __init__(self, config: TrainConfig) -> None:
        self._learners = {
            SEGMENTER: Learner(network("generator", 0), config),
            "critic": Learner(network("critic", 1), config),
        }
        self._phase = 0

    def learners(self) -> Mapping[str, Learner]:
        return self._learners

    def streams(self) -> Mapping[str, Stream]:
        def draw(index: int) -> dict[str, Any]:
            return {"image": np.random.default_rng(index).normal(size=4).astype(np.float32)}

        signature = {"image": ("float32", (4,))}
        return {"real": Stream(draw, signature, 2), "other": Stream(draw, signature, 4)}

    def train_step(self, batch: Mapping[str, Mapping[str, tf.Tensor]]) -> dict[str, tf.Tensor]:
        generator, critic = self._learners[SEGMENTER], self._learners["critic"]
        with tf.GradientTape() as tape:
            made = generator.network(batch["real"]["image"], training=True)
            loss = tf.reduce_sum(critic.network(made) ** 2) / 2
        generator.minimise(tape, loss)
        with tf.GradientTape() as tape:
            judged = critic.network(batch["other"]["image"], training=True)
            other = tf.reduce_sum((judged - 1) ** 2) / 4
        critic.minimise(tape, other)
        return {"loss": loss, "critic": other}

    def begin_epoch(self, epoch: int, done: float) -> bool:
        del done
        self._phase = epoch
        return False

    def pace(self, done: float) -> float:
        rates = [learner.pace(done) for learner in self._learners.values()]
        return rates[0]

    def is_ready(self) -> bool:
        return True

    def is_over(self, done: float) -> bool:
        del done
        return False

    def product(self) -> Any:
        return self._learners[SEGMENTER].network

    def state(self) -> dict[str, Any]:
        return {"phase": self._phase}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._phase = state["phase"]


def engine(folder: Path, *more: hooks.Hook, **settings: Any) -> Engine:
    config = TrainConfig.parse(
        {"model": "unet", "data": "", "epochs": 4, "steps_per_epoch": 3, **settings}, "test"
    )
    strategy = open_strategy(0)
    with strategy.scope():
        scheme = Duel(config)
    product = hooks.Product(scheme.product())
    return Engine(scheme, strategy, config, folder, [*more, product, hooks.History()])


class Stop(hooks.Hook):
    """Dies after an epoch, as a run that is killed after its checkpoint."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def after_checkpoint(self, engine: Engine, record: hooks.Record) -> None:
        if record["epoch"] == self._epoch:
            raise KeyboardInterrupt


def everything(trained: Engine) -> dict[str, np.ndarray]:
    return {
        f"{owner}/{index}": np.asarray(variable)
        for owner, variables in trained.groups.items()
        for index, variable in enumerate(variables)
    }


def test_two_networks_learn_and_go_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = engine(tmp_path / "whole")
    counters = whole.train()
    assert [row["step"] for row in counters.history] == [3, 6, 9, 12]
    assert all(row["critic"] > 0 for row in counters.history)
    with pytest.raises(KeyboardInterrupt):
        engine(tmp_path / "cut", Stop(2)).train()
    resumed = engine(tmp_path / "cut")
    resumed.resume()
    assert resumed.scheme.state() == {"phase": 1}
    resumed.train()
    assert resumed.finished() == "4 epochs are done, of 4"
    expected, found = everything(whole), everything(resumed)
    assert expected.keys() == found.keys()
    assert {name.rpartition("/")[0] for name in found} == {
        f"{network}/{owner}"
        for network in (SEGMENTER, "critic")
        for owner in ("network", "optimizer", "average")
    }
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_the_networks_file_has_the_averaged_weights(tmp_path: Path) -> None:
    trained = engine(tmp_path, average=0.9)
    trained.train()
    stored = keras.saving.load_model(tmp_path / "model.keras").get_weights()
    learner = trained.scheme.learners()[SEGMENTER]
    last = learner.network.get_weights()
    assert any(not np.array_equal(a, b) for a, b in zip(stored, last, strict=True))
    with learner.averaged():
        averaged = learner.network.get_weights()
    for a, b in zip(stored, averaged, strict=True):
        np.testing.assert_array_equal(a, b)


class Clock(hooks.Hook):
    """Lets a look take a second of the run's time."""

    def look(self, engine: Engine, loss: float, done: float) -> None:
        engine._began -= 1.0


def test_a_long_epoch_ends_with_the_time(tmp_path: Path) -> None:
    """A look every 10 steps is a second: of 30 s, 10 s are for what follows."""
    trained = engine(tmp_path, Clock(), epochs=10, steps_per_epoch=1000, time_budget_s=30)
    trained.reserve_s = 10.0
    counters = trained.train()
    assert counters.epoch == 1
    assert 180 <= counters.step <= 200
    assert trained.finished().startswith("the time budget of 30 s")
    assert counters.history[0]["learning_rate"] < 2e-4


@pytest.mark.parametrize("name", ["loss", "critic"])
def test_any_loss_that_is_not_finite_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = Duel.train_step

    def poisoned(self: Duel, batch: Any) -> dict[str, tf.Tensor]:
        return {**real(self, batch), name: tf.constant(float("inf"))}

    monkeypatch.setattr(Duel, "train_step", poisoned)
    with pytest.raises(DivergedError, match=f"the {name} became inf at step 1;"):
        engine(tmp_path).train()
