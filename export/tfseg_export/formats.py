"""The list of formats: what each is called and what it takes. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from tfseg.errors import ConfigError, unknown_name
from tfseg.layout import EXTRA


@dataclass(frozen=True)
class Format:
    """One export format.

    Attributes:
        name: on the command line and in the manifest.
        title: in sentences.
        module: its ``write(folder, source, settings)`` and ``measure(folder, source, ...)``;
            see :mod:`tfseg_export.export`.
        precisions: the first is the default. What ``fp16`` is made half precision differs: see
            the format's module.
        versioned: the artifact is a version under the model's folder, as model servers want it;
            others lie beside it as ``<name>-<format>``.
        takes_capabilities: it is compiled for GPU compute capabilities.
        accelerators: that the server may be told to run it with.
        manifest_folder: where in the artifact its manifest and parity report lie.
        opened_as: the format that its manifest names, where it wraps an artifact of another.
        out: the folder that it is written to unless another is given.
        has_shared: the versions share files, which the module's ``beside(...)`` returns.
        largest: bytes of weights in float32 that its files, or those on the way, can hold.
    """

    name: str
    title: str
    module: str
    precisions: tuple[str, ...] = ("fp32",)
    versioned: bool = False
    takes_capabilities: bool = False
    accelerators: tuple[str, ...] = ()
    manifest_folder: str = "."
    opened_as: str | None = None
    out: str = "exports"
    has_shared: bool = False
    largest: int | None = None


# A protocol buffer and a FlatBuffer end at 2 GiB; some of that is the graph's.
_ONE_BUFFER = 2**31 - 2**26

FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format(
            name="savedmodel",
            title="SavedModel",
            module="tfseg_export.savedmodel",
            versioned=True,
            manifest_folder=EXTRA,
        ),
        Format(
            name="onnx",
            title="ONNX",
            module="tfseg_export.onnx",
            precisions=("fp32", "fp16"),
            largest=_ONE_BUFFER,
        ),
        Format(
            name="tensorrt",
            title="TensorRT",
            module="tfseg_export.tensorrt",
            precisions=("fp32", "fp16"),
            takes_capabilities=True,
            largest=_ONE_BUFFER,
        ),
        Format(
            name="tflite",
            title="TensorFlow Lite",
            module="tfseg_export.tflite",
            precisions=("fp32", "fp16"),
            largest=_ONE_BUFFER,
        ),
        Format(
            name="openvino",
            title="OpenVINO",
            module="tfseg_export.openvino",
            precisions=("fp32", "fp16"),
            largest=_ONE_BUFFER,
        ),
        Format(
            name="triton",
            title="Triton repository",
            module="tfseg_export.triton",
            precisions=("fp32", "fp16"),
            versioned=True,
            accelerators=("tensorrt",),
            opened_as="onnx",
            # Triton takes every folder of a repository for a model.
            out="exports/triton",
            has_shared=True,
            largest=_ONE_BUFFER,
        ),
    )
}


@dataclass(frozen=True)
class Settings:
    """The options of one export, checked against its format.

    Attributes:
        precision: ``fp32`` or ``fp16``.
        version: of a versioned format; ``None`` takes the next free one.
        capabilities: GPU compute capabilities such as ``sm89``; empty means every one that the
            installed library can compile this network for.
        accelerator: that the server is told to run it with, or ``None``.
        new_lineage: a version need not fit the one before it.
    """

    format: Format
    precision: str
    version: int | None
    capabilities: tuple[str, ...]
    accelerator: str | None
    new_lineage: bool = False


def settings(
    name: str,
    *,
    precision: str | None = None,
    version: int | None = None,
    capabilities: tuple[str, ...] = (),
    accelerator: str | None = None,
    new_lineage: bool = False,
) -> Settings:
    """Check the options of an export.

    Raises:
        ConfigError: unknown format, or an option that the format does not take.
    """
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    entry = FORMATS[name]
    precision = precision or entry.precisions[0]
    if precision not in entry.precisions:
        offering = [other for other, known in FORMATS.items() if precision in known.precisions]
        elsewhere = f" {precision} is offered by {_listed(offering)}." if offering else ""
        raise ConfigError(
            f"{entry.title} is exported as {' or '.join(entry.precisions)}; got precision "
            f"{precision!r}.{elsewhere}"
        )
    if version is not None and not entry.versioned:
        raise ConfigError(
            "only SavedModels and models for Triton have versions; got version "
            f"{version} for {entry.title}. "
            "Leave it out, or choose another name."
        )
    if new_lineage and not entry.versioned:
        raise ConfigError(
            "only SavedModels and models for Triton have versions; got --new-lineage for "
            f"{entry.title}. Leave it out, or choose another name."
        )
    if version is not None and version < 1:
        raise ConfigError(f"a version must be a positive integer; got {version}.")
    if capabilities and not entry.takes_capabilities:
        raise ConfigError(
            f"compute capabilities are for TensorRT engines; got {','.join(capabilities)} for "
            f"{entry.title}. Leave them out."
        )
    if accelerator is not None and accelerator not in entry.accelerators:
        offering = [other for other, known in FORMATS.items() if accelerator in known.accelerators]
        elsewhere = f" {accelerator} is offered by {_listed(offering)}." if offering else ""
        raise ConfigError(
            f"{entry.title} takes {' or '.join(entry.accelerators) or 'no accelerator'}; got "
            f"accelerator {accelerator!r}.{elsewhere} Leave --accelerator out."
        )
    return Settings(entry, precision, version, capabilities, accelerator, new_lineage)


def _listed(names: list[str]) -> str:
    """Return ``a, b and c``."""
    *front, last = names
    return f"{', '.join(front)} and {last}" if front else last
