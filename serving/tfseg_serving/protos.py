"""The text-format files that ``tensorflow_model_server`` takes, and their messages.

``ModelServerConfig`` comes from the package tensorflow-serving-api. The messages for batching,
TLS and monitoring are not in it, so they are defined here, with the names and numbers of
``session_bundle_config.proto``, ``ssl_config.proto`` and ``monitoring_config.proto``, in a pool
of their own so that they collide with nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

from tfseg.errors import ConfigError, DataError

_PACKAGE = "tensorflow.serving"
_INT64, _BOOL, _STRING = "Int64Value", "BoolValue", "StringValue"

# message -> field -> (number, type); a capital type is a message, [] marks a repeated field.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "BatchingParameters": {
        "max_batch_size": (1, _INT64),
        "batch_timeout_micros": (2, _INT64),
        "max_enqueued_batches": (3, _INT64),
        "num_batch_threads": (4, _INT64),
        "thread_pool_name": (5, _STRING),
        "allowed_batch_sizes": (6, "int64[]"),
        "pad_variable_length_inputs": (7, "bool"),
        "enable_large_batch_splitting": (8, _BOOL),
        "max_execution_batch_size": (9, _INT64),
    },
    "SSLConfig": {
        "server_key": (1, "string"),
        "server_cert": (2, "string"),
        "custom_ca": (3, "string"),
        "client_verify": (4, "bool"),
    },
    "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    "MonitoringConfig": {"prometheus_config": (1, "PrometheusConfig")},
}
_SCALARS = {"int64": 3, "bool": 8, "string": 9}
_MESSAGE_TYPE, _OPTIONAL, _REPEATED = 11, 1, 3


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    file = descriptor_pb2.FileDescriptorProto(
        name="tfseg_serving/server_files.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers.name],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            base = kind.removesuffix("[]")
            entry = message.field.add(
                name=field, number=number, label=_REPEATED if kind != base else _OPTIONAL
            )
            if base in _SCALARS:
                entry.type = _SCALARS[base]
            else:
                owner = _PACKAGE if base in _MESSAGES else "google.protobuf"
                entry.type, entry.type_name = _MESSAGE_TYPE, f".{owner}.{base}"
    pool.Add(file)
    return pool


_POOL = _pool()


def new_message(name: str) -> Any:
    """Return an empty message of this module, by its bare name."""
    found = _POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}")
    return message_factory.GetMessageClass(found)()


def parse_text(text: str, message: Any, source: str) -> Any:
    """Return ``message`` filled from its text form.

    Raises:
        ConfigError: it is no such text.
    """
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise ConfigError(
            f"Error parsing text-format {message.DESCRIPTOR.full_name}: {source}, {error}."
        ) from error


def read_text_file(path: str | os.PathLike[str], option: str) -> str:
    """Return a file's text.

    Raises:
        DataError: it cannot be read, or is no text.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{option} must be a readable text file; {path}: {error}.") from error


def read_message(path: str | os.PathLike[str], name: str, option: str) -> Any:
    """Read a file that holds one of this module's messages in text form.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it is no such text.
    """
    return parse_text(read_text_file(path, option), new_message(name), str(path))
