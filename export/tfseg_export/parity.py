"""Parity: does an artifact answer as the network it was made from?

The same windows go through Keras and through the artifact's own runtime. What is compared is
what the artifact returns: probabilities, and the labels they imply; for a SavedModel also whole
volumes through ``segment`` against the Keras sliding-window predictor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy import ndimage

from tfseg.errors import DataError
from tfseg.files import read_json
from tfseg.inference.backends import Backend
from tfseg.inference.predictor import Predictor
from tfseg.plan import ClipZScore, Plan, Scale
from tfseg.preprocess import prepare
from tfseg.volume import Volume
from tfseg_export.source import Source


@dataclass(frozen=True)
class Gate:
    """The limits of one precision.

    Attributes:
        max_abs: largest difference of any class probability of any voxel.
        label_agreement: smallest share of voxels with the same most likely label.
        max_abs_flat: as ``max_abs``, for windows without any structure.
    """

    max_abs: float
    label_agreement: float
    max_abs_flat: float


GATES: dict[str, Gate] = {
    # Runtimes sum a convolution's products in different orders. Float32 keeps 7 digits; after
    # some tens of layers 1e-6 to 2e-5 is what remains, and a wrong padding, epsilon or
    # interpolation shows as 1e-2 and more. Only voxels tied within that can change label.
    #
    # A flat window is ill-conditioned for a network with instance normalisation: a feature map
    # that is constant but for rounding is divided by its standard deviation, in the limit by
    # sqrt(epsilon) = 3e-3, once a layer. TensorFlow differs from itself by up to 1e-3 there
    # (fused against written-out moments), so only gross defects can be told from rounding.
    "fp32": Gate(max_abs=1e-4, label_agreement=0.9999, max_abs_flat=0.05),
    # Half precision keeps 11 bits: each stored activation is off by up to 5e-4 of itself, and
    # errors of some tens of layers add up before softmax, whose slope is at most 1/4.
    "fp16": Gate(max_abs=2e-2, label_agreement=0.995, max_abs_flat=0.25),
}

_SEED = 20240229


@dataclass(frozen=True)
class Batch:
    """Windows that are compared in one call.

    Attributes:
        name: what they show.
        windows: network input, float32 (n, [z,] y, x, c).
        flat: they have no structure; see :data:`GATES`.
    """

    name: str
    windows: NDArray[np.float32]
    flat: bool = False


@dataclass(frozen=True)
class Windows:
    """What is compared.

    Attributes:
        batches: at least one of them not flat.
        training_window: whether one is real training data, or why not.
    """

    batches: tuple[Batch, ...]
    training_window: str


def parity_windows(source: Source) -> Windows:
    """Return the windows for a run: synthetic ones, and one of its training data if at hand."""
    shape = source.window_shape
    rng = np.random.default_rng(_SEED)
    batches = [
        Batch("random field", _random_field(rng, (1, *shape))),
        Batch("random fields, batch of 2", _random_field(rng, (2, *shape))),
        Batch("zeros, batch of 2", np.zeros((2, *shape), np.float32), flat=True),
        Batch("constant -1", np.full((1, *shape), -1, np.float32), flat=True),
    ]
    window, remark = _training_window(source)
    if window is not None:
        flat = bool(np.ptp(window, axis=tuple(range(window.ndim - 1))).min() == 0)
        batches.append(Batch("window of a training image", window, flat))
    return Windows(tuple(batches), remark)


def compare_windows(
    reference: Backend, candidate: Backend, windows: Windows
) -> list[dict[str, Any]]:
    """Run every batch through both; return one record each."""
    return [
        {
            "input": batch.name,
            "flat": batch.flat,
            **_compare(reference(batch.windows), candidate(batch.windows)),
        }
        for batch in windows.batches
    ]


def compare_segment(
    source: Source,
    segment: Callable[[NDArray[np.float32], tuple[float, float, float]], NDArray[np.uint8]],
) -> dict[str, Any]:
    """Run one raw volume through ``segment`` and through the Keras sliding-window predictor."""
    volume = _raw_volume(source.manifest.plan)
    expected = Predictor(source.backend, source.manifest).predict(volume).array
    labels = segment(volume.channel_last(), volume.spacing_mm)
    return {
        "shape": list(volume.shape),
        "spacing_mm": [round(size, 4) for size in volume.spacing_mm],
        **_compare_labels(expected, labels, source.manifest.plan.num_classes),
    }


def report(
    *,
    windows: list[dict[str, Any]],
    precision: str,
    runtime: str,
    statement: str,
    training_window: str,
    segment: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of ``parity.json``: figures, gate, verdict.

    The figures at the top are the worst of the windows with structure; every window's own,
    the flat ones' too, are under ``windows``.

    Args:
        windows: from :func:`compare_windows`.
        precision: chooses the gate.
        runtime: what ran the artifact.
        statement: what exactly was run, in a sentence.
        training_window: see :class:`Windows`.
        segment: from :func:`compare_segment`, for artifacts that segment volumes.
    """
    gate = GATES[precision]
    finite = all(record["max_abs"] is not None for record in windows)
    textured = [record for record in windows if not record["flat"]]
    failures = [] if finite else ["probabilities are not finite"]
    if finite:
        for kind, records, allowed in (
            ("windows", textured, gate.max_abs),
            ("flat windows", [r for r in windows if r["flat"]], gate.max_abs_flat),
        ):
            worst = max((record["max_abs"] for record in records), default=0.0)
            if worst > allowed:
                failures.append(
                    f"probabilities of {kind} differ by {worst:.2g}, allowed is {allowed:g}"
                )
    agreement = min(record["label_agreement"] for record in textured)
    if agreement < gate.label_agreement:
        failures.append(
            f"labels of windows agree on {agreement:.6f}, required is {gate.label_agreement:g}"
        )
    if segment is not None and segment["label_agreement"] < gate.label_agreement:
        failures.append(
            f"labels of whole volumes agree on {segment['label_agreement']:.6f}, required is "
            f"{gate.label_agreement:g}"
        )
    document: dict[str, Any] = {
        "passed": not failures,
        "verdict": "; ".join(failures) or "within the gate",
        "precision": precision,
        "gate": asdict(gate),
        "reference": f"Keras {keras.__version__} on TensorFlow {tf.__version__}, float32",
        "runtime": runtime,
        "statement": statement,
        "training_window": training_window,
        "max_abs": max(record["max_abs"] for record in textured) if finite else None,
        "mean_abs": max(record["mean_abs"] for record in textured) if finite else None,
        "label_agreement": agreement,
        "dice": min(record["dice"] for record in textured),
        "windows": windows,
    }
    if segment is not None:
        document["segment"] = segment
    return document


def _compare(expected: NDArray[np.float32], got: NDArray[np.float32]) -> dict[str, Any]:
    if got.shape != expected.shape:
        raise DataError(
            f"the artifact must return probabilities of shape {expected.shape}; "
            f"got {got.shape}. Report this as a defect of the exporter."
        )
    apart = np.abs(expected.astype(np.float64) - got)
    finite = bool(np.isfinite(apart).all())
    return {
        "shape": list(expected.shape),
        "max_abs": float(apart.max()) if finite else None,
        "mean_abs": float(apart.mean()) if finite else None,
        **_compare_labels(expected.argmax(-1), got.argmax(-1), expected.shape[-1]),
    }


def _compare_labels(expected: NDArray[Any], got: NDArray[Any], classes: int) -> dict[str, float]:
    """Return the share of equal labels and the smallest Dice of a class that either has."""
    same = expected == got
    scores = [1.0]
    for label in range(classes):
        total = np.count_nonzero(expected == label) + np.count_nonzero(got == label)
        if total:
            scores.append(2 * np.count_nonzero(same & (got == label)) / total)
    return {"label_agreement": float(same.mean()), "dice": float(min(scores))}


def _random_field(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a field (n, [z,] y, x, c) of mean 0 and variance 1 with structure at two scales."""
    spatial = len(shape) - 2
    noise = rng.standard_normal(shape)
    organs = ndimage.gaussian_filter(noise, [0, *[4] * spatial, 0], mode="wrap")
    texture = ndimage.gaussian_filter(noise, [0, *[1] * spatial, 0], mode="wrap")
    field = organs / max(organs.std(), 1e-9) + 0.3 * texture / max(texture.std(), 1e-9)
    field += 0.1 * noise
    return (field / field.std()).astype(np.float32)


def _raw_volume(plan: Plan) -> Volume:
    """Return a volume, in the units of the training images, that needs every step of the way.

    It is resampled up along one axis and down along the other, and takes two windows along
    each axis that is resampled.
    """
    window = (3, *plan.patch_size) if plan.dims == 2 else plan.patch_size
    working = tuple(size + max(1, size // 4) for size in window)
    # Voxels larger and smaller than the working grid's, in no simple ratio to it.
    factors = (1.1, 0.85, 1.3) if plan.spacing_mm is not None else (1.0, 1.0, 1.0)
    target = plan.target_spacing((1.0, 1.0, 1.0))
    spacing = tuple(size * factor for size, factor in zip(target, factors, strict=True))
    shape = tuple(
        max(1, round(size / factor)) for size, factor in zip(working, factors, strict=True)
    )
    field = _random_field(np.random.default_rng(_SEED), (1, *shape, len(plan.channels)))[0]
    for index, channel in enumerate(plan.channels):
        rule = channel.normalisation
        if isinstance(rule, ClipZScore):
            offset, scale = rule.mean, rule.std
        elif isinstance(rule, Scale):
            offset, scale = rule.offset, rule.scale
        else:
            offset, scale = 100.0, 30.0  # any: each volume is scaled by its own statistics
        field[..., index] = field[..., index] * scale + offset
    return Volume.from_geometry(field, spacing)


def _training_window(source: Source) -> tuple[NDArray[np.float32] | None, str]:
    """Return the central window of the first training image, and what became of it."""
    path = source.folder / "config.json"
    config = read_json(path, "the run's configuration") if path.is_file() else {}
    data = config.get("data") if isinstance(config, dict) else None
    if not data:
        return None, "not measured: the run names no data set"
    if not Path(data).is_dir():
        return None, "not measured: the training data is not on this machine"

    from tfseg.datasets import open_dataset

    dataset = open_dataset(data)
    plan = source.manifest.plan
    image = prepare(dataset.read_image(dataset.labelled[0]).canonical()[0], plan)
    window = (1, *plan.patch_size) if plan.dims == 2 else plan.patch_size
    middle = _central(image, window)
    return (middle if plan.dims == 2 else middle[np.newaxis]), "measured"


def _central(image: NDArray[np.float32], window: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the centre (\\*window, c) of ``image`` (z, y, x, c), zero-padded where smaller."""
    for axis, size in enumerate(window):
        start = max(0, (image.shape[axis] - size) // 2)
        image = image.take(range(start, min(start + size, image.shape[axis])), axis=axis)
        missing = size - image.shape[axis]
        margins = [(0, 0)] * image.ndim
        margins[axis] = (missing // 2, missing - missing // 2)
        image = np.pad(image, margins)
    return np.ascontiguousarray(image)
