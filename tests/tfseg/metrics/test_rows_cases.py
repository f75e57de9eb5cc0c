"""The registry's rows of lesions, probabilities, clinical values, challenges and costs."""

import importlib

import numpy as np
import pytest

from tfseg.metrics.lesions import lesion_scores
from tfseg.metrics.registry import METRICS

EXPECTED = {
    "detection": {"lesion_sens", "lesion_precision", "lesion_f1", "fp_per_scan", "froc"},
    "probability": {"auc_roc", "auc_pr", "otsu_dice"},
    "clinical": {"ef", "cdr_error", "id_rate", "loc_error", "avg_dist_contour", "good_contour_pct"},
    "challenge": {"promise_score", "ski10_score"},
    "statistic": {"corr", "bland_altman"},
    "cost": {"runtime", "params", "macs"},
}


@pytest.mark.parametrize("group", EXPECTED)
def test_groups_are_complete(group):
    assert {name for name, info in METRICS.items() if info.group == group} == EXPECTED[group]


@pytest.mark.parametrize("name", sorted(set().union(*EXPECTED.values())))
def test_every_row_names_a_function_that_exists(name):
    module, _, function = METRICS[name].function.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert METRICS[name].summary
    assert METRICS[name].empty


def test_lesion_rows_are_what_lesion_scores_gives():
    mask = np.ones((2, 2), bool)
    levels = {name for name, info in METRICS.items() if info.level == "lesion"}
    assert set(lesion_scores(mask, mask)) == levels
