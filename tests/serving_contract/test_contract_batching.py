"""Batching: joining, padding, splitting, and the bounds of the queue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = "/monitoring/prometheus/metrics"


@pytest.fixture
def batching(launch, tmp_path: Path) -> Callable[..., Any]:
    """Start a server of one model that batches."""

    def start(base: Path, parameters: str, *flags: str) -> Any:
        files = {"batching": parameters, "monitoring": "prometheus_config { enable: true }"}
        for name, text in files.items():
            (tmp_path / f"{name}.config").write_text(text)
        return launch(
            f"--model_base_path={base}",
            "--model_name=m",
            "--enable_batching=true",
            f"--batching_parameters_file={tmp_path}/batching.config",
            f"--monitoring_config_file={tmp_path}/monitoring.config",
            *flags,
        )

    return start


def _runs(target: Any) -> int:
    """Return how often the graph was run."""
    for line in target.get(PAGE).text.splitlines():
        if line.startswith(":tensorflow:serving:batching_session:wrapped_run_count{"):
            return int(line.split()[-1])
    return 0


def _together(call: Callable[[Any], Any], values: list[Any]) -> list[Any]:
    """Make all calls at once; return their results or errors, in order."""
    barrier = threading.Barrier(len(values))

    def one(value: Any) -> Any:
        barrier.wait(30)
        try:
            return call(value)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(values)) as pool:
        return list(pool.map(one, values))


def test_requests_are_joined_and_taken_apart_again(
    batching, scale_base, request_for, refusal
) -> None:
    target = batching(
        scale_base(1),
        "max_batch_size { value: 4 } batch_timeout_micros { value: 2000000 } "
        "num_batch_threads { value: 1 } allowed_batch_sizes: 2 allowed_batch_sizes: 4",
    )

    def ask(values: list[float]) -> list[float]:
        answer = target.call(request_for(model="m", x=np.float32(values)))
        return list(answer.outputs["y"].float_val)

    given = [[1.0], [2.0, 3.0], [4.0]]
    assert _together(ask, given) == [[10], [20, 30], [40]]
    assert _runs(target) == 1
    # A request that is too large is refused; one as large as a batch runs at once.
    assert ask([1.0] * 4) == [10.0] * 4
    assert refusal(ask, [1.0] * 5) == (
        "INVALID_ARGUMENT",
        "Task size 5 is larger than maximum input batch size 4",
    )
    # The first axis is the batch: a scalar has none.
    scalar = request_for(model="m", x=np.float32(1))
    assert refusal(target.call, scalar) == (
        "INVALID_ARGUMENT",
        "Batching Run() input tensors must have at least one dimension",
    )
    assert target.factor() == 10  # REST, too


def test_large_requests_are_split_if_asked(batching, scale_base, request_for) -> None:
    target = batching(
        scale_base(1),
        "max_batch_size { value: 8 } enable_large_batch_splitting { value: true } "
        "max_execution_batch_size { value: 2 }",
    )
    values = np.arange(7, dtype=np.float32)
    answer = target.call(request_for(model="m", x=values))
    assert list(answer.outputs["y"].float_val) == (values * 10).tolist()
    assert _runs(target) == 4


def test_shorter_requests_are_padded_if_asked(batching, models_root, request_for) -> None:
    target = batching(
        models_root / "zoo",
        "max_batch_size { value: 2 } batch_timeout_micros { value: 2000000 } "
        "pad_variable_length_inputs: true",
    )

    def ask(width: int) -> list[float]:
        request = request_for("echo_float32", model="m", v=np.full((1, width), width, np.float32))
        return list(target.call(request).outputs["v"].float_val)

    # Outputs are cut apart along the first axis only; the padding is the input's first value.
    assert _together(ask, [1, 3]) == [[1, 1, 1], [3, 3, 3]]
    assert _runs(target) == 1


def test_outputs_must_have_the_batch(batching, models_root, request_for, refusal) -> None:
    target = batching(models_root / "zoo", "max_batch_size { value: 4 }")
    x = np.float32([1, 2])
    assert refusal(target.call, request_for("total", model="m", x=x)) == (
        "FAILED_PRECONDITION",
        "Batched output tensor has 0 dimensions",
    )
    code, text = refusal(target.call, request_for("ragged", model="m", x=x))
    assert code == "FAILED_PRECONDITION"
    assert text.startswith("Batched output tensor's 0th dimension does not equal")
    unequal = request_for("two", model="m", a=np.int64([1, 2]), b=np.float32([1]))
    assert refusal(target.call, unequal) == (
        "INVALID_ARGUMENT",
        "Batching Run() input tensors must have equal 0th-dimension size",
    )


def test_a_full_queue_and_a_deadline_in_it(batching, models_root: Path, request_for) -> None:
    target = batching(
        models_root / "slow",
        "max_batch_size { value: 1 } num_batch_threads { value: 1 } "
        "max_enqueued_batches { value: 1 }",
    )
    call = target.prediction.Predict
    long = call.future(request_for(model="m", steps=np.float32([1e15])), timeout=2)
    threading.Event().wait(0.5)  # it runs; the next one waits in the queue
    late = call.future(request_for(model="m", steps=np.float32([1])), timeout=20)
    threading.Event().wait(0.2)
    full = call.future(request_for(model="m", steps=np.float32([1])), timeout=20).exception()
    assert full.code().name == "UNAVAILABLE"
    assert full.details().startswith(
        "The batch scheduling queue to which this task was submitted is full"
    )
    assert long.exception().code().name == "DEADLINE_EXCEEDED"
    assert list(late.result().outputs["count"].float_val) == [1]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "must match max_batch_size"),
        (
            "max_batch_size { value: 4 } allowed_batch_sizes: 4 allowed_batch_sizes: 4",
            "monotonically increasing",
        ),
        ("nonsense: 1", "Error parsing text-format tensorflow.serving.BatchingParameters"),
    ],
)
def test_bad_parameters_are_refused(batching, scale_base, parameters: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        batching(scale_base(1), parameters)


def test_parameters_need_their_flag(start, scale_base, tmp_path: Path) -> None:
    (tmp_path / "batching.config").write_text("max_batch_size { value: 4 }")
    with pytest.raises(Exception, match="batching"):
        start(
            f"--model_base_path={scale_base(1)}",
            f"--batching_parameters_file={tmp_path}/batching.config",
        ).stop()


def test_a_models_own_parameters(batching, scale_base, request_for, refusal) -> None:
    base = scale_base(1)
    (base / "1" / "batching_params.pbtxt").write_text("max_batch_size { value: 2 }")
    target = batching(
        base, "max_batch_size { value: 8 }", "--enable_per_model_batching_parameters=true"
    )
    code, text = refusal(target.call, request_for(model="m", x=np.float32([1, 2, 3])))
    assert (code, text) == (
        "INVALID_ARGUMENT",
        "Task size 3 is larger than maximum input batch size 2",
    )
