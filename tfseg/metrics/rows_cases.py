"""Registry rows of what needs more than a pair of label maps: lesions, probabilities, sets."""

from __future__ import annotations

from tfseg.metrics.info import Level, MetricInfo

_NO_POSITIVES = "the reference lacks the class: nan"
_LANDMARKS = "10.1007/978-3-642-40763-5_33"


def _detection(name: str, summary: str, empty: str, *, better: str = "higher") -> MetricInfo:
    return MetricInfo(
        name,
        "lesion",
        "detection",
        "",
        "lower" if better == "lower" else "higher",
        summary,
        empty,
        "Bilic et al. 2023 (LiTS), 10.1016/j.media.2022.102680",
        "tfseg.metrics.lesions:lesion_scores",
    )


def _probability(name: str, summary: str, empty: str, source: str) -> MetricInfo:
    function = f"tfseg.metrics.probability:{name}"
    return MetricInfo(
        name, "probability", "probability", "", "higher", summary, empty, source, function
    )


def _cost(name: str, unit: str, summary: str) -> MetricInfo:
    return MetricInfo(
        name,
        "network",
        "cost",
        "s" if unit == "s" else "",
        "lower",
        summary,
        "not of label maps",
        "",
        f"tfseg.models.cost:{name}",
    )


DETECTION_ROWS = (
    _detection(
        "lesion_sens",
        "share of the reference's connected components that are found (IoU >= 0.5, one to one)",
        "no lesion in the reference: nan",
    ),
    _detection(
        "lesion_precision",
        "share of the predicted connected components that match one of the reference",
        "no lesion predicted: nan",
    ),
    _detection(
        "lesion_f1",
        "harmonic mean of lesion_sens and lesion_precision",
        "neither has a lesion: 1; only one has: 0",
    ),
    _detection(
        "fp_per_scan",
        "predicted connected components that match none of the reference; mean: per scan",
        "no lesion predicted: 0",
        better="lower",
    ),
    MetricInfo(
        "froc",
        "set",
        "detection",
        "",
        "higher",
        "mean lesion sensitivity at 1/8, 1/4, 1/2, 1, 2, 4, 8 false positives per scan",
        "no lesion in any reference: not defined",
        "Setio et al. 2017 (LUNA16), 10.1016/j.media.2017.06.015",
        "tfseg.metrics.froc:froc",
    ),
)

PROBABILITY_ROWS = (
    _probability(
        "auc_roc",
        "P(score of a class voxel > another's) + P(equal) / 2, exact",
        "the reference lacks the class, or has nothing else: nan",
        "Hanley and McNeil 1982, 10.1148/radiology.143.1.7063747",
    ),
    _probability(
        "auc_pr",
        "average precision, sum over thresholds of precision times recall gained, exact",
        _NO_POSITIVES,
        "Davis and Goadrich 2006, 10.1145/1143844.1143874",
    ),
    _probability(
        "otsu_dice",
        "Dice of the probability map above its own Otsu threshold",
        "neither has it: 1; only one has it: 0",
        "Otsu 1979, 10.1109/TSMC.1979.4310076; Son et al. 2017, arXiv:1706.09318",
    ),
)

_SET: Level = "set"

CLINICAL_ROWS = (
    MetricInfo(
        "ef",
        _SET,
        "clinical",
        "",
        "near0",
        "ejection fraction, (EDV - ESV) / EDV; compare prediction minus reference",
        "no volume at end-diastole: nan",
        "Bernard et al. 2018 (ACDC), 10.1109/TMI.2018.2837502",
        "tfseg.metrics.clinical:ef",
    ),
    MetricInfo(
        "cdr_error",
        _SET,
        "clinical",
        "",
        "lower",
        "|vertical cup-to-disc ratio of B - that of A|, rows spanned",
        "either map has no disc: nan; no cup: ratio 0",
        "Orlando et al. 2020 (REFUGE), 10.1016/j.media.2019.101570",
        "tfseg.metrics.clinical:cdr_error",
    ),
    MetricInfo(
        "id_rate",
        _SET,
        "clinical",
        "",
        "higher",
        "share of vertebrae placed within 20 mm of their centre and nearest to it",
        "no vertebra in the reference: nan; one not predicted: not identified",
        f"Glocker et al. 2013, {_LANDMARKS}",
        "tfseg.metrics.clinical:id_rate",
    ),
    MetricInfo(
        "loc_error",
        _SET,
        "clinical",
        "mm",
        "lower",
        "mean distance of predicted from reference centres of the vertebrae that both have",
        "no vertebra in both: nan",
        f"Glocker et al. 2013, {_LANDMARKS}",
        "tfseg.metrics.clinical:loc_error",
    ),
    MetricInfo(
        "avg_dist_contour",
        _SET,
        "clinical",
        "mm",
        "lower",
        "mean distance from points along the predicted contour to the expert's polygon",
        "outlines of masks: neither has it: 0; only one has it: nan",
        "Radau et al. 2009 (Sunnybrook), hdl:10380/3070",
        "tfseg.metrics.contours:avg_dist_contour",
    ),
    MetricInfo(
        "good_contour_pct",
        _SET,
        "clinical",
        "%",
        "higher",
        "share of expert contours with avg_dist_contour below 5 mm",
        "no contours: nan; one not predicted: not good",
        "Radau et al. 2009 (Sunnybrook), hdl:10380/3070",
        "tfseg.metrics.contours:good_contour_pct",
    ),
)

CHALLENGE_ROWS = (
    MetricInfo(
        "promise_score",
        _SET,
        "challenge",
        "",
        "higher",
        "mean of max(0, 100 - 15 error / observer's error) over 4 metrics of whole, apex, base",
        "a part not segmented at all: 0 points for its distances",
        "Litjens et al. 2014 (PROMISE12), 10.1016/j.media.2013.12.002; observer's errors assumed",
        "tfseg.metrics.scores:promise_score",
    ),
    MetricInfo(
        "ski10_score",
        _SET,
        "challenge",
        "",
        "higher",
        "mean of max(0, 100 - 25 error / second rater's error) over bones and cartilages",
        "a structure not segmented at all: 0 points",
        "Heimann et al. 2010 (SKI10)",
        "tfseg.metrics.scores:ski10_score",
    ),
)

STATISTIC_ROWS = (
    MetricInfo(
        "corr",
        _SET,
        "statistic",
        "",
        "higher",
        "Pearson's correlation of a quantity (volume, EF) between prediction and reference",
        "fewer than 2 cases, or no variation: nan",
        "Pearson 1895, 10.1098/rspl.1895.0041",
        "tfseg.metrics.clinical:corr",
    ),
    MetricInfo(
        "bland_altman",
        _SET,
        "statistic",
        "",
        "near0",
        "bias = mean difference; limits of agreement = bias -+ 1.96 SD; 95 % intervals of each",
        "fewer than 2 cases: limits nan",
        "Bland and Altman 1999, 10.1177/096228029900800204",
        "tfseg.metrics.clinical:bland_altman",
    ),
)

COST_ROWS = (
    _cost("runtime", "s", "median wall time of a forward pass on one sample, after a first one"),
    _cost("params", "", "trainable parameters"),
    _cost("macs", "", "multiply-accumulates of convolutions and dense layers in a forward pass"),
)
