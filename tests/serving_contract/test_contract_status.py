"""Status, metadata and the page for Prometheus."""

from __future__ import annotations

import json
import re

import pytest

STATUS = (
    '{\n "model_version_status": [\n  {\n   "version": "1",\n   "state": "AVAILABLE",\n'
    '   "status": {\n    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n'
)
MISSING = "Could not find any versions of model none"


@pytest.mark.parametrize("place", ["", "/versions/1", "/labels/whatever"])
def test_status(server, place: str) -> None:
    # A label is not looked at: all versions are answered.
    answer = server.get(f"/v1/models/zoo{place}")
    assert (answer.status, answer.text) == (200, STATUS)


def test_versions_come_newest_first(server) -> None:
    document = json.loads(server.get("/v1/models/scale").body)
    assert [one["version"] for one in document["model_version_status"]] == ["2", "1"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/v1/models/none", MISSING),
        ("/v1/models/none/versions/1", "Could not find version 1 of model none"),
        ("/v1/models/zoo/versions/9", "Could not find version 9 of model zoo"),
    ],
)
def test_unknown_status_is_404(server, path: str, text: str) -> None:
    answer = server.get(path)
    assert (answer.status, answer.error) == (404, text)


def test_grpc_status(server, refusal) -> None:
    from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest

    request = GetModelStatusRequest()
    ask = server.models.GetModelStatus
    assert refusal(ask, request) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    request.model_spec.name = "scale"
    both = ask(request, timeout=30).model_version_status
    assert [(one.version, one.state, one.status.error_code) for one in both] == [
        (2, 30, 0),
        (1, 30, 0),
    ]
    request.model_spec.version_label = "any"
    assert len(ask(request, timeout=30).model_version_status) == 2
    request.model_spec.version.value = 1
    assert [one.version for one in ask(request, timeout=30).model_version_status] == [1]
    request.model_spec.version.value = 9
    assert refusal(ask, request) == ("NOT_FOUND", "Could not find version 9 of model scale")
    request.model_spec.name = "none"
    request.model_spec.ClearField("version_choice")
    assert refusal(ask, request) == ("NOT_FOUND", MISSING)


# --- metadata


@pytest.mark.parametrize(
    ("place", "version"), [("", "2"), ("/versions/1", "1"), ("/labels/stable", "1")]
)
def test_metadata_names_the_version(server, place: str, version: str) -> None:
    document = json.loads(server.get(f"/v1/models/scale{place}/metadata").body)
    assert document["model_spec"] == {"name": "scale", "signature_name": "", "version": version}


def test_metadata_holds_every_signature(server) -> None:
    document = json.loads(server.get("/v1/models/zoo/metadata").body)
    assert list(document) == ["model_spec", "metadata"]
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "half", "__saved_model_init_op"} <= set(signatures)
    half = signatures["half"]
    assert list(half) == ["inputs", "outputs", "method_name", "defaults"]
    assert half["method_name"] == "tensorflow/serving/predict"
    assert half["defaults"] == {}
    assert half["inputs"] == {
        "x": {
            "dtype": "DT_FLOAT",
            "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
            "name": "half_x:0",
        }
    }
    anything = signatures["echo_int64"]["inputs"]["v"]
    assert anything["dtype"] == "DT_INT64"
    assert anything["tensor_shape"] == {"dim": [], "unknown_rank": True}
    assert list(signatures["defaults"]["defaults"]) == ["b"]


def test_metadata_of_unknown_models(server) -> None:
    for place, asked in (("", "Latest(none)"), ("/versions/7", "Specific(none, 7)")):
        answer = server.get(f"/v1/models/none{place}/metadata")
        assert (answer.status, answer.error) == (404, f"Servable not found for request: {asked}")


def test_grpc_metadata(server, refusal) -> None:
    from tensorflow_serving.apis.get_model_metadata_pb2 import (
        GetModelMetadataRequest,
        SignatureDefMap,
    )

    request = GetModelMetadataRequest()
    ask = server.prediction.GetModelMetadata
    assert refusal(ask, request) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    request.model_spec.name = "zoo"
    code, text = refusal(ask, request)
    assert code == "INVALID_ARGUMENT"
    assert "must specify at least one metadata_field" in text
    request.metadata_field.append("graph")
    assert refusal(ask, request) == (
        "INVALID_ARGUMENT",
        "Metadata field graph is not supported",
    )
    request.metadata_field[:] = ["signature_def"]
    answer = ask(request, timeout=30)
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("zoo", 1, "")
    signatures = SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["half"].inputs["x"].name == "half_x:0"


# --- Prometheus

PAGE = "/monitoring/prometheus/metrics"
PREFIX = ":tensorflow:serving:"


def _value(page: str, line: str) -> float:
    found = re.search(rf"^{re.escape(PREFIX + line)} (\S+)$", page, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def test_the_page_counts_requests(server, request_for) -> None:
    import numpy as np

    counts = (
        'request_count{model_name="zoo",status="OK"}',
        'request_count{model_name="zoo",status="INVALID_ARGUMENT"}',
        'request_count{model_name="none",status="NOT_FOUND"}',
        'request_latency_count{model_name="zoo",API="predict",entrypoint="REST"}',
        'request_latency_count{model_name="zoo",API="Predict",entrypoint="GRPC"}',
        'runtime_latency_count{model_name="zoo",API="Predict",runtime="TF1"}',
        'request_example_count_total{model="zoo"}',
    )
    before = server.get(PAGE)
    assert before.headers["Content-Type"].startswith("text/plain")
    server.predict('{"signature_name": "half", "instances": [2]}')
    server.predict("{")
    server.predict('{"instances": [1]}', "none")
    server.call(request_for("half", x=np.float32([1])))
    server.post(
        "/v1/models/zoo:regress", {"signature_name": "regress", "examples": [{"x": 1.0}] * 3}
    )
    after = server.get(PAGE).text
    grown = [_value(after, one) - _value(before.text, one) for one in counts]
    assert grown == [3, 1, 1, 1, 1, 2, 3]
    assert f"# TYPE {PREFIX}request_count counter\n" in after
    assert f"# TYPE {PREFIX}request_latency histogram\n" in after


def test_histograms_are_cumulative_and_end_in_infinity(server) -> None:
    server.predict('{"signature_name": "half", "instances": [2]}')
    page = server.get(PAGE).text
    labels = r'model_name="zoo",API="predict",entrypoint="REST",le="([^"]+)"'
    buckets = re.findall(rf"{PREFIX}request_latency_bucket\{{{labels}\}} (\d+)\n", page)
    limits, counts = zip(*buckets, strict=True)
    assert limits[:3] == ("10", "18", "32.4")
    assert limits[-1] == "+Inf"
    assert len(limits) == 34
    assert list(counts) == sorted(counts, key=int)
    total = _value(page, 'request_latency_count{model_name="zoo",API="predict",entrypoint="REST"}')
    assert int(counts[-1]) == total


def test_the_page_has_its_path_only(server) -> None:
    assert server.get(PAGE + "/x").status == 404
    assert server.get(PAGE + "?x=1").status in {400, 404}


@pytest.mark.parametrize("text", ["", "prometheus_config { enable: false }"])
def test_without_monitoring_there_is_no_page(launch, scale_base, tmp_path, text: str) -> None:
    config = tmp_path / "monitoring.config"
    config.write_text(text)
    target = launch(f"--model_base_path={scale_base(1)}", f"--monitoring_config_file={config}")
    assert target.get(PAGE).status == 404


def test_the_page_may_lie_elsewhere(launch, scale_base, tmp_path) -> None:
    config = tmp_path / "monitoring.config"
    config.write_text('prometheus_config { enable: true path: "/m" }')
    target = launch(f"--model_base_path={scale_base(1)}", f"--monitoring_config_file={config}")
    assert target.get("/m").status == 200
    assert target.get(PAGE).status == 404
