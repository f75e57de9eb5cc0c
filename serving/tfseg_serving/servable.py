"""One loaded SavedModel, run as TF-Serving runs it: tensors in, tensors out, by name.

The graph is imported into a TensorFlow session, the same entry that the C++ server uses, rather
than through ``tf.saved_model.load``: a session feeds and fetches tensors of the graph, takes any
shape that the operations take, and binds by name. A Keras layer or a traced Python function
could not do that, and a graph that needs Python to run is found out here instead of in
production. Placeholders lose their static shape on import for the same reason.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfseg_serving import wire
from tfseg_serving.batching import Batcher
from tfseg_serving.loading import LoadOptions
from tfseg_serving.status import Code, StatusError, invalid_argument
from tfseg_serving.vouched import check_version
from tfseg_serving.warmup import warm_up
from tfseg_serving.wire import Signature, WireError

_TAG = "serve"
_INIT_OP = "__saved_model_init_op"
_MAX_TIMEOUT_MS = 2**31 - 1


def load_servable(folder: Path, options: LoadOptions | None = None) -> SavedModelServable:
    """Load the SavedModel in ``folder`` and run its warm-up requests.

    Raises:
        StatusError: it is not what its manifest says, it cannot be read, its graph or its
            variables cannot be restored, or a warm-up request fails.
    """
    options = options or LoadOptions()
    check_version(folder)
    try:
        servable = SavedModelServable(folder, options)
    except tf.errors.OpError as error:
        raise _status_of(error) from error
    except (OSError, ValueError, KeyError) as error:
        # import_graph_def reports a graph it cannot take as ValueError or KeyError.
        raise invalid_argument(f"cannot load {folder}: {error}") from error
    try:
        if options.warm_up:
            warm_up(servable, folder, options.warmup_iterations, options.metrics)
    except BaseException:
        servable.close()
        raise
    return servable


class SavedModelServable:
    """The signatures of one SavedModel, ready to run from any number of threads.

    Attributes:
        signatures: every signature of the graph tagged ``serve``, as data.
        signature_defs: the same, as serialised ``tensorflow.SignatureDef``.
        signature_json: the same, as the JSON form of those messages.
    """

    def __init__(self, folder: Path, options: LoadOptions) -> None:
        from google.protobuf.json_format import MessageToDict

        path = folder / "saved_model.pb"
        if not path.is_file():
            raise StatusError(Code.NOT_FOUND, f"Could not find SavedModel .pb at {path}")
        try:
            document = SavedModel.FromString(path.read_bytes())
        except DecodeError as error:
            raise StatusError(Code.DATA_LOSS, f"Can't parse {path} as a SavedModel") from error
        graphs = [one for one in document.meta_graphs if _TAG in one.meta_info_def.tags]
        if not graphs:
            raise StatusError(
                Code.NOT_FOUND, f"Could not find meta graph with tag {{ {_TAG} }} in {path}"
            )
        meta = graphs[0]
        self.signature_defs: dict[str, bytes] = {
            name: one.SerializeToString(deterministic=True)
            for name, one in meta.signature_def.items()
        }
        self.signatures: dict[str, Signature] = {
            name: wire.decode_signature(data) for name, data in self.signature_defs.items()
        }
        self.signature_json: dict[str, Any] = {
            name: MessageToDict(
                one,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            for name, one in sorted(meta.signature_def.items())
        }
        self._defaults: dict[str, dict[str, NDArray[Any]]] = {
            name: {
                key: wire.decode_tensor(memoryview(value.SerializeToString()))
                for key, value in one.defaults.items()
            }
            for name, one in meta.signature_def.items()
        }
        self._ranks_matter = _has_convolution(meta.graph_def)
        parameters = options.batching_of(folder)
        self._session = _open_session(meta, folder, options)
        self._batcher = parameters and Batcher(
            self.run, parameters, options.batch_threads, options.metrics
        )
        self._closing = threading.Lock()
        self._closed = False

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, NDArray[Any] | WireError],
        output_filter: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Run one signature.

        Args:
            signature_name: one of :attr:`signatures`.
            inputs: by the signature's names; an error in an array's place is raised here.
            output_filter: names of the outputs to compute; empty for all.
            timeout_s: cancel the run after so many seconds.

        Raises:
            StatusError: the inputs do not fit the signature, or the graph fails on them.
        """
        signature = self.signatures.get(signature_name)
        if signature is None:
            raise StatusError(
                Code.FAILED_PRECONDITION, f'Serving signature key "{signature_name}" not found.'
            )
        feeds = self._feeds(signature_name, signature, inputs)
        names = _wanted(signature, output_filter)
        fetches = [signature.outputs[name].tensor for name in names]
        # As TF-Serving does, only requests for all outputs are batched.
        run = self._batcher.run if self._batcher and not output_filter else self.run
        return dict(zip(names, run(feeds, fetches, timeout_s), strict=True))

    def run(
        self,
        feeds: Mapping[str, NDArray[Any]],
        fetches: Sequence[str],
        timeout_s: float | None = None,
    ) -> list[NDArray[Any]]:
        """Feed and fetch tensors of the graph by their own names.

        Raises:
            StatusError: the graph fails on them, or the time is over.
        """
        options = None
        if timeout_s is not None:
            milliseconds = min(max(1, int(timeout_s * 1000)), _MAX_TIMEOUT_MS)
            options = tf.compat.v1.RunOptions(timeout_in_ms=milliseconds)
        try:
            values = self._session.run(list(fetches), dict(feeds), options=options)
        except tf.errors.OpError as error:
            raise _status_of(error) from error
        except (ValueError, TypeError) as error:
            # A tensor that is no placeholder keeps its static shape, which Python checks.
            raise invalid_argument(str(error)) from error
        except RuntimeError as error:
            if not self._closed:
                raise
            raise StatusError(Code.UNAVAILABLE, "the server is shutting down") from error
        return [np.asarray(value) for value in values]

    def _feeds(
        self,
        signature_name: str,
        signature: Signature,
        inputs: Mapping[str, NDArray[Any] | WireError],
    ) -> dict[str, NDArray[Any]]:
        defaults = self._defaults[signature_name]
        sent, known = set(inputs), set(signature.inputs)
        missing = known - sent - set(defaults)
        if len(sent) > len(known) or (len(sent) < len(known) and not defaults):
            raise invalid_argument(
                f"input size does not match signature: {len(sent)}!={len(known)} "
                f"len({_braces(sent)}) != len({_braces(known)}). "
                f"Sent extra: {_braces(sent - known)}. "
                f"Missing but required: {_braces(missing)}."
            )
        feeds: dict[str, NDArray[Any]] = {}
        for position, (alias, info) in enumerate(sorted(signature.inputs.items())):
            value = inputs.get(alias, defaults.get(alias))
            if value is None:
                raise invalid_argument(
                    f"Signature input alias: {alias}(feed name: {info.tensor}) not found in "
                    f"request and no default value provided. Inputs expected to be in the set "
                    f"{_braces(known)}."
                )
            if isinstance(value, WireError):
                raise invalid_argument(f"tensor parsing error: {alias}: {value}") from value
            given = wire.data_type_of(value)
            if given.number != info.dtype:
                expected = wire.DATA_TYPES.get(info.dtype)
                raise invalid_argument(
                    f"Expects arg[{position}] to be "
                    f"{expected.name if expected else info.dtype} but {given.name} is provided"
                )
            if self._ranks_matter and info.shape is not None and value.ndim != len(info.shape):
                raise invalid_argument(
                    f"input {alias} must be {len(info.shape)}-dimensional: "
                    f"[{','.join(map(str, value.shape))}]"
                )
            feeds[info.tensor] = value
        return feeds

    def close(self) -> None:
        """Release the graph and its variables; runs that are under way are cancelled."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._session.close()


def _open_session(meta: Any, folder: Path, options: LoadOptions) -> Any:
    """Return a session with the graph, its variables restored and its tables initialised."""
    assets = {
        one.tensor_info.name: _asset_path(folder, one.filename) for one in meta.asset_file_def
    }
    definition = meta.graph_def
    for node in definition.node:
        node.attr.pop("_output_shapes", None)
        if node.op == "Placeholder" and "shape" in node.attr:
            shape = node.attr["shape"].shape
            del shape.dim[:]
            shape.unknown_rank = True
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(definition, name="")
    config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    config.intra_op_parallelism_threads = options.intra_op_threads
    config.inter_op_parallelism_threads = options.inter_op_threads
    config.gpu_options.allow_growth = not options.gpu_memory_fraction
    config.gpu_options.per_process_gpu_memory_fraction = options.gpu_memory_fraction
    session = tf.compat.v1.Session(graph=graph, config=config)
    try:
        if (folder / "variables" / "variables.index").is_file():
            saver = meta.saver_def
            prefix = {saver.filename_tensor_name: str(folder / "variables" / "variables")}
            session.run(saver.restore_op_name, {**assets, **prefix})
        elif any(node.op in {"VarHandleOp", "VariableV2"} for node in definition.node):
            raise StatusError(
                Code.NOT_FOUND, f"the model has variables but {folder}/variables has none"
            )
        if _INIT_OP in meta.signature_def:
            session.run(meta.signature_def[_INIT_OP].outputs[_INIT_OP].name, assets)
        else:
            for key in ("saved_model_main_op", "legacy_init_op"):
                for name in meta.collection_def[key].node_list.value:
                    session.run(name, assets)
    except BaseException:
        session.close()
        raise
    return session


def _has_convolution(graph: Any) -> bool:
    """Tell whether a graph convolves, in a function or not.

    TensorFlow's oneDNN kernels abort the whole process when a convolution is given an array of
    another rank, where the plain kernels refuse it. For such graphs ranks are checked first.
    """
    nodes = [graph.node, *(function.node_def for function in graph.library.function)]
    return any("Conv" in node.op for part in nodes for node in part)


def _asset_path(folder: Path, filename: str) -> str:
    """Return where an asset lies.

    Raises:
        StatusError: INVALID_ARGUMENT for a name that leads out of the version's ``assets``.
    """
    assets = folder / "assets"
    path = assets / filename
    if not path.resolve().is_relative_to(assets.resolve()):
        raise invalid_argument(f"an asset must lie in {assets}; got {filename!r}")
    return str(path)


def _wanted(signature: Signature, output_filter: Sequence[str]) -> list[str]:
    if not output_filter:
        return sorted(signature.outputs)
    seen: set[str] = set()
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be "
                f"in the set {_braces(signature.outputs)}."
            )
        if alias in seen:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return list(output_filter)


def _braces(names: Any) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _status_of(error: Any) -> StatusError:
    """Return TensorFlow's error without the traces that its Python side adds."""
    text = re.sub(r"^Graph execution error:\s*", "", error.message or type(error).__name__)
    try:
        code = Code(error.error_code)
    except ValueError:
        code = Code.UNKNOWN
    return StatusError(code, text.split("\n\n", 1)[0].strip())
