"""Collections of The Cancer Imaging Archive: NIH Pancreas-CT and NSCLC-Radiomics.

Images are DICOM series in a folder of each patient. References are NIfTI files of their own
(``TCIA_pancreas_labels-02-05-2017/label0001.nii.gz``), or DICOM structures beside the images.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.reading import check_ids, find, label_path, one_channel, to_classes
from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.io.references import object_kind, read_structures, structure_names
from tfseg.volume import Volume

_PANCREAS_LABEL = re.compile(r"label(\d{4})\.nii(?:\.gz)?")
_LUNG_PATIENT = re.compile(r"LUNG1-\d{3}")
_ORDER = (
    "label voxels are taken in the order of the DICOM pixels, whatever their headers say; look at "
    "a case whether they lie on the pancreas."
)
# The tumour in the structure sets (one patient's was drawn before surgery) and in Segmentations.
_TUMOUR_NAMES = ("gtv-1", "gtv-pre-op", "neoplasm, primary", "neoplasm")


def recognises_pancreas(root: Path) -> bool:
    """Tell whether there are patients' folders and ``label0001.nii.gz``."""
    patients = (path.is_dir() for path in root.glob("**/PANCREAS_[0-9]*"))
    return any(patients) and any(root.glob("**/label[0-9]*.nii*"))


def open_pancreas(root: Path) -> Dataset:
    """Open NIH Pancreas-CT.

    The headers of the label files do not agree with the scans. Their voxels are in the order of
    the DICOM pixels: columns, rows from the top, slices from the feet up.
    """
    folders = {path.name: path for path in find(root, "**/PANCREAS_[0-9]*") if path.is_dir()}
    cases, alone = [], []
    for label in find(root, "**/label[0-9]*.nii*"):
        matched = _PANCREAS_LABEL.fullmatch(label.name)
        if matched is None:
            continue
        name = f"PANCREAS_{matched[1]}"
        if name in folders:
            cases.append(Case(name, folders[name], label))
        else:
            alone.append(label.name)
    remarks = [_ORDER]
    if unlabelled := sorted(set(folders) - {case.id for case in cases}):
        remarks.append(f"{', '.join(unlabelled)}: left out, there is no label file.")
    if alone:
        remarks.append(f"{', '.join(alone)}: left out, the scan is not there (two were withdrawn).")
    return Dataset(
        name="Pancreas-CT",
        adapter="nih_pancreas",
        root=root,
        dims=3,
        modalities=("CT",),
        labels=("background", "pancreas"),
        cases=check_ids(root, cases),
        read_image=lambda case: read_volume(case.image),
        read_label=_read_pancreas,
        folds=4,
        remarks=tuple(remarks),
    )


def _read_pancreas(case: Case) -> Volume:
    image, path = read_volume(case.image), label_path(case)
    stored = read_volume(path, allow_2d=False)
    if stored.shape != image.shape:
        raise DataError(
            f"{path}: must have as many slices, rows and columns as its scan, {image.shape}; got "
            f"{stored.shape}. Restore the scan's missing images, or copy the label again."
        )
    array = to_classes(one_channel(stored, path), {0: 0, 1: 1}, path)
    # Slices of the image are in the direction of its normal; those of the label go up.
    return image.with_array(array if image.affine[2, 0] > 0 else array[::-1])


def example_pancreas(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write series, labels whose header is wrong, and the label of a scan that is not there."""
    labels = root / "TCIA_pancreas_labels-02-05-2017"
    for number in range(1, cases + 2):
        image, label = examples.draw(rng, 1)
        if number <= cases:
            examples.save_series(image, root / f"Pancreas-CT/PANCREAS_{number:04d}/1.2/1.3")
        # In the order of the pixels, under a header that says that rows begin at the back.
        examples.save_flipped(label, labels / f"label{number:04d}.nii.gz")


def recognises_lung(root: Path) -> bool:
    """Tell whether there are folders of patients like ``LUNG1-001`` with studies and series."""
    return any(
        _LUNG_PATIENT.fullmatch(path.name) and any(path.glob("*/*/*.dcm"))
        for path in root.glob("**/LUNG1-*")
    )


def open_lung(root: Path) -> Dataset:
    """Open NSCLC-Radiomics: the tumour GTV-1, of the structure set or else the Segmentation.

    Only the headers of lone files are read. A patient without either is left out.
    """
    cases, left = [], []
    for folder in find(root, "**/LUNG1-*"):
        if not (_LUNG_PATIENT.fullmatch(folder.name) and folder.is_dir()):
            continue
        series: dict[Path, list[Path]] = {}
        for path in find(folder, "**/*.dcm"):
            series.setdefault(path.parent, []).append(path)
        if not series:
            continue
        image = max(series, key=lambda one: len(series[one]))
        lone = [files[0] for one, files in series.items() if len(files) == 1 and one != image]
        kinds = {object_kind(path): path for path in lone}
        label = kinds.get("RTSTRUCT") or kinds.get("SEG")
        if label is None:
            left.append(folder.name)
        else:
            cases.append(Case(folder.name, image, label))
    remark = f"without a structure set or Segmentation and left out: {', '.join(left)}."
    return Dataset(
        name="NSCLC-Radiomics",
        adapter="nsclc_radiomics",
        root=root,
        dims=3,
        modalities=("CT",),
        labels=("background", "tumor"),
        cases=check_ids(root, cases),
        read_image=lambda case: read_volume(case.image),
        read_label=_read_tumour,
        remarks=(remark,) if left else (),
    )


def _read_tumour(case: Case) -> Volume:
    image, path = read_volume(case.image), label_path(case)
    names = structure_names(path)
    wanted = [name for name in names if name.strip().lower() in _TUMOUR_NAMES]
    if not wanted:
        raise DataError(
            f"{path}: needs a structure named {' or '.join(_TUMOUR_NAMES)}; it has "
            f"{', '.join(names) or 'none'}."
        )
    labels = read_structures(path, image, wanted, case.image)
    return labels.with_array((labels.array > 0).astype(np.uint8))


def example_lung(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write series with a structure set, every second one with a Segmentation."""
    from tfseg.io.dicom_out.about import About
    from tfseg.io.dicom_out.rtstruct import write_rtstruct
    from tfseg.io.dicom_out.seg import write_seg
    from tfseg.io.dicom_out.sources import read_source
    from tfseg.io.dicom_out.stamp import Stamp

    colours = ((0, 0, 0), (200, 60, 60))
    for number in range(1, cases + 1):
        image, label = examples.draw(rng, 1)
        study = root / f"NSCLC-Radiomics/LUNG1-{number:03d}/1.2"
        examples.save_series(image, study / "0.000000-NA-1")
        source = read_source(study / "0.000000-NA-1")
        labels = read_volume(study / "0.000000-NA-1").with_array(label)
        stamp = Stamp(datetime(2020, 1, 1), f"LUNG1-{number:03d}")
        by_contours = number % 2 == 1
        write = write_rtstruct if by_contours else write_seg
        target = study / ("1.000000-NA-2" if by_contours else "300.000000-Segmentation-3")
        target.mkdir()
        name = "GTV-1" if by_contours else "Neoplasm, Primary"
        about = About(("background", name), colours, "by hand", "1")
        write(labels, source, target / "1-1.dcm", about, stamp)


ADAPTERS = (
    Adapter(
        name="nih_pancreas",
        title="NIH Pancreas-CT",
        layout="PANCREAS_0001/**/*.dcm with label0001.nii.gz",
        dims=3,
        reference="Roth et al. 2015, doi:10.1007/978-3-319-24553-9_68",
        licence="CC BY 3.0",
        recognises=recognises_pancreas,
        open=open_pancreas,
        example=example_pancreas,
    ),
    Adapter(
        name="nsclc_radiomics",
        title="NSCLC-Radiomics: lung tumours in CT",
        layout="LUNG1-001/**/*.dcm: a CT with an RTSTRUCT or SEG of GTV-1",
        dims=3,
        reference="Aerts et al. 2014, doi:10.1038/ncomms5006",
        licence="CC BY-NC 3.0",
        recognises=recognises_lung,
        open=open_lung,
        example=example_lung,
    ),
)
