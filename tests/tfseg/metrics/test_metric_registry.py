"""The list of metrics: complete, consistent with what is computed, and documented."""

import importlib
import itertools
import math
from typing import get_args

import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.metrics import METRICS, metric_info
from tfseg.metrics.info import Group, Level
from tfseg.metrics.measure import MEASURED, measure

# Every metric of the surveys that is measured on a pair of label maps.
PROMISED = {
    "dice", "jaccard", "sa", "or_rate", "ur_rate", "hausdorff", "hd95", "assd", "msd", "rmsd",
    "nsd", "sensitivity", "specificity", "precision", "accuracy", "kappa", "mcc", "gmean",
    "voe", "rvd", "avd", "pixel_acc", "mean_iou", "fw_iou", "volume",
}  # fmt: skip


def test_all_that_is_promised_is_there():
    assert PROMISED <= set(MEASURED) <= set(METRICS)


@pytest.mark.parametrize("info", METRICS.values(), ids=lambda info: info.name)
def test_every_row_is_filled_in(info):
    assert METRICS[info.name] is info
    assert info.level in get_args(Level)
    assert info.group in get_args(Group)
    assert info.better in {"higher", "lower", "near0"}
    assert info.summary
    assert info.empty
    assert "\n" not in info.summary + info.empty + info.source
    module, name = info.function.split(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_groups_stand_together():
    groups = [info.group for info in METRICS.values()]
    changes = sum(a != b for a, b in itertools.pairwise(groups))
    assert changes == len(set(groups)) - 1


def test_better_is_true_of_a_perfect_and_a_bad_map():
    """A prediction equal to the reference is at least as good as a wrong one, by every metric."""
    rng = np.random.default_rng(3)
    reference = rng.integers(0, 2, (5, 6, 7)).astype(np.uint8)
    wrong = np.zeros_like(reference)
    wrong[0] = 1 - reference[0]
    wrong[1] = 1
    perfect = measure(reference, reference, 2, (1, 1, 1), metrics=MEASURED)
    bad = measure(reference, wrong, 2, (1, 1, 1), metrics=MEASURED)
    for name in MEASURED:
        good, poor = (float(np.atleast_1d(found[name])[-1]) for found in (perfect, bad))
        if METRICS[name].better == "higher":
            assert good > poor, name
        elif METRICS[name].better == "lower":
            assert good == 0 <= poor, name
        elif name in {"rvd", "volume_diff"}:
            assert good == 0 != poor, name
        if METRICS[name].unit == "%":
            assert good == 100
        elif METRICS[name].better == "higher":
            assert math.isclose(good, 1)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown metric 'hd_95'\. Did you mean hd95"):
        metric_info("hd_95")
