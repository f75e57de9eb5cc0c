"""A TensorRT engine, run on an NVIDIA GPU.

Not verified on hardware: engines are built and their ONNX graph is measured without a GPU, but
no GPU has run this module yet. It uses the library that built the engine (``tensorrt_rtx`` or
``tensorrt``) and the CUDA driver that every NVIDIA machine has, through ctypes.
"""

from __future__ import annotations

import ctypes
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.artifact import Manifest
from tfseg.errors import ConfigError, DataError
from tfseg.files import read_json
from tfseg.inference.backend import Backend
from tfseg.inference.backends.onnx import INPUT, OUTPUT
from tfseg.inference.backends.verified import open_manifest

ENGINE = "model.engine"
SIDECAR = "model.engine.json"

# Both libraries have one interface; the first builds engines on machines without a GPU.
LIBRARIES = ("tensorrt_rtx", "tensorrt")


def load_library(names: tuple[str, ...] = LIBRARIES) -> ModuleType:
    """Import the first installed TensorRT library of ``names``.

    Raises:
        ConfigError: none is installed, or it does not load.
    """
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
        except (ImportError, OSError) as error:
            raise ConfigError(f"{name} is installed but does not load: {error}.") from error
    raise ConfigError(
        f"TensorRT is not installed: looked for {' and '.join(names)}. "
        "Install it with: pip install 'tfseg[tensorrt]'."
    )


class TensorRtBackend(Backend):
    """Answers with ``model.engine`` on GPU 0, one synchronous call at a time."""

    def __init__(self, folder: Path) -> None:
        """Load ``folder`` without checking it against its manifest.

        Raises:
            ConfigError: no GPU, or the library that built the engine is not installed.
            DataError: the engine does not fit the library or the GPU.
        """
        sidecar = read_json(folder / SIDECAR, "the engine's description")
        self._cuda = _Cuda()
        library = load_library((sidecar["library"],))
        self._runtime = library.Runtime(library.Logger(library.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine((folder / ENGINE).read_bytes())
        if self._engine is None:
            raise DataError(
                f"{folder / ENGINE} does not fit this machine: it was built by "
                f"{sidecar['library']} {sidecar['version']} for "
                f"{', '.join(sidecar['compute_capabilities'])}; installed is "
                f"{library.__version__}. Export it again for this GPU."
            )
        self._context = self._engine.create_execution_context()
        self._max_batch = int(sidecar["profile"]["max"][0])

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (n, [z,] y, x, k) of prepared windows (n, [z,] y, x, c).

        Raises:
            DataError: the engine failed; its profile tells the windows it takes.
        """
        batch = np.ascontiguousarray(batch, np.float32)
        parts = [
            self._run(batch[start : start + self._max_batch])
            for start in range(0, len(batch), self._max_batch)
        ]
        return np.concatenate(parts)

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self._context.set_input_shape(INPUT, batch.shape):
            raise DataError(f"the engine does not take windows of shape {batch.shape[1:]}.")
        answer = np.empty(tuple(self._context.get_tensor_shape(OUTPUT)), np.float32)
        with self._cuda.buffer(batch.nbytes) as source, self._cuda.buffer(answer.nbytes) as target:
            self._cuda.to_device(source.address, batch)
            self._context.set_tensor_address(INPUT, source.address)
            self._context.set_tensor_address(OUTPUT, target.address)
            if not self._context.execute_async_v3(self._cuda.stream):
                raise DataError(f"the engine failed on a batch of shape {batch.shape}.")
            self._cuda.synchronise()
            self._cuda.to_host(answer, target.address)
        return answer


def open_artifact(folder: Path) -> tuple[TensorRtBackend, Manifest]:
    """Open a TensorRT artifact's folder."""
    manifest = open_manifest(folder, "tensorrt", ENGINE, SIDECAR)
    return TensorRtBackend(folder), manifest


class _Cuda:
    """The few calls of the CUDA driver that moving arrays takes; device 0, one stream.

    Reference: CUDA Driver API, https://docs.nvidia.com/cuda/cuda-driver-api/.
    """

    def __init__(self) -> None:
        try:
            self._driver = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise _no_gpu("the driver library libcuda.so.1 is missing") from error
        code = self._driver.cuInit(0)
        count = ctypes.c_int(0)
        if code == 0:
            code = self._driver.cuDeviceGetCount(ctypes.byref(count))
        if code or not count.value:
            raise _no_gpu(f"the driver reports {count.value} GPUs (code {code})")
        device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._call("cuStreamCreate", ctypes.byref(stream), 0)
        self.stream = int(stream.value or 0)

    def buffer(self, size_bytes: int) -> _Buffer:
        return _Buffer(self, size_bytes)

    def allocate(self, size_bytes: int) -> int:
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size_bytes))
        return address.value

    def free(self, address: int) -> None:
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def to_device(self, address: int, array: NDArray[Any]) -> None:
        size = ctypes.c_size_t(array.nbytes)
        pointer = array.ctypes.data_as(ctypes.c_void_p)
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), pointer, size)

    def to_host(self, array: NDArray[Any], address: int) -> None:
        size = ctypes.c_size_t(array.nbytes)
        pointer = array.ctypes.data_as(ctypes.c_void_p)
        self._call("cuMemcpyDtoH_v2", pointer, ctypes.c_uint64(address), size)

    def synchronise(self) -> None:
        self._call("cuStreamSynchronize", ctypes.c_void_p(self.stream))

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._driver, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorName(code, ctypes.byref(text))
            reason = (text.value or b"unknown error").decode()
            raise DataError(f"the GPU refused {name}: {reason} (code {code}).")


class _Buffer:
    """Device memory for the time of a ``with`` block."""

    def __init__(self, cuda: _Cuda, size_bytes: int) -> None:
        self._cuda = cuda
        self.address = cuda.allocate(size_bytes)

    def __enter__(self) -> _Buffer:
        return self

    def __exit__(self, *_: object) -> None:
        self._cuda.free(self.address)


def _no_gpu(reason: str) -> ConfigError:
    return ConfigError(
        f"a TensorRT engine needs an NVIDIA GPU: {reason}. "
        "Use the ONNX or SavedModel export on this machine."
    )
