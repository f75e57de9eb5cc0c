"""The options of ``serve``: both names of each, what contradicts itself, and run folders."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import click
import pytest

from tfseg.cli.main import run
from tfseg.errors import ConfigError, TfsegError
from tfseg_serving.cli_serve import serve
from tfseg_serving.flags import Flags
from tfseg_serving.runs import with_runs_exported
from tfseg_serving.versions import ModelConfig, Timing


def _flags(*arguments: str) -> Flags:
    return Flags(**serve.make_context("serve", list(arguments)).params)


def test_defaults_are_told_twice_the_same() -> None:
    assert _flags() == Flags()


def test_a_command_line_of_tensorflow_model_server(tmp_path: Path) -> None:
    flags = _flags(
        "--port=9000",
        "--rest_api_port=9001",
        "--rest_api_timeout_in_ms=30000",
        "--model_name=m",
        f"--model_base_path={tmp_path}",
        "--file_system_poll_wait_seconds=2",
        "--max_num_load_retries=3",
        "--load_retry_interval_micros=500000",
        "--num_load_threads=0",
        "--enable_batching=true",
        "--enable_model_warmup=false",
        "--rest_api_enable_cors_support",
        "--enable_grpc_healthcheck_service=1",
        "--enable_serialization_as_tensor_content=false",
        "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,a=b",
        "--grpc_max_threads=5",
        "--tensorflow_session_parallelism=2",
    )
    flags.check()
    assert flags.models(tmp_path) == [ModelConfig("m", tmp_path)]
    options = flags.options()
    assert (options.grpc_port, options.rest_port, options.rest_timeout_s) == (9000, 9001, 30)
    assert options.timing == Timing(2, 3, 0.5)
    assert options.load_threads == 1
    assert (options.cors, options.health, options.tensor_content) == (True, True, False)
    assert options.channel_arguments == {"grpc.max_connection_age_ms": 2000, "a": "b"}
    assert options.max_concurrency == 5
    assert not options.loading.warm_up
    assert options.loading.batching.max_batch_size == 1000
    assert (options.loading.intra_op_threads, options.loading.inter_op_threads) == (2, 2)
    assert options.host == "127.0.0.1"


def test_port_0_is_off_by_their_name_and_free_by_ours() -> None:
    assert (_flags("--rest_api_port=0").rest, _flags("--port=0").grpc) == (None, None)
    assert (_flags("--rest-port=0").rest, _flags("--grpc-port=0").grpc) == (0, 0)


def test_the_configuration_wins_over_one_model(tmp_path: Path) -> None:
    config = tmp_path / "models.config"
    config.write_text(
        f"model_config_list {{ config {{ name: 'a' base_path: '{tmp_path}' model_type: TENSORFLOW "
        "} }"
    )
    flags = _flags(f"--model_config_file={config}", "--model_base_path=/x", "--model_name=b")
    flags.check()
    assert [one.name for one in flags.models(tmp_path)] == ["a"]


def test_a_switch_is_true_or_false() -> None:
    with pytest.raises(click.BadParameter, match="--enable_batching takes true or false; got 'x'"):
        _flags("--enable_batching=x")


BAD: dict[str, tuple[list[str], str, str]] = {
    "parameters without batching": (
        ["m", "--batching-parameters", "b.config"],
        "--batching-parameters needs --batching",
        "without it",
    ),
    "per model without batching": (
        ["m", "--enable_per_model_batching_parameters"],
        "needs --batching",
        "--enable_per_model_batching_parameters",
    ),
    "poll without a file": (
        ["m", "--config-poll", "5"],
        "--config-poll needs --config",
        "--config",
    ),
    "no port": (["m", "--port=0", "--rest_api_port=0"], "are both 0", "--port"),
    "folder and model": (
        ["m", "--model_base_path=/x"],
        "give either MODEL_DIR or --config or --model_base_path",
        "MODEL_DIR and --model_base_path",
    ),
    "both parallelisms": (
        ["m", "--tensorflow_session_parallelism=1", "--tensorflow_inter_op_parallelism=1"],
        "give either --tensorflow_session_parallelism or",
        "got both",
    ),
    "channel arguments": (
        ["m", "--grpc_channel_arguments=a"],
        "--grpc_channel_arguments must be name=value",
        "'a'",
    ),
    "absent monitoring": (
        ["m", "--monitoring-config", "/no/such"],
        "--monitoring-config must be a readable text file",
        "/no/such",
    ),
    "absent certificates": (
        ["m", "--ssl-config", "/no/such"],
        "--ssl-config must be a readable text file",
        "/no/such",
    ),
    "unknown switch value": (["m", "--cors=maybe"], "takes true or false", "'maybe'"),
    "negative poll": (["m", "--poll=-1"], "0<=x<=86400", "-1"),
    "no memory": (["m", "--max-memory-bytes=0"], "x>=1", "0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_flags(tmp_path: Path, capsys, monkeypatch, case: str) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, rule, value = BAD[case]
    assert run(["serve", *arguments]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("tfseg: ")
    assert rule in line
    assert value in line
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "text", "rule"),
    [
        ("--batching-parameters", "nonsense {", "Error parsing text-format"),
        ("--batching-parameters", "max_batch_size { value: 0 }", "must be at least 1; got 0"),
        ("--monitoring-config", "nonsense {", "Error parsing text-format"),
        (
            "--monitoring-config",
            "prometheus_config { enable: true path: 'x' }",
            "path must begin with a slash; got 'x'",
        ),
        ("--ssl-config", "server_key: 'x'", "must have server_key and server_cert"),
    ],
)
def test_bad_input_files(tmp_path: Path, capsys, option: str, text: str, rule: str) -> None:
    path = tmp_path / "file.config"
    path.write_text(text)
    assert run(["serve", "m", "--batching", option, str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert rule in line
    assert str(path) in line


# --- run folders


def _run_folder(root: Path) -> Path:
    folder = root / "runs" / "unet-1"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.keras"):
        (folder / name).touch()
    return folder


def _stand_in_for_python(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_runs_are_exported_and_other_folders_are_left(tmp_path: Path, monkeypatch) -> None:
    folder, model = _run_folder(tmp_path), tmp_path / "model"
    # Called as: python -m tfseg export RUN --format savedmodel -o TARGET
    fake = _stand_in_for_python(tmp_path / "python", 'mkdir -p "$8/unet/1"; echo "$@" > "$8/call"')
    monkeypatch.setattr(sys, "executable", fake)
    target = tmp_path / "exports"
    assert with_runs_exported([folder, model], target) == [model, target]
    assert (target / "call").read_text().split() == [
        "-m", "tfseg", "export", str(folder), "--format", "savedmodel", "-o", str(target),
    ]  # fmt: skip
    assert with_runs_exported([model], target) == [model]
    shutil.copytree(folder, other := tmp_path / "elsewhere" / folder.name)
    with pytest.raises(ConfigError, match=r"served by its folder's name.*have one name"):
        with_runs_exported([folder, other], target)


def test_an_export_that_fails_is_told_in_its_words(tmp_path: Path, monkeypatch) -> None:
    fake = _stand_in_for_python(tmp_path / "python", 'echo "tfseg: parity failed." >&2; exit 1')
    monkeypatch.setattr(sys, "executable", fake)
    with pytest.raises(TfsegError, match=r"unet-1 cannot be exported: parity failed\."):
        with_runs_exported([_run_folder(tmp_path)], tmp_path / "exports")


@pytest.mark.slow
def test_a_run_is_exported_and_served(tmp_path: Path, monkeypatch) -> None:
    import json
    import subprocess
    import urllib.request

    monkeypatch.chdir(tmp_path)
    tfseg = [sys.executable, "-m", "tfseg"]
    settings = "base_filters=4 depth=2 strides=[[2,2,2]] patch_size=16,16,16 batch_size=2"
    train = "train --model unet --epochs 1 --run runs/a "
    settings += " steps_per_epoch=2 validation_cases=1"
    train += " ".join(f"--set {one}" for one in settings.split())
    subprocess.run([*tfseg, *train.split()], check=True, capture_output=True, env=os.environ)
    command = [*tfseg, "serve", "runs/a", "--rest-port", "0", "--grpc-port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = []
            while not lines or lines[-1] != "}\n":
                lines.append(process.stdout.readline())
                assert lines[-1]
            ready = json.loads("".join(lines))
            (name,) = ready["models"]
            with urllib.request.urlopen(f"{ready['rest']}/v1/models/{name}/metadata") as answer:
                document = json.loads(answer.read())
            assert "segment" in document["metadata"]["signature_def"]["signature_def"]
        finally:
            process.terminate()
            assert process.wait(40) == 0
