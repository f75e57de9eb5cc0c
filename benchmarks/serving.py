"""The embedded server beside the bare SavedModel: latency, copies, batching, many clients, memory.

    python benchmarks/serving.py [--requests 10000] [--soak SECONDS]

Everything runs on one model of 2D convolutions and prints one line each:

- a patch through gRPC, against the graph's own run in this process: milliseconds added, and the
  rate at which the added bytes travel;
- requests of one small picture from 16 threads, one at a time and batched: requests a second;
- 1,000 requests from 16 threads, each answer checked;
- resident memory over ``--requests`` requests, after a warm-up of a tenth of them;
- with ``--soak``: mixed load while versions are swapped every 20 s, clients are killed in the
  middle of requests and bad input comes in; wrong answers, lost versions and memory.

Server and client are two processes. Times are the least of several where one is meant, and all
figures are to be read on an idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

THREADS = 16
SWAP_S = 20.0


def write_model(folder: Path, factor: float) -> None:
    """Write ``y = factor * conv(x)`` with a kernel that only passes its middle on."""
    import tensorflow as tf

    class Model(tf.Module):
        def __init__(self) -> None:
            kernel = np.zeros((3, 3, 1, 8), np.float32)
            kernel[1, 1] = factor / 8
            self.kernel = tf.Variable(kernel)

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, "image")])
        def __call__(self, image: Any) -> dict[str, Any]:
            return {"y": tf.reduce_sum(tf.nn.conv2d(image, self.kernel, 1, "SAME"), -1, True)}

    model = Model()
    aside = folder.parent.parent / "aside"
    tf.saved_model.save(model, str(aside), model.__call__)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside.rename(folder)


@dataclass
class Running:
    """A server process."""

    rest: str
    grpc: str
    pid: int

    def resident_mb(self) -> float:
        """Return its resident memory, in MB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[Running]:
    """Run ``tfseg serve`` on free ports."""
    command = [sys.executable, "-m", "tfseg", "serve", *arguments, "--json"]
    command += ["--rest-port", "0", "--grpc-port", "0", "--max-concurrency", str(2 * THREADS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [""]
            while lines[-1] != "}\n":
                lines.append(process.stdout.readline())  # type: ignore[union-attr]
                if not lines[-1]:
                    raise RuntimeError("the server did not start")
            ready = json.loads("".join(lines))
            yield Running(ready["rest"], ready["grpc"], process.pid)
        finally:
            process.terminate()


def least(call: Callable[[], object], repeats: int = 20) -> float:
    """Return the least wall time of a call, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def latency(model: Path, server: Running) -> None:
    """Compare one patch through gRPC with the graph's own run."""
    import tensorflow as tf

    from tfseg_serving.client import connect

    run = tf.saved_model.load(str(model / "1")).signatures["serving_default"]
    with connect(server.grpc) as client:
        added = []
        for side in (64, 2048):
            image = np.random.default_rng(0).random((1, side, side, 1), np.float32)
            bare = least(lambda image=image: run(image=tf.constant(image))["y"].numpy())
            served = least(
                lambda image=image: client.predict(model.name, {"image": image}, "serving_default")
            )
            added.append((served - bare, 2 * image.nbytes))
            print(f"  {side}x{side}: bare {bare * 1e3:.2f} ms, gRPC {served * 1e3:.2f} ms")
    (small, _), (large, size) = added
    rate = size / max(large - small, 1e-9) / 1e9
    print(f"gRPC adds {small * 1e3:.2f} ms (at most 5), and copies at {rate:.2f} GB/s (at least 1)")


def throughput(model: Path, server: Running, seconds: float = 5.0) -> float:
    """Return requests a second of one 64 x 64 picture each, from all threads."""
    from tfseg_serving.client import connect

    image = np.ones((1, 64, 64, 1), np.float32)
    stop = time.monotonic() + seconds

    def ask(_: int) -> int:
        with connect(server.grpc) as client:
            for count in itertools.count():
                if time.monotonic() > stop:
                    return count
                client.predict(model.name, {"image": image}, "serving_default")
        return 0

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(ask, range(THREADS))) / seconds


def many_requests(model: Path, server: Running, requests: int) -> int:
    """Send requests from all threads, each with its own number; return how many went wrong."""
    from tfseg_serving.client import connect

    def ask(first: int) -> int:
        wrong = 0
        with connect(server.grpc) as client:
            for k in range(first, requests, THREADS):
                image = np.full((1, 8, 8, 1), k, np.float32)
                answer = client.predict(model.name, {"image": image}, "serving_default")["y"]
                wrong += not np.allclose(answer, image)
        return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(ask, range(THREADS)))


def memory(model: Path, server: Running, requests: int) -> None:
    """Print resident memory before and after many requests."""
    many_requests(model, server, requests // 10)
    before = server.resident_mb()
    many_requests(model, server, requests)
    after = server.resident_mb()
    print(
        f"memory over {requests} requests: {before:.0f} -> {after:.0f} MB "
        f"({(after / before - 1) * 100:+.1f} %)"
    )


# --- the soak


def bad_requests(name: str) -> list[bytes]:
    """Return whole HTTP requests that must be refused or dropped, fifty of them."""
    path = f"/v1/models/{name}:predict"
    bodies = [
        "", "{", "[]", "nope", '{"instances": 1}', '{"instances": []}', '{"inputs": "x"}', "{}",
        '{"instances": [[1], [1, 2]]}', '{"instances": ["a"]}', '{"instances": [null]}', "1",
        '{"inputs": {"y": 1}}', '{"inputs": [[[[true]]]]}', '{"signature_name": 1}', '{"a": ' * 99,
        '{"signature_name": "x", "inputs": 1}', '{"inputs": 1, "instances": [1]}', "[" * 99_999,
        '{"inputs": 3}', '{"inputs": [1, 2]}', '{"instances": [{"b64": "!"}]}', "\x00", "\ufeff",
        '{"inputs": [[[["\\ud800"]]]]}',
    ]  # fmt: skip
    model = f"/v1/models/{name}"
    paths = [
        "/", "/v1", "/v1/models/none:predict", f"{path}?x", f"{model}/versions/9:predict",
        "/v1/models/..%2f..:predict", f"{model}:PREDICT", "/v1/" + "x" * 9999,
        f"{model}/versions/{'9' * 99}:predict", f"{model}/labels/q:predict",
    ]  # fmt: skip
    requests = [_http("POST", path, body.encode("utf-8", "surrogatepass")) for body in bodies]
    requests += [_http("POST", one, b"{}") for one in paths]
    requests += [_http(method, path, b"{}") for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD")]
    gzipped = b"Content-Encoding: gzip\r\n"
    requests += [_http("POST", path, b"no gzip", gzipped), _http("POST", path, b"", gzipped)]
    requests += [
        b"\x16\x03\x01", b"GET\r\n\r\n", b"\x00" * 99, b"GET / HTTP/9.9\r\n\r\n",
        b"POST " + path.encode() + b" HTTP/1.1\r\nContent-Length: 99\r\n\r\n{",
        b"POST " + path.encode() + b" HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST " + path.encode() + b" HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]  # fmt: skip
    return requests


def _http(method: str, path: str, body: bytes, headers: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
    return head + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Soak:
    """Mixed load on one model whose versions answer 1, 2, 3, ... times what they are sent."""

    def __init__(self, model: Path, server: Running) -> None:
        self.model = model
        self.server = server
        self.stop = threading.Event()
        self.answers = self.wrong = self.refused = 0
        self.newest = 1
        self._lock = threading.Lock()

    def count(self, *, wrong: bool = False, refused: bool = False) -> None:
        """Count one request."""
        with self._lock:
            self.answers += not refused
            self.wrong += wrong
            self.refused += refused

    def ask(self, url: str) -> None:
        """Send good requests and check the answers, until it is enough."""
        from tfseg.errors import ServerError
        from tfseg_serving.client import connect

        with connect(url) as client:
            for k in itertools.cycle(range(1, 100)):
                if self.stop.is_set():
                    return
                image = np.full((1, 8, 8, 1), k, np.float32)
                oldest = max(1, self.newest - 2)
                try:
                    inputs = {"image": image}
                    answer = client.predict(self.model.name, inputs, "serving_default")["y"]
                except ServerError:
                    self.count(wrong=True)
                    continue
                factors = np.unique(np.round(answer / k, 3))
                self.count(wrong=len(factors) != 1 or not oldest <= factors[0] <= self.newest + 1)

    def disturb(self) -> None:
        """Send bad requests, and leave in the middle of good ones."""
        parts = urlsplit(self.server.rest)
        good = _http(
            "POST",
            f"/v1/models/{self.model.name}:predict",
            json.dumps({"instances": np.ones((16, 32, 32, 1)).tolist()}).encode(),
        )
        chance = random.Random(0)
        for request in itertools.cycle([*bad_requests(self.model.name), good]):
            if self.stop.is_set():
                return
            cut = chance.randrange(len(request)) if request is good else len(request)
            with (
                contextlib.suppress(OSError),  # dropped by the server, which is allowed
                socket.create_connection((parts.hostname, parts.port), timeout=5) as client,
            ):
                client.sendall(request[:cut])
                if request is not good:
                    client.settimeout(1)
                    client.recv(4096)
            self.count(refused=True)

    def swap(self) -> None:
        """Put a new version in and take the one before the last away, every 20 seconds."""
        while not self.stop.wait(SWAP_S):
            write_model(self.model / str(self.newest + 1), self.newest + 1.0)
            self.newest += 1
            if self.newest > 2:
                shutil.rmtree(self.model / str(self.newest - 2))

    def run(self, seconds: float) -> None:
        """Print what came of it."""
        work = [self.swap, self.disturb, self.disturb]
        work += [lambda url=url: self.ask(url) for url in (self.server.grpc, self.server.rest) * 3]
        threads = [threading.Thread(target=one) for one in work]
        for thread in threads:
            thread.start()
        self.stop.wait(seconds / 3)
        before = self.server.resident_mb()
        self.stop.wait(seconds * 2 / 3)
        after = self.server.resident_mb()
        self.stop.set()
        for thread in threads:
            thread.join()
        if not after:
            raise SystemExit("the server died")
        print(
            f"soak of {seconds:.0f} s: {self.answers} answers, {self.wrong} wrong, {self.refused} "
            f"bad or broken requests, {self.newest} versions, memory {before:.0f} -> {after:.0f} "
            f"MB ({(after / before - 1) * 100:+.1f} %)"
        )


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--soak", type=float, metavar="SECONDS", default=0.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "models" / "conv"
        write_model(model / "1", 1.0)
        with serving(str(model)) as server:
            latency(model, server)
            alone = throughput(model, server)
            wrong = many_requests(model, server, 1000)
            print(f"1000 requests from {THREADS} threads: {wrong} wrong")
            memory(model, server, options.requests)
            if options.soak:
                Soak(model, server).run(options.soak)
        parameters = Path(folder) / "batching.config"
        parameters.write_text(
            f"max_batch_size {{ value: {THREADS} }} batch_timeout_micros {{ value: 1000 }} "
            "num_batch_threads { value: 2 }"
        )
        flags = ("--batching", "--batching-parameters", str(parameters))
        with serving(str(model), *flags) as server:
            together = throughput(model, server)
        print(
            f"64x64 from {THREADS} threads: {alone:.0f}/s one at a time, {together:.0f}/s batched "
            f"({together / alone:.2f}x)"
        )


if __name__ == "__main__":
    main()
