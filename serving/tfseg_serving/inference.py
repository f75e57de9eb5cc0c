"""Classify, Regress and MultiInference: requests of ``tensorflow.Example`` over a servable.

The three calls are Predict for models that parse examples themselves: one string input called
``inputs``, and outputs of fixed names. Which signatures they take, and the words for those they
do not, are those of ``servables/tensorflow/{classifier,regressor,multi_inference}.cc``.

Needs tensorflow-serving-api, whose messages go in and come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfseg_serving import wire
from tfseg_serving.status import Code, StatusError, invalid_argument
from tfseg_serving.wire import Signature

if TYPE_CHECKING:
    from tfseg_serving.model import Servable

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
_INPUTS, _CLASSES, _SCORES, _OUTPUTS = "inputs", "classes", "scores", "outputs"


def classify(servable: Servable, request: Any, timeout_s: float | None = None) -> Any:
    """Answer a ``ClassificationRequest`` with a ``ClassificationResult``.

    Raises:
        StatusError: the signature is not there or is no classification, there are no examples,
            or the run fails.
    """
    signature = _signature(servable, request.model_spec.signature_name)
    names = _classification_outputs(signature)
    values = _run(servable, [signature], request.input, names, timeout_s)
    return _classification_result(signature, len(_examples(request.input)), values)


def regress(servable: Servable, request: Any, timeout_s: float | None = None) -> Any:
    """Answer a ``RegressionRequest`` with a ``RegressionResult``; see :func:`classify`."""
    signature = _signature(servable, request.model_spec.signature_name)
    names = _regression_outputs(signature)
    values = _run(servable, [signature], request.input, names, timeout_s)
    return _regression_result(signature, len(_examples(request.input)), values)


def multi_inference(servable: Servable, request: Any, timeout_s: float | None = None) -> list[Any]:
    """Answer the tasks of a ``MultiInferenceRequest``, with one run for all of them.

    Returns:
        A ``ClassificationResult`` or a ``RegressionResult`` for each task.

    Raises:
        StatusError: tasks of several models, a signature that is not there or comes twice, another
            method than classify and regress (UNIMPLEMENTED); or as :func:`classify`.
    """
    seen: set[str] = set()
    model = ""
    tasks: list[tuple[Signature, str]] = []
    tensors: list[str] = []
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        model = model or task.model_spec.name
        if task.model_spec.name != model:
            raise invalid_argument(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        name = task.model_spec.signature_name or wire.DEFAULT_SIGNATURE
        if name in seen:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        signature = servable.signatures.get(name)
        if signature is None:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        if task.method_name == CLASSIFY:
            tensors += _classification_outputs(signature)
        elif task.method_name == REGRESS:
            tensors += _regression_outputs(signature)
        else:
            raise StatusError(
                Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}"
            )
        tasks.append((signature, task.method_name))
    signatures = [signature for signature, _ in tasks]
    values = _run(servable, signatures, request.input, sorted(set(tensors)), timeout_s)
    count = len(_examples(request.input))
    return [
        (_classification_result if method == CLASSIFY else _regression_result)(
            signature, count, values
        )
        for signature, method in tasks
    ]


def example_count(request_input: Any) -> int:
    """Return the number of examples of an ``Input``."""
    return len(_examples(request_input))


def _signature(servable: Servable, name: str) -> Signature:
    name = name or wire.DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return signature


def _classification_outputs(signature: Signature) -> list[str]:
    """Return the tensors to fetch for a classification, or refuse the signature."""
    _check_input(signature, "classification")
    if len(signature.outputs) not in {1, 2}:
        raise invalid_argument(
            f"Expected one or two output Tensors, found {len(signature.outputs)}"
        )
    found = [signature.outputs[n] for n in (_CLASSES, _SCORES) if n in signature.outputs]
    if not found:
        raise invalid_argument(
            f'Expected classification signature outputs to contain at least one of "{_CLASSES}" '
            f'or "{_SCORES}". Signature was: {_describe(signature)}'
        )
    return [info.tensor for info in found]


def _regression_outputs(signature: Signature) -> list[str]:
    """Return the tensors to fetch for a regression, or refuse the signature."""
    _check_input(signature, "regression")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if _OUTPUTS not in signature.outputs:
        raise invalid_argument(
            f"No regression outputs found in SignatureDef: {_describe(signature)}"
        )
    return [signature.outputs[_OUTPUTS].tensor]


def _check_input(signature: Signature, kind: str) -> None:
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if _INPUTS not in signature.inputs:
        raise invalid_argument(f"No {kind} inputs found in SignatureDef: {_describe(signature)}")


def _describe(signature: Signature) -> str:
    return (
        f"inputs {', '.join(sorted(signature.inputs))}; "
        f"outputs {', '.join(sorted(signature.outputs))}; method_name {signature.method_name}"
    )


def _examples(request_input: Any) -> list[bytes]:
    """Return the serialised examples of an ``Input``, each behind the context if there is one.

    Protobuf joins messages by joining their bytes: what an example says again, it overrides.
    """
    kind = request_input.WhichOneof("kind")
    if kind == "example_list":
        return [one.SerializeToString() for one in request_input.example_list.examples]
    if kind == "example_list_with_context":
        both = request_input.example_list_with_context
        context = both.context.SerializeToString()
        return [context + one.SerializeToString() for one in both.examples]
    return []


def _run(
    servable: Servable,
    signatures: Sequence[Signature],
    request_input: Any,
    tensors: Sequence[str],
    timeout_s: float | None,
) -> dict[str, NDArray[Any]]:
    """Feed the examples to the input of every signature; return arrays by tensor name."""
    examples = _examples(request_input)
    if not examples:
        raise invalid_argument("Input is empty.")
    fed = np.empty(len(examples), np.object_)
    fed[:] = examples
    feeds = {signature.inputs[_INPUTS].tensor: fed for signature in signatures}
    return dict(zip(tensors, servable.run(feeds, tensors, timeout_s), strict=True))


def _classification_result(
    signature: Signature, count: int, values: dict[str, NDArray[Any]]
) -> Any:
    from tensorflow_serving.apis.classification_pb2 import ClassificationResult

    classes, scores = (
        values[signature.outputs[name].tensor] if name in signature.outputs else None
        for name in (_CLASSES, _SCORES)
    )
    for name, array in (("classes", classes), ("scores", scores)):
        if array is not None:
            _check_matrix(name, array, count)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). Got "
            f"{classes.shape[1]} vs. {scores.shape[1]}"
        )
    result = ClassificationResult()
    for row in range(count):
        added = result.classifications.add()
        given = classes if classes is not None else scores
        for column in range(0 if given is None else given.shape[1]):
            one = added.classes.add()
            if classes is not None:
                label = wire.as_bytes(classes[row, column])
                # The field is text: bytes that are no UTF-8 cannot be set from Python.
                one.label = label.decode("utf-8", "replace")
            if scores is not None:
                one.score = float(scores[row, column])
    return result


def _check_matrix(name: str, array: NDArray[Any], count: int) -> None:
    kind = wire.data_type_of(array)
    wanted = "DT_STRING" if name == "classes" else "DT_FLOAT"
    if array.ndim != 2:
        raise invalid_argument(
            "Expected Tensor shape: [batch_size num_classes] but got "
            f"[{','.join(map(str, array.shape))}]"
        )
    if kind.enum_name != wanted:
        raise invalid_argument(f"Expected {name} Tensor of {wanted}. Got: {kind.enum_name}")
    if array.shape[0] != count:
        raise invalid_argument(
            f"Expected {name} output batch size of {count}. Got: {array.shape[0]}"
        )


def _regression_result(signature: Signature, count: int, values: dict[str, NDArray[Any]]) -> Any:
    from tensorflow_serving.apis.regression_pb2 import RegressionResult

    array = values[signature.outputs[_OUTPUTS].tensor]
    kind = wire.data_type_of(array)
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"[{','.join(map(str, array.shape))}]"
        )
    if array.shape[0] != count:
        raise invalid_argument(
            f"Input batch size did not match output batch size: {count} vs. {array.shape[0]}"
        )
    if kind.enum_name != "DT_FLOAT":
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {kind.enum_name}")
    result = RegressionResult()
    for value in array.reshape(-1).tolist():
        result.regressions.add().value = value
    return result
