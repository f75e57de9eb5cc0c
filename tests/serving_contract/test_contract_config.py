"""models.config: what is refused, labels, reloading by call and by file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def _entry(name: str, base: Path, more: str = "", platform: str = "tensorflow") -> str:
    return f"config {{ name: '{name}' base_path: '{base}' model_platform: '{platform}' {more} }} "


def _config(*entries: str) -> str:
    return f"model_config_list {{ {''.join(entries)} }}"


@pytest.fixture
def reload(refusal) -> Callable[..., Any]:
    """Send a HandleReloadConfigRequest; return the answer's status, or how it was refused."""

    def send(target: Any, text: str, refused: bool = False) -> Any:
        from google.protobuf import text_format
        from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest

        request = ReloadConfigRequest()
        text_format.Parse(text, request.config)
        call = target.models.HandleReloadConfigRequest
        if refused:
            return refusal(call, request)
        return call(request, timeout=60).status.error_code

    return send


@pytest.fixture
def running(launch, models_root: Path, tmp_path: Path) -> Any:
    config = tmp_path / "models.config"
    config.write_text(_config(_entry("one", models_root / "scale")))
    flags = ("--max_num_load_retries=0", "--load_retry_interval_micros=1000")
    target = launch(f"--model_config_file={config}", *flags)
    target.config = config
    return target


def test_reloading_replaces_the_models(running, reload, models_root: Path, eventually) -> None:
    scale = models_root / "scale"
    assert running.factor("one") == 30
    assert reload(running, _config(_entry("one", scale), _entry("two", scale))) == 0
    assert running.factor("two") == 30  # awaited before the call returned
    assert reload(running, _config(_entry("two", scale))) == 0
    eventually(lambda: running.factor("one") is None)
    assert running.factor("two") == 30
    # A model that was dropped may come back.
    assert reload(running, _config(_entry("two", scale), _entry("one", scale))) == 0
    assert running.factor("one") == 30
    # A new policy acts at the next look at the disk.
    policy = "model_version_policy { specific { versions: 1 } }"
    assert reload(running, _config(_entry("one", scale, policy))) == 0
    eventually(lambda: running.factor("one") == 10)
    assert reload(running, "model_config_list {}") == 0
    eventually(lambda: running.factor("one") is None)


REFUSED: list[tuple[Callable[[Path], str], str, str]] = [
    (
        lambda base: _config(_entry("a", base), _entry("a", base)),
        "INVALID_ARGUMENT",
        "Illegal to list model a multiple times in config list",
    ),
    (
        lambda base: _config(_entry("a", Path("b/c"))),
        "INVALID_ARGUMENT",
        "Expected model a to have an absolute path or URI; got base_path()=b/c",
    ),
    (
        lambda base: _config(_entry("a", base, platform="")),
        "INVALID_ARGUMENT",
        "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
        "ModelServerConfig::model_platform, model name is a",
    ),
    (
        lambda base: _config(_entry("a", base, platform="caffe")),
        "INVALID_ARGUMENT",
        "Model a requests unsupported platform caffe",
    ),
    (
        lambda base: 'custom_model_config { type_url: "x" }',
        "INVALID_ARGUMENT",
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList "
        "is currently supported",
    ),
    (
        lambda base: "",
        "INVALID_ARGUMENT",
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList "
        "is currently supported",
    ),
    (
        lambda base: _config(_entry("one", base, "version_labels { key: 'x' value: 9 }")),
        "FAILED_PRECONDITION",
        "Request to assign label to version 9 of model one, which is not currently available for "
        "inference",
    ),
]


def test_reloads_that_are_refused_change_nothing(running, reload, models_root: Path) -> None:
    for text, code, message in REFUSED:
        assert reload(running, text(models_root / "scale"), refused=True) == (code, message)
        assert running.factor("one") == 30


def test_a_new_model_that_cannot_load_is_told(running, reload, models_root, tmp_path) -> None:
    (tmp_path / "bad" / "1").mkdir(parents=True)
    text = _config(_entry("one", models_root / "scale"), _entry("bad", tmp_path / "bad"))
    code, message = reload(running, text, refused=True)
    assert code == "UNKNOWN"
    assert message.startswith("1 model(s) did not become available: {")
    assert running.factor("one") == 30


def test_labels_move_and_go_at_once(running, reload, models_root: Path, eventually) -> None:
    policy = "model_version_policy { all {} }"
    scale = models_root / "scale"

    def labelled(**labels: int) -> str:
        pairs = (f"version_labels {{ key: '{k}' value: {v} }}" for k, v in labels.items())
        return _config(_entry("m", scale, policy + " ".join(pairs)))

    def of(label: str) -> float | None:
        return running.factor("m", f"/labels/{label}")

    assert reload(running, labelled()) == 0  # waits for one version, not for all
    eventually(lambda: set(running.states("m").values()) == {"AVAILABLE"})
    assert reload(running, labelled(stable=1, canary=3)) == 0
    assert (of("stable"), of("canary")) == (10, 30)
    assert reload(running, labelled(stable=2)) == 0
    assert (of("stable"), of("canary")) == (20, None)
    answer = running.post("/v1/models/m/labels/canary:predict", "{}")
    assert (answer.status, answer.error) == (400, "Unrecognized servable version label: canary")


def test_labels_of_what_is_not_available_need_their_flag(
    launch, reload, models_root: Path, tmp_path: Path
) -> None:
    config = tmp_path / "models.config"
    config.write_text(
        _config(_entry("m", models_root / "scale", "version_labels { key: 'x' value: 9 }"))
    )
    target = launch(
        f"--model_config_file={config}", "--allow_version_labels_for_unavailable_models=true"
    )
    answer = target.post("/v1/models/m/labels/x:predict", "{}")
    assert (answer.status, answer.error) == (
        404,
        "Servable not found for request: Specific(m, 9)",
    )
    # Only labels that are new: this one cannot be moved to what is not there.
    moved = _config(_entry("m", models_root / "scale", "version_labels { key: 'x' value: 8 }"))
    assert reload(target, moved, refused=True)[0] == "FAILED_PRECONDITION"


@pytest.mark.slow
def test_the_file_is_looked_at_again(launch, models_root: Path, tmp_path, eventually) -> None:
    config = tmp_path / "models.config"
    scale = models_root / "scale"
    config.write_text(_config(_entry("one", scale)))
    target = launch(f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1")
    config.write_text("nonsense {")  # is logged; the old configuration stays
    config.write_text(_config(_entry("one", scale), _entry("two", scale)))
    eventually(lambda: target.factor("two") == 30)
    config.write_text("nonsense {")
    config.write_text(_config(_entry("two", scale)))
    eventually(lambda: target.factor("one") is None)
    assert target.factor("two") == 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense {", "Error parsing text-format tensorflow.serving.ModelServerConfig"),
        (_config(_entry("a", Path("/x")), _entry("a", Path("/x"))), "Illegal to list model a"),
        (_config(_entry("a", Path("x"))), "absolute path"),
    ],
)
def test_a_bad_file_at_start_is_an_error(start, tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "models.config"
    config.write_text(text)
    with pytest.raises(Exception, match=message):
        start(f"--model_config_file={config}").stop()
