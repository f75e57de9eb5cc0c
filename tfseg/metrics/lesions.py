"""Detection of lesions: connected components matched one with another.

A lesion is a connected component of a mask. Three published ways to say which are found, chosen
by :attr:`LesionOptions.matching`:

- ``one-to-one``: a predicted and a reference lesion match if their intersection over union is at
  least ``threshold``; each takes part in one match at most, and as many as possible are made.
- ``overlap``: a reference lesion is found if the predicted mask covers at least ``threshold`` of
  its voxels, a predicted lesion is true if the reference mask covers as much of it. 0 asks for
  one voxel (ISLES, FracNet's sweep).
- ``merged``: the LiTS rule. Lesions that one lesion of the other mask bridges are merged first;
  a merged pair counts if its intersection over union exceeds ``threshold``, with every lesion
  in it (Bilic et al. 2023, doi:10.1016/j.media.2022.102680).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from tfseg.errors import ConfigError, DataError

Matching = Literal["one-to-one", "overlap", "merged"]


@dataclass(frozen=True)
class LesionOptions:
    """How lesions are told apart and matched.

    Attributes:
        matching: see the module's text.
        threshold: 0 to 1; of the intersection over union, or of the covered share.
        connectivity: how many steps along different axes make a neighbour: 1 is faces only, 2
            edges too, 3 corners too; ``None`` is all that the array's rank allows.
        min_vox: components of fewer voxels, in either mask, are ignored.
    """

    matching: Matching = "one-to-one"
    threshold: float = 0.5
    connectivity: int | None = None
    min_vox: int = 1

    def __post_init__(self) -> None:
        if self.matching not in get_args(Matching):
            raise ConfigError(
                f"matching must be one of {', '.join(get_args(Matching))}; got {self.matching!r}."
            )
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"a lesion threshold must be 0 to 1; got {self.threshold}.")
        if self.connectivity is not None and self.connectivity < 1:
            raise ConfigError(f"connectivity must be at least 1; got {self.connectivity}.")
        if self.min_vox < 1:
            raise ConfigError(f"min_vox must be at least 1; got {self.min_vox}.")


DEFAULT_LESIONS = LesionOptions()


@dataclass(frozen=True)
class LesionCounts:
    """Lesions of one scan, or of several added up.

    Attributes:
        reference: lesions in the reference.
        found: those of them that were detected.
        predicted: lesions in the prediction.
        true: those of them that belong to a reference lesion.
        scans: number of scans.
    """

    reference: int
    found: int
    predicted: int
    true: int
    scans: int = 1

    def __add__(self, other: LesionCounts) -> LesionCounts:
        return LesionCounts(
            self.reference + other.reference,
            self.found + other.found,
            self.predicted + other.predicted,
            self.true + other.true,
            self.scans + other.scans,
        )

    @property
    def sensitivity(self) -> float:
        """Found lesions per reference lesion; NaN without any: there was nothing to find."""
        return self.found / self.reference if self.reference else float("nan")

    @property
    def precision(self) -> float:
        """True lesions per predicted lesion; NaN where nothing was predicted."""
        return self.true / self.predicted if self.predicted else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision; 1 where neither mask has a lesion.

        0 where only one of them has. With one-to-one matching it is
        2 TP / (2 TP + FP + FN) over lesions.
        """
        if not self.reference and not self.predicted:
            return 1.0
        if not self.found or not self.true:
            return 0.0
        return 2 * self.sensitivity * self.precision / (self.sensitivity + self.precision)

    @property
    def fp_per_scan(self) -> float:
        """Predicted lesions that belong to no reference lesion, per scan."""
        return (self.predicted - self.true) / self.scans


def count_lesions(
    reference: NDArray[Any], prediction: NDArray[Any], options: LesionOptions = DEFAULT_LESIONS
) -> LesionCounts:
    """Match the lesions of two masks of one scan.

    Memory is two int32 label arrays and the voxels that both masks hold.

    Args:
        reference: boolean mask of rank 2 or 3.
        prediction: boolean mask of the same shape.
        options: what a lesion and what a match is.

    Raises:
        DataError: the shapes differ.
        ConfigError: the connectivity exceeds the rank.
    """
    overlaps = Overlaps.of(reference, prediction, options)
    if options.matching == "overlap":
        found, true = (
            overlaps.covered(side, options.threshold) for side in ("reference", "prediction")
        )
    elif options.matching == "merged":
        found, true = overlaps.merged(options.threshold)
    else:
        found = true = overlaps.one_to_one(options.threshold)
    return LesionCounts(len(overlaps.reference), found, len(overlaps.prediction), true)


def lesion_scores(
    reference: NDArray[Any], prediction: NDArray[Any], options: LesionOptions = DEFAULT_LESIONS
) -> dict[str, float]:
    """Return ``lesion_sens``, ``lesion_precision``, ``lesion_f1`` and ``fp_per_scan`` of a scan.

    The mean of ``fp_per_scan`` over scans is the false positives per scan; the mean of
    ``lesion_sens`` weighs scans alike, whereas :class:`LesionCounts` added up weigh lesions.
    """
    counts = count_lesions(reference, prediction, options)
    return {
        "lesion_sens": counts.sensitivity,
        "lesion_precision": counts.precision,
        "lesion_f1": counts.f1,
        "fp_per_scan": counts.fp_per_scan,
    }


def label_lesions(
    mask: NDArray[Any], connectivity: int | None = None, min_vox: int = 1
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number the connected components of a mask from 1.

    Returns:
        Labels of the mask's shape, and the voxels of each component (n,) in their order.

    Raises:
        ConfigError: the connectivity exceeds the rank.
    """
    rank = mask.ndim
    reach = rank if connectivity is None else connectivity
    if not 1 <= reach <= rank:
        raise ConfigError(f"connectivity must be 1 to {rank} in {rank}D; got {connectivity}.")
    structure = ndimage.generate_binary_structure(rank, reach)
    labels, count = ndimage.label(mask, structure)
    sizes = np.bincount(labels[labels > 0], minlength=count + 1)[1:]
    small = sizes < min_vox
    if small.any():
        numbers = np.where(small, 0, np.cumsum(~small))
        labels = np.concatenate([[0], numbers]).astype(np.int32)[labels]
        sizes = sizes[~small]
    return labels, sizes.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Overlaps:
    """The sizes of all lesions and of all intersections between two masks.

    Attributes:
        reference: (n,) voxels of each reference lesion.
        prediction: (m,) voxels of each predicted lesion.
        rows: (o,) reference lesion of each overlapping pair, from 0.
        columns: (o,) its predicted lesion, from 0.
        common: (o,) voxels they share.
    """

    reference: NDArray[np.int64]
    prediction: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    common: NDArray[np.int64]

    @classmethod
    def of(
        cls, reference: NDArray[Any], prediction: NDArray[Any], options: LesionOptions
    ) -> Overlaps:
        """Label both masks and count the voxels of every overlapping pair.

        Raises:
            DataError: the shapes differ.
        """
        if reference.shape != prediction.shape:
            raise DataError(
                f"reference and prediction must have one shape; got {reference.shape} and "
                f"{prediction.shape}. Resample one onto the other's grid."
            )
        how = options.connectivity, options.min_vox
        first, first_sizes = label_lesions(reference, *how)
        second, second_sizes = label_lesions(prediction, *how)
        both = (first > 0) & (second > 0)
        width = len(second_sizes) + 1
        pairs = first[both].astype(np.int64) * width + second[both]
        keys, common = np.unique(pairs, return_counts=True)
        return cls(first_sizes, second_sizes, keys // width - 1, keys % width - 1, common)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of every overlapping pair, (o,)."""
        union = self.reference[self.rows] + self.prediction[self.columns] - self.common
        return self.common / union

    def covered(self, side: Literal["reference", "prediction"], threshold: float) -> int:
        """Return how many lesions of one mask the other covers enough."""
        sizes, index = (
            (self.reference, self.rows) if side == "reference" else (self.prediction, self.columns)
        )
        inside = np.bincount(index, weights=self.common, minlength=len(sizes))
        return int(np.count_nonzero((inside > 0) & (inside >= threshold * sizes)))

    def one_to_one(self, threshold: float) -> int:
        """Return the largest number of pairs with enough intersection over union."""
        enough = self.iou >= threshold
        if not enough.any():
            return 0
        graph = coo_array(
            (np.ones(enough.sum(), np.int8), (self.rows[enough], self.columns[enough])),
            shape=(len(self.reference), len(self.prediction)),
        )
        partner = maximum_bipartite_matching(graph.tocsr(), perm_type="column")
        return int(np.count_nonzero(partner >= 0))

    def merged(self, threshold: float) -> tuple[int, int]:
        """Return (found, true) by the LiTS rule.

        Reference lesions join the predicted lesion that overlaps them most, and so form groups;
        predicted lesions then join the group they overlap most. A group and the predicted
        lesions that joined it are compared as one.
        """
        if not len(self.common):
            return 0, 0
        group = np.full(len(self.reference), -1)  # of each reference lesion
        group[self.rows] = _largest(self.rows, self.columns, self.common)
        keys = group[self.rows] * len(self.prediction) + self.columns
        pairs, where = np.unique(keys, return_inverse=True)
        common = np.bincount(where, weights=self.common)
        pair_group, pair_column = pairs // len(self.prediction), pairs % len(self.prediction)
        joined = np.full(len(self.prediction), -1)  # group of each predicted lesion
        joined[pair_column] = _largest(pair_column, pair_group, common)
        kept = joined[pair_column] == pair_group

        def total(index: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
            inside = index >= 0
            return np.bincount(index[inside], weights[inside], minlength=len(self.prediction))

        shared = total(pair_group[kept], common[kept])
        union = total(group, self.reference) + total(joined, self.prediction) - shared
        detected = shared > threshold * np.maximum(union, 1)
        return (
            int(np.count_nonzero(detected[group] & (group >= 0))),
            int(np.count_nonzero(detected[joined] & (joined >= 0))),
        )


def _largest(index: NDArray[Any], partner: NDArray[Any], weight: NDArray[Any]) -> NDArray[np.int64]:
    """Return, at every pair, the partner with the largest weight for that pair's index.

    Of equal weights the smallest partner wins, so that the answer does not depend on order.
    """
    order = np.lexsort((partner, -weight, index))
    _, first = np.unique(index[order], return_index=True)
    best = np.zeros(index.max() + 1, np.int64)
    best[index[order[first]]] = partner[order[first]]
    return best[index]
