"""Heart MR and CT in volumes: ACDC, MM-WHS, HVSMR and the left atrium of 2018."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.reading import (
    check_ids,
    find,
    read_image,
    read_values,
)
from tfseg.errors import DataError

_ACDC_FRAME = re.compile(r"(patient\d+)_frame(\d+)\.nii(?:\.gz)?")


def recognises_acdc(root: Path) -> bool:
    """Tell whether patients' folders hold frames and ``Info.cfg``."""
    return any(root.glob("**/patient*/patient*_frame*_gt.nii*"))


def open_acdc(root: Path) -> Dataset:
    """Open ACDC: the frames at end diastole and end systole, a patient's two in one group.

    ``testing`` is the test set. Which frame is which, and the patient's group, are in
    ``Info.cfg`` beside them (see :func:`read_acdc_info`).
    """
    cases = []
    for image in find(root, "**/patient*/patient*_frame*.nii*"):
        matched = _ACDC_FRAME.fullmatch(image.name)
        if not matched:
            continue
        stem = f"{matched[1]}_frame{matched[2]}"
        label = image.with_name(image.name.replace(stem, f"{stem}_gt"))
        test = "testing" in image.relative_to(root).parts
        cases.append(
            Case(
                stem,
                image,
                label if label.is_file() or not test else None,
                split="test" if test else "train",
                group=matched[1],
            )
        )
    cases.sort(key=lambda case: (case.split == "test", case.id))
    return Dataset(
        name="ACDC",
        adapter="acdc",
        root=root,
        dims=3,
        modalities=("MR",),
        labels=("background", "right_ventricle", "myocardium", "left_ventricle"),
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, {0: 0, 1: 1, 2: 2, 3: 3}),
    )


def read_acdc_info(path: Path) -> dict[str, str]:
    """Return what a patient's ``Info.cfg`` says: ED, ES, Group, Height, NbFrame, Weight.

    Raises:
        DataError: missing, or a line that is not ``key: value``.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    pairs = [line.partition(":") for line in lines if line.strip()]
    if any(not colon for _, colon, _ in pairs):
        raise DataError(f"{path}: must hold lines of 'key: value'.")
    return {key.strip(): value.strip() for key, _, value in pairs}


def example_acdc(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write patients with two labelled frames each, one of them for testing."""
    patients = (cases + 1) // 2
    for number in range(1, patients + 2):
        half = "training" if number <= patients else "testing"
        name = f"patient{number:03d}"
        folder = root / half / name
        info = "ED: 1\nES: 9\nGroup: NOR\nHeight: 170.0\nNbFrame: 12\nWeight: 65.0\n"
        examples.write_text(folder / "Info.cfg", info)
        for frame in (1, 9):
            image, label = examples.draw(rng, 3)
            stem = f"{name}_frame{frame:02d}"
            examples.save(image, folder / f"{stem}.nii.gz")
            examples.save(label, folder / f"{stem}_gt.nii.gz")
        examples.save(np.stack([image] * 2, axis=-1), folder / f"{name}_4d.nii.gz")


# MM-WHS' values; 421 stands in some label maps for the left atrium.
_MMWHS = {
    500: "left_ventricle",
    600: "right_ventricle",
    420: "left_atrium",
    550: "right_atrium",
    205: "myocardium",
    820: "ascending_aorta",
    850: "pulmonary_artery",
}
_MMWHS_VALUES = {0: 0, **{value: index for index, value in enumerate(_MMWHS, start=1)}, 421: 3}


def recognises_mmwhs(root: Path) -> bool:
    """Tell whether there are files named like ``ct_train_1001_image.nii.gz``."""
    return any(root.glob("**/*_train_*_label.nii*"))


def open_mmwhs(root: Path) -> Dataset:
    """Open MM-WHS: CT, MR or both, whichever folders are there."""
    cases = []
    for image in find(root, "**/*_image.nii*"):
        stem = image.name.partition("_image.nii")[0]
        split = "train" if "_train_" in stem else "test"
        label = image.with_name(image.name.replace("_image.nii", "_label.nii"))
        cases.append(Case(stem, image, label if split == "train" else None, split=split))
    cases.sort(key=lambda case: (case.split == "test", case.id))
    kinds = sorted({case.id.partition("_")[0].upper() for case in cases})
    return Dataset(
        name="MM-WHS",
        adapter="mmwhs",
        root=root,
        dims=3,
        modalities=("/".join(kinds),),
        labels=("background", *_MMWHS.values()),
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, _MMWHS_VALUES),
        stored=_MMWHS_VALUES,
    )


def example_mmwhs(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write CTs with seven structures, and one test scan."""
    stored = np.array([0, *_MMWHS], np.uint16)
    for number in range(cases):
        image, label = examples.draw(rng, len(_MMWHS))
        examples.save(image, root / f"ct_train/ct_train_{1001 + number}_image.nii.gz")
        examples.save(stored[label], root / f"ct_train/ct_train_{1001 + number}_label.nii.gz")
    image, _ = examples.draw(rng, len(_MMWHS))
    examples.save(image, root / "ct_test/ct_test_2001_image.nii.gz")


_HVSMR = re.compile(r"training_(axial_full|axial_crop|sa_crop)_(pat\d+)\.nii(?:\.gz)?")


def recognises_hvsmr(root: Path) -> bool:
    """Tell whether there are scans named like ``training_axial_full_pat0.nii.gz``."""
    return any(root.glob("**/training_*_pat*.nii*"))


def open_hvsmr(root: Path) -> Dataset:
    """Open HVSMR 2016; a patient's differently cropped scans are one group."""
    labels = {path.name: path for path in find(root, "**/training_*_pat*-label.nii*")}
    cases = []
    for image in find(root, "**/training_*_pat*.nii*"):
        matched = _HVSMR.fullmatch(image.name)
        if matched:
            stem = f"{matched[1]}_{matched[2]}"
            name = image.name.replace(".nii", "-label.nii", 1)
            if name not in labels:
                raise DataError(f"{image}: its reference {name} is missing. Restore it.")
            cases.append(Case(stem, image, labels[name], group=matched[2]))
    for image in find(root, "**/testing_*_pat*.nii*"):
        stem = image.name.removeprefix("testing_").partition(".nii")[0]
        cases.append(Case(stem, image, split="test"))
    return Dataset(
        name="HVSMR 2016",
        adapter="hvsmr2016",
        root=root,
        dims=3,
        modalities=("MR",),
        labels=("background", "myocardium", "blood_pool"),
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, {0: 0, 1: 1, 2: 2}),
    )


def example_hvsmr(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write two crops of each patient, and one test scan."""
    crops = ("axial_full", "sa_crop")
    for number in range(cases):
        image, label = examples.draw(rng, 2)
        stem = f"training_{crops[number % 2]}_pat{number // 2}"
        examples.save(image, root / f"Training dataset/{stem}.nii.gz")
        examples.save(label, root / f"Ground truth/{stem}-label.nii.gz")
    image, _ = examples.draw(rng, 2)
    examples.save(image, root / "Test dataset/testing_axial_full_pat10.nii.gz")


def recognises_lasc(root: Path) -> bool:
    """Tell whether case folders hold ``lgemri.nrrd`` and ``laendo.nrrd``."""
    return any(root.glob("**/laendo.nrrd"))


def open_lasc(root: Path) -> Dataset:
    """Open the left atrial challenge of 2018: late gadolinium enhanced MR."""
    cases = []
    for image in find(root, "**/lgemri.nrrd"):
        test = "Testing" in image.parts[-3] if len(image.parts) > 2 else False
        label = image.with_name("laendo.nrrd")
        cases.append(
            Case(
                image.parent.name,
                image,
                label if label.is_file() or not test else None,
                split="test" if test else "train",
            )
        )
    cases.sort(key=lambda case: (case.split == "test", case.id))
    return Dataset(
        name="Left Atrial Segmentation Challenge 2018",
        adapter="lasc2018",
        root=root,
        dims=3,
        modalities=("MR",),
        labels=("background", "left_atrium"),
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, {0: 0, 1: 1, 255: 1}),
        stored={0: 0, 1: 1, 255: 1},
    )


def example_lasc(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write training folders, and one test folder."""
    for number in range(cases + 1):
        image, label = examples.draw(rng, 1)
        half = "Training Set" if number < cases else "Testing Set"
        folder = root / half / f"CASE{number:04d}"
        examples.save(image, folder / "lgemri.nrrd")
        examples.save(label * np.uint8(255), folder / "laendo.nrrd")


ADAPTERS = (
    Adapter(
        name="acdc",
        title="ACDC: ventricles and myocardium in cine MR",
        layout="patient001/patient001_frame01.nii.gz with patient001_frame01_gt.nii.gz",
        dims=3,
        reference="Bernard et al. 2018, doi:10.1109/TMI.2018.2837502",
        licence="CC BY-NC-SA 4.0",
        registration=True,
        recognises=recognises_acdc,
        open=open_acdc,
        example=example_acdc,
    ),
    Adapter(
        name="mmwhs",
        title="MM-WHS: seven structures of the heart in CT and MR",
        layout="ct_train_1001_image.nii.gz with ct_train_1001_label.nii.gz",
        dims=3,
        reference="Zhuang and Shen 2016, doi:10.1016/j.media.2016.02.006",
        licence="terms of use of the challenge",
        registration=True,
        recognises=recognises_mmwhs,
        open=open_mmwhs,
        example=example_mmwhs,
    ),
    Adapter(
        name="hvsmr2016",
        title="HVSMR 2016: myocardium and blood pool of congenital heart disease",
        layout="training_axial_full_pat0.nii.gz with training_axial_full_pat0-label.nii.gz",
        dims=3,
        reference="Pace et al. 2015, doi:10.1007/978-3-319-24574-4_10",
        licence="terms of use of the challenge",
        registration=True,
        recognises=recognises_hvsmr,
        open=open_hvsmr,
        example=example_hvsmr,
    ),
    Adapter(
        name="lasc2018",
        title="Left Atrial Segmentation Challenge 2018",
        layout="CASE/lgemri.nrrd with CASE/laendo.nrrd",
        dims=3,
        reference="Xiong et al. 2021, doi:10.1016/j.media.2020.101832",
        licence="terms of use of the challenge",
        registration=True,
        recognises=recognises_lasc,
        open=open_lasc,
        example=example_lasc,
    ),
)
