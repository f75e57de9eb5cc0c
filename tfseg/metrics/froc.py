"""Free-response ROC: sensitivity for lesions against false positives per scan.

Bunch et al. 1978, J Appl Photogr Eng 4:166-171. The points 1/8 to 8 false positives per scan and
their mean are those of LUNA16 (Setio et al. 2017, doi:10.1016/j.media.2017.06.015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tfseg.errors import DataError
from tfseg.metrics.lesions import (
    DEFAULT_LESIONS,
    LesionCounts,
    LesionOptions,
    Overlaps,
    count_lesions,
    label_lesions,
)

LUNA16_POINTS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
ANY_VOXEL = LesionOptions(matching="overlap", threshold=0.0)


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a detector reports on one scan.

    Attributes:
        confidence: (n,) of each candidate; higher is surer.
        lesion: (n,) the reference lesion each one hits, from 0; -1 for none.
        lesions: reference lesions of the scan.
    """

    confidence: NDArray[np.float64]
    lesion: NDArray[np.int64]
    lesions: int

    def __post_init__(self) -> None:
        if len(self.confidence) != len(self.lesion):
            raise DataError(
                "every candidate needs a confidence and a lesion; "
                f"got {len(self.confidence)} and {len(self.lesion)}."
            )
        if len(self.lesion) and not -1 <= self.lesion.min() <= self.lesion.max() < self.lesions:
            raise DataError(
                f"a candidate's lesion must be -1 to {self.lesions - 1}; "
                f"got {self.lesion.min()} to {self.lesion.max()}."
            )


def candidates(
    reference: NDArray[Any],
    scores: NDArray[Any],
    *,
    cut: float = 0.1,
    options: LesionOptions = ANY_VOXEL,
) -> Candidates:
    """Turn a probability map into candidates: the components above a cut.

    The confidence of a component is its highest probability. A component hits the reference
    lesion it shares most voxels with, if that is enough: ``one-to-one`` asks for an intersection
    over union of at least the threshold, ``overlap`` for that share of the component's voxels.

    Args:
        reference: boolean mask of rank 2 or 3.
        scores: probabilities of the same shape.
        cut: voxels above it form components.
        options: what a lesion and what a hit is; ``merged`` is refused, for it is no matching
            of single candidates.

    Raises:
        DataError: the shapes differ, or the matching is ``merged``.
    """
    if options.matching == "merged":
        raise DataError("candidates match one by one; got matching 'merged'. Use 'overlap'.")
    overlaps = Overlaps.of(reference, scores > cut, options)
    count = len(overlaps.prediction)
    labels, _ = label_lesions(scores > cut, options.connectivity, options.min_vox)
    confidence = np.asarray(ndimage.maximum(scores, labels, np.arange(1, count + 1)), np.float64)
    share = (
        overlaps.iou
        if options.matching == "one-to-one"
        else overlaps.common / overlaps.prediction[overlaps.columns]
    )
    lesion = np.full(count, -1)
    # Rising overlap: the largest is written last and stays.
    for pair in np.argsort(overlaps.common, kind="stable"):
        if share[pair] >= options.threshold:
            lesion[overlaps.columns[pair]] = overlaps.rows[pair]
    return Candidates(confidence.reshape(-1), lesion, len(overlaps.reference))


@dataclass(frozen=True, eq=False)
class Froc:
    """A curve from the strictest operating point to the most lenient one.

    Attributes:
        thresholds: (n,) falling.
        fp_per_scan: (n,) false positives per scan.
        sensitivity: (n,) share of all reference lesions found, 0 to 1.
        scans: number of scans.
        lesions: reference lesions of all scans.
    """

    thresholds: NDArray[np.float64]
    fp_per_scan: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    scans: int
    lesions: int

    def sensitivity_at(
        self, fp_per_scan: float, interpolate: Literal["linear", "step"] = "linear"
    ) -> float:
        """Return the sensitivity at a number of false positives per scan, 0 or more.

        ``linear`` draws lines between operating points, as LUNA16's own script does; ``step``
        takes the best point that has no more false positives. Beyond the last point the curve
        is level; before the first it is 0 (``step``) or rises from 0 at no false positives.
        """
        rates = np.concatenate([[0.0], self.fp_per_scan])
        best = np.maximum.accumulate(np.concatenate([[0.0], self.sensitivity]))
        # The last point at or before the rate: of several at one rate, the highest.
        at = int(np.searchsorted(rates, fp_per_scan, side="right")) - 1
        if interpolate == "step" or at + 1 == len(rates):
            return float(best[at])
        share = (fp_per_scan - rates[at]) / (rates[at + 1] - rates[at])
        return float(best[at] + share * (best[at + 1] - best[at]))

    def score(self, points: Sequence[float] = LUNA16_POINTS) -> float:
        """Return the mean sensitivity at the given false positives per scan (LUNA16's CPM)."""
        return float(np.mean([self.sensitivity_at(point) for point in points]))


def froc(scans: Sequence[Candidates]) -> Froc | None:
    """Sweep the confidence over the candidates of all scans.

    A lesion is found once a candidate that hits it is accepted; further candidates on it are
    neither right nor wrong, as in LUNA16. Candidates that hit nothing are false positives.

    Args:
        scans: every scan, those without lesions or candidates too.

    Returns:
        The curve, or ``None`` where no scan has a lesion: there is nothing to find.
    """
    lesions = sum(scan.lesions for scan in scans)
    if not lesions:
        return None
    hits, false = [], []
    for scan in scans:
        surest = np.full(scan.lesions, -np.inf)
        inside = scan.lesion >= 0
        np.maximum.at(surest, scan.lesion[inside], scan.confidence[inside])
        hits.append(surest[np.isfinite(surest)])
        false.append(scan.confidence[~inside])
    found, wrong = np.sort(np.concatenate(hits)), np.sort(np.concatenate(false))
    thresholds = np.unique(np.concatenate([found, wrong]))[::-1]
    accepted, mistaken = (
        len(values) - np.searchsorted(values, thresholds, side="left") for values in (found, wrong)
    )
    return Froc(thresholds, mistaken / len(scans), accepted / lesions, len(scans), lesions)


def threshold_sweep(
    reference: NDArray[Any],
    scores: NDArray[Any],
    thresholds: Sequence[float],
    options: LesionOptions = DEFAULT_LESIONS,
) -> list[LesionCounts]:
    """Count lesions of one scan at several cuts of its probability map.

    Args:
        reference: boolean mask of rank 2 or 3.
        scores: probabilities of the same shape; voxels above a cut are predicted.
        thresholds: the cuts.
        options: what a lesion and what a match is.
    """
    return [count_lesions(reference, scores > cut, options) for cut in thresholds]


def froc_from_counts(thresholds: Sequence[float], counts: Sequence[LesionCounts]) -> Froc | None:
    """Return the curve of a threshold sweep whose counts were added up over the scans.

    Unlike a sweep over candidates, components grow and merge as the cut falls, so the points
    need not rise; they are put in the order of their false positives.

    Args:
        thresholds: the cuts.
        counts: one sum over all scans for each.

    Returns:
        The curve, or ``None`` where no scan has a lesion.

    Raises:
        DataError: not equally many, or none at all.
    """
    if len(thresholds) != len(counts) or not counts:
        raise DataError(
            f"a sweep needs one count for every threshold; got {len(counts)} for {len(thresholds)}."
        )
    if not counts[0].reference:
        return None
    cuts = np.asarray(thresholds, np.float64)
    rates = np.array([count.fp_per_scan for count in counts])
    sensitivity = np.array([count.sensitivity for count in counts])
    order = np.lexsort((sensitivity, rates))
    return Froc(cuts[order], rates[order], sensitivity[order], counts[0].scans, counts[0].reference)
