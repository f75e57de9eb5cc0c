"""Lesion detection: the worked example, brute force over all pairings, and FROC by hand."""

import itertools
import math

import numpy as np
import pytest
from scipy import ndimage

from tfseg.errors import ConfigError, DataError
from tfseg.metrics.froc import (
    LUNA16_POINTS,
    Candidates,
    candidates,
    froc,
    froc_from_counts,
    threshold_sweep,
)
from tfseg.metrics.lesions import (
    LesionCounts,
    LesionOptions,
    count_lesions,
    label_lesions,
    lesion_scores,
)


def line(*runs, size=40):
    """A 1-row image with runs of voxels [start, stop)."""
    mask = np.zeros((1, size), bool)
    for start, stop in runs:
        mask[0, start:stop] = True
    return mask


def counted(reference, prediction, **options):
    found = count_lesions(reference, prediction, LesionOptions(**options))
    return found.reference, found.found, found.predicted, found.true


def test_two_lesions_one_hit_three_false_alarms_in_two_scans():
    first = count_lesions(line((0, 4), (10, 14)), line((0, 4), (20, 22)))
    second = count_lesions(line(), line((3, 5), (30, 33)))
    total = first + second
    assert total == LesionCounts(reference=2, found=1, predicted=4, true=1, scans=2)
    assert total.sensitivity == 0.5
    assert total.fp_per_scan == 1.5
    assert total.precision == 0.25
    assert total.f1 == pytest.approx(2 * 1 / (2 * 1 + 3 + 1), rel=1e-15)


def test_scores_of_one_scan():
    assert lesion_scores(line((0, 4), (10, 14)), line((0, 4), (20, 22), (30, 31))) == {
        "lesion_sens": 0.5,
        "lesion_precision": pytest.approx(1 / 3),
        "lesion_f1": pytest.approx(0.4),
        "fp_per_scan": 2.0,
    }


def test_without_lesions():
    healthy = count_lesions(line(), line())
    assert math.isnan(healthy.sensitivity)
    assert math.isnan(healthy.precision)
    assert (healthy.f1, healthy.fp_per_scan) == (1.0, 0.0)
    alarmed = count_lesions(line(), line((1, 2)))
    assert math.isnan(alarmed.sensitivity)
    assert (alarmed.precision, alarmed.f1, alarmed.fp_per_scan) == (0.0, 0.0, 1.0)
    missed = count_lesions(line((1, 2)), line())
    assert math.isnan(missed.precision)
    assert (missed.sensitivity, missed.f1, missed.fp_per_scan) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("threshold", "hit"), [(0.0, 1), (0.25, 1), (0.3333, 1), (0.34, 0), (1.0, 0)]
)
def test_the_threshold_is_reached_by_equality(threshold, hit):
    # [0, 4) against [2, 6): 2 of 6 voxels are common.
    found = counted(line((0, 4)), line((2, 6)), threshold=threshold)
    assert found == (1, hit, 1, hit)


def test_a_prediction_that_bridges_two_lesions_finds_one_of_them_one_to_one():
    reference, bridge = line((0, 5), (6, 11)), line((0, 11))
    assert counted(reference, bridge, threshold=0.4) == (2, 1, 1, 1)
    # Each lesion is covered entirely; the bridge lies inside by 10 of 11.
    assert counted(reference, bridge, matching="overlap", threshold=0.9) == (2, 2, 1, 1)
    # Merged they are 10 voxels, of which the union has 11.
    assert counted(reference, bridge, matching="merged", threshold=0.5) == (2, 2, 1, 1)
    assert counted(reference, bridge, matching="merged", threshold=0.91) == (2, 0, 1, 0)


def test_a_lesion_predicted_in_pieces():
    reference, pieces = line((0, 11)), line((0, 5), (6, 11))
    assert counted(reference, pieces, threshold=0.4) == (1, 1, 2, 1)
    assert counted(reference, pieces, threshold=0.5) == (1, 0, 2, 0)
    assert counted(reference, pieces, matching="overlap", threshold=0.9) == (1, 1, 2, 2)
    assert counted(reference, pieces, matching="merged", threshold=0.5) == (1, 1, 2, 2)


def test_merging_gives_a_lesion_to_the_prediction_that_holds_more_of_it():
    # The lesion [10, 20) shares 2 voxels with the left prediction and 7 with the right one;
    # [0, 8) belongs to the left one alone.
    reference, prediction = line((0, 8), (10, 20)), line((0, 12), (13, 20))
    # Left: [0, 8) with [0, 12): 8 of 12. Right: [10, 20) with [13, 20): 7 of 10.
    assert counted(reference, prediction, matching="merged", threshold=0.5) == (2, 2, 2, 2)
    assert counted(reference, prediction, matching="merged", threshold=0.67) == (2, 1, 2, 1)


def test_equality_is_not_enough_when_merged():
    # LiTS asks for more than half: 4 of 8 are common.
    assert counted(line((0, 6)), line((2, 8)), matching="merged", threshold=0.5) == (1, 0, 1, 0)
    assert counted(line((0, 6)), line((2, 8)), matching="merged", threshold=0.49) == (1, 1, 1, 1)


def brute_pairs(reference, prediction, threshold):
    """The most one-to-one pairs, by trying every assignment."""
    structure = np.ones((3,) * reference.ndim)
    first, n = ndimage.label(reference, structure)
    second, m = ndimage.label(prediction, structure)
    iou = np.zeros((n, m))
    for i, j in itertools.product(range(n), range(m)):
        a, b = first == i + 1, second == j + 1
        iou[i, j] = (a & b).sum() / (a | b).sum()
    if n > m:
        iou = iou.T
    possible = (iou >= threshold) & (iou > 0)
    return max(
        sum(possible[i, j] for i, j in enumerate(choice))
        for choice in itertools.permutations(range(max(n, m)), min(n, m))
    )


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5])
def test_one_to_one_against_brute_force(threshold):
    rng = np.random.default_rng(11)
    tried = 0
    for _ in range(40):
        noise = ndimage.gaussian_filter(rng.standard_normal((2, 14, 16)), (0, 1.2, 1.2))
        reference, prediction = noise[0] > 0.25, (noise[0] + noise[1]) > 0.35
        counts = count_lesions(reference, prediction, LesionOptions(threshold=threshold))
        if not 0 < counts.reference <= 7 or not 0 < counts.predicted <= 7:
            continue
        tried += 1
        assert counts.found == counts.true == brute_pairs(reference, prediction, threshold)
    assert tried >= 10


def test_overlap_against_brute_force():
    rng = np.random.default_rng(12)
    for _ in range(20):
        noise = ndimage.gaussian_filter(rng.standard_normal((2, 8, 9, 10)), (0, 1, 1, 1))
        a, b = noise[0] > 0.2, (noise[0] + noise[1]) > 0.3
        for threshold in (0.0, 0.5):
            expected = []
            for own, other in ((a, b), (b, a)):
                labels, n = ndimage.label(own, np.ones((3, 3, 3)))
                shares = [other[labels == i].mean() for i in range(1, n + 1)]
                expected += [n, sum(share > 0 and share >= threshold for share in shares)]
            assert counted(a, b, matching="overlap", threshold=threshold) == tuple(expected)


def test_exchanging_the_masks_exchanges_the_counts():
    rng = np.random.default_rng(13)
    noise = ndimage.gaussian_filter(rng.standard_normal((2, 20, 20)), (0, 1, 1))
    a, b = noise[0] > 0.2, (noise[0] + noise[1]) > 0.3
    for matching in ("one-to-one", "overlap"):
        n, found, m, true = counted(a, b, matching=matching, threshold=0.2)
        assert counted(b, a, matching=matching, threshold=0.2) == (m, true, n, found)


@pytest.mark.parametrize(("connectivity", "lesions"), [(1, 3), (2, 2), (3, 1), (None, 1)])
def test_connectivity(connectivity, lesions):
    mask = np.zeros((2, 3, 3), bool)
    mask[0, 0, 0] = mask[0, 1, 1] = True  # share an edge
    mask[1, 2, 2] = True  # shares a corner with the second
    labels, sizes = label_lesions(mask, connectivity)
    assert len(sizes) == labels.max() == lesions


def test_small_components_are_ignored_in_both_masks():
    reference, prediction = line((0, 1), (5, 9)), line((0, 1), (5, 9), (20, 22))
    assert counted(reference, prediction, min_vox=2) == (1, 1, 2, 1)
    labels, sizes = label_lesions(line((0, 1), (3, 5), (7, 8), (9, 12)), min_vox=2)
    assert sizes.tolist() == [2, 3]
    assert labels[0, :13].tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0, 2, 2, 2, 0]


def test_a_lesion_at_the_border_and_one_voxel():
    mask = np.zeros((3, 3, 3), bool)
    mask[0, 0, 0] = mask[2, 2, 2] = True
    assert counted(mask, mask) == (2, 2, 2, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matching": "hungarian"}, "one-to-one, overlap, merged; got 'hungarian'"),
        ({"threshold": 1.1}, "threshold must be 0 to 1; got 1.1"),
        ({"threshold": math.nan}, "threshold must be 0 to 1; got nan"),
        ({"connectivity": 0}, "connectivity must be at least 1; got 0"),
        ({"min_vox": 0}, "min_vox must be at least 1; got 0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        LesionOptions(**options)


def test_shapes_and_rank_are_checked():
    with pytest.raises(DataError, match=r"one shape; got \(1, 40\) and \(1, 39\)"):
        count_lesions(line(), line(size=39))
    with pytest.raises(ConfigError, match="connectivity must be 1 to 2 in 2D; got 3"):
        count_lesions(line(), line(), LesionOptions(connectivity=3))


# --- FROC ------------------------------------------------------------------------------------


def scan(lesions, *found):
    """A scan with (confidence, lesion) pairs; lesion -1 is a false alarm."""
    confidence, lesion = zip(*found, strict=True) if found else ((), ())
    return Candidates(np.array(confidence, float), np.array(lesion, int), lesions)


def test_froc_by_hand():
    curve = froc(
        [
            scan(2, (0.9, 0), (0.8, -1), (0.6, 1), (0.5, 0)),  # 0.5: the same lesion again
            scan(0, (0.7, -1)),
            scan(1, (0.6, -1)),
            scan(1),
        ]
    )
    assert (curve.scans, curve.lesions) == (4, 4)
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert curve.fp_per_scan.tolist() == [0, 0.25, 0.5, 0.75]
    assert curve.sensitivity.tolist() == [0.25, 0.25, 0.25, 0.5]
    assert curve.sensitivity_at(0.5) == 0.25
    assert curve.sensitivity_at(0.625) == pytest.approx(0.375)  # half way
    assert curve.sensitivity_at(0.625, interpolate="step") == 0.25
    assert curve.sensitivity_at(8) == 0.5  # level beyond the last point
    # 1/8, 1/4 and 1/2 give 0.25, the other four 0.5.
    assert curve.score() == pytest.approx((3 * 0.25 + 4 * 0.5) / 7)
    assert curve.score((0.5, 1.0)) == pytest.approx(0.375)


def test_froc_of_a_perfect_detector():
    curve = froc([scan(2, (0.9, 0), (0.8, 1)), scan(1, (0.3, 0))])
    assert curve.score() == 1.0
    assert curve.sensitivity_at(0) == 1.0


def test_froc_rises_from_nothing():
    # One false alarm is surer than the only hit: no sensitivity without it.
    curve = froc([scan(1, (0.9, -1), (0.8, 0))])
    assert curve.sensitivity_at(0) == 0.0
    assert curve.sensitivity_at(0.5) == 0.0
    assert curve.sensitivity_at(1) == 1.0


def test_froc_without_lesions_or_candidates():
    assert froc([scan(0, (0.9, -1)), scan(0)]) is None
    silent = froc([scan(3), scan(0)])
    assert silent.score() == 0.0


def test_froc_against_brute_force():
    rng = np.random.default_rng(14)
    scans = []
    for _ in range(6):
        lesions = int(rng.integers(0, 4))
        scans.append(
            scan(lesions, *((rng.integers(1, 9) / 9, rng.integers(-1, lesions)) for _ in range(7)))
        )
    curve = froc(scans)
    for cut, rate, sensitivity in zip(
        curve.thresholds, curve.fp_per_scan, curve.sensitivity, strict=True
    ):
        accepted = [
            (number, lesion)
            for number, one in enumerate(scans)
            for confidence, lesion in zip(one.confidence, one.lesion, strict=True)
            if confidence >= cut
        ]
        assert rate == sum(lesion < 0 for _, lesion in accepted) / len(scans)
        hit = {pair for pair in accepted if pair[1] >= 0}
        assert sensitivity == len(hit) / sum(one.lesions for one in scans)


def test_candidates_of_a_probability_map():
    reference = line((0, 4), (10, 14), (30, 34))
    scores = np.zeros((1, 40))
    scores[0, 1:3] = 0.9
    scores[0, 12:18] = (0.2, 0.4, 0.3, 0.3, 0.3, 0.3)  # 2 of 6 voxels inside
    scores[0, 20:22] = 0.6
    scores[0, 31] = 0.05  # below the cut
    found = candidates(reference, scores)
    assert found.confidence.tolist() == [0.9, 0.4, 0.6]
    assert found.lesion.tolist() == [0, 1, -1]
    assert found.lesions == 3
    strict = LesionOptions(matching="overlap", threshold=0.5)
    assert candidates(reference, scores, options=strict).lesion.tolist() == [0, -1, -1]
    half = LesionOptions(threshold=0.5)  # IoU: 2 of 4 voxels, and 2 of 8
    assert candidates(reference, scores, options=half).lesion.tolist() == [0, -1, -1]
    assert candidates(reference, scores, cut=0.95).lesion.tolist() == []


def test_a_candidate_over_two_lesions_hits_the_larger_share():
    found = candidates(line((0, 3), (5, 12)), line((1, 9)).astype(float), cut=0.5)
    assert found.lesion.tolist() == [1]


def test_candidates_are_checked():
    with pytest.raises(DataError, match="got matching 'merged'"):
        candidates(line(), line(), options=LesionOptions(matching="merged"))
    with pytest.raises(DataError, match="a confidence and a lesion; got 1 and 2"):
        Candidates(np.zeros(1), np.zeros(2, int), 1)
    with pytest.raises(DataError, match="lesion must be -1 to 0; got 1 to 1"):
        Candidates(np.zeros(1), np.ones(1, int), 1)


def test_a_sweep_over_thresholds():
    reference = line((0, 4), (10, 14))
    scores = np.zeros((1, 40))
    scores[0, 0:4], scores[0, 10:14], scores[0, 20:22] = 0.9, 0.5, 0.7
    cuts = (0.8, 0.6, 0.4)
    first = threshold_sweep(reference, scores, cuts)
    assert [(c.found, c.predicted - c.true) for c in first] == [(1, 0), (1, 1), (2, 1)]
    healthy = threshold_sweep(line(), np.zeros((1, 40)), cuts)
    curve = froc_from_counts(cuts, [a + b for a, b in zip(first, healthy, strict=True)])
    assert curve.fp_per_scan.tolist() == [0, 0.5, 0.5]
    assert curve.sensitivity.tolist() == [0.5, 0.5, 1.0]
    assert curve.sensitivity_at(0.5) == 1.0
    assert curve.score(LUNA16_POINTS) == pytest.approx((0.5 + 0.5 + 5) / 7)
    assert froc_from_counts(cuts, healthy) is None
    with pytest.raises(DataError, match="one count for every threshold; got 2 for 3"):
        froc_from_counts(cuts, first[:2])
