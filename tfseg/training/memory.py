"""How much memory a training step takes, before it takes it."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from tfseg.errors import ConfigError
from tfseg.layers import SliceStacks

# Activations are kept for the backward pass, their gradients beside them, and a convolution's
# workspace on top. An estimate, within a factor of about two of the peaks seen with both
# networks: it tells what cannot possibly fit, not what just about will.
_COPIES = 3
_BYTES = 4


def training_bytes(model: Any, batch_size: int) -> int:
    """Estimate the bytes of one training step: activations, weights, gradients, moments."""
    slices = _slices(model)
    voxels = 0
    for layer in model.layers:
        for node in layer._inbound_nodes:
            for output in node.outputs:
                samples = slices if len(output.shape) == 4 else 1
                voxels += samples * math.prod(output.shape[1:])
    weights = sum(math.prod(variable.shape) for variable in model.variables)
    return _BYTES * (_COPIES * voxels * batch_size + 4 * weights)


def _slices(model: Any) -> int:
    """Return how many slices of a volume stand in the place of one sample; 1 without slices."""
    counts = [
        model.input_shape[1 + layer.axis]
        for layer in model.layers
        if isinstance(layer, SliceStacks)
    ]
    return max(counts, default=1)


def _machine_bytes() -> int:
    """Return the memory this process may use: the machine's, or its container's share."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        share = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return machine
    return min(machine, int(share)) if share.isdecimal() else machine


def check_memory(model: Any, batch_size: int, patch_size: tuple[int, ...]) -> None:
    """Refuse a step on the CPU that the machine's memory cannot hold.

    Raises:
        ConfigError: the estimate is above the machine's memory; names patch and batch.
    """
    need = training_bytes(model, batch_size)
    have = _machine_bytes()
    if need > have:
        raise ConfigError(
            f"a training step must fit in memory ({have / 2**30:.0f} GiB); patch_size "
            f"{patch_size} with batch_size {batch_size} needs about "
            f"{need / 2**30:.0f} GiB. Use a smaller patch_size, batch_size or base_filters."
        )
