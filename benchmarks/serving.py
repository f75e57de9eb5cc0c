"""The embedded server beside the bare SavedModel: latency, copies, batching, many clients, memory.

    python benchmarks/serving.py [--requests 10000]

One line each:

- a patch through gRPC, against the graph's own run in this process: milliseconds added, and the
  rate at which the added bytes travel (a model of one multiplication, whose own time is short);
- 1,000 requests from 16 threads, each answer checked;
- resident memory over ``--requests`` requests, after a warm-up of a tenth of them;
- a 3D U-Net's patch of 64^3 as JSON, in and out: what that adds to the network's own time;
- requests of one 64 x 64 picture from 96 threads, one at a time and in batches of up to 32:
  requests a second, for one convolution, a U-Net of three levels and one of five, down to 4 x 4.

Server and client are two processes. Times are the least of several where one is meant, and all
figures are to be read on an idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

THREADS = 16
BATCH, BATCH_CLIENTS = 32, 96  # two batches run, the next fills


def write_model(folder: Path, factor: float, *, convolve: bool = True) -> None:
    """Write ``y = factor * x``, by a convolution whose kernel only passes its middle on."""
    from tfseg.quiet import import_tensorflow

    import_tensorflow()
    import tensorflow as tf

    class Model(tf.Module):
        def __init__(self) -> None:
            kernel = np.zeros((3, 3, 1, 8), np.float32)
            kernel[1, 1] = factor / 8
            self.weight = tf.Variable(kernel if convolve else np.float32(factor))

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, "image")])
        def __call__(self, image: Any) -> dict[str, Any]:
            if not convolve:
                return {"y": image * self.weight}
            return {"y": tf.reduce_sum(tf.nn.conv2d(image, self.weight, 1, "SAME"), -1, True)}

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
    process: subprocess.Popen[str]

    def resident_mb(self) -> float:
        """Return its resident memory, in MB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def stop(self) -> None:
        """End it in peace."""
        self.process.terminate()
        self.process.communicate()


def start(*arguments: str, rest_port: int = 0, grpc_port: int = 0) -> Running:
    """Start ``tfseg serve`` and wait until it answers; port 0 is any free one."""
    command = [sys.executable, "-m", "tfseg", "serve", *arguments, "--json"]
    command += ["--rest-port", str(rest_port), "--grpc-port", str(grpc_port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines = [""]
    while lines[-1] != "}\n":
        lines.append(process.stdout.readline())  # type: ignore[union-attr]
        if not lines[-1]:
            raise RuntimeError(f"the server did not start; it ended with {process.wait()}")
    ready = json.loads("".join(lines))
    return Running(ready["rest"], ready["grpc"], process)


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[Running]:
    """Run a server for a while."""
    server = start(*arguments)
    try:
        yield server
    finally:
        server.stop()


def least(*calls: Callable[[], object], repeats: int = 40) -> list[float]:
    """Return the least wall time of each call, in seconds; they take turns."""
    best = [math.inf] * len(calls)
    for _ in range(repeats):
        for number, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[number] = min(best[number], time.perf_counter() - start)
    return best


def latency(model: Path, server: Running) -> None:
    """Compare one patch through gRPC with the graph's own run, in turns."""
    import tensorflow as tf

    from tfseg_serving.client import connect

    run = tf.saved_model.load(str(model / "1")).signatures["serving_default"]
    with connect(server.grpc) as client:
        added = []
        for side in (64, 2048):
            image = np.random.default_rng(0).random((1, side, side, 1), np.float32)
            bare, served = least(
                lambda image=image: run(image=tf.constant(image))["y"].numpy(),
                lambda image=image: client.predict(model.name, {"image": image}, "serving_default"),
            )
            added.append((served - bare, 2 * image.nbytes))
            print(f"  {side}x{side}: bare {bare * 1e3:.2f} ms, gRPC {served * 1e3:.2f} ms")
    (small, _), (large, size) = added
    rate = size / max(large - small, 1e-9) / 1e9
    print(f"gRPC adds {small * 1e3:.2f} ms (at most 5), and copies at {rate:.2f} GB/s (at least 1)")


def throughput(model: Path, server: Running, seconds: float = 5.0) -> float:
    """Return requests a second of one 64 x 64 picture each.

    Requests are made once and answers are not read: this side shares the server's CPUs.
    """
    import grpc

    from tfseg_serving import wire

    spec = wire.ModelSpec(model.name, signature="serving_default")
    message = wire.encode_predict_request(spec, {"image": np.ones((1, 64, 64, 1), np.float32)})
    stop = time.monotonic() + seconds

    def ask(_: int) -> int:
        with grpc.insecure_channel(server.grpc.removeprefix("grpc://")) as channel:
            call = channel.unary_unary(wire.PREDICT)
            for count in itertools.count():
                if time.monotonic() > stop:
                    return count
                call(message)
        return 0

    with ThreadPoolExecutor(BATCH_CLIENTS) as pool:
        return sum(pool.map(ask, range(BATCH_CLIENTS))) / seconds


def batching(model: Path, single: Running, joining: Running) -> None:
    """Compare two servers, one of which joins requests, in turns."""
    for server in (single, joining):  # TensorFlow prepares its kernels for each size of a batch
        throughput(model, server, 2.0)
    rounds = [[throughput(model, server) for server in (single, joining)] for _ in range(3)]
    one, many = (sum(rates) / len(rates) for rates in zip(*rounds, strict=True))
    print(
        f"{model.name} at 64x64 from {BATCH_CLIENTS} threads: {one:.0f}/s one at a time, "
        f"{many:.0f}/s batched ({many / one:.2f}x, at least 1.5)"
    )


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


def save_network(folder: Path, shape: tuple[int, ...], **options: Any) -> None:
    """Write a U-Net for one structure with the signature of windows, its weights as drawn."""
    import keras
    import tensorflow as tf

    from tfseg.models import build

    keras.utils.set_random_seed(0)
    network = build("unet", shape, 1, deep_supervision=False, **options)
    root = tf.Module()
    root.weights = [variable.value for variable in network.variables]
    root.run = tf.function(
        lambda image: {"probabilities": tf.sigmoid(network(image, training=False))},
        input_signature=[tf.TensorSpec((None, *shape), tf.float32, "image")],
    )
    tf.saved_model.save(root, str(folder), {"serving_default": root.run})


def json_cost(model: Path, server: Running) -> None:
    """Compare what REST adds to a patch of 64^3 with the network's own time."""
    import tensorflow as tf

    from tfseg_serving.client import connect

    run = tf.saved_model.load(str(model / "1")).signatures["serving_default"]
    image = np.random.default_rng(0).normal(size=(1, 64, 64, 64, 1)).astype(np.float32)
    with connect(server.rest) as client:
        bare, served = least(
            lambda: run(image=tf.constant(image))["probabilities"].numpy(),
            lambda: client.predict(model.name, {"image": image}, "serving_default"),
            repeats=10,
        )
    print(
        f"64^3 by JSON: network {bare * 1e3:.0f} ms, REST adds {(served - bare) * 1e3:.0f} ms "
        "(less than the network)"
    )


def main() -> None:
    """Run everything."""
    from tfseg_serving.client import keep_freed_memory

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    options = parser.parse_args()
    keep_freed_memory()  # as tfseg query does
    with tempfile.TemporaryDirectory() as folder:
        names = ("scale", "convolution", "unet of 3 levels", "unet of 5 levels", "unet3d")
        scale, conv, small, flat, deep = (Path(folder) / "models" / name for name in names)
        write_model(scale / "1", 1.0, convolve=False)
        write_model(conv / "1", 1.0)
        save_network(small / "1", (64, 64, 1), base_filters=8, depth=3)
        save_network(flat / "1", (64, 64, 1), base_filters=8, depth=5)
        save_network(deep / "1", (64, 64, 64, 1))
        with serving(str(scale), str(conv)) as server:
            latency(scale, server)
            wrong = many_requests(conv, server, 1000)
            print(f"1000 requests from {THREADS} threads: {wrong} wrong")
            memory(conv, server, options.requests)
        with serving(str(deep)) as server:
            json_cost(deep, server)
        parameters = Path(folder) / "batching.config"
        parameters.write_text(
            f"max_batch_size {{ value: {BATCH} }} batch_timeout_micros {{ value: 50000 }} "
            "num_batch_threads { value: 2 }"
        )
        batched = ("--batching", "--batching-parameters", str(parameters))
        joined = (conv, small, flat)
        models = tuple(map(str, joined))
        room = ("--max-concurrency", "16")  # and eight times as many that wait
        with serving(*models, *room) as single, serving(*models, *batched) as joining:
            for model in joined:
                batching(model, single, joining)


if __name__ == "__main__":
    main()
