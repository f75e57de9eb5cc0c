"""Registry rows of what is measured on a pair of label maps: overlap, image, surface, size."""

from __future__ import annotations

from typing import Literal

from tfseg.metrics.info import MetricInfo

_TO_ONE = "neither has it: 1 (or nan); only one has it: 0"
_DISTANCE = "neither has it: 0 (or nan); only one has it: nan, inf or the array's diagonal"
_LONG = "Long et al. 2015, arXiv:1411.4038"
_HEIMANN = "Heimann et al. 2009, 10.1109/TMI.2009.2013851"


def _overlap(
    name: str,
    summary: str,
    source: str,
    *,
    empty: str = _TO_ONE,
    better: Literal["higher", "lower"] = "higher",
    unit: Literal["", "%"] = "",
) -> MetricInfo:
    function = f"tfseg.metrics.overlap:{name}"
    return MetricInfo(name, "class", "overlap", unit, better, summary, empty, source, function)


def _image(name: str, summary: str, source: str) -> MetricInfo:
    empty = "classes that neither map has do not count; a mask of nothing: 1 (or nan)"
    function = f"tfseg.metrics.image:{name}"
    return MetricInfo(name, "image", "overlap", "", "higher", summary, empty, source, function)


def _distance(name: str, summary: str, source: str) -> MetricInfo:
    function = f"tfseg.metrics.surface:{name}"
    return MetricInfo(name, "class", "surface", "mm", "lower", summary, _DISTANCE, source, function)


def _size(
    name: str,
    unit: Literal["", "ml"],
    better: Literal["lower", "near0"],
    summary: str,
    empty: str,
    source: str,
    function: str,
) -> MetricInfo:
    function = f"tfseg.metrics.size:{function}"
    return MetricInfo(name, "class", "size", unit, better, summary, empty, source, function)


OVERLAP_ROWS = (
    _overlap("dice", "2 TP / (2 TP + FP + FN), equal to F1", "Dice 1945, 10.2307/1932409"),
    _overlap("jaccard", "TP / (TP + FP + FN), intersection over union", "Jaccard 1912"),
    _overlap(
        "voe",
        "volumetric overlap error, 1 - Jaccard",
        _HEIMANN,
        empty="neither has it: 0 (or nan); only one has it: 1",
        better="lower",
    ),
    _overlap("sensitivity", "recall, TP / (TP + FN)", "Taha and Hanbury 2015"),
    _overlap(
        "specificity",
        "TN / (TN + FP)",
        "Taha and Hanbury 2015",
        empty="neither has it: 1 (or nan); the reference has nothing else: 1",
    ),
    _overlap("precision", "TP / (TP + FP)", "Taha and Hanbury 2015"),
    _overlap(
        "accuracy",
        "(TP + TN) / (TP + FP + FN + TN), class against rest",
        "Taha and Hanbury 2015",
        empty="neither has it: 1 (or nan); only one has it: by the formula",
    ),
    _overlap("gmean", "sqrt(sensitivity * specificity)", "Kubat and Matwin 1997"),
    _overlap(
        "kappa",
        "Cohen's kappa (po - pe) / (1 - pe), class against rest",
        "Cohen 1960, 10.1177/001316446002000104",
        empty=f"{_TO_ONE}; both maps hold nothing else: 1",
    ),
    _overlap(
        "mcc",
        "(TP TN - FP FN) / sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN))",
        "Matthews 1975, 10.1016/0005-2795(75)90109-9",
        empty=f"{_TO_ONE}; one map holds nothing else: 0, both: 1",
    ),
    _overlap(
        "sa",
        "segmentation accuracy, (1 - |Rs - Ts| / Rs) * 100; |Rs - Ts| = FP + FN, or | |A| - |B| |",
        "medical segmentation surveys",
        empty="neither has it: 100 (or nan); only the prediction: nan; only the reference: 0",
        unit="%",
    ),
    _overlap(
        "or_rate",
        "over-segmentation, FP / (TP + FN + FP)",
        "medical segmentation surveys",
        empty="neither has it: 0 (or nan); only the prediction: 1; only the reference: 0",
        better="lower",
    ),
    _overlap(
        "ur_rate",
        "under-segmentation, FN / (TP + FN + FP)",
        "medical segmentation surveys",
        empty="neither has it: 0 (or nan); only the prediction: 0; only the reference: 1",
        better="lower",
    ),
)

IMAGE_ROWS = (
    _image("pixel_acc", "share of voxels with the right label", _LONG),
    _image("mean_acc", "mean sensitivity of the reference's classes, background included", _LONG),
    _image("mean_iou", "mean Jaccard of the classes in either map, background included", _LONG),
    _image("fw_iou", "mean Jaccard weighted by the class's share of the reference", _LONG),
    _image(
        "kappa_image",
        "Cohen's kappa (po - pe) / (1 - pe) over all classes",
        "Cohen 1960, 10.1177/001316446002000104",
    ),
)

SURFACE_ROWS = (
    _distance(
        "hausdorff",
        "max(max d(A->B), max d(B->A)); the MSD of the LiTS tables",
        "Huttenlocher et al. 1993, 10.1109/34.232073",
    ),
    _distance("hausdorff_to_prediction", "max d(A->B)", "Huttenlocher et al. 1993"),
    _distance("hausdorff_to_reference", "max d(B->A)", "Huttenlocher et al. 1993"),
    _distance(
        "hd95",
        "larger of the 95th percentiles of d(A->B) and d(B->A), or that of both together",
        "Huttenlocher et al. 1993, 10.1109/34.232073",
    ),
    _distance("assd", "(sum d(A->B) + sum d(B->A)) / (n(A) + n(B))", _HEIMANN),
    _distance("asd_to_prediction", "mean d(A->B)", _HEIMANN),
    _distance("asd_to_reference", "mean d(B->A)", _HEIMANN),
    _distance("msd", "mean surface distance, (mean d(A->B) + mean d(B->A)) / 2", _HEIMANN),
    _distance(
        "ahd",
        "average Hausdorff distance, max(mean d(A->B), mean d(B->A))",
        "Dubuisson and Jain 1994, 10.1109/ICPR.1994.576361",
    ),
    _distance("rmsd", "sqrt((sum d(A->B)^2 + sum d(B->A)^2) / (n(A) + n(B)))", _HEIMANN),
    MetricInfo(
        "nsd",
        "class",
        "surface",
        "",
        "higher",
        "surface Dice, (n(d(A->B) <= tol) + n(d(B->A) <= tol)) / (n(A) + n(B))",
        _TO_ONE,
        "Nikolov et al. 2018, arXiv:1809.04430",
        "tfseg.metrics.surface:nsd",
    ),
)

_DIFFERENCE = "neither has it: 0 (or nan); only one has it: by the formula"
_RELATIVE = "neither has it: 0 (or nan); only the prediction: nan; only the reference: by formula"

SIZE_ROWS = (
    _size(
        "volume",
        "ml",
        "near0",
        "volume of the prediction, the same as prediction_ml",
        "0",
        "",
        "volumes_ml",
    ),
    _size("reference_ml", "ml", "near0", "volume of the reference", "0", "", "volumes_ml"),
    _size("prediction_ml", "ml", "near0", "volume of the prediction", "0", "", "volumes_ml"),
    _size(
        "volume_diff",
        "ml",
        "near0",
        "|B| - |A|, positive: too much",
        _DIFFERENCE,
        "Taha and Hanbury 2015",
        "volume_diff",
    ),
    _size(
        "avd",
        "ml",
        "lower",
        "absolute volume difference, | |B| - |A| |",
        _DIFFERENCE,
        "ISLES 2022",
        "avd",
    ),
    _size(
        "rvd",
        "",
        "near0",
        "relative volume difference, (|B| - |A|) / |A|, positive: too much",
        _RELATIVE,
        _HEIMANN,
        "rvd",
    ),
    _size(
        "arvd",
        "",
        "lower",
        "absolute relative volume difference, | |B| - |A| | / |A|",
        _RELATIVE,
        "WMH challenge 2017",
        "arvd",
    ),
)
