"""Joins small requests that arrive together into one run of the graph.

TF-Serving's batching session, with its parameters: the first axis of every input is the batch;
requests for the same tensors are laid one behind the other, run once, and the outputs are cut
apart again. A request's own thread does the work: whoever opens a batch waits for company until
the batch is full or its time is over, then runs it for all.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg_serving.metrics import Metrics, microseconds_since
from tfseg_serving.status import Code, StatusError, invalid_argument

Tensors = Mapping[str, NDArray[Any]]
Run = Callable[[Tensors, Sequence[str], float | None], list[NDArray[Any]]]


@dataclass(frozen=True)
class BatchingParameters:
    """``tensorflow.serving.BatchingParameters``, with TF-Serving's defaults.

    Attributes:
        max_batch_size: rows of a batch, and of a request unless large ones are split.
        timeout_s: how long the first request of a batch waits for others.
        max_enqueued_batches: batches that may wait; a request past them is refused.
        threads: batches that run at once, over all models; ``None`` for one a CPU.
        allowed_sizes: rising sizes that a batch is filled up to; empty for any.
        pad_variable_length: fill requests up to the largest size along each further axis.
        split_large: cut a request that is too large into several batches.
        max_execution_size: rows of a batch when large requests are split.
        thread_pool_name: the label of the batching metrics.
    """

    max_batch_size: int = 1000
    timeout_s: float = 0.0
    max_enqueued_batches: int = 10
    threads: int | None = None
    allowed_sizes: tuple[int, ...] = ()
    pad_variable_length: bool = False
    split_large: bool = False
    max_execution_size: int = 0
    thread_pool_name: str = "model_server_batch_threads"

    @classmethod
    def from_message(cls, message: Any) -> BatchingParameters:
        """Return the parameters of a protobuf message; see :mod:`tfseg_serving.protos`.

        Raises:
            StatusError: INVALID_ARGUMENT for values that contradict one another.
        """
        given = {
            name: getattr(message, field).value
            for name, field in (
                ("max_batch_size", "max_batch_size"),
                ("max_enqueued_batches", "max_enqueued_batches"),
                ("threads", "num_batch_threads"),
                ("split_large", "enable_large_batch_splitting"),
                ("max_execution_size", "max_execution_batch_size"),
                ("thread_pool_name", "thread_pool_name"),
            )
            if message.HasField(field)
        }
        parameters = cls(
            timeout_s=message.batch_timeout_micros.value / 1e6,
            allowed_sizes=tuple(message.allowed_batch_sizes),
            pad_variable_length=message.pad_variable_length_inputs,
            **given,
        )
        parameters.check()
        return parameters

    def check(self) -> None:
        """Raise StatusError (INVALID_ARGUMENT) for values that contradict one another."""
        for name in ("max_batch_size", "max_enqueued_batches", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise invalid_argument(f"{name} must be at least 1; got {value}")
        if self.timeout_s < 0:
            raise invalid_argument(
                f"batch_timeout_micros must not be negative; got {self.timeout_s}"
            )
        sizes = self.allowed_sizes
        if any(a >= b for a, b in itertools.pairwise(sizes)) or any(a < 1 for a in sizes):
            raise invalid_argument("allowed_batch_sizes entries must be monotonically increasing")
        if not sizes:
            return
        if self.split_large and sizes[-1] > self.max_batch_size:
            raise invalid_argument(
                "Last entry in allowed_batch_sizes must be less than or equal to max_batch_size; "
                f"last entry was {sizes[-1]}; expected {self.max_batch_size}"
            )
        if self.split_large and self.max_execution_size != sizes[-1]:
            raise invalid_argument(
                "Last entry in allowed_batch_sizes must be equal to max_execution_batch_size; "
                f"last entry was {sizes[-1]}; expected {self.max_execution_size}"
            )
        if not self.split_large and sizes[-1] != self.max_batch_size:
            raise invalid_argument(
                "Last entry in allowed_batch_sizes must match max_batch_size; "
                f"last entry was {sizes[-1]}; expected {self.max_batch_size}"
            )

    @property
    def rows(self) -> int:
        """Rows of the largest batch that is run."""
        if self.split_large and self.max_execution_size:
            return min(self.max_execution_size, self.max_batch_size)
        return self.max_batch_size

    def padded(self, rows: int) -> int:
        """Return the size that a batch of ``rows`` is filled up to."""
        return next((size for size in self.allowed_sizes if size >= rows), rows)


class BatchThreads:
    """Bounds how many batches run at once, over all models of a server."""

    def __init__(self, threads: int | None) -> None:
        self.slots = threading.BoundedSemaphore(threads or os.cpu_count() or 1)


@dataclass(eq=False)
class _Task:
    feeds: Tensors
    rows: int
    deadline: float | None
    queued_at: float
    outputs: list[NDArray[Any]] | None = None


@dataclass(eq=False)  # a batch is itself alone: others may hold equal requests
class _Batch:
    """Requests that will run together; guarded by the batcher's lock until it is closed."""

    tasks: list[_Task] = field(default_factory=list)
    rows: int = 0
    full: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class Batcher:
    """Batches the runs of one graph.

    Args:
        run: runs the graph: feeds and fetches by tensor name, seconds or ``None``.
        parameters: sizes and times.
        threads: shared by all models.
        metrics: where waiting is counted.
    """

    def __init__(
        self, run: Run, parameters: BatchingParameters, threads: BatchThreads, metrics: Metrics
    ) -> None:
        self._run = run
        self._parameters = parameters
        self._threads = threads
        self._metrics = metrics
        self._lock = threading.Lock()
        # Batches that wait for a thread, by the tensors they feed and fetch; the last is open.
        self._queues: dict[tuple, list[_Batch]] = {}

    def run(
        self, feeds: Tensors, fetches: Sequence[str], timeout_s: float | None
    ) -> list[NDArray[Any]]:
        """Run one request, together with others; as the graph's own run would answer.

        Raises:
            StatusError: the inputs have no common first axis; the request is too large; the queue
                is full (UNAVAILABLE); its time passed in the queue (RESOURCE_EXHAUSTED); the run
                failed.
        """
        rows = _rows_of(feeds)
        limit = self._parameters.rows
        if rows > limit:
            if not self._parameters.split_large:
                raise invalid_argument(
                    f"Task size {rows} is larger than maximum input batch size {limit}"
                )
            return self._run_pieces(feeds, fetches, rows, timeout_s)
        now = time.monotonic()
        task = _Task(feeds, rows, None if timeout_s is None else now + timeout_s, now)
        key = self._key(feeds, fetches)
        batch, leads = self._join(key, task)
        if leads:
            self._lead(key, batch, fetches)
        batch.done.wait()
        if isinstance(batch.error, StatusError):
            raise StatusError(batch.error.code, batch.error.message) from batch.error
        if batch.error is not None:
            raise StatusError(Code.INTERNAL, f"the batch failed: {batch.error}") from batch.error
        if task.outputs is None:
            raise StatusError(Code.INTERNAL, "a batch ended without outputs")
        return task.outputs

    def _run_pieces(
        self, feeds: Tensors, fetches: Sequence[str], rows: int, timeout_s: float | None
    ) -> list[NDArray[Any]]:
        """Run a request that is larger than a batch, piece by piece."""
        limit = self._parameters.rows
        if rows > limit * self._parameters.max_enqueued_batches:
            raise StatusError(
                Code.UNAVAILABLE,
                f"{_QUEUE_FULL}; task size is {rows} but scheduling capacity is only "
                f"{limit * self._parameters.max_enqueued_batches}",
            )
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pieces = []
        for start in range(0, rows, limit):
            left = None if deadline is None else max(0.001, deadline - time.monotonic())
            piece = {name: array[start : start + limit] for name, array in feeds.items()}
            pieces.append(self.run(piece, fetches, left))
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _key(self, feeds: Tensors, fetches: Sequence[str]) -> tuple:
        """Return what requests must have in common to run together."""
        pad = self._parameters.pad_variable_length
        return (
            tuple(fetches),
            tuple(
                (name, array.dtype.str, array.ndim if pad else array.shape[1:])
                for name, array in sorted(feeds.items())
            ),
        )

    def _join(self, key: tuple, task: _Task) -> tuple[_Batch, bool]:
        """Put a request into the open batch, or open one; tell whether it opened one."""
        limit = self._parameters.rows
        with self._lock:
            queue = self._queues.setdefault(key, [])
            if queue and queue[-1].rows + task.rows <= limit:
                batch, leads = queue[-1], False
            else:
                waiting = sum(map(len, self._queues.values()))
                if waiting >= self._parameters.max_enqueued_batches:
                    if not queue:
                        del self._queues[key]
                    most = self._parameters.max_enqueued_batches
                    raise StatusError(
                        Code.UNAVAILABLE,
                        f"{_QUEUE_FULL}; currently {waiting} batches enqueued and "
                        f"max_enqueued_batches is {most}",
                    )
                if queue:
                    queue[-1].full.set()  # nothing joins it any more
                batch, leads = _Batch(), True
                queue.append(batch)
            batch.tasks.append(task)
            batch.rows += task.rows
            if batch.rows >= limit:
                batch.full.set()
            return batch, leads

    def _lead(self, key: tuple, batch: _Batch, fetches: Sequence[str]) -> None:
        """Wait for company and for a thread, close the batch, run it."""
        try:
            batch.full.wait(self._parameters.timeout_s)
            with self._threads.slots:
                with self._lock:
                    self._queues[key].remove(batch)
                    if not self._queues[key]:
                        del self._queues[key]
                self._process(batch, fetches)
        except Exception as error:  # raised again by every request of the batch
            batch.error = error
        finally:
            batch.done.set()

    def _process(self, batch: _Batch, fetches: Sequence[str]) -> None:
        now = time.monotonic()
        for task in batch.tasks:
            self._metrics.queuing_latency.add(
                microseconds_since(task.queued_at), self._parameters.thread_pool_name
            )
        deadlines = [task.deadline for task in batch.tasks]
        latest: float | None = None
        if None not in deadlines:
            latest = max(one for one in deadlines if one is not None)
            if latest <= now:
                raise StatusError(
                    Code.RESOURCE_EXHAUSTED,
                    "Run() timeout exceeded while waiting in batching queue",
                )
        size = self._parameters.padded(batch.rows)
        feeds = {name: self._merge(batch, name, size) for name in batch.tasks[0].feeds}
        self._metrics.wrapped_runs.add(1)
        outputs = self._run(feeds, fetches, None if latest is None else latest - now)
        for output in outputs:
            if output.ndim == 0:
                raise StatusError(
                    Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions"
                )
            if output.shape[0] != size:
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                    "dimension sizes of the input tensors",
                )
        start = 0
        for task in batch.tasks:
            task.outputs = [output[start : start + task.rows] for output in outputs]
            start += task.rows

    def _merge(self, batch: _Batch, name: str, size: int) -> NDArray[Any]:
        """Return one input of all requests, (size, ...); the last request's first row fills up."""
        arrays = [task.feeds[name] for task in batch.tasks]
        if self._parameters.pad_variable_length:
            largest = np.max([array.shape[1:] for array in arrays], axis=0).astype(int)
            arrays = [_padded(array, largest) for array in arrays]
        if size > batch.rows:
            arrays += [arrays[-1][:1]] * (size - batch.rows)
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


_QUEUE_FULL = "The batch scheduling queue to which this task was submitted is full"


def _rows_of(feeds: Tensors) -> int:
    if not feeds or any(not array.ndim for array in feeds.values()):
        raise invalid_argument("Batching Run() input tensors must have at least one dimension")
    sizes = {array.shape[0] for array in feeds.values()}
    if len(sizes) > 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def _padded(array: NDArray[Any], largest: NDArray[Any]) -> NDArray[Any]:
    """Fill an array up along every axis but the first, with TF-Serving's value: its first one."""
    missing = [
        (0, 0),
        *((0, int(n) - has) for n, has in zip(largest, array.shape[1:], strict=True)),
    ]
    if not any(after for _, after in missing):
        return array
    if not array.size:
        raise invalid_argument("Got empty tensor in batch of non-empty tensors.")
    shape = (array.shape[0], *map(int, largest))
    full = np.full(shape, array.reshape(-1)[0], array.dtype)
    full[tuple(slice(0, n) for n in array.shape)] = array
    return full
