"""Overlap of label maps: everything that follows from one confusion matrix.

The matrix is counted in one pass over both maps; Dice, Jaccard, precision and sensitivity of
every class are then arithmetic on k x k integers.

Empty rule, for every ratio here: a class that is in neither map scores 1 (nothing to find,
nothing found); a class that is in only one of them scores 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError

Counts = NDArray[np.int64]
Scores = NDArray[np.float64]

# Voxels counted at a time. np.bincount widens its input to 8 bytes a voxel, so counting a
# whole scan at once would take 16 times the memory of the two label maps.
_BLOCK_VOX = 1 << 20


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
    if not 1 <= num_classes <= 255:
        raise DataError(f"num_classes must be 1 to 255; got {num_classes}.")
    for name, other in (("prediction", prediction), ("mask", mask)):
        if other is not None and other.shape != reference.shape:
            raise DataError(
                f"reference and {name} must have one shape; got {reference.shape} and "
                f"{other.shape}. Resample one onto the other's grid."
            )
    total = np.zeros(num_classes * num_classes, np.int64)
    for a, b in _blocks(reference, prediction, mask):
        for name, labels in (("reference", a), ("prediction", b)):
            _check_labels(name, labels, num_classes)
        # 254 * 255 + 254 < 2**16: the pair fits in uint16.
        pairs = a.astype(np.uint16) * np.uint16(num_classes) + b.astype(np.uint16)
        total += np.bincount(pairs, minlength=total.size)
    return total.reshape(num_classes, num_classes)


def _blocks(reference: NDArray[Any], prediction: NDArray[Any], mask: NDArray[Any] | None) -> Any:
    """Yield flat pieces (reference, prediction) of at most a few slabs of voxels."""
    rows = reference.shape[0] if reference.ndim else 1
    step = max(1, _BLOCK_VOX * rows // max(1, reference.size))
    for start in range(0, rows, step):
        part = slice(start, start + step) if reference.ndim else ()
        if mask is None:
            yield reference[part].reshape(-1), prediction[part].reshape(-1)
        else:
            inside = mask[part].astype(bool)
            yield reference[part][inside], prediction[part][inside]


def _check_labels(name: str, labels: NDArray[Any], num_classes: int) -> None:
    if not (np.issubdtype(labels.dtype, np.integer) or labels.dtype == np.bool_):
        raise DataError(f"the {name} must hold integer labels; got {labels.dtype}.")
    if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(
            f"the {name} holds the label {wrong}; the labels are 0 to {num_classes - 1}. "
            "Correct the label map, or evaluate with the labels it was made with."
        )


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


def dice(counts: ClassCounts) -> Scores:
    """Return 2 TP / (2 TP + FP + FN) of every class (Dice 1945; equal to F1)."""
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, counts)


def jaccard(counts: ClassCounts) -> Scores:
    """Return TP / (TP + FP + FN) of every class (Jaccard 1912; intersection over union)."""
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn, counts)


def precision(counts: ClassCounts) -> Scores:
    """Return TP / (TP + FP) of every class: the share of the prediction that is right."""
    return _ratio(counts.tp, counts.tp + counts.fp, counts)


def sensitivity(counts: ClassCounts) -> Scores:
    """Return TP / (TP + FN) of every class: the share of the reference that was found."""
    return _ratio(counts.tp, counts.tp + counts.fn, counts)


def _ratio(numerator: Counts, denominator: Counts, counts: ClassCounts) -> Scores:
    absent = counts.tp + counts.fp + counts.fn == 0
    values = numerator / np.maximum(denominator, 1)
    return np.where(absent, 1.0, values)
