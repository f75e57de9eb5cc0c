"""Areas under curves and thresholds: by hand, by brute force, and beside scikit-learn's values."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tfseg.errors import ConfigError, DataError
from tfseg.metrics import probability
from tfseg.metrics.probability import (
    auc_pr,
    auc_roc,
    best_threshold,
    otsu_dice,
    otsu_threshold,
)

GOLDENS = Path(__file__).resolve().parents[2] / "goldens" / "probability.json"

TRUTH = np.array([True, True, False, False])
SCORES = np.array([0.8, 0.6, 0.3, 0.1])


def golden_maps(voxels, levels, percent):
    """The maps that make_probability_goldens.py describes."""
    index = np.arange(1, voxels + 1, dtype=np.int64)
    noise = index * index * 7919 % 1_000_003
    reference = index * 104_729 % 100 < percent
    return reference, (noise + reference * 300_000) * levels // 1_300_003 / levels


def brute_auc(truth, scores):
    wins = [
        1.0 if p > n else 0.5 if p == n else 0.0
        for p, n in itertools.product(scores[truth], scores[~truth])
    ]
    return sum(wins) / len(wins)


def brute_average_precision(truth, scores):
    total, area, recall = truth.sum(), 0.0, 0.0
    for cut in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= cut
        found = (truth & chosen).sum()
        area += (found / total - recall) * found / chosen.sum()
        recall = found / total
    return area


def brute_dice(truth, chosen):
    return 2 * (truth & chosen).sum() / (truth.sum() + chosen.sum())


def test_a_perfect_ranking_scores_one():
    assert auc_roc(TRUTH, SCORES) == 1.0
    assert auc_pr(TRUTH, SCORES) == 1.0
    assert otsu_dice(TRUTH, SCORES) == 1.0
    assert best_threshold(TRUTH, SCORES) == (0.6, 1.0)


def test_a_reversed_ranking():
    assert auc_roc(~TRUTH, SCORES) == 0.0
    # The positives come third and fourth: precision 1/3 and 2/4 at a recall gain of 1/2 each.
    assert auc_pr(~TRUTH, SCORES) == pytest.approx((1 / 3 + 2 / 4) / 2, rel=1e-15)


def test_all_scores_equal():
    level = np.full(4, 0.5)
    assert auc_roc(TRUTH, level) == 0.5
    assert auc_pr(TRUTH, level) == 0.5  # the share of positives
    assert otsu_threshold(level) == 0.5
    assert otsu_dice(TRUTH, level) == 0.0  # nothing is above the only value


@pytest.mark.parametrize("levels", [2, 5, 1000])
@pytest.mark.parametrize("shape", [(60,), (6, 10), (3, 4, 5)])
def test_against_brute_force(shape, levels):
    rng = np.random.default_rng(levels)
    for share in (0.1, 0.5, 0.9):
        truth = rng.random(shape) < share
        scores = rng.integers(0, levels, shape) / levels + truth * 0.1
        if truth.all() or not truth.any():
            continue
        assert auc_roc(truth, scores) == pytest.approx(brute_auc(truth, scores), abs=1e-12)
        u = stats.mannwhitneyu(scores[truth], scores[~truth]).statistic
        expected = u / truth.sum() / (~truth).sum()
        assert auc_roc(truth, scores) == pytest.approx(expected, abs=1e-12)
        assert auc_pr(truth, scores) == pytest.approx(
            brute_average_precision(truth.ravel(), scores.ravel()), abs=1e-12
        )
        dices = {cut: brute_dice(truth, scores >= cut) for cut in np.unique(scores)}
        threshold, value = best_threshold(truth, scores)
        assert value == pytest.approx(max(dices.values()), abs=1e-12)
        assert dices[threshold] == pytest.approx(value, abs=1e-12)
        youden = max(
            (truth & (scores >= cut)).sum() / truth.sum()
            - (~truth & (scores >= cut)).sum() / (~truth).sum()
            for cut in np.unique(scores)
        )
        _, value = best_threshold(truth, scores, criterion="youden")
        assert value == pytest.approx(youden, abs=1e-12)


@pytest.mark.parametrize("name", json.loads(GOLDENS.read_text()))
def test_against_scikit(name):
    golden = json.loads(GOLDENS.read_text())[name]
    truth, scores = golden_maps(*golden["arguments"])
    assert auc_roc(truth, scores) == pytest.approx(golden["auc_roc"], abs=1e-12)
    assert auc_pr(truth, scores) == pytest.approx(golden["auc_pr"], abs=1e-12)
    assert otsu_threshold(scores) == pytest.approx(golden["otsu"], abs=1e-12)


def test_otsu_splits_two_heaps_by_brute_force():
    rng = np.random.default_rng(3)
    scores = np.concatenate([rng.normal(50, 6, 300), rng.normal(200, 9, 100)]).round()
    scores = np.clip(scores, 0, 255)

    def between(cut):
        low, high = scores[scores <= cut], scores[scores > cut]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    cuts = np.unique(scores)[:-1]
    best = max(cuts, key=between)
    threshold = otsu_threshold(scores)
    assert (scores > threshold).sum() == (scores > best).sum()
    assert otsu_dice(scores > best, scores) == 1.0


def test_only_what_the_mask_holds_counts():
    rng = np.random.default_rng(4)
    truth, mask = rng.random((2, 8, 9)) < 0.5
    scores = rng.random((8, 9))
    spoilt = np.where(mask, scores, np.nan)
    for metric in (auc_roc, auc_pr, otsu_dice):
        assert metric(truth, spoilt, mask) == metric(truth[mask], scores[mask])
    assert otsu_threshold(spoilt, mask) == otsu_threshold(scores[mask])


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(5)
    truth = rng.random((13, 6, 5)) < 0.3
    scores = rng.integers(0, 20, truth.shape) / 20
    mask = rng.random(truth.shape) < 0.8

    def results():
        return [
            auc_roc(truth, scores, mask),
            auc_pr(truth, scores),
            otsu_threshold(scores, mask),
            otsu_dice(truth, scores),
            *best_threshold(truth, scores),
        ]

    whole = results()
    monkeypatch.setattr(probability, "_BLOCK_VOX", 40)
    assert results() == whole


def test_a_class_that_is_missing_has_no_curve():
    none, scores = np.zeros(4, bool), SCORES
    assert math.isnan(auc_roc(none, scores))
    assert math.isnan(auc_roc(~none, scores))
    assert math.isnan(auc_pr(none, scores))
    assert auc_pr(~none, scores) == 1.0
    assert all(math.isnan(value) for value in best_threshold(none, scores))
    assert all(math.isnan(v) for v in best_threshold(~none, scores, criterion="youden"))
    assert otsu_dice(none, scores) == 0.0
    assert otsu_dice(none, np.zeros(4)) == 1.0


def test_a_mask_of_nothing():
    nothing = np.zeros(4, bool)
    assert math.isnan(auc_roc(TRUTH, SCORES, nothing))
    assert math.isnan(otsu_threshold(SCORES, nothing))
    assert otsu_dice(TRUTH, SCORES, nothing) == 1.0
    assert math.isnan(auc_roc(np.zeros((0, 3), bool), np.zeros((0, 3))))


def test_half_precision_scores_keep_their_ties():
    truth = np.array([True, False, True, False])
    scores = np.array([0.1, 0.1, 0.7, 0.2], np.float16)
    assert auc_roc(truth, scores) == brute_auc(truth, scores) == 0.625


@pytest.mark.parametrize(
    ("scores", "mask", "message"),
    [
        (SCORES[:3], None, r"reference and scores must have one shape; got \(4,\) and \(3,\)"),
        (SCORES, np.ones(5, bool), r"reference and mask must have one shape; .* \(5,\)"),
        (np.array([0, 1, np.nan, 0]), None, "every score must be finite"),
        (np.array([0, 1, np.inf, 0]), None, "every score must be finite"),
    ],
)
def test_refusals_name_the_rule(scores, mask, message):
    for metric in (auc_roc, auc_pr, otsu_dice):
        with pytest.raises(DataError, match=message):
            metric(TRUTH, scores, mask)


def test_an_unknown_criterion():
    with pytest.raises(ConfigError, match="criterion must be one of dice, youden; got 'f2'"):
        best_threshold(TRUTH, SCORES, criterion="f2")
