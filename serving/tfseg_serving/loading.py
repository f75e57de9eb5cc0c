"""How versions are loaded and run; without TensorFlow, which the loader itself imports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tfseg.errors import TfsegError
from tfseg_serving.batching import BatchingParameters, BatchThreads
from tfseg_serving.metrics import Metrics
from tfseg_serving.protos import read_message
from tfseg_serving.status import invalid_argument

BATCHING_FILE = "batching_params.pbtxt"


@dataclass(frozen=True)
class LoadOptions:
    """How versions are loaded and run.

    Attributes:
        batching: join requests that arrive together; ``None`` runs each alone.
        batching_of_model: a model's own ``batching_params.pbtxt`` replaces ``batching``.
        batch_threads: shared by all models that batch.
        warm_up: run the version's recorded requests before it is available.
        warmup_iterations: how often each of them.
        intra_op_threads: threads of one operation; 0 lets TensorFlow choose.
        inter_op_threads: operations of one run at once; 0 lets TensorFlow choose.
        gpu_memory_fraction: share of a GPU's memory; 0 lets it grow.
        metrics: where loads and batches are counted.
    """

    batching: BatchingParameters | None = None
    batching_of_model: bool = False
    batch_threads: BatchThreads = field(default_factory=lambda: BatchThreads(None))
    warm_up: bool = True
    warmup_iterations: int = 1
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0
    metrics: Metrics = field(default_factory=Metrics)

    def batching_of(self, folder: Path) -> BatchingParameters | None:
        """Return how the version in ``folder`` batches.

        Raises:
            StatusError: its own parameters cannot be read.
        """
        path = folder / BATCHING_FILE
        if self.batching is None or not self.batching_of_model or not path.is_file():
            return self.batching
        try:
            message = read_message(path, "BatchingParameters", BATCHING_FILE)
        except TfsegError as error:
            raise invalid_argument(str(error)) from error
        return BatchingParameters.from_message(message)
