"""Writes the models that the contract tests ask of a server: ``python make_models.py FOLDER``.

FOLDER gets ``zoo`` (every kind of signature), ``scale`` (versions 1, 2 and 3, told apart by their
factor), ``slow`` (runs as long as asked) and ``models.config``. Start any server on them with
``--model_config_file=FOLDER/models.config`` and the other options that README.md names.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

CONFIG = """model_config_list {{
  config {{
    name: 'zoo' base_path: '{root}/zoo' model_platform: 'tensorflow'
  }}
  config {{
    name: 'scale' base_path: '{root}/scale' model_platform: 'tensorflow'
    model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
    version_labels {{ key: 'stable' value: 1 }}
    version_labels {{ key: 'a/b:c' value: 2 }}
  }}
  config {{
    name: 'slow' base_path: '{root}/slow' model_platform: 'tensorflow'
  }}
}}
"""


def write_models(root: Path) -> None:
    """Write everything below ``root``."""
    import tensorflow as tf

    _write_zoo(tf, root / "zoo" / "1")
    for version in (1, 2, 3):
        write_scale(root / "scale" / str(version), 10.0 * version)
    _write_slow(tf, root / "slow" / "1")
    (root / "models.config").write_text(CONFIG.format(root=root))


def write_scale(folder: Path, factor: float) -> None:
    """Write a model that answers ``y = factor * x``."""
    import tensorflow as tf

    class Scale(tf.Module):
        def __init__(self) -> None:
            self.factor = tf.Variable(factor)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def __call__(self, x: Any) -> dict[str, Any]:
            return {"y": self.factor * x}

    scale = Scale()
    tf.saved_model.save(scale, str(folder), scale.__call__)


def _write_slow(tf: Any, folder: Path) -> None:
    class Slow(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "steps")])
        def __call__(self, steps: Any) -> dict[str, Any]:
            count = tf.constant(0.0)
            while count < steps[0]:
                count += 1.0
            return {"count": tf.reshape(count, [1])}

    slow = Slow()
    tf.saved_model.save(slow, str(folder), slow.__call__)


def _write_zoo(tf: Any, folder: Path) -> None:
    def function(*specs: tuple[str, Any, list[int | None] | None]) -> Any:
        signature = [tf.TensorSpec(shape, dtype, name) for name, dtype, shape in specs]
        return lambda body: tf.function(body, input_signature=signature)

    zoo = tf.Module()
    zoo.weights = tf.Variable([[2.0], [3.0]])
    signatures: dict[str, Any] = {}

    @function(("x", tf.float32, [None, 2]))
    def affine(x: Any) -> dict[str, Any]:
        return {"y": tf.matmul(x, zoo.weights)}

    @function(("x", tf.float32, [None]))
    def half(x: Any) -> dict[str, Any]:
        return {"y": x * 0.5 + 2.0}

    @function(("b", tf.float32, [None]), ("a", tf.int64, [None]))
    def two(b: Any, a: Any) -> dict[str, Any]:
        return {"total": b + tf.cast(a, tf.float32), "first": a}

    @function(("s", tf.string, [None]))
    def text(s: Any) -> dict[str, Any]:
        return {"upper": tf.strings.upper(s), "copy_bytes": s}

    @function(("s", tf.string, [None]))
    def copy(s: Any) -> dict[str, Any]:
        return {"s": s}

    @function(("x", tf.float32, [None]))
    def ragged(x: Any) -> dict[str, Any]:
        return {"a": x, "b": x[:-1]}

    @function(("x", tf.float32, [None]))
    def total(x: Any) -> dict[str, Any]:
        return {"sum": tf.reduce_sum(x)}

    @function(("inputs", tf.string, [None]))
    def classify(inputs: Any) -> dict[str, Any]:
        x = _feature(tf, inputs)
        labels = tf.constant([["low", "high"]])
        return {
            "classes": tf.tile(labels, [tf.shape(x)[0], 1]),
            "scores": tf.stack([1 - x, x], axis=1),
        }

    @function(("inputs", tf.string, [None]))
    def scores(inputs: Any) -> dict[str, Any]:
        x = _feature(tf, inputs)
        return {"scores": tf.stack([1 - x, x], axis=1)}

    @function(("inputs", tf.string, [None]))
    def regress(inputs: Any) -> dict[str, Any]:
        return {"outputs": 2 * _feature(tf, inputs)}

    @function(("inputs", tf.string, [None]))
    def matrix(inputs: Any) -> dict[str, Any]:
        return {"outputs": tf.ones([tf.shape(inputs)[0], 2])}

    plain = (affine, half, two, text, copy, ragged, total, classify, scores, regress, matrix)
    for one in plain:
        name = one.python_function.__name__
        signatures["serving_default" if one is affine else name] = one
    for dtype in (
        tf.float32, tf.float64, tf.int64, tf.int32, tf.int16, tf.int8, tf.uint8, tf.uint32,
        tf.uint64, tf.bool, tf.float16, tf.bfloat16, tf.complex64,
    ):  # fmt: skip
        echo = function(("v", dtype, None))(lambda v: {"v": tf.identity(v)})
        signatures[f"echo_{dtype.name}"] = echo
    # Python keeps functions alive by the module that is saved.
    for name, one in signatures.items():
        setattr(zoo, f"signature_{name}", one)
    signatures["defaults"] = zoo.signature_two
    tf.saved_model.save(zoo, str(folder), signatures)
    _give_default(tf, folder)


def _feature(tf: Any, inputs: Any) -> Any:
    """Return feature ``x`` of serialised examples, (batch,) float32."""
    parsed = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})
    return parsed["x"]


def _give_default(tf: Any, folder: Path) -> None:
    """Give input ``b`` of signature ``defaults`` the default [0.5]; Keras has no way to."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path = folder / "saved_model.pb"
    document = SavedModel.FromString(path.read_bytes())
    signature = document.meta_graphs[0].signature_def["defaults"]
    signature.defaults["b"].CopyFrom(tf.make_tensor_proto([0.5], tf.float32))
    path.write_bytes(document.SerializeToString())


if __name__ == "__main__":
    write_models(Path(sys.argv[1]).resolve())
