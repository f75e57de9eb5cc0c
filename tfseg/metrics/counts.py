"""Counting label maps: the confusion matrix, and every class against the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.compiled import compiled
from tfseg.errors import DataError

Counts = NDArray[np.int64]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def confusion(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    num_classes: int,
    mask: NDArray[Any] | None = None,
) -> Counts:
    """Count voxels by (reference label, predicted label).

    Args:
        reference: label map of any shape, integers 0..k-1.
        prediction: label map of the same shape.
        num_classes: k, the background included; 1 to 255.
        mask: where to count, boolean, same shape; ``None`` counts everywhere. Labels outside
            the mask are not looked at.

    Returns:
        (k, k) int64; entry [a, b] is the number of voxels with reference a and prediction b.

    Raises:
        DataError: shapes differ, a map is not of integers, or a label is not below k.
    """
    first, second, inside = as_bytes(reference, prediction, num_classes, mask)
    return count_pairs(first, second, num_classes, inside)


def as_bytes(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    num_classes: int,
    mask: NDArray[Any] | None = None,
) -> tuple[Labels, Labels, Mask | None]:
    """Return both maps as uint8 and the mask as booleans, without a copy where they are so.

    Raises:
        DataError: shapes differ, a map is not of integers, or, for a map of wider integers, a
            label within the mask is not below ``num_classes``. A map that is uint8 already is
            checked by :func:`count_pairs`, which looks at every voxel anyway.
    """
    if not 1 <= num_classes <= 255:
        raise DataError(f"num_classes must be 1 to 255; got {num_classes}.")
    for name, other in (("prediction", prediction), ("mask", mask)):
        if other is not None and other.shape != reference.shape:
            raise DataError(
                f"reference and {name} must have one shape; got {reference.shape} and "
                f"{other.shape}. Resample one onto the other's grid."
            )
    inside: Mask | None = None if mask is None else mask.astype(np.bool_, copy=False)
    return (
        _map_as_bytes("reference", reference, num_classes, inside),
        _map_as_bytes("prediction", prediction, num_classes, inside),
        inside,
    )


def _map_as_bytes(name: str, labels: NDArray[Any], num_classes: int, inside: Mask | None) -> Labels:
    if not (np.issubdtype(labels.dtype, np.integer) or labels.dtype == np.bool_):
        raise DataError(f"the {name} must hold integer labels; got {labels.dtype}.")
    if labels.dtype != np.uint8 and labels.dtype != np.bool_:
        looked_at = labels if inside is None else labels[inside]
        if looked_at.size:
            low, high = int(looked_at.min()), int(looked_at.max())
            if low < 0 or high >= num_classes:
                raise wrong_label(name, low if low < 0 else high, num_classes)
    return labels.astype(np.uint8, copy=False)


def wrong_label(name: str, label: int, num_classes: int) -> DataError:
    """Return the error for a label that is not one of the classes."""
    return DataError(
        f"the {name} holds the label {label}; the labels are 0 to {num_classes - 1}. "
        "Correct the label map, or evaluate with the labels it was made with."
    )


def count_pairs(
    reference: Labels, prediction: Labels, num_classes: int, inside: Mask | None
) -> Counts:
    """Count two uint8 maps of one shape; see :func:`confusion`.

    Raises:
        DataError: a label within the mask is not below ``num_classes``.
    """
    table = np.zeros((256, 256), np.int64)
    flat = None if inside is None else np.ravel(inside)
    _count(np.ravel(reference), np.ravel(prediction), flat, table.reshape(-1))
    for name, counted in (("reference", table.sum(axis=1)), ("prediction", table.sum(axis=0))):
        if counted[num_classes:].any():
            raise wrong_label(name, int(np.flatnonzero(counted)[-1]), num_classes)
    return table[:num_classes, :num_classes].copy()


@compiled
def _count(reference, prediction, inside, table):  # type: ignore[no-untyped-def]
    # Adds to table[256 * reference + prediction]. Equal pairs follow one another nearly
    # everywhere: a run of them is added at once.
    pair, run = np.int64(0), 0
    for i in range(reference.size):
        if inside is not None and not inside[i]:
            continue
        here = (np.int64(reference[i]) << 8) | np.int64(prediction[i])
        if here != pair:
            table[pair] += run
            pair, run = here, 0
        run += 1
    table[pair] += run


def relabel(labels: Labels, table: NDArray[np.uint8]) -> Labels:
    """Return ``table[labels]``; NumPy's own would take 8 bytes a voxel on the way.

    Args:
        labels: uint8 of any shape.
        table: (256,) the new value of every label.
    """
    result = np.empty(labels.shape, np.uint8)
    _relabel(np.ravel(labels), table, result.reshape(-1))
    return result


@compiled
def _relabel(labels, table, result):  # type: ignore[no-untyped-def]
    for i in range(labels.size):
        result[i] = table[labels[i]]


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """One-against-rest counts of every class, each (k,) int64.

    Attributes:
        tp: voxels of the class in both maps.
        fp: only in the prediction.
        fn: only in the reference.
        tn: in neither.
    """

    tp: Counts
    fp: Counts
    fn: Counts
    tn: Counts

    @classmethod
    def of(cls, matrix: Counts) -> ClassCounts:
        """Derive the counts from a confusion matrix (reference, prediction)."""
        tp = np.diag(matrix)
        fp = matrix.sum(axis=0) - tp
        fn = matrix.sum(axis=1) - tp
        return cls(tp, fp, fn, matrix.sum() - tp - fp - fn)

    @property
    def reference(self) -> Counts:
        """Voxels of the class in the reference."""
        return self.tp + self.fn

    @property
    def prediction(self) -> Counts:
        """Voxels of the class in the prediction."""
        return self.tp + self.fp

    @property
    def absent(self) -> NDArray[np.bool_]:
        """Whether neither map holds the class."""
        return self.tp + self.fp + self.fn == 0
