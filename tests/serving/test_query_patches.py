"""Patches through ``serving_default``, tiled by the client, against a network that is known."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends import Answers
from tfseg.artifact import Manifest
from tfseg.cli.main import run
from tfseg.errors import ServerError
from tfseg.inference.predictor import Predictor
from tfseg.io import read_volume, write_volume
from tfseg.plan import Plan
from tfseg.volume import Volume
from tfseg_serving import wire
from tfseg_serving.client import Client, Segmenter
from tfseg_serving.config import models_from_folders
from tfseg_serving.server import Server, ServerOptions
from tfseg_serving.wire import Metadata, Signature, TensorInfo

MR = {"name": "MR", "normalisation": {"kind": "zscore"}}
PLANS = {
    3: Plan(
        dims=3, spacing_mm=(2.0, 1.0, 1.0), patch_size=(4, 8, 6), batch_size=1, channels=[MR],
        labels=["background", "organ", "lesion"],
    ),
    2: Plan(
        dims=2, spacing_mm=None, patch_size=(8, 6), batch_size=1, channels=[MR],
        labels=["background", "organ", "lesion"],
    ),
}  # fmt: skip


def network(batch: np.ndarray) -> np.ndarray:
    """Probabilities that depend on a voxel, its neighbours and its place in the patch."""
    near = np.roll(batch, 1, -2) * 0.5 + np.roll(batch, -1, -3) * 0.25
    place = np.linspace(-0.2, 0.2, batch.shape[-2], dtype=np.float32)[:, np.newaxis]
    logits = np.concatenate([np.zeros_like(batch), batch + place, near - 0.1], -1)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


class Network:
    """A servable of :func:`network` without ``segment``; counts what is under way."""

    def __init__(self, dims: int) -> None:
        from google.protobuf.json_format import MessageToDict
        from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

        definition = SignatureDef(method_name="tensorflow/serving/predict")
        for tensors, name, last in (
            (definition.inputs, "image", 1),
            (definition.outputs, "probabilities", 3),
        ):
            tensors[name].dtype = 1
            for size in (-1, *PLANS[dims].patch_size, last):
                tensors[name].tensor_shape.dim.add(size=size)
        document = MessageToDict(
            definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        self.signature_defs = {"serving_default": definition.SerializeToString()}
        self.signature_json: dict[str, Any] = {"serving_default": document}
        self.signatures = {
            "serving_default": wire.decode_signature(self.signature_defs["serving_default"])
        }
        self.lock, self.under_way, self.most, self.calls = threading.Lock(), 0, 0, 0
        self.fail_at = -1
        self.gate = threading.Event()
        self.gate.set()

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, Any],
        output_filter: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        with self.lock:
            self.under_way += 1
            self.calls += 1
            self.most = max(self.most, self.under_way)
            fails = self.calls == self.fail_at
        self.gate.wait(30)
        answer = network(np.asarray(inputs["image"], np.float32))
        with self.lock:
            self.under_way -= 1
        return {"probabilities": answer[..., :2] if fails else answer}

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def serve(tmp_path: Path) -> Callable[[int], tuple[Server, Network, Path]]:
    """Serve :class:`Network` as ``m``; return server, network and the manifest's folder."""
    running = []

    def start(dims: int) -> tuple[Server, Network, Path]:
        folder = tmp_path / "models" / "m"
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "saved_model.pb").touch()
        extra = folder / "1" / "assets.extra"
        extra.mkdir()
        manifest = Manifest(
            format="savedmodel", model="unet", plan=PLANS[dims], parity={"passed": True}
        )
        manifest.save(extra)
        served = Network(dims)
        options = ServerOptions(rest_port=0, grpc_port=0)
        server = Server(models_from_folders([folder]), options, lambda _: served)
        server.start()
        running.append(server)
        return server, served, folder

    yield start
    for server in running:
        server.stop()


def _scan(path: Path, shape: tuple[int, ...] = (9, 19, 15), seed: int = 1) -> Path:
    voxels = np.random.default_rng(seed).normal(100, 40, shape).astype(np.float32)
    write_volume(Volume.from_geometry(voxels, (2.5, 0.8, 0.9), (1, 2, 3)), path)
    return path


def _local(scan: Path, plan: Plan) -> np.ndarray:
    """What `tfseg predict` makes of it: the network asked here, one patch after the other."""
    manifest = Manifest(format="savedmodel", model="unet", plan=plan)
    return Predictor(Answers(network), manifest).predict(read_volume(scan)).labels.array


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("transport", ["grpc_url", "rest_url"])
def test_labels_are_those_of_predict(
    serve, tmp_path: Path, capsys, dims: int, transport: str
) -> None:
    server, served, folder = serve(dims)
    scan, out = _scan(tmp_path / "scan.nii.gz"), tmp_path / "seg.nii.gz"
    arguments = ["query", str(scan), "-o", str(out), "--url", getattr(server, transport)]
    arguments += ["--name", "m", "--manifest", str(folder), "--at-once", "3", "--json"]
    assert run(arguments) == 0
    expected = _local(scan, PLANS[dims])
    assert set(np.unique(expected)) == {0, 1, 2}
    np.testing.assert_array_equal(read_volume(out).array, expected)
    assert served.most <= 3
    document = json.loads(capsys.readouterr().out)
    assert document["signature"] == "patches"
    (written,) = document["written"]
    assert [one["name"] for one in written["labels"]] == ["organ", "lesion"]
    assert [one["voxels"] for one in written["labels"]] == np.bincount(expected.ravel())[
        1:
    ].tolist()


def test_the_share_that_is_done_goes_up_to_one(serve, tmp_path: Path) -> None:
    server, _, _ = serve(3)
    manifest = Manifest(format="savedmodel", model="unet", plan=PLANS[3])
    shares: list[float] = []
    with Client(server.grpc_url) as client:
        segmenter = Segmenter(client, "m", manifest=manifest)
        segmenter(read_volume(_scan(tmp_path / "scan.nii.gz")), shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 2
    assert shares[-1] == 1.0


def test_a_failure_in_the_middle_leaves_nothing(serve, tmp_path: Path, capsys) -> None:
    server, served, folder = serve(3)
    served.fail_at = 5
    scan, out = _scan(tmp_path / "scan.nii.gz"), tmp_path / "seg.nii.gz"
    arguments = ["query", str(scan), "-o", str(out), "--url", server.grpc_url, "--name", "m"]
    assert run([*arguments, "--manifest", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(scan) in line
    assert "must answer (1, 4, 8, 6, 3)" in line
    assert "got (1, 4, 8, 6, 2)" in line
    assert not out.exists()


class Replaced:
    """A client whose server swaps version 1 for ``then`` after some patches."""

    url = "grpc://h:1"

    def __init__(self, then: int) -> None:
        self.then, self.now, self.asked = then, 1, []

    def metadata(self, name: str, version: int | None, timeout_s: float) -> Metadata:
        sizes = PLANS[3].patch_size
        image, answer = TensorInfo(1, (-1, *sizes, 1)), TensorInfo(1, (-1, *sizes, 3))
        signature = Signature({"image": image}, {"probabilities": answer})
        return Metadata(name, self.now, {"serving_default": signature})

    def predict(
        self, name: str, inputs: dict, signature: str, version: int, timeout_s: float
    ) -> dict[str, np.ndarray]:
        self.asked.append(version)
        if len(self.asked) == 5:
            self.now = self.then
        if version != self.now or len(self.asked) == 5:
            raise ServerError(f"version {version} is not served")
        return {"probabilities": network(inputs["image"])}


def test_patches_of_one_volume_go_to_one_version(tmp_path: Path) -> None:
    manifest = Manifest(format="savedmodel", model="unet", plan=PLANS[3])
    scan = _scan(tmp_path / "scan.nii.gz")
    client = Replaced(then=2)
    labels = Segmenter(client, "m", manifest=manifest, at_once=1)(read_volume(scan))
    np.testing.assert_array_equal(labels.array, _local(scan, PLANS[3]))
    first = client.asked.index(2)
    assert set(client.asked[:first]) == {1}
    assert set(client.asked[first:]) == {2}  # all of them again, from the first patch on

    for client, version in ((Replaced(then=1), None), (Replaced(then=2), 1)):
        segmenter = Segmenter(client, "m", version, manifest=manifest, at_once=1)
        with pytest.raises(ServerError, match="version 1 is not served"):
            segmenter(read_volume(scan))


@pytest.fixture
def hears_ctrl_c():
    """What a shell starts in the background ignores SIGINT, and so do its tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.parametrize("transport", ["grpc_url", "rest_url"])
def test_ctrl_c_leaves_at_once_and_leaves_nothing(
    serve, tmp_path: Path, capsys, transport: str
) -> None:
    server, served, folder = serve(3)
    served.gate.clear()
    scans = [str(_scan(tmp_path / f"{name}.nii.gz")) for name in "ab"]
    main = threading.main_thread()

    def interrupt() -> None:
        while not served.calls:
            time.sleep(0.01)
        signal.pthread_kill(main.ident, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    arguments = ["query", *scans, "-o", str(tmp_path / "out"), "--url", getattr(server, transport)]
    start = time.monotonic()
    assert run([*arguments, "--name", "m", "--manifest", str(folder)]) == 130
    assert time.monotonic() - start < 20
    assert capsys.readouterr().err.strip() == "tfseg: interrupted."
    assert not (tmp_path / "out").exists()
    served.gate.set()


def _other(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    parity = {"passed": changes.pop("passed", True)}
    plan = PLANS[3].model_copy(update=changes)
    Manifest(format="onnx", model="unet", plan=plan, parity=parity).save(folder)
    return folder


def test_bad_input_of_patches(serve, tmp_path: Path, capsys) -> None:
    """One server, a dozen refusals: each is one line, and nothing is written."""
    server, _, folder = serve(3)
    scan, out = _scan(tmp_path / "scan.nii.gz"), tmp_path / "seg.nii.gz"
    broken = tmp_path / "broken.json"
    broken.write_text('{"format_version": 1}')
    (tmp_path / "text.json").write_text("no JSON")
    (tmp_path / "empty").mkdir()
    two = tmp_path / "two.nii.gz"
    write_volume(Volume.from_geometry(np.zeros((9, 9, 9, 2), np.float32)), two)
    holes = tmp_path / "holes.nii.gz"
    write_volume(Volume.from_geometry(np.full((9, 9, 9), np.nan, np.float32)), holes)
    sizes = _other(tmp_path / "sizes", patch_size=(8, 8, 8))
    labels = _other(tmp_path / "labels", labels=("background", "organ"))
    flat = _other(tmp_path / "flat", dims=2, spacing_mm=None, patch_size=(8, 6))
    failed = _other(tmp_path / "failed", passed=False)
    cases: tuple[tuple[Path, list[str], str, str], ...] = (
        (scan, [], "name the export's folder or its tfseg.json with --manifest", "'m'"),
        (scan, ["--manifest", str(tmp_path / "none")], "--manifest must be tfseg.json", "none"),
        (scan, ["--manifest", str(tmp_path / "empty")], "--manifest must be tfseg.json", "empty"),
        (scan, ["--manifest", str(broken)], "is no valid manifest", "broken.json"),
        (scan, ["--manifest", str(tmp_path / "text.json")], "JSON", "text.json"),
        (scan, ["--manifest", str(sizes)], "that of the model served", "(1, 8, 8, 8, 1)"),
        (scan, ["--manifest", str(labels)], "that of the model served", "(1, 4, 8, 6, 2)"),
        (scan, ["--manifest", str(flat)], "that of the model served", "(1, 8, 6, 1)"),
        (scan, ["--manifest", str(failed)], "does not reproduce its network", "failed"),
        (two, ["--manifest", str(folder)], "takes 1 channels (MR); the image has 2", "two.nii.gz"),
        (holes, ["--manifest", str(folder)], "NaN or infinite", "holes.nii.gz"),
        (scan, ["--at-once", "0"], "1<=x<=64", "0"),
        (scan, ["--jobs", "99"], "1<=x<=64", "99"),
        (scan, ["--retries", "-1"], "0<=x<=20", "-1"),
    )
    for source, options, rule, value in cases:
        arguments = ["query", str(source), "-o", str(out), "--url", server.grpc_url, "--name", "m"]
        assert run([*arguments, *options]) == 2, options
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert rule in line
        assert value in line
        assert captured.out == ""
        assert not out.exists()
