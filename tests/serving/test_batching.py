"""Batches that wait together, in whichever order they get their turn."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tfseg_serving.batching import Batcher, BatchingParameters, BatchThreads
from tfseg_serving.metrics import Metrics


class Turns:
    """Stands in for the bound on batches at once: who enters, the test says."""

    def __init__(self) -> None:
        self.allowed: dict[str, threading.Event] = {}
        self.waiting = threading.Semaphore(0)

    def __enter__(self) -> None:
        event = self.allowed.setdefault(threading.current_thread().name, threading.Event())
        self.waiting.release()
        assert event.wait(30)

    def __exit__(self, *exception: object) -> None:
        pass


def test_the_last_batch_may_run_first() -> None:
    turns, threads = Turns(), BatchThreads(1)
    threads.slots = turns  # type: ignore[assignment]
    batcher = Batcher(
        lambda feeds, fetches, timeout_s: [feeds["x"] * 2],
        BatchingParameters(max_batch_size=1),
        threads,
        Metrics(),
    )
    answers: dict[str, np.ndarray] = {}

    def ask(number: int) -> None:
        name = threading.current_thread().name
        answers[name] = batcher.run({"x": np.full((1, 3), number)}, ["y"], None)[0]

    asking = [threading.Thread(target=ask, args=(n,), name=f"asks {n}") for n in range(4)]
    for thread in asking:  # each a batch of its own, and the queue in this order
        thread.start()
        assert turns.waiting.acquire(timeout=30)
    for thread in reversed(asking):
        turns.allowed[thread.name].set()
        thread.join(30)
        assert not thread.is_alive()
    for number, thread in enumerate(asking):
        np.testing.assert_array_equal(answers[thread.name], np.full((1, 3), 2 * number))


def test_many_threads_and_small_batches() -> None:
    parameters = BatchingParameters(max_batch_size=4, timeout_s=0.0005)
    batcher = Batcher(
        lambda feeds, fetches, timeout_s: [feeds["x"] + 1], parameters, BatchThreads(2), Metrics()
    )

    def ask(number: int) -> None:
        for _ in range(200):
            (answer,) = batcher.run({"x": np.full((1, 5), number)}, ["y"], None)
            np.testing.assert_array_equal(answer, np.full((1, 5), number + 1))

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(ask, number) for number in range(16)]:
            done.result(timeout=60)
