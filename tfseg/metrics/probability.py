"""Metrics of probability maps: exact areas under curves, and thresholds.

Curves are not sampled. Everything follows from how many negative voxels reach each distinct
score of a positive voxel, and those counts are made block by block: memory grows with the
number of positive voxels (at most 60 bytes each), not with the volume.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import ConfigError, DataError

_BLOCK_VOX = 1 << 20
_OTSU_BINS = 256

Criterion = Literal["dice", "youden"]


@dataclass(frozen=True, eq=False)
class RankCounts:
    """Positive and negative voxels at every distinct score of a positive voxel.

    Attributes:
        scores: (n,) distinct scores of the positives, rising.
        positives: (n,) positives with exactly this score.
        at_or_above: (n,) negatives with this score or a higher one.
        above: (n,) negatives with a higher score.
        negatives: all negatives.
    """

    scores: NDArray[Any]
    positives: NDArray[np.int64]
    at_or_above: NDArray[np.int64]
    above: NDArray[np.int64]
    negatives: int

    @classmethod
    def of(
        cls, reference: NDArray[Any], scores: NDArray[Any], mask: NDArray[Any] | None = None
    ) -> RankCounts:
        """Count a map of scores against a boolean reference.

        Args:
            reference: boolean, any shape: the voxels of the class.
            scores: finite numbers of the same shape; higher means more likely of the class.
            mask: where to count, boolean, same shape; ``None`` counts everywhere.

        Raises:
            DataError: shapes differ, or a score is not finite.
        """
        chosen = [score[truth] for truth, score in _blocks(reference, scores, mask)]
        values, positives = np.unique(
            np.concatenate([scores[:0].ravel(), *chosen]), return_counts=True
        )
        # Number of negatives for which the first j values are at most, or below, their score.
        reached, passed = np.zeros((2, len(values) + 1), np.int64)
        negatives = 0
        for truth, score in _blocks(reference, scores, mask):
            others = np.sort(score[~truth])  # sorted queries keep the search in the cache
            negatives += len(others)
            for count, side in ((reached, "right"), (passed, "left")):
                index = np.searchsorted(values, others, side=side)  # type: ignore[call-overload]
                count += np.bincount(index, minlength=len(count))
        at_or_above, above = (np.cumsum(count[::-1])[::-1][1:] for count in (reached, passed))
        return cls(values, positives.astype(np.int64), at_or_above, above, negatives)

    @property
    def true_positives(self) -> NDArray[np.int64]:
        """(n,) positives with this score or a higher one."""
        return np.cumsum(self.positives[::-1])[::-1]


def auc_roc(
    reference: NDArray[Any], scores: NDArray[Any], mask: NDArray[Any] | None = None
) -> float:
    """Return the area under the ROC curve: P(positive > negative) + P(equal) / 2.

    Exact, ties included (the Mann-Whitney statistic; Hanley and McNeil 1982,
    doi:10.1148/radiology.143.1.7063747). 0 to 1; 0.5 is chance. NaN where the reference has no
    positive or no negative voxel.

    Args:
        reference: boolean, any shape.
        scores: finite numbers of the same shape.
        mask: where to count (a field of view), boolean, same shape; ``None`` is everywhere.

    Raises:
        DataError: shapes differ, or a score is not finite.
    """
    ranks = RankCounts.of(reference, scores, mask)
    total = int(ranks.positives.sum())
    if not total or not ranks.negatives:
        return float("nan")
    lost = ranks.above + (ranks.at_or_above - ranks.above) / 2  # negatives that win, ties halved
    return float(1.0 - np.sum(ranks.positives / total * (lost / ranks.negatives)))


def auc_pr(
    reference: NDArray[Any], scores: NDArray[Any], mask: NDArray[Any] | None = None
) -> float:
    """Return the average precision: the sum over thresholds of precision times recall gained.

    The area under the precision-recall curve as a step function, without the optimistic linear
    interpolation (Davis and Goadrich 2006, doi:10.1145/1143844.1143874). 0 to 1; chance is the
    share of positives. NaN where the reference has no positive voxel. Arguments and errors as
    in :func:`auc_roc`.
    """
    ranks = RankCounts.of(reference, scores, mask)
    total = int(ranks.positives.sum())
    if not total:
        return float("nan")
    found = ranks.true_positives
    return float(np.sum(ranks.positives / total * (found / (found + ranks.at_or_above))))


def best_threshold(
    reference: NDArray[Any],
    scores: NDArray[Any],
    mask: NDArray[Any] | None = None,
    *,
    criterion: Criterion = "dice",
) -> tuple[float, float]:
    """Return the threshold that serves a reference best, and what it reaches.

    A voxel is of the class if its score is at least the threshold. Only scores of positives
    need trying: between two of them a lower threshold adds nothing but false positives.

    Args:
        reference: boolean, any shape.
        scores: finite numbers of the same shape.
        mask: where to count, boolean, same shape; ``None`` is everywhere.
        criterion: ``dice``, or ``youden`` (sensitivity + specificity - 1; Youden 1950).

    Returns:
        (threshold, value); the highest of equally good thresholds. (NaN, NaN) where the
        reference has no positive voxel, or, for ``youden``, no negative one.

    Raises:
        DataError: shapes differ, or a score is not finite.
        ConfigError: another criterion.
    """
    if criterion not in get_args(Criterion):
        raise ConfigError(
            f"criterion must be one of {', '.join(get_args(Criterion))}; got {criterion!r}."
        )
    ranks = RankCounts.of(reference, scores, mask)
    total = int(ranks.positives.sum())
    if not total or (criterion == "youden" and not ranks.negatives):
        return float("nan"), float("nan")
    found, false = ranks.true_positives, ranks.at_or_above
    if criterion == "dice":
        values = 2 * found / (found + false + total)
    else:
        values = found / total - false / ranks.negatives
    best = len(values) - 1 - int(np.argmax(values[::-1]))
    return float(ranks.scores[best]), float(values[best])


def otsu_threshold(scores: NDArray[Any], mask: NDArray[Any] | None = None) -> float:
    """Return Otsu's threshold: the split of the histogram with the most variance between.

    256 bins from the smallest to the largest score; the threshold is the centre of the last bin
    of the lower class (Otsu 1979, doi:10.1109/TSMC.1979.4310076; centre as in scikit-image). A
    constant map has its one value as threshold; a mask of nothing gives NaN.

    Raises:
        DataError: shapes differ, or a score is not finite.
    """
    low, high = math.inf, -math.inf
    for _, score in _blocks(scores, scores, mask):
        low = min(low, float(score.min(initial=math.inf)))
        high = max(high, float(score.max(initial=-math.inf)))
    if low >= high:
        return low if low == high else float("nan")
    counts = np.zeros(_OTSU_BINS)
    edges = np.linspace(low, high, _OTSU_BINS + 1)
    for _, score in _blocks(scores, scores, mask):
        counts += np.histogram(score, _OTSU_BINS, (low, high))[0]
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = counts.sum() - below
    moment = np.cumsum(counts * centres)
    split = slice(None, -1)  # the last bin cannot be the lower class's alone
    gap = moment[split] / np.maximum(below[split], 1) - (moment[-1] - moment[split]) / above[split]
    return float(centres[int(np.argmax(below[split] * above[split] * gap**2))])


def otsu_dice(
    reference: NDArray[Any], scores: NDArray[Any], mask: NDArray[Any] | None = None
) -> float:
    """Return the Dice of a probability map cut at its own Otsu threshold.

    No threshold is chosen by hand, as RetinaGAN's authors evaluate vessels (Son, Park, Jung
    2017, arXiv:1706.09318). Voxels above the threshold are of the class. 1 where neither the
    reference nor the cut map has a voxel. Arguments and errors as in :func:`auc_roc`.
    """
    threshold = otsu_threshold(scores, mask)
    common = size = 0
    for truth, score in _blocks(reference, scores, mask):
        chosen = score > threshold
        common += int(np.count_nonzero(truth & chosen))
        size += int(np.count_nonzero(truth)) + int(np.count_nonzero(chosen))
    return 2 * common / size if size else 1.0


def _blocks(
    reference: NDArray[Any], scores: NDArray[Any], mask: NDArray[Any] | None
) -> Iterator[tuple[NDArray[np.bool_], NDArray[Any]]]:
    """Yield flat pieces (reference, scores) inside the mask, a few slabs at a time."""
    for name, other in (("scores", scores), ("mask", mask)):
        if other is not None and other.shape != reference.shape:
            raise DataError(
                f"reference and {name} must have one shape; got {reference.shape} and "
                f"{other.shape}. Resample one onto the other's grid."
            )
    for slab, inside in _slabs(scores, mask):
        score = scores[slab][inside].reshape(-1)
        if not np.isfinite(score).all():
            raise DataError("every score must be finite; the map holds NaN or infinite values.")
        yield reference[slab][inside].reshape(-1).astype(bool, copy=False), score


def _slabs(scores: NDArray[Any], mask: NDArray[Any] | None) -> Iterator[tuple[slice, Any]]:
    """Yield slices of the first axis, each with an index of what lies inside the mask."""
    rows = scores.shape[0]
    step = max(1, _BLOCK_VOX * rows // max(1, scores.size))
    for start in range(0, rows, step):
        slab = slice(start, start + step)
        yield slab, ... if mask is None else mask[slab].astype(bool)
