"""What every network that is ready to run can be asked, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import ConfigError

# Prepared windows, float32 (n, [z,] y, x, c), and what a network says of them, float32
# (n, [z,] y, x, classes).
Windows = NDArray[np.float32]
Scores = NDArray[np.float32]


class Detections(NamedTuple):
    """What a detector finds in a batch of windows.

    Attributes:
        boxes: (n, k, 2 * rank), the low corner before the high one, in voxels of the window.
        scores: (n, k), falling.
        labels: (n, k).
        masks: probabilities (n, k, [cells,] cells, cells, m); ``None``: objects fill their boxes.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.float32]
    masks: NDArray[np.float32] | None = None


class Backend(Protocol):
    """A network ready to run. Subclass it: what is not said otherwise is as it stands here.

    Attributes:
        streams_logits: whether :meth:`stream` gives logits, whose softmax is left to the caller,
            who can take it while blending.
        finds_instances: whether :meth:`detect` answers.
        repeatable: whether equal windows get equal answers and a call leaves nothing behind, so
            that an answer may be used again.
    """

    streams_logits: bool = False
    finds_instances: bool = False
    repeatable: bool = True

    def __call__(self, batch: Windows) -> Scores:
        """Return the probabilities of a batch."""

    def stream(self, batches: Iterable[Windows]) -> Iterator[Scores]:
        """Answer batches in their order; several may be under way at once."""
        return map(self, batches)

    def detect(self, batch: Windows) -> tuple[Scores, Detections]:
        """Return the probabilities of a batch and the objects in it, in one pass.

        Raises:
            ConfigError: this network finds no objects.
        """
        raise ConfigError(
            "objects one by one come from the run of a detector; this is none. Use a run of "
            "mask_rcnn."
        )
