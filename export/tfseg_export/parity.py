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
from tfseg.inference.backend import Backend
from tfseg.inference.predictor import Predictor
from tfseg.plan import ClipZScore, Plan, Scale, Window
from tfseg.preprocess import prepare
from tfseg.volume import Volume
from tfseg_export.source import Source


@dataclass(frozen=True)
class Gate:
    """The limits of one precision.

    Attributes:
        max_abs: largest difference of any class probability of any voxel.
        max_abs_flat: as ``max_abs``, for windows without any structure.
    """

    max_abs: float
    max_abs_flat: float


GATES: dict[str, Gate] = {
    # Runtimes sum a convolution's products in different orders. Float32 keeps 7 digits; after
    # some tens of layers 1e-6 to 1e-4 is what remains, most for CT windows that are largely
    # clipped air; a wrong padding, epsilon or interpolation shows as 1e-3 and more.
    #
    # A flat window is ill-conditioned for a network with instance normalisation: a feature map
    # that is constant but for rounding is divided by its standard deviation, in the limit by
    # sqrt(epsilon) = 3e-3, once a layer. Exact arithmetic is 1e-3 away from any runtime there,
    # so only gross defects can be told from rounding; and not even those in a network that
    # normalises the image itself, or a dozen times in a row: see SHAKEN.
    "fp32": Gate(max_abs=5e-4, max_abs_flat=0.05),
    # Half precision keeps 11 bits: each stored activation is off by up to 5e-4 of itself, and
    # errors of some tens of layers add up before softmax, whose slope is at most 1/4.
    "fp16": Gate(max_abs=2e-2, max_abs_flat=0.25),
}

# A flat window beyond its limit is not held against the artifact if the network itself moves a
# tenth as far when its input is off by this share: that is a few times float32's rounding, and
# every layer of every runtime rounds anew.
SHAKEN = 1e-6
SHAKEN_FACTOR = 10

# Smallest share of equal labels among the voxels that are decided: those whose two best classes
# are further apart in the reference than both moving by max_abs can bridge. At a tie either
# label is right. Whole volumes get one voxel in ten thousand for what blending adds.
LABEL_AGREEMENT = 0.9999

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
    source: Source, candidate: Backend, windows: Windows, gate: Gate
) -> list[dict[str, Any]]:
    """Run every batch through the network and the candidate; return one record each.

    The gate tells decided voxels from ties; :func:`report` judges. ``max_abs_to_predict`` is
    the difference to what ``tfseg predict`` computes with the run itself: it is told, not
    judged, see :meth:`Source.reference`. A flat batch beyond its limit gets ``max_abs_shaken``
    too, see :data:`SHAKEN`.
    """
    records = []
    for batch in windows.batches:
        answer = candidate(batch.windows)
        record = _compare(source.reference(batch.windows), answer, gate)
        if batch.flat and (record["max_abs"] or 0) > gate.max_abs_flat:
            record["max_abs_shaken"] = _max_abs_shaken(source, batch.windows)
        fused = _compare(source.backend(batch.windows), answer, gate)
        records.append(
            {
                "input": batch.name,
                "flat": batch.flat,
                **record,
                "max_abs_to_predict": fused["max_abs"],
            }
        )
    return records


def compare_segment(
    source: Source,
    gate: Gate,
    segment: Callable[[NDArray[np.float32], tuple[float, float, float]], NDArray[np.uint8]],
) -> dict[str, Any]:
    """Run one raw volume through ``segment`` and through the Keras sliding-window predictor."""
    plan = source.manifest.plan
    volume = _raw_volume(plan)
    expected = Predictor(source.backend, source.manifest).predict(volume, probabilities=True)
    labels = segment(volume.channel_last(), volume.spacing_mm)
    return {
        "shape": list(volume.shape),
        "spacing_mm": [round(size, 4) for size in volume.spacing_mm],
        **_compare_labels(np.asarray(expected.probabilities), labels, gate),
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
        for kind, records in (
            ("windows", textured),
            ("flat windows", [record for record in windows if record["flat"]]),
        ):
            beyond = [(r["max_abs"], _allowed(r, gate)) for r in records]
            worst, allowed = max(beyond, key=lambda pair: pair[0] - pair[1], default=(0.0, 0.0))
            if worst > allowed:
                failures.append(
                    f"probabilities of {kind} differ by {worst:.2g}, allowed is {allowed:g}"
                )
    decided = min(record["label_agreement_decided"] for record in textured)
    if decided < LABEL_AGREEMENT:
        failures.append(_disagreement("windows", decided))
    if segment is not None and segment["label_agreement_decided"] < LABEL_AGREEMENT:
        failures.append(_disagreement("whole volumes", segment["label_agreement_decided"]))
    document: dict[str, Any] = {
        "passed": not failures,
        "verdict": "; ".join(failures) or "within the gate",
        "precision": precision,
        "gate": {**asdict(gate), "label_agreement_decided": LABEL_AGREEMENT},
        "reference": (
            f"Keras {keras.__version__} on TensorFlow {tf.__version__}, float32, batch size free"
        ),
        "runtime": runtime,
        "statement": statement,
        "training_window": training_window,
        "max_abs": max(record["max_abs"] for record in textured) if finite else None,
        "mean_abs": max(record["mean_abs"] for record in textured) if finite else None,
        "label_agreement": min(record["label_agreement"] for record in textured),
        "label_agreement_decided": decided,
        "dice": min(record["dice"] for record in textured),
        "windows": windows,
    }
    if segment is not None:
        document["segment"] = segment
    return document


def _allowed(record: dict[str, Any], gate: Gate) -> float:
    """Return the largest difference that one window of :func:`compare_windows` may show."""
    if not record["flat"]:
        return gate.max_abs
    return max(gate.max_abs_flat, SHAKEN_FACTOR * record.get("max_abs_shaken", 0.0))


def _max_abs_shaken(source: Source, windows: NDArray[np.float32]) -> float:
    """Return how far the network's own answer moves when its input is off by rounding."""
    noise = np.random.default_rng(_SEED).uniform(-SHAKEN, SHAKEN, windows.shape)
    shaken = (windows + noise * np.maximum(1, np.abs(windows))).astype(np.float32)
    moved = np.abs(source.reference(shaken) - source.reference(windows))
    return float(moved.max())


def _disagreement(what: str, share: float) -> str:
    return (
        f"labels of {what} agree on {share:.6f} of the decided voxels, required is "
        f"{LABEL_AGREEMENT:g}"
    )


def _compare(expected: NDArray[np.float32], got: NDArray[np.float32], gate: Gate) -> dict[str, Any]:
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
        **_compare_labels(expected, got.argmax(-1), gate),
    }


def _compare_labels(
    probabilities: NDArray[np.float32], labels: NDArray[Any], gate: Gate
) -> dict[str, float]:
    """Compare labels (...) with the reference's probabilities (..., k).

    Returns:
        The share of equal labels; the same among decided voxels; the smallest Dice of a class
        that either has.
    """
    expected = probabilities.argmax(-1)
    same = expected == labels
    second, best = np.moveaxis(np.partition(probabilities, -2, axis=-1)[..., -2:], -1, 0)
    decided = best - second > 2 * gate.max_abs
    dice = [1.0]
    for label in range(probabilities.shape[-1]):
        total = np.count_nonzero(expected == label) + np.count_nonzero(labels == label)
        if total:
            dice.append(2 * np.count_nonzero(same & (labels == label)) / total)
    return {
        "label_agreement": float(same.mean()),
        "label_agreement_decided": float(same[decided].mean()) if decided.any() else 1.0,
        "dice": float(min(dice)),
    }


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
        elif isinstance(rule, Window):
            offset, scale = (rule.low + rule.high) / 2, (rule.high - rule.low) / 4
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
