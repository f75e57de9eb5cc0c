"""TensorRT: an engine compiled from the ONNX graph, for chosen GPUs, on any machine.

``tensorrt_rtx`` compiles for GPUs that are not there, so engines can be built and checked where
models are trained; ``tensorrt`` (the classic library) needs the GPU it compiles for. The network
is strongly typed: the precision of every tensor is the ONNX graph's, never the builder's choice.

An artifact holds ``model.engine``, its description ``model.engine.json``, and the very
``model.onnx`` it was compiled from.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

from tfseg.errors import ConfigError, TfsegError
from tfseg.files import read_json, sha256, write_bytes, write_json
from tfseg.inference.backends.onnx import INPUT, MODEL
from tfseg.inference.backends.tensorrt import ENGINE, SIDECAR, load_library
from tfseg_export import onnx, parity
from tfseg_export.formats import Settings
from tfseg_export.source import Source

# Windows in one call: the sliding window sends one; others may send a few.
MAX_BATCH = 4


def write(folder: Path, source: Source, settings: Settings) -> dict[str, str]:
    """Write graph, engine and description into ``folder``; return versions.

    Raises:
        ConfigError: TensorRT is not installed, or a compute capability that it does not know or
            cannot compile this network for.
        TfsegError: TensorRT cannot compile the network at all.
    """
    library = load_library()
    asked = _capabilities(library, settings.capabilities)
    versions = onnx.write(folder, source, settings)
    builder = _Builder(library, folder / MODEL, source.window_shape)
    built, refused, engine = builder.build(asked, every=not settings.capabilities)
    write_bytes(folder / ENGINE, engine)
    write_json(
        folder / SIDECAR,
        {
            "library": library.__name__,
            "version": library.__version__,
            "compute_capabilities": built,
            "refused_compute_capabilities": refused,
            "precision": settings.precision,
            "input": INPUT,
            "profile": builder.profile,
            "engine_sha256": sha256(folder / ENGINE),
            "onnx": MODEL,
            "onnx_sha256": sha256(folder / MODEL),
        },
    )
    return {**versions, library.__name__: library.__version__}


def measure(
    folder: Path, source: Source, settings: Settings, windows: parity.Windows
) -> dict[str, Any]:
    """Compare the ONNX graph that the engine was compiled from with the Keras network."""
    digest = read_json(folder / SIDECAR, "the engine's description")["onnx_sha256"]
    return {
        **onnx.measure(folder, source, settings, windows),
        "statement": (
            "A TensorRT engine cannot run without a GPU: this is the parity of the exact ONNX "
            f"graph the engine was built from, {MODEL} with SHA-256 {digest}."
        ),
    }


def _capabilities(library: ModuleType, asked: tuple[str, ...]) -> list[str]:
    """Return the capabilities to compile for, each once, all known ones by default."""
    known = [
        name.lower()
        for name in library.ComputeCapability.__members__
        if re.fullmatch(r"SM\d+", name)
    ]
    for name in asked:
        if name not in known:
            raise ConfigError(
                f"{library.__name__} {library.__version__} knows the compute capabilities "
                f"{', '.join(known)}; got {name!r}. See https://developer.nvidia.com/cuda-gpus."
            )
    return list(dict.fromkeys(asked)) or known


class _Builder:
    """Compiles one ONNX graph with one optimisation profile."""

    def __init__(self, library: ModuleType, graph: Path, window: tuple[int, ...]) -> None:
        self._library = library
        self._graph = graph.read_bytes()
        self._logger = _collecting_logger(library)
        self.profile = {
            "min": [1, *window],
            "opt": [1, *window],
            "max": [MAX_BATCH, *window],
        }

    def build(
        self, capabilities: list[str], *, every: bool
    ) -> tuple[list[str], dict[str, str], bytes]:
        """Compile one engine for several compute capabilities.

        Args:
            capabilities: such as ``sm89``.
            every: leave out those that TensorRT cannot compile this network for (Turing has no
                3D convolution in float32, for example) instead of failing.

        Returns:
            The capabilities compiled for; the others with TensorRT's reason; the engine.
        """
        engine, reason = self._compile(capabilities)
        if engine is not None:
            return capabilities, {}, engine
        if not every:
            raise ConfigError(
                f"TensorRT cannot compile this network for {', '.join(capabilities)}: {reason}. "
                "Leave --compute-capability out to get every one that it can."
            )
        alone = {name: self._compile([name]) for name in capabilities}
        refused = {name: why for name, (done, why) in alone.items() if done is None}
        left = [name for name in capabilities if name not in refused]
        if left:
            engine, reason = self._compile(left)
        if engine is None:
            raise TfsegError(f"TensorRT cannot compile this network: {reason}.")
        return left, refused, engine

    def _compile(self, capabilities: list[str]) -> tuple[bytes | None, str]:
        """Return the engine, or ``None`` and TensorRT's reason."""
        trt = self._library
        self._logger.errors.clear()
        builder = trt.Builder(self._logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, self._logger)
        if not parser.parse(self._graph):
            reasons = [parser.get_error(index).desc() for index in range(parser.num_errors)]
            return None, _one_line(reasons)
        config = builder.create_builder_config()
        config.num_compute_capabilities = len(capabilities)
        for index, name in enumerate(capabilities):
            config.set_compute_capability(trt.ComputeCapability.__members__[name.upper()], index)
        profile = builder.create_optimization_profile()
        profile.set_shape(INPUT, *(tuple(self.profile[key]) for key in ("min", "opt", "max")))
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            return None, _one_line(self._logger.errors)
        return bytes(plan), ""


def _collecting_logger(library: ModuleType) -> Any:
    """Return a logger that keeps TensorRT's errors for our message and drops the rest."""

    class Logger(library.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (self.ERROR, self.INTERNAL_ERROR):
                self.errors.append(message)

    return Logger()


def _one_line(reasons: list[str]) -> str:
    text = " ".join(" ".join(reasons).split()).rstrip(".")
    return text[:300] or "it gave no reason"
