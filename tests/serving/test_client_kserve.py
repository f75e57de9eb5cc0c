"""KServe's protocol: our messages against protobuf's own, and a query through a small server.

The server below is the test's own: it decodes by protobuf's library and runs a graph by ONNX
Runtime. Triton and OpenVINO Model Server themselves are not run here.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import nibabel as nib
import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tfseg.artifact import Manifest, digest_files
from tfseg.cli.main import run
from tfseg.errors import ServerError
from tfseg.plan import Plan
from tfseg_serving.client import Client, Retries
from tfseg_serving.wire import TensorInfo, WireError, kserve

# --- the published messages: field -> (number, type), [] repeated, a capital for a message

MESSAGES = {
    "InferTensorContents": {
        "bool_contents": (1, "bool[]"),
        "int_contents": (2, "int32[]"),
        "int64_contents": (3, "int64[]"),
        "uint_contents": (4, "uint32[]"),
        "uint64_contents": (5, "uint64[]"),
        "fp32_contents": (6, "float[]"),
        "fp64_contents": (7, "double[]"),
        "bytes_contents": (8, "bytes[]"),
    },
    # Inputs and outputs have the same fields; so have both requests that name a model.
    "Tensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "int64[]"),
        "contents": (5, "InferTensorContents"),
    },
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "inputs": (5, "Tensor[]"),
        "raw_input_contents": (7, "bytes[]"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "outputs": (5, "Tensor[]"),
        "raw_output_contents": (6, "bytes[]"),
    },
    "ModelRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "string[]"),
        "platform": (3, "string"),
        "inputs": (4, "Tensor[]"),
        "outputs": (5, "Tensor[]"),
    },
    "ModelReadyResponse": {"ready": (1, "bool")},
}
TYPES = {"double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "bool": 8, "string": 9,
         "bytes": 12, "uint32": 13}  # fmt: skip


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="k.proto", package="k", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            base = kind.removesuffix("[]")
            entry = message.field.add(name=field, number=number, label=3 if kind != base else 1)
            if base in TYPES:
                entry.type = TYPES[base]
            else:
                entry.type, entry.type_name = 11, f".k.{base}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    get = message_factory.GetMessageClass
    return {name: get(pool.FindMessageTypeByName(f"k.{name}")) for name in MESSAGES}


K = _classes()

ARRAYS = {
    "BOOL": np.array([True, False]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([65535], np.uint16),
    "UINT32": np.array([2**32 - 1], np.uint32),
    "UINT64": np.array([2**64 - 1], np.uint64),
    "INT8": np.array([-128, 127], np.int8),
    "INT16": np.array([-1024], np.int16),
    "INT32": np.array([[-(2**31)], [5]], np.int32),
    "INT64": np.array([-(2**63), 300]),
    "FP16": np.array([1.5, -65504], np.float16),
    "FP32": np.array([[0.1, np.inf]], np.float32),
    "FP64": np.array([1e300]),
    "BYTES": np.array([b"ab", b"", b"\xff"], object),
}
CONTENTS = {
    "BOOL": "bool", "UINT8": "uint", "UINT16": "uint", "UINT32": "uint", "UINT64": "uint64",
    "INT8": "int", "INT16": "int", "INT32": "int", "INT64": "int64", "FP32": "fp32",
    "FP64": "fp64", "BYTES": "bytes",
}  # fmt: skip


def test_the_request_is_tritonclients_byte_for_byte() -> None:
    # Made once by tritonclient 2.70: InferInput.set_data_from_numpy, then its own request.
    golden = (
        "0a04756e65741201332a130a05696d6167651204465033321a04010202012a0d0a016e1205494e5436341a01"
        "022a0d0a0173120542595445531a01023a100000c03f000000c00000803e000040403a102c01000000000000"
        "ffffffffffffffff3a0a02000000616200000000"
    )
    inputs = {
        "image": np.float32([[1.5, -2], [0.25, 3]]).reshape(1, 2, 2, 1),
        "n": np.array([300, -1]),
        "s": np.array([b"ab", b""], object),
    }
    assert kserve.encode_infer_request("unet", 3, inputs).hex() == golden
    assert kserve.encode_model_request("unet", 3).hex() == "0a04756e6574120133"


@pytest.mark.parametrize("datatype", ARRAYS)
def test_requests_are_protobufs_own_bytes(datatype: str) -> None:
    array = ARRAYS[datatype]
    raw = (
        b"".join(len(one).to_bytes(4, "little") + one for one in array)
        if datatype == "BYTES"
        else array.tobytes()
    )
    official = K["ModelInferRequest"](
        model_name="m",
        inputs=[K["Tensor"](name="x", datatype=datatype, shape=array.shape)],
        raw_input_contents=[raw],
    )
    assert kserve.encode_infer_request("m", None, {"x": array}) == official.SerializeToString()


@pytest.mark.parametrize("datatype", ARRAYS)
@pytest.mark.parametrize("typed", [False, True])
def test_answers_are_read_raw_and_typed(datatype: str, typed: bool) -> None:
    array = ARRAYS[datatype]
    tensor = K["Tensor"](name="y", datatype=datatype, shape=array.shape)
    message = K["ModelInferResponse"](model_name="m")
    if typed and datatype in CONTENTS:
        getattr(tensor.contents, f"{CONTENTS[datatype]}_contents").extend(array.ravel().tolist())
    else:
        message.raw_output_contents.append(bytes(kserve.raw_tensor(array)))
    message.outputs.append(tensor)
    answer = kserve.decode_infer_response(message.SerializeToString())["y"]
    assert answer.dtype == array.dtype
    np.testing.assert_array_equal(answer, array)


def test_metadata_and_readiness_are_read() -> None:
    tensor = K["Tensor"](name="image", datatype="FP32", shape=[-1, 8, 1])
    message = K["ModelMetadataResponse"](
        name="m", versions=["2", "10"], platform="onnxruntime_onnx", inputs=[tensor],
        outputs=[K["Tensor"](name="odd", datatype="FP8", shape=[])],
    )  # fmt: skip
    found = kserve.decode_model_metadata(message.SerializeToString())
    assert found == kserve.ModelMetadata(
        "m", ("2", "10"), {"image": TensorInfo(1, (-1, 8, 1))}, {"odd": TensorInfo(0, ())}
    )
    for ready in (True, False):
        answer = K["ModelReadyResponse"](ready=ready).SerializeToString()
        assert kserve.decode_model_ready(answer) is ready


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=60))
def test_other_bytes_are_refused_in_one_way(data: bytes) -> None:
    for decode in (
        kserve.decode_infer_response,
        kserve.decode_model_metadata,
        kserve.decode_model_ready,
    ):
        with contextlib.suppress(WireError):
            decode(data)


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "rule"),
    [
        ("FP32", [2], b"1234", "raw contents have 4 bytes"),
        ("FP32", [-2], b"", "must not be negative"),
        ("FP8", [1], b"1", "'FP8' is not supported"),
        ("BYTES", [1], b"\x05\0\0\0ab", "cut off"),
        ("BYTES", [2], b"\x01\0\0\0a", "1 strings do not fill"),
    ],
)
def test_contents_that_do_not_fit(datatype: str, shape: list[int], raw: bytes, rule: str) -> None:
    message = K["ModelInferResponse"](
        outputs=[K["Tensor"](name="y", datatype=datatype, shape=shape)], raw_output_contents=[raw]
    )
    with pytest.raises(WireError, match=rule):
        kserve.decode_infer_response(message.SerializeToString())


# --- a server

PLAN = Plan(
    dims=3,
    spacing_mm=(2.0, 1.0, 1.0),
    patch_size=(4, 8, 6),
    batch_size=1,
    channels=[{"name": "MR", "normalisation": {"kind": "zscore"}}],
    labels=["background", "organ", "lesion"],
)


def _write_onnx(folder: Path) -> None:
    """Write a network with context: a fixed random 3x3x3 convolution to softmax of 3 classes."""
    rng = np.random.default_rng(7)
    kernel = rng.normal(0, 0.5, (3, 1, 3, 3, 3)).astype(np.float32)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 4, 8, 6, 1])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 4, 8, 6, 3])
    weights = helper.make_tensor("kernel", TensorProto.FLOAT, kernel.shape, kernel.ravel())
    nodes = [
        helper.make_node("Transpose", ["image"], ["first"], perm=[0, 4, 1, 2, 3]),
        helper.make_node("Conv", ["first", "kernel"], ["sums"], pads=[1] * 6),
        helper.make_node("Transpose", ["sums"], ["last"], perm=[0, 2, 3, 4, 1]),
        helper.make_node("Softmax", ["last"], ["probabilities"], axis=-1),
    ]
    graph = helper.make_graph(nodes, "test", [image], [answer], [weights])
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), folder / "model.onnx")
    manifest = {"format": "onnx", "model": "unet", "plan": PLAN, "parity": {"passed": True}}
    Manifest(**manifest, files=digest_files(folder)).save(folder)


class KServeServer:
    """Answers for one graph, ``unet``, version 3, over both transports."""

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.under_way = self.most = 0
        self.lock = threading.Lock()
        self.served = threading.Semaphore(0)

    def run(self, image: np.ndarray) -> np.ndarray:
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        answer = self.session.run(None, {"image": image})[0]
        with self.lock:
            self.under_way -= 1
        self.served.release()
        return answer

    def knows(self, name: str, version: str) -> bool:
        return name == "unet" and version in {"", "3"}


TENSORS = (
    {"name": "image", "datatype": "FP32", "shape": [-1, 4, 8, 6, 1]},
    {"name": "probabilities", "datatype": "FP32", "shape": [-1, 4, 8, 6, 3]},
)


class _Grpc(grpc.GenericRpcHandler):
    def __init__(self, server: KServeServer) -> None:
        self.server = server

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        name = details.method.removeprefix("/inference.GRPCInferenceService/")
        if name not in {"ModelInfer", "ModelMetadata", "ModelReady"}:
            return None
        request = K["ModelInferRequest" if name == "ModelInfer" else "ModelRequest"]
        return grpc.unary_unary_rpc_method_handler(
            getattr(self, name), request.FromString, lambda answer: answer.SerializeToString()
        )

    def _check(self, name: str, version: str, context: grpc.ServicerContext) -> None:
        if not self.server.knows(name, version):
            context.abort(grpc.StatusCode.NOT_FOUND, f"unknown model: '{name}' {version}")

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._check(request.model_name, request.model_version, context)
        tensor, raw = request.inputs[0], request.raw_input_contents[0]
        if tensor.name != "image":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"unexpected input '{tensor.name}'")
        answer = self.server.run(np.frombuffer(raw, np.float32).reshape(tensor.shape))
        return K["ModelInferResponse"](
            model_name="unet",
            model_version="3",
            outputs=[K["Tensor"](name="probabilities", datatype="FP32", shape=answer.shape)],
            raw_output_contents=[answer.tobytes()],
        )

    def ModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._check(request.name, request.version, context)
        image, probabilities = (K["Tensor"](**one) for one in TENSORS)
        return K["ModelMetadataResponse"](
            name="unet", versions=["3"], inputs=[image], outputs=[probabilities]
        )

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:
        return K["ModelReadyResponse"](ready=self.server.knows(request.name, request.version))


class _Http(BaseHTTPRequestHandler):
    kserve: KServeServer
    binary = True

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def _split(self) -> tuple[bool, str]:
        parts = self.path.removeprefix("/v2/models/").split("/")
        version = parts[2] if len(parts) > 2 and parts[1] == "versions" else ""
        return self.kserve.knows(parts[0], version), parts[-1]

    def _answer(self, status: int, document: Any, raw: bytes = b"") -> None:
        head = json.dumps(document).encode()
        self.send_response(status)
        if raw:
            self.send_header("Inference-Header-Content-Length", str(len(head)))
        self.send_header("Content-Length", str(len(head + raw)))
        self.end_headers()
        self.wfile.write(head + raw)

    def do_GET(self) -> None:
        known, verb = self._split()
        if not known:
            self._answer(404, {"error": f"unknown model: {self.path}"})
        elif verb == "ready":
            self._answer(200, {})
        else:
            tensors = {"inputs": [TENSORS[0]], "outputs": [TENSORS[1]]}
            self._answer(200, {"name": "unet", "versions": ["3"], **tensors})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        end = int(self.headers["Inference-Header-Content-Length"])
        document = json.loads(body[:end])
        (given,) = document["inputs"]
        assert document["parameters"]["binary_data_output"] is True
        assert given["parameters"]["binary_data_size"] == len(body) - end
        if not self._split()[0] or given["name"] != "image":
            self._answer(400, {"error": f"unexpected input '{given['name']}'"})
            return
        image = np.frombuffer(body[end:], np.float32).reshape(given["shape"])
        answer = self.kserve.run(image)
        output = {"name": "probabilities", "datatype": "FP32", "shape": list(answer.shape)}
        if self.binary:
            output["parameters"] = {"binary_data_size": answer.nbytes}
            self._answer(200, {"outputs": [output]}, answer.tobytes())
        else:  # a server without the extension
            self._answer(200, {"outputs": [{**output, "data": answer.ravel().tolist()}]})


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unet-onnx")
    _write_onnx(folder)
    return folder


@pytest.fixture(scope="module")
def server(artifact: Path) -> Iterator[tuple[KServeServer, dict[str, str]]]:
    """The server, and its URL for each scheme."""
    answers = KServeServer(artifact / "model.onnx")
    front = grpc.server(ThreadPoolExecutor(8), handlers=(_Grpc(answers),))
    port = front.add_insecure_port("127.0.0.1:0")
    front.start()
    kinds = {
        name: type("Http", (_Http,), {"kserve": answers, "binary": name == "http"})
        for name in ("http", "http, JSON")
    }
    sites = {name: ThreadingHTTPServer(("127.0.0.1", 0), kind) for name, kind in kinds.items()}
    urls = {"grpc": f"grpc://127.0.0.1:{port}"}
    for name, site in sites.items():
        threading.Thread(target=site.serve_forever, args=(0.02,), daemon=True).start()
        urls[name] = f"http://127.0.0.1:{site.server_port}"
    yield answers, urls
    front.stop(None)
    for site in sites.values():
        site.shutdown()
        site.server_close()


def _scan(folder: Path, name: str = "scan", seed: int = 1) -> Path:
    voxels = np.random.default_rng(seed).normal(100, 40, (15, 19, 9)).astype(np.float32)
    affine = np.array([[0.9, 0, 0, -3], [0, 0.8, 0, 4], [0, 0, -2.5, 7], [0, 0, 0, 1.0]])
    path = folder / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


@pytest.mark.parametrize("kind", ["grpc", "http", "http, JSON"])
def test_a_query_answers_as_predict(server, artifact: Path, tmp_path: Path, kind: str) -> None:
    scan, near, far = _scan(tmp_path), tmp_path / "near.nii.gz", tmp_path / "far.nii.gz"
    assert run(["predict", str(artifact), str(scan), "-o", str(near)]) == 0
    arguments = ["--url", server[1][kind], "--protocol", "kserve", "--name", "unet"]
    arguments += ["--manifest", str(artifact), "-o", str(far)]
    assert run(["query", str(scan), *arguments]) == 0
    expected = np.asarray(nib.load(near).dataobj)
    assert set(np.unique(expected)) == {0, 1, 2}
    np.testing.assert_array_equal(np.asarray(nib.load(far).dataobj), expected)
    np.testing.assert_array_equal(nib.load(far).affine, nib.load(scan).affine)


def test_patches_under_way_are_bounded(server, artifact: Path, tmp_path: Path) -> None:
    answers, urls = server
    scans = [str(_scan(tmp_path, name, seed)) for seed, name in enumerate("abc")]
    answers.most = 0
    arguments = ["--url", urls["grpc"], "--protocol", "kserve", "--name", "unet"]
    arguments += ["--manifest", str(artifact / "tfseg.json"), "-o", str(tmp_path / "out")]
    assert run(["query", *scans, *arguments, "--jobs", "2", "--at-once", "2"]) == 0
    assert 1 <= answers.most <= 4
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_server_that_restarts_in_the_middle(artifact: Path, tmp_path: Path) -> None:
    answers = KServeServer(artifact / "model.onnx")
    options = [("grpc.so_reuseport", 1)]  # the second is bound while the first still closes

    def start(port: int) -> tuple[grpc.Server, int]:
        front = grpc.server(ThreadPoolExecutor(4), handlers=(_Grpc(answers),), options=options)
        bound = front.add_insecure_port(f"127.0.0.1:{port}")
        front.start()
        return front, bound

    first, port = start(0)
    later: list[grpc.Server] = []

    def restart() -> None:
        for _ in range(10):  # patches
            assert answers.served.acquire(timeout=30)
        first.stop(None).wait(30)
        time.sleep(0.2)
        later.append(start(port)[0])

    restarting = threading.Thread(target=restart)
    restarting.start()
    scan, near, far = _scan(tmp_path), tmp_path / "near.nii.gz", tmp_path / "far.nii.gz"
    arguments = ["--url", f"grpc://127.0.0.1:{port}", "--protocol", "kserve", "--name", "unet"]
    arguments += ["--manifest", str(artifact), "--retries", "8", "-o", str(far)]
    assert run(["query", str(scan), *arguments]) == 0
    restarting.join(30)
    assert len(later) == 1
    later[0].stop(None)
    assert run(["predict", str(artifact), str(scan), "-o", str(near)]) == 0
    np.testing.assert_array_equal(
        np.asarray(nib.load(far).dataobj), np.asarray(nib.load(near).dataobj)
    )


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_the_calls_themselves(server, kind: str) -> None:
    image = np.random.default_rng(0).normal(size=(2, 4, 8, 6, 1)).astype(np.float32)
    with Client(server[1][kind], protocol="kserve", retries=Retries(times=0)) as client:
        found = client.metadata("unet")
        assert found.version == 3
        assert found.signatures["serving_default"].inputs["image"].shape == (-1, 4, 8, 6, 1)
        assert [(one.version, one.state) for one in client.status("unet")] == [(3, "AVAILABLE")]
        answer = client.predict("unet", {"image": image}, "serving_default", version=3)
        np.testing.assert_array_equal(answer["probabilities"], server[0].run(image))
        with pytest.raises(ServerError, match="'other' is not served"):
            client.metadata("other")
        with pytest.raises(ServerError, match="version 9 is not served"):
            client.metadata("unet", version=9)
        with pytest.raises(ServerError, match="unexpected input 'volume'"):
            client.predict("unet", {"volume": image}, "serving_default")
        with pytest.raises(ServerError, match="has no signature 'segment'"):
            client.predict("unet", {"volume": image})


BAD: dict[str, tuple[dict[str, str], str, str]] = {
    "no manifest": ({"--manifest": ""}, "name the export's folder", "'unet'"),
    "another protocol": ({"--protocol": "tfserving"}, "Is it a model server", "--protocol"),
    "unknown protocol": ({"--protocol": "v3"}, "is not one of", "v3"),
    "unknown model": ({"--name": "vnet"}, "is not served", "'vnet'"),
    "unknown version": ({"--version": "8"}, "is not served", "version 8"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_of_a_kserve_query(
    server, artifact: Path, tmp_path: Path, capsys, case: str
) -> None:
    changes, rule, value = BAD[case]
    options = {
        "--url": server[1]["grpc"],
        "--protocol": "kserve",
        "--name": "unet",
        "--manifest": str(artifact),
        "-o": str(tmp_path / "seg.nii.gz"),
        **changes,
    }
    scan = _scan(tmp_path)
    arguments = [part for pair in options.items() if pair[1] for part in pair]
    assert run(["query", str(scan), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert rule in line
    assert value in line
    assert [path.name for path in tmp_path.iterdir()] == [scan.name]
