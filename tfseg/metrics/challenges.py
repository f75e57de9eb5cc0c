"""What published challenges measure, as data: regions, metrics, rules and overall figures.

A :class:`Protocol` names its regions by the label values of the challenge's published coding.
It measures one case at a time (:meth:`Protocol.measure`) and then derives the figures that only
the whole set has (:meth:`Protocol.overall`): a Dice over all voxels, a correlation, a score.

Where organisers left a rule open or their code is not public, the docstring says what is
assumed here. Figures are comparable between runs of this package; only the organisers' own
server gives a rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import ConfigError, unknown_name
from tfseg.metrics import clinical
from tfseg.metrics.lesions import LesionCounts, LesionOptions, count_lesions
from tfseg.metrics.measure import measure_regions
from tfseg.metrics.options import DEFAULT_OPTIONS, MetricOptions
from tfseg.metrics.probability import auc_roc
from tfseg.metrics.scores import promise_score, promise_thirds

Scores = dict[str, dict[str, float]]

_VOLUMES = ("reference_ml", "prediction_ml")


@dataclass(frozen=True, eq=False)
class CaseMaps:
    """The label maps of one case, on one grid.

    Attributes:
        reference: integer labels ([z,] y, x).
        prediction: integer labels of the same shape.
        spacing_mm: voxel size along each axis.
        mask: where results count, boolean, same shape; ``None`` is everywhere.
        probabilities: predicted class probabilities ([z,] y, x, k), if they were saved.
    """

    reference: NDArray[Any]
    prediction: NDArray[Any]
    spacing_mm: tuple[float, ...]
    mask: NDArray[Any] | None = None
    probabilities: NDArray[Any] | None = None

    def region(self, values: tuple[int, ...]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return where reference and prediction hold one of ``values``, inside the mask."""
        reference, prediction = (
            np.isin(labels, values) for labels in (self.reference, self.prediction)
        )
        if self.mask is not None:
            inside = self.mask.astype(bool)
            reference, prediction = reference & inside, prediction & inside
        return reference, prediction


@dataclass(frozen=True)
class ProtocolCase:
    """What a protocol found in one case.

    Attributes:
        scores: region -> metric -> value; NaN where the metric is not defined.
        tallies: counts that :meth:`Protocol.overall` adds up; not for display.
    """

    scores: Scores
    tallies: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """How a challenge evaluates.

    Attributes:
        name: for ``tfseg evaluate --protocol``.
        title: the challenge.
        regions: region -> the label values it unites, in the challenge's published coding.
        metrics: registry ids measured for every region; the volumes of both maps,
            ``reference_ml`` and ``prediction_ml``, come in addition.
        coding: what the label values mean.
        source: publication.
        options: rules for empty regions, tolerance and percentile.
        extend: adds what is measured for some regions only.
        summarise: derives set-level figures from the cases, by case id.
        extra: ids that ``extend`` adds, in the order of columns.
    """

    name: str
    title: str
    regions: Mapping[str, tuple[int, ...]]
    metrics: tuple[str, ...]
    coding: str
    source: str
    options: MetricOptions = DEFAULT_OPTIONS
    extend: Callable[[CaseMaps, ProtocolCase], None] | None = None
    summarise: Callable[[Mapping[str, ProtocolCase]], dict[str, float]] | None = None
    extra: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Every metric id that a case's scores may hold, in the order of columns."""
        return (*self.metrics, *self.extra, *_VOLUMES)

    def check_labels(self, num_classes: int) -> None:
        """Refuse a data set whose labels cannot be the challenge's.

        Raises:
            ConfigError: the highest label value of the protocol is missing.
        """
        needed = 1 + max(value for values in self.regions.values() for value in values)
        if num_classes < needed:
            raise ConfigError(
                f"the protocol {self.name} needs the labels 0 to {needed - 1} ({self.coding}); "
                f"the data set has 0 to {num_classes - 1}. Use the challenge's own coding, or "
                "name the regions with --regions."
            )

    def measure(self, maps: CaseMaps, num_classes: int) -> ProtocolCase:
        """Measure one case.

        Args:
            maps: the case.
            num_classes: label values of the data set, the background included.

        Raises:
            ConfigError: the data set has too few labels.
            DataError: shapes differ or labels are out of range.
        """
        self.check_labels(num_classes)
        scores = measure_regions(
            maps.reference,
            maps.prediction,
            self.regions,
            num_classes,
            maps.spacing_mm,
            metrics=(*self.metrics, *_VOLUMES),
            mask=maps.mask,
            options=self.options,
        )
        found = ProtocolCase(scores)
        for region, values in self.regions.items():
            found.tallies.update(_voxels(maps, region, values))
        if self.extend is not None:
            self.extend(maps, found)
        return found

    def overall(self, cases: Mapping[str, ProtocolCase]) -> dict[str, float]:
        """Return the figures of the whole set by name; empty without cases or such figures.

        Args:
            cases: case id -> what :meth:`measure` returned. Ids matter where cases belong
                together (the two phases of an ACDC patient).
        """
        return self.summarise(cases) if self.summarise is not None and cases else {}


def protocol(name: str) -> Protocol:
    """Return the protocol called ``name``.

    Raises:
        ConfigError: no such protocol; the message lists the nearest names.
    """
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def _voxels(maps: CaseMaps, region: str, values: tuple[int, ...]) -> dict[str, float]:
    reference, prediction = maps.region(values)
    counted = {"reference": reference, "prediction": prediction, "common": reference & prediction}
    return {f"{region}.{name}_vox": int(np.count_nonzero(m)) for name, m in counted.items()}


def _total(cases: Mapping[str, ProtocolCase], tally: str) -> float:
    return sum(case.tallies[tally] for case in cases.values())


def _global_dice(cases: Mapping[str, ProtocolCase], region: str) -> float:
    """Return the Dice of all cases' voxels taken together; 1 where there are none at all."""
    size = _total(cases, f"{region}.reference_vox") + _total(cases, f"{region}.prediction_vox")
    return 2 * _total(cases, f"{region}.common_vox") / size if size else 1.0


def _column(cases: Mapping[str, ProtocolCase], region: str, metric: str) -> NDArray[np.float64]:
    return np.array([case.scores[region][metric] for case in cases.values()])


# --- LiTS ------------------------------------------------------------------------------------

_LITS_LESIONS = LesionOptions(matching="merged", threshold=0.5, connectivity=1)


def _lits_lesions(maps: CaseMaps, found: ProtocolCase) -> None:
    counts = count_lesions(*maps.region(PROTOCOLS["lits"].regions["tumour"]), _LITS_LESIONS)
    found.scores["tumour"].update(lesion_sens=counts.sensitivity, lesion_precision=counts.precision)
    found.tallies.update(
        lesions=counts.reference,
        lesions_found=counts.found,
        lesions_predicted=counts.predicted,
        lesions_true=counts.true,
    )


def _lits_overall(cases: Mapping[str, ProtocolCase]) -> dict[str, float]:
    burdens = np.array(
        [
            [
                _share(case.tallies[f"tumour.{side}_vox"], case.tallies[f"liver.{side}_vox"])
                for side in ("reference", "prediction")
            ]
            for case in cases.values()
        ]
    )  # (cases, 2)
    errors = burdens[:, 0] - burdens[:, 1]
    lesions = LesionCounts(
        reference=int(_total(cases, "lesions")),
        found=int(_total(cases, "lesions_found")),
        predicted=int(_total(cases, "lesions_predicted")),
        true=int(_total(cases, "lesions_true")),
    )
    return {
        "liver_dice_global": _global_dice(cases, "liver"),
        "tumour_dice_global": _global_dice(cases, "tumour"),
        "lesion_recall": lesions.sensitivity,
        "lesion_precision": lesions.precision,
        "tumour_burden_rmse": float(np.sqrt(np.mean(errors**2))),
        "tumour_burden_max_error": float(np.max(np.abs(errors))),
    }


def _share(part: float, whole: float) -> float:
    """Return part / whole; a scan without liver has no tumour burden, 0."""
    return part / whole if whole else 0.0


# --- KiTS, BraTS, DRIVE ----------------------------------------------------------------------


def _kits_overall(cases: Mapping[str, ProtocolCase]) -> dict[str, float]:
    kidney, tumour = (_column(cases, region, "dice").mean() for region in ("kidney", "tumour"))
    return {"kits_composite": float((kidney + tumour) / 2)}


def _drive_auc(maps: CaseMaps, found: ProtocolCase) -> None:
    found.scores["vessel"]["auc_roc"] = (
        float("nan")
        if maps.probabilities is None
        else auc_roc(maps.reference == 1, maps.probabilities[..., 1], maps.mask)
    )


# --- ACDC ------------------------------------------------------------------------------------


def _acdc_overall(cases: Mapping[str, ProtocolCase]) -> dict[str, float]:
    """Compare volumes and ejection fractions of the patients whose two phases are there.

    The case ids are ``<patient>_frame<number>``; of a patient's two frames the one with the
    larger left ventricle in the reference is end-diastole. Patients with another number of
    frames count for the volumes of single frames only.
    """
    result: dict[str, float] = {}
    for region in ("lv", "rv"):
        reference = _column(cases, region, "reference_ml")
        prediction = _column(cases, region, "prediction_ml")
        result[f"{region}_volume_corr"] = clinical.corr(reference, prediction)
        result[f"{region}_volume_bias_ml"] = float(np.mean(prediction - reference))
    pairs = _phases(cases)
    result["patients"] = len(pairs)
    for region in ("lv", "rv"):
        fractions = np.array(
            [
                [
                    clinical.ef(*(case.scores[region][f"{side}_ml"] for case in pair))
                    for side in ("reference", "prediction")
                ]
                for pair in pairs
            ]
        ).reshape(-1, 2)
        fractions = fractions[np.isfinite(fractions).all(axis=1)]
        result[f"{region}_ef_corr"] = clinical.corr(fractions[:, 0], fractions[:, 1])
        errors = fractions[:, 1] - fractions[:, 0]
        result[f"{region}_ef_bias"] = float(np.mean(errors)) if len(errors) else float("nan")
    return result


def _phases(cases: Mapping[str, ProtocolCase]) -> list[tuple[ProtocolCase, ProtocolCase]]:
    """Return (end-diastole, end-systole) of every patient with exactly two frames."""
    patients: dict[str, list[ProtocolCase]] = {}
    for name, case in cases.items():
        patient, frame, _ = name.rpartition("_frame")
        if frame:
            patients.setdefault(patient, []).append(case)
    pairs = []
    for frames in patients.values():
        if len(frames) == 2:
            first, second = frames
            larger = first.scores["lv"]["reference_ml"] >= second.scores["lv"]["reference_ml"]
            pairs.append((first, second) if larger else (second, first))
    return pairs


# --- PROMISE12 -------------------------------------------------------------------------------


def _promise_parts(maps: CaseMaps, found: ProtocolCase) -> None:
    parts = {"prostate": found.scores["prostate"]}
    for part, slices in promise_thirds(maps.reference == 1).items():
        measured = measure_regions(
            maps.reference[slices] == 1,
            maps.prediction[slices] == 1,
            {part: (1,)},
            2,
            maps.spacing_mm,
            metrics=(*PROTOCOLS["promise12"].metrics, *_VOLUMES),
            mask=None if maps.mask is None else maps.mask[slices],
            options=PROTOCOLS["promise12"].options,
        )
        found.scores[part] = measured[part]
        parts[part] = found.scores[part]
    found.scores["prostate"]["promise_score"] = promise_score(parts)


def _promise_overall(cases: Mapping[str, ProtocolCase]) -> dict[str, float]:
    return {"promise_score": float(_column(cases, "prostate", "promise_score").mean())}


PROTOCOLS: dict[str, Protocol] = {
    "brats": Protocol(
        name="brats",
        title="BraTS 2012-2020: whole tumour, tumour core, enhancing tumour",
        # Label 3 exists in 2012-2016 only; from 2017 on nothing holds it.
        regions={
            "whole tumour": (1, 2, 3, 4),
            "tumour core": (1, 3, 4),
            "enhancing tumour": (4,),
        },
        metrics=("dice", "hd95", "sensitivity", "specificity"),
        coding="1 necrosis, 2 oedema, 3 non-enhancing (2012-2016), 4 enhancing",
        source="Menze et al. 2015, doi:10.1109/TMI.2014.2377694; Bakas et al. 2018, "
        "arXiv:1811.02629",
        # The organisers give 0 for a region that neither map has, and 373.13 mm for one that
        # only one map has: the diagonal of their 240 x 240 x 155 mm grid.
        options=MetricOptions(empty_distance="diag"),
    ),
    "lits": Protocol(
        name="lits",
        title="LiTS 2017: liver and liver tumours",
        regions={"liver": (1, 2), "tumour": (2,)},
        # Their maximum surface distance (MSD) is the Hausdorff distance.
        metrics=("dice", "voe", "rvd", "assd", "hausdorff", "rmsd"),
        coding="1 liver, 2 tumour",
        source="Bilic et al. 2023, doi:10.1016/j.media.2022.102680",
        extend=_lits_lesions,
        summarise=_lits_overall,
        extra=("lesion_sens", "lesion_precision"),
    ),
    "promise12": Protocol(
        name="promise12",
        title="PROMISE12: prostate, whole and its apical and basal thirds",
        regions={"prostate": (1,)},
        metrics=("dice", "hd95", "assd", "arvd"),
        coding="1 prostate",
        source="Litjens et al. 2014, doi:10.1016/j.media.2013.12.002",
        extend=_promise_parts,
        summarise=_promise_overall,
        extra=("promise_score",),
    ),
    "drive": Protocol(
        name="drive",
        title="DRIVE: retinal vessels inside the field of view",
        regions={"vessel": (1,)},
        metrics=("accuracy", "sensitivity", "specificity", "dice"),
        coding="1 vessel",
        source="Staal et al. 2004, doi:10.1109/TMI.2004.825627",
        extend=_drive_auc,
        extra=("auc_roc",),
    ),
    "kits": Protocol(
        name="kits",
        title="KiTS19: kidney (with its tumour) and tumour",
        regions={"kidney": (1, 2), "tumour": (2,)},
        metrics=("dice",),
        coding="1 kidney, 2 tumour",
        source="Heller et al. 2021, doi:10.1016/j.media.2020.101821",
        summarise=_kits_overall,
    ),
    "acdc": Protocol(
        name="acdc",
        title="ACDC 2017: right ventricle, myocardium, left ventricle",
        regions={"rv": (1,), "myo": (2,), "lv": (3,)},
        metrics=("dice", "hausdorff"),
        coding="1 right ventricle, 2 myocardium, 3 left ventricle",
        source="Bernard et al. 2018, doi:10.1109/TMI.2018.2837502",
        summarise=_acdc_overall,
    ),
}
