"""Statistics over cases: by hand, by enumeration of all sign patterns, and beside SciPy."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from tfseg.errors import DataError
from tfseg.metrics import statistics
from tfseg.metrics.statistics import (
    bootstrap_mean,
    compare,
    rank_methods,
    summarise,
    wilcoxon_p,
)


def test_summary_by_hand():
    found = summarise([1.0, 2.0, 3.0, 4.0, 10.0, math.nan, None, math.inf])
    assert (found.n, found.undefined) == (5, 3)
    assert (found.mean, found.median, found.q1, found.q3) == (4.0, 3.0, 2.0, 4.0)
    assert found.sd == pytest.approx(math.sqrt((9 + 4 + 1 + 0 + 36) / 4), rel=1e-15)
    assert found.ci_low < 4.0 < found.ci_high


def test_summary_of_too_few():
    none = summarise([math.nan])
    assert (none.n, none.undefined, none.mean, none.sd, none.ci_low) == (0, 1, None, None, None)
    one = summarise([0.7])
    assert (one.mean, one.median, one.q1, one.q3) == (0.7, 0.7, 0.7, 0.7)
    assert (one.sd, one.ci_low, one.ci_high) == (None, None, None)


def test_bootstrap_of_two_values_by_hand():
    # Means of two draws from 0 and 1 are 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
    assert bootstrap_mean([0.0, 1.0]) == (0.0, 1.0)
    assert bootstrap_mean([0.0, 1.0], level=0.4) == (0.5, 0.5)
    assert bootstrap_mean([3.0, 3.0, 3.0]) == (3.0, 3.0)
    assert bootstrap_mean([3.0]) is None


def test_bootstrap_beside_scipy():
    sample = np.random.default_rng(0).gamma(2, 1, 60)
    low, high = bootstrap_mean(sample)
    other = stats.bootstrap(
        (sample,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    spread = sample.std() / math.sqrt(60)
    assert low == pytest.approx(other.low, abs=0.08 * spread)
    assert high == pytest.approx(other.high, abs=0.08 * spread)


def test_bootstrap_is_seeded_and_does_not_depend_on_blocks(monkeypatch):
    sample = np.random.default_rng(1).normal(size=30)
    first = bootstrap_mean(sample, seed=4)
    assert bootstrap_mean(sample, seed=4) == first
    assert bootstrap_mean(sample, seed=5) != first
    monkeypatch.setattr(statistics, "_BLOCK", 1000)
    assert bootstrap_mean(sample, seed=4) == first


def brute_wilcoxon(differences):
    """Share of all sign patterns whose rank sum is as far from the middle, by enumeration."""
    kept = [d for d in differences if d]
    ranks = stats.rankdata(np.abs(kept))
    middle = ranks.sum() / 2
    observed = abs(sum(r for r, d in zip(ranks, kept, strict=True) if d > 0) - middle)
    sums = [
        sum(itertools.compress(ranks, signs))
        for signs in itertools.product((0, 1), repeat=len(kept))
    ]
    return sum(abs(total - middle) >= observed - 1e-9 for total in sums) / len(sums)


@pytest.mark.parametrize(
    "differences",
    [
        [1, 2, 3, 4, 5, 6],
        [0.1, -0.2, 0.3, 0.4, 0.5, 0.6, -0.7],
        [1, 1, -1, 2, 2, 3, 3, -3, 5],  # ties
        [0, 0, 1, -2, 3, 4, 5, 6],  # zeros
        [0, 0, 0, 0, 1, 2],  # two differences are left
        [0, 1, 1, 1, 1, 1, 1, -1],
    ],
)
def test_wilcoxon_by_enumeration(differences):
    assert wilcoxon_p(differences) == pytest.approx(brute_wilcoxon(differences), rel=1e-12)


def test_wilcoxon_of_six_agreeing_cases():
    assert wilcoxon_p([1, 2, 3, 4, 5, 6]) == pytest.approx(2 / 64, rel=1e-12)


def test_wilcoxon_of_many_cases_beside_scipy():
    rng = np.random.default_rng(2)
    fine = rng.normal(0.2, 1, 40)
    assert wilcoxon_p(fine) == pytest.approx(stats.wilcoxon(fine, method="exact").pvalue)
    tied = np.round(fine[:13], 1)
    every_pattern = stats.PermutationMethod(n_resamples=np.inf)
    expected = stats.wilcoxon(tied[tied != 0], method=every_pattern).pvalue
    assert wilcoxon_p(tied) == pytest.approx(expected, rel=1e-12)
    coarse = rng.integers(-3, 5, 80)
    kept = coarse[coarse != 0]
    assert wilcoxon_p(coarse) == pytest.approx(stats.wilcoxon(kept, method="approx").pvalue)


def test_wilcoxon_where_there_is_nothing_to_test():
    assert wilcoxon_p([1, 2, 3, 4, 5]) is None
    assert wilcoxon_p([]) is None
    assert wilcoxon_p([0.0] * 6) == 1.0


def test_comparison_by_hand():
    first = [0.9, 0.8, 0.7, 0.6, math.nan, 0.5]
    second = [0.8, 0.8, 0.5, 0.7, 0.4, None]
    found = compare(first, second)
    assert (found.n, found.excluded) == (4, 2)
    assert found.mean == pytest.approx(0.05, rel=1e-12)
    assert found.wilcoxon_p is None
    expected = stats.ttest_rel(first[:4], second[:4]).pvalue
    assert found.t_p == pytest.approx(expected, rel=1e-9)


def test_exchanging_the_methods_changes_signs_only():
    rng = np.random.default_rng(3)
    x, y = rng.random((2, 15))
    there, back = compare(x, y), compare(y, x)
    assert back.mean == -there.mean
    assert (back.wilcoxon_p, back.t_p) == (there.wilcoxon_p, there.t_p)
    assert (back.ci_low, back.ci_high) == pytest.approx((-there.ci_high, -there.ci_low))


def test_equal_methods():
    found = compare([0.5] * 8, [0.5] * 8)
    assert (found.mean, found.ci_low, found.ci_high) == (0.0, 0.0, 0.0)
    assert found.wilcoxon_p == 1.0
    assert found.t_p is None


def test_rounding_makes_no_differences():
    first = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    better = first - 0.1  # seven equal differences, but for the last bits
    found = compare(first, better)
    assert len(set((first - better).tolist())) > 1
    assert found.t_p is None
    assert found.wilcoxon_p == pytest.approx(2 / 2**7)
    same = compare([0.1 + 0.2] * 6, [0.3] * 6)
    assert (same.wilcoxon_p, same.t_p) == (1.0, None)
    assert compare([0.0] * 6, [0.0] * 6).wilcoxon_p == 1.0


def test_comparison_of_too_few():
    none = compare([math.nan], [1.0])
    assert (none.n, none.mean, none.ci_low, none.wilcoxon_p, none.t_p) == (
        0,
        None,
        None,
        None,
        None,
    )
    one = compare([2.0], [1.0])
    assert (one.n, one.mean, one.ci_low, one.t_p) == (1, 1.0, None, None)


def test_ranking_by_hand():
    found = rank_methods(
        {
            "a": [0.9, 0.8, 0.7, 0.5],
            "b": [0.8, 0.8, 0.9, None],
            "c": [0.1, 0.2, 0.3, 0.9],
        },
        better="higher",
    )
    # Ranks: 1 2 3; 1.5 1.5 3; 2 1 3. The fourth case is left out.
    assert found.mean_ranks == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert (found.n, found.excluded) == (3, 1)
    assert list(rank_methods({"a": [1.0], "b": [2.0]}, better="higher").mean_ranks) == ["b", "a"]
    assert list(rank_methods({"a": [1.0], "b": [2.0]}, better="lower").mean_ranks) == ["a", "b"]


def test_friedman_by_hand():
    # Four judges agree on three methods: rank sums 4, 8, 12, chi2 = 12/(4*3*4)*224 - 3*4*4 = 8.
    found = rank_methods({"a": [1] * 4, "b": [2] * 4, "c": [3] * 4}, better="lower")
    assert found.p_value == pytest.approx(math.exp(-4), rel=1e-9)  # chi2 of 2 degrees
    assert found.mean_ranks == {"a": 1.0, "b": 2.0, "c": 3.0}


def test_no_friedman_test_without_data():
    assert rank_methods({"a": [1.0, 2.0], "b": [2.0, 1.0]}, better="lower").p_value is None
    same = {"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [1.0, 1.0]}
    assert rank_methods(same, better="lower").p_value is None
    assert rank_methods(same, better="lower").mean_ranks == {"a": 2.0, "b": 2.0, "c": 2.0}
    none = rank_methods({"a": [math.nan], "b": [1.0]}, better="lower")
    assert (none.mean_ranks, none.n, none.excluded) == ({}, 0, 1)


def test_lengths_are_checked():
    with pytest.raises(DataError, match="as many on both sides; got 1 and 2"):
        compare([1.0], [1.0, 2.0])
    with pytest.raises(DataError, match="one value a case from every method; got 1 from a, 2"):
        rank_methods({"a": [1.0], "b": [1.0, 2.0]}, better="lower")
    with pytest.raises(DataError, match="got no method"):
        rank_methods({}, better="lower")
