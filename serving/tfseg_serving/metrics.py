"""Counters and histograms under TF-Serving's names, and the page that Prometheus reads.

Names, labels and buckets are those of ``servables/tensorflow/util.cc``,
``saved_model_warmup_util.cc`` and ``batching_session.cc``; the text is that of
``util/prometheus_exporter.cc``. What TensorFlow itself counts (``:tensorflow:core:...``) cannot be
read from Python and is not on the page.
"""

from __future__ import annotations

import bisect
import itertools
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# A client chooses the model name in a request: the names that are kept apart are bounded.
_MAX_CELLS = 1000
_OTHER = "(other)"


def exponential(first: float, factor: float, count: int) -> tuple[float, ...]:
    """Return the upper limits of ``count`` buckets; the last of them has none."""
    return tuple(first * factor**k for k in range(count))


_LATENCY_US = exponential(10, 1.8, 33)
_QUEUEING_US = exponential(100, 1.2, 52)
_POWERS = exponential(1, 2, 15)


class _Metric:
    """Values by the values of its labels."""

    kind = ""

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        self.name = ":tensorflow:serving:" + name
        self.labels = tuple(labels)
        self.lock = threading.Lock()

    def cell(self, known: dict, values: tuple[str, ...]) -> tuple[str, ...]:
        """Return the cell to count in: its own, or the common one once there are too many."""
        if values in known or len(known) < _MAX_CELLS:
            return values
        return (_OTHER,) * len(values)

    def label_text(self, values: tuple[str, ...]) -> str:
        """Return ``name="value",...`` with quotes and backslashes escaped."""
        escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
        return ",".join(f'{k}="{v}"' for k, v in zip(self.labels, escaped, strict=True))


class Counter(_Metric):
    """A number that grows."""

    kind = "counter"

    def __init__(self, name: str, *labels: str) -> None:
        super().__init__(name, labels)
        self._values: dict[tuple[str, ...], int] = {}

    def add(self, count: int, *values: str) -> None:
        """Add ``count`` to the number of these label values."""
        with self.lock:
            cell = self.cell(self._values, values)
            self._values[cell] = self._values.get(cell, 0) + count

    def total(self) -> int:
        """Return the sum over all label values."""
        with self.lock:
            return sum(self._values.values())

    def lines(self) -> Iterator[str]:
        """Yield the metric's lines of the page."""
        with self.lock:
            cells = sorted(self._values.items())
        for values, count in cells:
            yield f"{self.name}{{{self.label_text(values)}}} {count}"


class Histogram(_Metric):
    """How often values fell below each limit.

    Args:
        name: after ``/tensorflow/serving/``.
        limits: upper limit of each bucket, rising; the last one counts what is past all others.
        labels: their names.
    """

    kind = "histogram"

    def __init__(self, name: str, limits: Sequence[float], *labels: str) -> None:
        super().__init__(name, labels)
        self._limits = tuple(limits)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def add(self, value: float, *values: str) -> None:
        """Count ``value`` under these label values."""
        # TensorFlow's buckets are [low, limit): a value equal to a limit is in the next one.
        bucket = min(bisect.bisect_right(self._limits, value), len(self._limits))
        with self.lock:
            cell = self.cell(self._counts, values)
            counts = self._counts.setdefault(cell, [0] * (len(self._limits) + 1))
            counts[bucket] += 1
            self._sums[cell] = self._sums.get(cell, 0.0) + value

    def lines(self) -> Iterator[str]:
        """Yield the metric's lines of the page; bucket counts are cumulative."""
        with self.lock:
            cells = [(key, list(counts), self._sums[key]) for key, counts in self._counts.items()]
        limits = [*(f"{limit:.6g}" for limit in self._limits), "+Inf"]
        for values, counts, total in sorted(cells):
            text = self.label_text(values)
            head = f"{self.name}_bucket{{{text}{',' if text else ''}"
            for limit, count in zip(limits, itertools.accumulate(counts), strict=True):
                yield f'{head}le="{limit}"}} {count}'
            yield f"{self.name}_sum{{{text}}} {total:.6g}"
            yield f"{self.name}_count{{{text}}} {sum(counts)}"


class Metrics:
    """Everything that one server counts."""

    def __init__(self) -> None:
        self.request_count = Counter("request_count", "model_name", "status")
        self.request_latency = Histogram(
            "request_latency", _LATENCY_US, "model_name", "API", "entrypoint"
        )
        self.runtime_latency = Histogram(
            "runtime_latency", _LATENCY_US, "model_name", "API", "runtime"
        )
        self.example_counts = Histogram("request_example_counts", _POWERS, "model")
        self.example_count_total = Counter("request_example_count_total", "model")
        self.warmup_latency = Histogram("model_warmup_latency", _LATENCY_US, "model_path", "status")
        self.warmup_records = Counter("model_warmup_records_read", "model_path", "status")
        self.queuing_latency = Histogram(
            "batching_session:queuing_latency", _QUEUEING_US, "thread_pool_name"
        )
        self.wrapped_runs = Counter("batching_session:wrapped_run_count")

    def page(self) -> str:
        """Return the text that Prometheus reads: metrics that were never counted are left out."""
        lines: list[str] = []
        for metric in sorted(vars(self).values(), key=lambda one: one.name):
            found = list(metric.lines())
            if found:
                lines += [f"# TYPE {metric.name} {metric.kind}", *found]
        return "\n".join(lines) + "\n"

    def count_examples(self, model: str, count: int) -> None:
        """Count the examples of one classify, regress or multi-inference request."""
        self.example_counts.add(count, model)
        self.example_count_total.add(count, model)

    @contextmanager
    def time_run(self, model: str, api: str) -> Iterator[None]:
        """Time a run of the graph that succeeds."""
        start = time.monotonic()
        yield
        self.runtime_latency.add(microseconds_since(start), model, api, "TF1")


def microseconds_since(start: float) -> int:
    """Return whole microseconds since ``start``, a reading of ``time.monotonic``."""
    return math.floor((time.monotonic() - start) * 1e6)
