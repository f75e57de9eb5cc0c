"""Runs that do not end by themselves: deadlines and shutdown must end them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfseg_serving.status import Code, StatusError

X = {"x": np.float32([1])}


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that counts to ten thousand million; a table gives it something to restore."""
    import tensorflow as tf

    class Endless(tf.Module):
        def __init__(self) -> None:
            keys, values = tf.constant(["a"]), tf.constant([5.0])
            initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
            self.table = tf.lookup.StaticHashTable(initializer, -1.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def spin(self, x: Any) -> dict[str, Any]:
            limit = tf.constant(10**10, tf.int64)
            last = tf.while_loop(lambda i: i < limit, lambda i: [i + 1], [tf.constant(0, tf.int64)])
            return {"y": x + tf.cast(last[0], tf.float32)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "key")])
        def look_up(self, key: Any) -> dict[str, Any]:
            return {"value": self.table.lookup(key)}

    folder = tmp_path_factory.mktemp("endless") / "1"
    module = Endless()
    tf.saved_model.save(module, str(folder), {"spin": module.spin, "look_up": module.look_up})
    return folder


def test_a_run_ends_at_its_deadline(endless: Path) -> None:
    from tfseg_serving.servable import load_servable

    servable = load_servable(endless)
    with pytest.raises(StatusError) as caught:
        servable.predict("spin", X, timeout_s=0.2)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    servable.close()


def test_closing_cancels_runs_and_refuses_new_ones(endless: Path) -> None:
    from tfseg_serving.servable import load_servable

    servable = load_servable(endless)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(servable.predict, "spin", X)
        time.sleep(0.3)
        servable.close()
        with pytest.raises(StatusError) as cancelled:
            running.result(20)
    assert cancelled.value.code in {Code.CANCELLED, Code.UNAVAILABLE}
    with pytest.raises(StatusError, match="shutting down"):
        servable.predict("spin", X)


def test_tables_are_initialised(endless: Path) -> None:
    from tfseg_serving.servable import load_servable

    servable = load_servable(endless)
    key = np.array([b"a", b"b"], object)
    assert servable.predict("look_up", {"key": key})["value"].tolist() == [5, -1]
    servable.close()


def test_an_asset_outside_its_version_is_refused(models_root: Path, tmp_path: Path) -> None:
    import shutil

    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    from tfseg_serving.servable import load_servable

    folder = tmp_path / "m" / "1"
    shutil.copytree(models_root / "scale" / "1", folder)
    path = folder / "saved_model.pb"
    document = SavedModel.FromString(path.read_bytes())
    asset = document.meta_graphs[0].asset_file_def.add(filename="../../secret")
    asset.tensor_info.name = "x:0"
    path.write_bytes(document.SerializeToString())
    with pytest.raises(StatusError, match=r"an asset must lie in .* got '\.\./\.\./secret'"):
        load_servable(folder)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_convolution_of_another_rank_is_refused(tmp_path: Path, rank: int) -> None:
    # oneDNN's kernels would abort the process.
    import tensorflow as tf

    from tfseg_serving.servable import load_servable

    sizes = [None] * (rank + 1)

    class Convolution(tf.Module):
        def __init__(self) -> None:
            self.kernel = tf.Variable(tf.ones([1] * rank + [2, 1]))

        @tf.function(input_signature=[tf.TensorSpec([*sizes, 2], tf.float32, "x")])
        def __call__(self, x: Any) -> dict[str, Any]:
            return {"y": tf.nn.convolution(x, self.kernel)}

    model = Convolution()
    tf.saved_model.save(model, str(tmp_path / "1"), model.__call__)
    servable = load_servable(tmp_path / "1")
    for shape in ((), (1,), (2, 2), (1,) * (rank + 1), (1,) * (rank + 3)):
        with pytest.raises(StatusError, match=rf"input x must be {rank + 2}-dimensional: \["):
            servable.predict("serving_default", {"x": np.ones(shape, np.float32)})
    good = np.ones((1, *[2] * rank, 2), np.float32)
    assert servable.predict("serving_default", {"x": good})["y"].max() == 2
    servable.close()
