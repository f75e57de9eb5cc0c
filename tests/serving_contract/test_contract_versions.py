"""Versions on disk: policies, swapping, rolling back, failing; and warm-up before serving."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FAST = ("--file_system_poll_wait_seconds=1", "--load_retry_interval_micros=1000")


@pytest.fixture
def serving(launch) -> Callable[..., Any]:
    def serve(base: Path, *flags: str) -> Any:
        return launch(f"--model_base_path={base}", "--model_name=m", *FAST, *flags)

    return serve


@pytest.mark.slow
def test_the_life_of_a_model(serving, scale_base, put_version, models_root, eventually) -> None:
    """One server, since each look at the disk takes a second."""
    base = scale_base(1)
    for name in ("v9", "9.tmp", "-9", "0x9", " 9", "9223372036854775808"):
        shutil.copytree(base / "1", base / name)
    (base / "7").touch()
    target = serving(base, "--max_num_load_retries=1")
    assert target.states("m") == {1: "AVAILABLE"}

    # A name with zeros in front is a number like any other; a new version is swapped in.
    put_version(base, models_root / "scale" / "2", "00000002")
    eventually(lambda: target.factor() == 20)
    eventually(lambda: target.states("m") == {2: "AVAILABLE", 1: "END"})
    assert target.factor(place="/versions/1") is None
    assert target.factor(place="/versions/2") == 20

    # Overwriting a version's files has no effect.
    shutil.copytree(models_root / "scale" / "3", base / "00000002", dirs_exist_ok=True)
    # One that cannot be loaded is tried again, then given up; the old one serves on.
    (base / "5").mkdir()
    eventually(lambda: target.states("m").get(5) == "END")
    assert target.factor() == 20
    failed = json.loads(target.get("/v1/models/m/versions/5").body)["model_version_status"][0]
    assert failed["status"]["error_code"] == "NOT_FOUND"
    assert failed["status"]["error_message"]

    # Removing the newest goes back to the next newest.
    (base / "5").rmdir()
    shutil.rmtree(base / "00000002")
    eventually(lambda: target.factor() == 10)
    eventually(lambda: target.states("m")[2] == "END")

    # A base path that vanishes changes nothing; one that is empty unloads everything.
    base.rename(base.parent / "away")
    threading.Event().wait(1.5)
    assert target.factor() == 10
    (base.parent / "away").rename(base)
    shutil.rmtree(base / "1")
    eventually(lambda: target.factor() is None)
    answer = target.post("/v1/models/m:predict", '{"instances": [1]}')
    assert (answer.status, answer.error) == (404, "Servable not found for request: Latest(m)")


POLICIES = [
    ("", {3}),
    ("latest {}", {3}),
    ("latest { num_versions: 2 }", {2, 3}),
    ("all {}", {1, 2, 3}),
    ("specific { versions: 1 versions: 3 versions: 8 }", {1, 3}),
]


def test_policies(launch, models_root: Path, tmp_path: Path) -> None:
    entries = "".join(
        f"config {{ name: 'm{k}' base_path: '{models_root}/scale' model_platform: 'tensorflow' "
        + (f"model_version_policy {{ {policy} }} }}" if policy else "}")
        for k, (policy, _) in enumerate(POLICIES)
    )
    config = tmp_path / "models.config"
    config.write_text(f"model_config_list {{ {entries} }}")
    target = launch(f"--model_config_file={config}")
    for k, (_, expected) in enumerate(POLICIES):
        assert set(target.states(f"m{k}")) == expected
        # Without a version the newest answers.
        assert target.factor(f"m{k}") == 10 * max(expected)
        for version in expected:
            assert target.factor(f"m{k}", f"/versions/{version}") == 10 * version


@pytest.mark.slow
def test_no_request_is_lost_while_versions_are_swapped(
    serving, scale_base, put_version, models_root: Path, request_for
) -> None:
    base = scale_base(1)
    target = serving(base)
    wrong: list[object] = []
    stop = threading.Event()
    requests = [0]

    def ask(over_rest: bool) -> None:
        request = request_for(model="m", x=np.float32([1]))
        while not stop.is_set():
            requests[0] += 1
            try:
                if over_rest:
                    value = target.factor()
                else:
                    value = target.call(request).outputs["y"].float_val[0]
            except Exception as error:
                wrong.append(error)
                return
            if value not in {10, 20, 30}:
                wrong.append(value)

    threads = [threading.Thread(target=ask, args=(k % 2 == 0,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for version in (2, 3):
        put_version(base, models_root / "scale" / str(version))
        stop.wait(2)
        shutil.rmtree(base / str(version - 1))
        stop.wait(2)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not wrong
    assert requests[0] > 100
    assert target.factor() == 30


def test_a_version_that_leads_elsewhere_is_not_served(serving, scale_base, models_root) -> None:
    # Stricter than TF-Serving, which follows links: nothing outside the base path is read.
    base = scale_base(1)
    (base / "2").symlink_to(models_root / "scale" / "2")
    target = serving(base)
    assert target.states("m") == {1: "AVAILABLE"}


# --- warm-up


def _record(folder: Path, logs: list[Any]) -> None:
    import tensorflow as tf

    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log if isinstance(log, bytes) else log.SerializeToString())


@pytest.fixture
def zoo_base(tmp_path: Path, models_root: Path) -> Path:
    shutil.copytree(models_root / "zoo" / "1", tmp_path / "m" / "1")
    return tmp_path / "m"


def _logs(request_for: Callable[..., Any], value: Any) -> Iterator[Any]:
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    predict = PredictionLog()
    predict.predict_log.request.CopyFrom(request_for("half", model="other name", x=value))
    yield predict
    for field, signature in (("classify_log", "classify"), ("regress_log", "regress")):
        log = PredictionLog()
        request = getattr(log, field).request
        request.model_spec.name = "m"
        request.model_spec.signature_name = signature
        features = request.input.example_list.examples.add().features
        features.feature["x"].float_list.value.append(1.0)
        yield log


def test_warm_up_runs_before_the_version_is_available(
    serving, zoo_base: Path, request_for, tmp_path: Path
) -> None:
    _record(zoo_base / "1", list(_logs(request_for, np.float32([1]))))
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    target = serving(
        zoo_base,
        f"--monitoring_config_file={monitoring}",
        "--num_request_iterations_for_warmup=2",
    )
    page = target.get("/monitoring/prometheus/metrics").text
    path = zoo_base / "1"
    labels = f'{{model_path="{path}",status="OK"}}'
    assert f":tensorflow:serving:model_warmup_records_read{labels} 3\n" in page
    assert f":tensorflow:serving:model_warmup_latency_count{labels} 1\n" in page


BAD_WARMUPS = ["fails", "no PredictionLog", "no TFRecord", "too many", "other kind"]


@pytest.mark.parametrize("case", BAD_WARMUPS)
def test_a_warm_up_that_fails_fails_the_load(start, zoo_base: Path, request_for, case: str) -> None:
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    good = next(_logs(request_for, np.float32([1])))
    other = PredictionLog()
    other.session_run_log.SetInParent()
    logs: dict[str, list[Any]] = {
        "fails": list(_logs(request_for, np.int32([1]))),
        "no PredictionLog": [b"\xff\xff\xff"],
        "no TFRecord": [],
        "too many": [good] * 1001,
        "other kind": [other],
    }
    _record(zoo_base / "1", logs[case])
    if case == "no TFRecord":
        path = zoo_base / "1" / "assets.extra" / "tf_serving_warmup_requests"
        path.write_bytes(b"this is no TFRecord, but long enough to be read as one")
    texts = {
        "fails": "Expects arg",
        "no PredictionLog": "Failed to parse warmup record",
        "no TFRecord": "Please verify your warmup data is in TFRecord format.",
        "too many": "exceeds the maximum",
        "other kind": "Unsupported log_type for warmup",
    }
    # tensorflow_model_server would try again and wait; the embedded server says so at once.
    with pytest.raises(Exception, match=texts[case]):
        start(f"--model_base_path={zoo_base}", "--model_name=m").stop()


def test_warm_up_can_be_left_out(serving, zoo_base: Path, request_for) -> None:
    _record(zoo_base / "1", list(_logs(request_for, np.int32([1]))))
    target = serving(zoo_base, "--enable_model_warmup=false")
    assert target.states("m") == {1: "AVAILABLE"}
