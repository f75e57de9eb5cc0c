"""What is served for which folder, and for which models.config."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format

from tfseg.errors import DataError
from tfseg_serving.config import models_from_config, models_from_folders
from tfseg_serving.versions import ModelConfig, VersionPolicy, versions_below

DEPLOY = Path(__file__).parents[2] / "serving" / "deploy"


def _saved_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    return folder


def test_folders(tmp_path: Path) -> None:
    version = _saved_model(tmp_path / "unet" / "3")
    _saved_model(tmp_path / "pspnet" / "1")
    (tmp_path / "unet-onnx").mkdir()
    unet, pspnet = tmp_path / "unet", tmp_path / "pspnet"
    assert models_from_folders([unet]) == [ModelConfig("unet", unet)]
    only = VersionPolicy("specific", versions=(3,))
    assert models_from_folders([version]) == [ModelConfig("unet", unet, only)]
    assert models_from_folders([tmp_path]) == [
        ModelConfig("pspnet", pspnet),
        ModelConfig("unet", unet),
    ]


def test_what_an_export_has_not_finished_is_no_model(tmp_path: Path) -> None:
    partial = _saved_model(tmp_path / ".tfseg-abc.partial" / "1").parent
    _saved_model(tmp_path / ".trash" / "1")
    for folder in (partial, partial / "1", tmp_path):
        with pytest.raises(DataError):
            models_from_folders([folder])
    assert versions_below(partial) == {}  # as --model_base_path or in a models.config
    whole = _saved_model(tmp_path / "unet" / "1").parent
    assert models_from_folders([tmp_path]) == [ModelConfig("unet", whole)]


def test_models_config(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text(
        """
        model_config_list {
          config { name: 'a' base_path: '/m/a' model_platform: 'tensorflow' }
          config {
            name: 'b' base_path: '/m/b' model_platform: 'tensorflow'
            model_version_policy { latest { num_versions: 2 } }
          }
          config {
            name: 'c' base_path: '/m/c' model_platform: 'tensorflow'
            model_version_policy { specific { versions: 1 versions: 4 } }
            version_labels { key: 'stable' value: 4 }
          }
          config {
            name: 'd' base_path: '/m/d' model_platform: 'tensorflow'
            model_version_policy { all {} }
          }
        }
        """
    )
    assert models_from_config(path) == [
        ModelConfig("a", Path("/m/a")),
        ModelConfig("b", Path("/m/b"), VersionPolicy("latest", 2)),
        ModelConfig("c", Path("/m/c"), VersionPolicy("specific", versions=(1, 4)), {"stable": 4}),
        ModelConfig("d", Path("/m/d"), VersionPolicy("all")),
    ]


def test_deployed_models_config_is_valid() -> None:
    assert [one.base_path for one in models_from_config(DEPLOY / "models.config")] == [
        Path("/models/liver")
    ]


def test_deployed_batching_config_is_valid() -> None:
    """Against the fields of BatchingParameters, which no Python package carries."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name="batching.proto",
        package="check",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    message = file.message_type.add(name="BatchingParameters")
    wrapped = {"max_batch_size": 1, "batch_timeout_micros": 2, "max_enqueued_batches": 3}
    wrapped["num_batch_threads"] = 4
    for name, number in wrapped.items():
        message.field.add(
            name=name, number=number, type=11, label=1, type_name=".google.protobuf.Int64Value"
        )
    message.field.add(name="allowed_batch_sizes", number=6, type=3, label=3)
    message.field.add(name="pad_variable_length_inputs", number=7, type=8, label=1)
    from google.protobuf import wrappers_pb2

    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("check.BatchingParameters"))
    parsed = text_format.Parse((DEPLOY / "batching.config").read_text(), kind())
    sizes = list(parsed.allowed_batch_sizes)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == parsed.max_batch_size.value
