"""The embedded server under mixed load and faults: wrong answers, lost versions, memory.

    python benchmarks/soak.py [--seconds 1800] [--restarts 3]

One model, whose versions multiply what they are sent by 1, 2, 3, ..., so that every answer can be
checked; requests are batched. All at once:

- six threads ask, three through gRPC and three through REST;
- every 20 s a new version comes and the oldest of three goes; the new one must answer in 10 s;
- two threads send fifty kinds of bad HTTP, and good requests that end half-way;
- client processes are killed with SIGKILL while they ask, one every 5 s.

Memory is that of the server after the first sixth and at the end. Then, under the same load, the
server is killed with SIGKILL and started again on the same ports ``--restarts`` times; the newest
version must answer again. Only while it is down may requests fail. Exit code 1: something
was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from serving import start, write_model

SWAP_S = 20.0
READY_S = 10.0
KILL_S = 5.0
WARM = 1 / 6
PARAMETERS = (
    "max_batch_size { value: 4 } batch_timeout_micros { value: 2000 } "
    "num_batch_threads { value: 2 } max_enqueued_batches { value: 100 }"
)

CLIENT = """
import sys, numpy as np
from tfseg_serving.client import connect
url, name = sys.argv[1:]
image = np.ones((4, 256, 256, 1), np.float32)
with connect(url) as client:
    print("asking", flush=True)
    while True:
        client.predict(name, {"image": image}, "serving_default")
"""


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
    """The load on one model, and what came of it."""

    def __init__(self, model: Path, flags: tuple[str, ...]) -> None:
        self.model, self.flags = model, flags
        self.server = start(str(model), *flags)
        self.stop = threading.Event()
        self.down = threading.Event()  # the server was killed and is not back yet
        self.newest = 1
        self.counts = dict.fromkeys(
            ("answers", "wrong", "bad or broken requests", "killed clients", "lost versions"), 0
        )
        self._lock = threading.Lock()

    def count(self, what: str, number: int = 1) -> None:
        """Add to one of the counts."""
        with self._lock:
            self.counts[what] += number

    def ask(self, url: str) -> None:
        """Send good requests and check the answers, until it is enough."""
        from tfseg.errors import ServerError
        from tfseg_serving.client import Client, Retries

        with Client(url, retries=Retries(times=0)) as client:
            for k in itertools.cycle(range(1, 100)):
                if self.stop.is_set():
                    return
                image = np.full((1, 8, 8, 1), k, np.float32)
                oldest, was_down = max(1, self.newest - 2), self.down.is_set()
                try:
                    inputs = {"image": image}
                    answer = client.predict(self.model.name, inputs, "serving_default")["y"]
                except ServerError as error:
                    if was_down or self.down.is_set():
                        time.sleep(0.1)
                        continue
                    print(f"wrong: {error}", flush=True)
                    self.count("wrong")
                    continue
                factors = np.unique(np.round(answer / k, 3))
                self.count("answers")
                if len(factors) != 1 or not oldest <= factors[0] <= self.newest + 1:
                    print(f"wrong: {factors}, versions {oldest} to {self.newest}", flush=True)
                    self.count("wrong")

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
            self.count("bad or broken requests")
            if self.down.is_set():
                time.sleep(0.1)

    def kill_clients(self) -> None:
        """Start clients through gRPC and REST in turns, and kill each while it asks."""
        for url in itertools.cycle((self.server.grpc, self.server.rest)):
            if self.stop.wait(KILL_S):
                return
            command = [sys.executable, "-c", CLIENT, url, self.model.name]
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as client:
                client.stdout.readline()  # type: ignore[union-attr]
                time.sleep(0.2)
                client.kill()
            self.count("killed clients")

    def swap(self) -> None:
        """Put a new version in and take the oldest away, every 20 seconds."""
        while not self.stop.wait(SWAP_S):
            write_model(self.model / str(self.newest + 1), self.newest + 1.0)
            self.newest += 1
            self.check(self.newest)
            if self.newest > 2:
                shutil.rmtree(self.model / str(self.newest - 2))

    def check(self, version: int) -> None:
        """Count a version as lost unless it answers rightly within some seconds."""
        from tfseg.errors import ServerError
        from tfseg_serving.client import Client, Retries

        end = time.monotonic() + READY_S
        ones = {"image": np.ones((1, 2, 2, 1), np.float32)}
        with Client(self.server.grpc, retries=Retries(times=0)) as client:
            while time.monotonic() < end:
                with contextlib.suppress(ServerError):
                    answer = client.predict(self.model.name, ones, "serving_default", version)
                    if np.allclose(answer["y"], version):
                        return
                time.sleep(0.1)
        print(f"version {version} does not answer", flush=True)
        self.count("lost versions")

    def start(self) -> list[threading.Thread]:
        """Start everything that loads and disturbs the server but the swaps."""
        work = [self.disturb, self.disturb, self.kill_clients]
        work += [lambda url=url: self.ask(url) for url in (self.server.grpc, self.server.rest) * 3]
        threads = [threading.Thread(target=one) for one in work]
        for thread in threads:
            thread.start()
        return threads

    def run(self, seconds: float) -> None:
        """Load the server for some time, and print what memory it takes."""
        threads = [*self.start(), threading.Thread(target=self.swap)]
        threads[-1].start()
        self.stop.wait(seconds * WARM)
        before = self.server.resident_mb()
        self.stop.wait(seconds * (1 - WARM))
        after = self.server.resident_mb()
        self.stop.set()
        for thread in threads:
            thread.join()
        growth = (after / before - 1) * 100
        print(f"{seconds:.0f} s, {self.newest} versions: {self.told()}")
        print(f"memory {before:.0f} -> {after:.0f} MB ({growth:+.1f} %, at most 5)", flush=True)

    def restart(self, times: int, folder: Path) -> None:
        """Kill the server under load and start it again on the same ports."""
        self.stop.clear()
        threads = self.start()
        rest, grpc = (urlsplit(url).port for url in (self.server.rest, self.server.grpc))
        for _ in range(times):
            self.stop.wait(KILL_S)
            self.down.set()
            self.server.process.kill()
            self.server.process.wait()
            killed = time.monotonic()
            self.server = start(str(folder), *self.flags, rest_port=rest or 0, grpc_port=grpc or 0)
            self.check(self.newest)
            self.down.clear()
            print(f"kill -9: right answers after {time.monotonic() - killed:.1f} s", flush=True)
        self.stop.wait(KILL_S)
        self.stop.set()
        for thread in threads:
            thread.join()
        print(f"{times} restarts: {self.told()}", flush=True)

    def told(self) -> str:
        """Return the counts in words."""
        return ", ".join(f"{number} {what}" for what, number in self.counts.items())


def main() -> int:
    """Run it, and tell whether anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--restarts", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "models" / "conv"
        write_model(model / "1", 1.0)
        parameters = Path(folder) / "batching.config"
        parameters.write_text(PARAMETERS)
        soak = Soak(model, ("--batching", "--batching-parameters", str(parameters)))
        try:
            soak.run(options.seconds)
            soak.restart(options.restarts, model)
        finally:
            soak.stop.set()
            soak.server.stop()
    return 1 if soak.counts["wrong"] or soak.counts["lost versions"] else 0


if __name__ == "__main__":
    sys.exit(main())
