"""Every loss and metric that the surveys describe is in the lists.

The ids are those of the specification kept beside the real scans, which is read where it is there.
"""

import re

import pytest

from tfseg.losses import LOSSES, loss_info
from tfseg.metrics.registry import METRICS


def _words(text: str) -> list[str]:
    return text.split()


SURVEYED_LOSSES = _words(
    """
    ce bce wce balanced_ce unet_weighted_ce focal iou_loss dice_loss tversky combo exp_log
    conservative edge_weighted_ce median_freq_ce dynamic_class_ce multiscale_l1 star_shape
    size_constraint smooth_l1 perceptual_vgg16 ghm mae mse deep_supervision_sum attention_dice
    entropy focal_tversky generalised_dice
"""
)

# The terms of adversarial schemes, by what they are for.
SURVEYED_TERMS = _words(
    """
    gan_discriminator gan_generator luc_hybrid lsgan_discriminator lsgan_generator
    energy_discriminator energy_generator fewshot_unlabelled fewshot_fake feature_matching
    pan_projection kl_normal cycle_l1 identity_l1 multiscale_l1_term perceptual_vgg16_term
"""
)

SURVEYED_METRICS = _words(
    """
    dice jaccard sa or_rate ur_rate hausdorff hd95 assd msd rmsd nsd sensitivity specificity
    precision accuracy kappa mcc gmean voe rvd avd auc_roc auc_pr otsu_dice pixel_acc mean_iou
    fw_iou cdr_error ef volume corr bland_altman froc lesion_sens fp_per_scan lesion_f1 id_rate
    loc_error avg_dist_contour good_contour_pct promise_score runtime params macs
"""
)


@pytest.mark.parametrize("name", SURVEYED_LOSSES)
def test_every_surveyed_loss_is_listed(name):
    assert loss_info(name).name in LOSSES


@pytest.mark.parametrize("name", SURVEYED_TERMS)
def test_every_surveyed_term_is_listed(name):
    assert LOSSES[name].kind == "term"


@pytest.mark.parametrize("name", SURVEYED_METRICS)
def test_every_surveyed_metric_is_listed(name):
    assert METRICS[name].summary


def test_the_specification_names_no_other(real_data):
    document = real_data.parent / "LOSSES_METRICS.md"
    if not document.is_file():
        pytest.skip(f"the specification is absent: no file {document}")
    losses, metrics = document.read_text(encoding="utf-8").split("\n## 2.")
    named = []
    for line in losses.splitlines():
        if line.startswith("### 1."):
            whole = line.startswith("### 1.20")
            named += re.findall(r"`(\w+)", line if whole else line.partition("(")[0])
    assert len(named) > 20
    assert set(named) <= set(SURVEYED_LOSSES)
    rows = [line.split("|")[1] for line in metrics.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(SURVEYED_METRICS)
