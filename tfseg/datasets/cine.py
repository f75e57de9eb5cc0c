"""Cine MR of the heart as single DICOM images: Sunnybrook, RVSC and LVSC.

Each labelled image is a case of its own; those of a patient are one group.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.inferred import read_table
from tfseg.datasets.polygons import fill, read_points
from tfseg.datasets.reading import (
    binary,
    check_ids,
    find,
    label_path,
    one_channel,
)
from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.volume import Volume

_RINGS = ("background", "myocardium", "cavity")


def _read_slice(case: Case) -> Volume:
    return read_volume(case.image)


def _read_rings(case: Case) -> Volume:
    """Read a contour of the epicardium and one of the endocardium inside it."""
    image = read_volume(case.image)
    classes = np.zeros(image.shape, np.uint8)
    for value, path in enumerate((label_path(case), *case.parts), start=1):
        classes[0][fill([read_points(path)], image.shape[1:])] = value
    return image.with_array(classes)


def _ringed(root: Path, adapter: str, name: str, cases: list[Case], left: int) -> Dataset:
    remark = f"{left} images with one contour of the two are left out."
    return Dataset(
        name=name,
        adapter=adapter,
        root=root,
        dims=2,
        modalities=("MR",),
        labels=_RINGS,
        cases=check_ids(root, cases),
        read_image=_read_slice,
        read_label=_read_rings,
        remarks=(remark,) if left else (),
    )


_SCD_CONTOUR = re.compile(r"IM-\d+-(\d+)-icontour-manual\.txt")
_SCD_IMAGE = re.compile(r"IM-(\d+)-(\d+)\.dcm")
_SCD_PATIENT = re.compile(r"(.*?)-?0*(\d+)$")


def recognises_scd(root: Path) -> bool:
    """Tell whether the Sunnybrook data's table of patients or its folders SC-HF-I-1 are there."""
    return any(root.glob("**/scd_patientdata.csv")) or any(
        root.glob("**/SC-*/contours-manual/**/*-icontour-manual.txt")
    )


def open_scd(root: Path) -> Dataset:
    """Open the Sunnybrook Cardiac Data: images that have both contours.

    They are published with a table that tells which folder is whose (``SCD0000101`` of
    ``SC-HF-I-01``), and as the challenge of 2009, where images too are in ``SC-HF-I-1``.

    Raises:
        DataError: contours without their image.
    """
    tables = find(root, "**/scd_patientdata.csv")
    rows = read_table(tables[0], ("PatientID", "OriginalID")) if tables else []
    folder_of = {_scd_name(row["OriginalID"]): row["PatientID"] for row in rows}
    stacks = {} if tables else _scd_stacks(root)
    folder_of |= {_scd_name(name): name for name in stacks}
    cases, left = [], 0
    for inner in find(root, "**/*-icontour-manual.txt"):
        matched = _SCD_CONTOUR.fullmatch(inner.name)
        patient = next((_scd_name(p) for p in inner.parts if _scd_name(p) in folder_of), None)
        if not matched or patient is None:
            continue
        outer = inner.with_name(inner.name.replace("icontour", "ocontour"))
        if not outer.is_file():
            left += 1
            continue
        # The number of the series differs between contour and image.
        place = f"{folder_of[patient]}/CINESAX_*/IM-*-{matched[1]}.dcm"
        if stacks:
            place = f"{folder_of[patient]}/IM-{stacks[folder_of[patient]]}-{matched[1]}.dcm"
        images = find(root, f"**/{place}")
        if not images:
            raise DataError(f"{inner}: its image {place} is missing. Restore it.")
        name = f"{folder_of[patient]}_{matched[1]}"
        cases.append(Case(name, images[0], outer, parts=(inner,), group=folder_of[patient]))
    return _ringed(root, "scd", "Sunnybrook Cardiac Data", cases, left)


def _scd_stacks(root: Path) -> dict[str, str]:
    """Return patient's folder -> number of the short-axis series, the one of most images."""
    counts: dict[str, Counter[str]] = {}
    for path in find(root, "**/SC-*/IM-*-*.dcm"):
        matched = _SCD_IMAGE.fullmatch(path.name)
        if matched:
            counts.setdefault(path.parent.name, Counter())[matched[1]] += 1
    return {name: series.most_common(1)[0][0] for name, series in counts.items()}


def _scd_name(name: str) -> str:
    """Return a patient's original name without zeros before its number: SC-HF-I-1."""
    matched = _SCD_PATIENT.fullmatch(name)
    return f"{matched[1]}-{matched[2]}" if matched else name


def example_scd(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write images of two patients with both contours, and one image with one contour."""
    lines = ["PatientID,OriginalID"]
    for patient in (1, 2):
        lines.append(f"SCD000010{patient},SC-HF-I-{patient}")
    examples.write_text(root / "scd_patientdata.csv", "\n".join(lines) + "\n")
    for number in range(cases + 1):
        patient = number % 2 + 1
        image, outer, inner = _rings(rng)
        folder = root / f"SCD_IMAGES_01/SCD000010{patient}/CINESAX_300"
        examples.save_dicom(image, folder / f"IM-0003-{number:04d}.dcm")
        folder = root / f"SCD_ManualContours/SC-HF-I-0{patient}/contours-manual/IRCCI-expert"
        _write_contour(inner, folder / f"IM-0001-{number:04d}-icontour-manual.txt")
        if number < cases:
            _write_contour(outer, folder / f"IM-0001-{number:04d}-ocontour-manual.txt")


_RVSC_CONTOUR = re.compile(r"(P\d+)-(\d+)-icontour-manual\.txt")


def recognises_rvsc(root: Path) -> bool:
    """Tell whether folders like ``P01contours-manual`` are there."""
    return any(root.glob("**/P*contours-manual/P*-icontour-manual.txt"))


def open_rvsc(root: Path) -> Dataset:
    """Open the right ventricle challenge of 2012: end diastole and end systole."""
    cases, left = [], 0
    for inner in find(root, "**/P*contours-manual/P*-icontour-manual.txt"):
        matched = _RVSC_CONTOUR.fullmatch(inner.name)
        if not matched:
            continue
        outer = inner.with_name(inner.name.replace("icontour", "ocontour"))
        if not outer.is_file():
            left += 1
            continue
        name = f"{matched[1]}-{matched[2]}"
        image = inner.parents[1] / f"{matched[1]}dicom" / f"{name}.dcm"
        cases.append(Case(name, image, outer, parts=(inner,), group=matched[1]))
    return _ringed(root, "rvsc", "Right Ventricle Segmentation Challenge", cases, left)


def example_rvsc(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write images of two patients with both contours."""
    for number in range(cases):
        patient = f"P{number % 2 + 1:02d}"
        image, outer, inner = _rings(rng)
        folder = root / f"TrainingSet/patient{number % 2 + 1:02d}"
        name = f"{patient}-{number:04d}"
        examples.save_dicom(image, folder / f"{patient}dicom/{name}.dcm")
        contours = folder / f"{patient}contours-manual"
        _write_contour(inner, contours / f"{name}-icontour-manual.txt")
        _write_contour(outer, contours / f"{name}-ocontour-manual.txt")


_LVSC_IMAGE = re.compile(r"(DET\d+)_SA\d+_ph\d+\.dcm")


def recognises_lvsc(root: Path) -> bool:
    """Tell whether there are ``DET0000101_SA1_ph0.dcm`` and the mask beside it."""
    return any(root.glob("**/DET*_SA*_ph*.dcm"))


def open_lvsc(root: Path) -> Dataset:
    """Open the left ventricle challenge of 2011: the myocardium in short-axis images."""
    cases = []
    for image in find(root, "**/DET*_SA*_ph*.dcm"):
        matched = _LVSC_IMAGE.fullmatch(image.name)
        label = image.with_suffix(".png")
        if matched:
            labelled = label.is_file()
            cases.append(
                Case(
                    image.stem,
                    image,
                    label if labelled else None,
                    split="train" if labelled else "test",
                    group=matched[1],
                )
            )
    cases.sort(key=lambda case: (case.split == "test", case.id))
    return Dataset(
        name="LV Segmentation Challenge",
        adapter="lvsc",
        root=root,
        dims=2,
        modalities=("MR",),
        labels=("background", "myocardium"),
        cases=check_ids(root, cases),
        read_image=_read_slice,
        read_label=_read_png_on_dicom,
    )


def _read_png_on_dicom(case: Case) -> Volume:
    image, path = read_volume(case.image), label_path(case)
    mask = binary(one_channel(read_volume(path, labels=True), path), path)
    if mask.shape != image.shape:
        raise DataError(
            f"{path}: must be as large as its image, {image.shape[1:]}; got {mask.shape[1:]}."
        )
    return image.with_array(mask.astype(np.uint8))


def example_lvsc(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write labelled images of two patients, and one image without a mask."""
    for number in range(cases + 1):
        image, label = examples.draw(rng, 1, (36, 32))
        name = f"DET000010{number % 2 + 1}"
        stem = f"{name}_SA{number}_ph0"
        examples.save_dicom(image, root / name / f"{stem}.dcm")
        if number < cases:
            examples.save_picture(label * np.uint8(255), root / name / f"{stem}.png")


def _rings(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an image (y, x) and the corners of a square within a square."""
    start = int(rng.integers(6, 9))
    image = rng.normal(0, 20, (36, 32))
    image[start : start + 20, start : start + 20] += 100
    image[start + 5 : start + 15, start + 5 : start + 15] += 100
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
    return (
        image.astype(np.int16),
        corners * 20 + start - 0.5,
        corners * 10 + start + 4.5,
    )


def _write_contour(points: np.ndarray, path: Path) -> None:
    examples.write_text(path, "".join(f"{x:.2f} {y:.2f}\n" for x, y in points))


ADAPTERS = (
    Adapter(
        name="scd",
        title="Sunnybrook Cardiac Data: left ventricle",
        layout="*-icontour-manual.txt with scd_patientdata.csv and SCD.../CINESAX_*/IM-*-*.dcm, "
        "or with SC-HF-I-1/IM-*-*.dcm",
        dims=2,
        reference="Radau et al. 2009, The MIDAS Journal 49",
        licence="CC0 1.0",
        recognises=recognises_scd,
        open=open_scd,
        example=example_scd,
    ),
    Adapter(
        name="rvsc",
        title="RVSC 2012: right ventricle",
        layout="P01dicom/P01-0080.dcm with P01contours-manual/P01-0080-icontour-manual.txt",
        dims=2,
        reference="Petitjean et al. 2015, doi:10.1016/j.media.2014.10.004",
        licence="terms of use of the challenge",
        registration=True,
        recognises=recognises_rvsc,
        open=open_rvsc,
        example=example_rvsc,
    ),
    Adapter(
        name="lvsc",
        title="LVSC 2011: myocardium of the left ventricle",
        layout="DET0000101_SA1_ph0.dcm with DET0000101_SA1_ph0.png",
        dims=2,
        reference="Suinesiaputra et al. 2014, doi:10.1016/j.media.2013.09.001",
        licence="terms of use of the challenge",
        registration=True,
        recognises=recognises_lvsc,
        open=open_lvsc,
        example=example_lvsc,
    ),
)
