"""Classify, Regress and MultiInference, over REST and gRPC."""

from __future__ import annotations

from typing import Any

import pytest

LOW_HIGH = '[["low", 0.75], ["high", 0.25]]'


def _post(server, verb: str, body: Any, place: str = "") -> Any:
    return server.post(f"/v1/models/zoo{place}:{verb}", body)


# --- REST


def test_classify(server) -> None:
    body = {"signature_name": "classify", "examples": [{"x": 0.25}, {"x": [0.25]}]}
    for place in ("", "/versions/1"):
        answer = _post(server, "classify", body, place)
        assert answer.text == f'{{\n    "results": [{LOW_HIGH}, {LOW_HIGH}\n    ]\n}}'
        assert answer.status == 200


def test_labels_are_empty_without_classes(server) -> None:
    answer = _post(server, "classify", {"signature_name": "scores", "examples": [{"x": 0.25}]})
    assert answer.text == '{\n    "results": [[["", 0.75], ["", 0.25]]\n    ]\n}'


def test_regress(server) -> None:
    body = {"signature_name": "regress", "examples": [{"x": 0.25}, {"x": 2.0}]}
    answer = _post(server, "regress", body)
    assert answer.text == '{\n    "results": [0.5, 4.0]\n}'


def test_the_context_is_part_of_every_example(server) -> None:
    body = {
        "signature_name": "regress",
        "context": {"x": 1.5},
        "examples": [{}, {"x": 0.5}, {"y": "other"}],
    }
    assert _post(server, "regress", body).text == '{\n    "results": [3.0, 1.0, 3.0]\n}'


def test_a_whole_number_is_an_int64_feature(server) -> None:
    answer = _post(server, "regress", {"signature_name": "regress", "examples": [{"x": 1}]})
    assert answer.status == 400
    assert "Data types don't match" in answer.error


REFUSED = [
    ("{", "JSON Parse error: "),
    ("[]", "JSON Value: [] Is not object"),
    ('{"signature_name": 1}', "'signature_name' key must be a string value."),
    ("{}", "When method is classify, key 'examples' is expected and was not found"),
    ('{"examples": 1}', "Expecting 'examples' value to be an list/array"),
    ('{"examples": []}', "'examples' value is an empty array"),
    ('{"examples": [1]}', "Example must be JSON object but got JSON Number"),
    ('{"context": 1, "examples": [{}]}', "Example must be JSON object but got JSON Number"),
    (
        '{"examples": [{"x": null}]}',
        "Feature: x has element with unexpected JSON type: Null",
    ),
    (
        '{"examples": [{"x": [[1.0]]}]}',
        "Feature: x has element with unexpected JSON type: Array",
    ),
    (
        '{"examples": [{"x": {"y": 1}}]}',
        "Feature: x has element with unexpected JSON type: Object",
    ),
    (
        '{"examples": [{"x": [1.0, 1]}]}',
        "Unexpected element type in feature: x expecting type: float",
    ),
    (
        '{"examples": [{"x": [1, "a"]}]}',
        "Unexpected element type in feature: x expecting type: int64",
    ),
    (
        '{"examples": [{"x": [{"b64": "YQ=="}, 1.5]}]}',
        "Unexpected element type in feature: x expecting type: bytes",
    ),
    (
        '{"examples": [{"x": 9223372036854775808}]}',
        "Feature: x has uint64_t element. Only int64_t is supported.",
    ),
    ('{"examples": [{"x": {"b64": "!"}}]}', "Unable to base64 decode"),
]


@pytest.mark.parametrize("verb", ["classify", "regress"])
@pytest.mark.parametrize(("body", "text"), REFUSED)
def test_refusals(server, verb: str, body: str, text: str) -> None:
    answer = _post(server, verb, body)
    assert answer.status == 400
    assert text in answer.error


SIGNATURES = [
    ("classify", "none", "No signature was found with the name: none"),
    ("regress", "none", "No signature was found with the name: none"),
    ("classify", "two", "Expected one input Tensor."),
    ("regress", "two", "Expected one input Tensor."),
    ("classify", "half", "No classification inputs found in SignatureDef: "),
    ("regress", "half", "No regression inputs found in SignatureDef: "),
    ("classify", "regress", "Expected classification signature outputs to contain at least one of"),
    ("regress", "classify", "Expected one output Tensor."),
    ("regress", "scores", "No regression outputs found in SignatureDef: "),
    (
        "regress",
        "matrix",
        "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1,2]",
    ),
]


@pytest.mark.parametrize(("verb", "signature", "text"), SIGNATURES)
def test_signatures_that_do_not_fit(server, verb: str, signature: str, text: str) -> None:
    answer = _post(server, verb, {"signature_name": signature, "examples": [{"x": 1.0}]})
    assert answer.status == 400
    assert answer.error.startswith(text)


def test_unknown_models(server) -> None:
    answer = server.post("/v1/models/none:classify", {"examples": [{"x": 1.0}]})
    assert (answer.status, answer.error) == (404, "Servable not found for request: Latest(none)")


# --- gRPC


def _input(target: Any, *values: float, context: float | None = None) -> None:
    examples = target.example_list
    if context is not None:
        examples = target.example_list_with_context
        examples.context.features.feature["x"].float_list.value.append(context)
    for value in values:
        examples.examples.add().features.feature["x"].float_list.value.append(value)


def _classification(signature: str = "classify", *values: float) -> Any:
    from tensorflow_serving.apis.classification_pb2 import ClassificationRequest

    request = ClassificationRequest()
    request.model_spec.name = "zoo"
    request.model_spec.signature_name = signature
    _input(request.input, *values)
    return request


def test_grpc_classify(server) -> None:
    answer = server.prediction.Classify(_classification("classify", 0.25, 0.5), timeout=30)
    rows = [[(c.label, c.score) for c in one.classes] for one in answer.result.classifications]
    assert rows == [[("low", 0.75), ("high", 0.25)], [("low", 0.5), ("high", 0.5)]]
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("zoo", 1, "classify")


def test_grpc_regress(server) -> None:
    from tensorflow_serving.apis.regression_pb2 import RegressionRequest

    request = RegressionRequest()
    request.model_spec.name = "zoo"
    request.model_spec.signature_name = "regress"
    _input(request.input, 0.5, context=4.0)
    answer = server.prediction.Regress(request, timeout=30)
    assert [one.value for one in answer.result.regressions] == [1.0]


def test_grpc_refusals(server, refusal) -> None:
    from tensorflow_serving.apis.classification_pb2 import ClassificationRequest

    classify = server.prediction.Classify
    assert refusal(classify, ClassificationRequest()) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert refusal(classify, _classification("classify")) == (
        "INVALID_ARGUMENT",
        "Input is empty.",
    )
    assert refusal(classify, _classification("none", 1.0)) == (
        "INVALID_ARGUMENT",
        "No signature was found with the name: none",
    )


CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def _multi(*tasks: tuple[str, str, str], values: tuple[float, ...] = (0.25,)) -> Any:
    from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest

    request = MultiInferenceRequest()
    for model, signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name = model
        task.model_spec.signature_name = signature
    _input(request.input, *values)
    return request


def test_multi_inference(server) -> None:
    request = _multi(("zoo", "classify", CLASSIFY), ("zoo", "regress", REGRESS))
    answer = server.prediction.MultiInference(request, timeout=30)
    classified, regressed = answer.results
    row = classified.classification_result.classifications[0]
    assert [(one.label, one.score) for one in row.classes] == [("low", 0.75), ("high", 0.25)]
    assert [one.value for one in regressed.regression_result.regressions] == [0.5]
    assert [one.model_spec.signature_name for one in answer.results] == ["classify", "regress"]
    assert [one.model_spec.version.value for one in answer.results] == [1, 1]


MULTI_REFUSED = [
    (
        [("zoo", "classify", CLASSIFY), ("scale", "classify", CLASSIFY)],
        "INVALID_ARGUMENT",
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    ),
    (
        [("zoo", "classify", CLASSIFY), ("zoo", "classify", CLASSIFY)],
        "INVALID_ARGUMENT",
        "Duplicate evaluation of signature: classify",
    ),
    (
        [("zoo", "none", CLASSIFY)],
        "INVALID_ARGUMENT",
        "Requested signature not found in model graph: none",
    ),
    (
        [("zoo", "half", "tensorflow/serving/predict")],
        "UNIMPLEMENTED",
        "Unsupported signature method_name: tensorflow/serving/predict",
    ),
    ([("none", "x", CLASSIFY)], "NOT_FOUND", "Servable not found for request: Latest(none)"),
    ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
]


@pytest.mark.parametrize(("tasks", "code", "text"), MULTI_REFUSED)
def test_multi_inference_refusals(server, refusal, tasks, code: str, text: str) -> None:
    assert refusal(server.prediction.MultiInference, _multi(*tasks)) == (code, text)
