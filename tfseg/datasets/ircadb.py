"""3D-IRCADb-01: CT of the liver with one folder of DICOM masks a structure (IRCAD, 2010).

``3Dircadb1.1/PATIENT_DICOM/image_0`` and ``3Dircadb1.1/MASKS_DICOM/liver/image_0``; structures
differ from patient to patient. The liver and its tumours (``livertumor01``, ...) are read.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.reading import check_ids, find, label_path, one_channel
from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.volume import Volume

_PATIENT = re.compile(r"3Dircadb1\.(\d+)")
_TUMOUR = re.compile(r"livertumou?rs?\d*", re.IGNORECASE)


def recognises(root: Path) -> bool:
    """Tell whether there are folders named like ``3Dircadb1.1``."""
    return any(_PATIENT.fullmatch(path.name) for path in root.glob("**/3Dircadb1.*"))


def open_ircadb(root: Path) -> Dataset:
    """Open the patients' CTs with liver and tumours.

    Raises:
        DataError: a patient's archives are still packed.
    """
    cases = []
    for folder in find(root, "**/3Dircadb1.*"):
        matched = _PATIENT.fullmatch(folder.name)
        if not matched or not folder.is_dir():
            continue
        image = folder / "PATIENT_DICOM"
        if not image.is_dir() and (folder / "PATIENT_DICOM.zip").is_file():
            raise DataError(
                f"{folder}: its archives are packed. Unpack PATIENT_DICOM.zip and "
                "MASKS_DICOM.zip there."
            )
        masks = folder / "MASKS_DICOM"
        tumours = [path for path in find(masks, "*") if _TUMOUR.fullmatch(path.name)]
        name = f"3Dircadb1.{int(matched[1]):02d}"
        cases.append(Case(name, image, masks / "liver", parts=tuple(tumours)))
    cases.sort(key=lambda case: case.id)
    return Dataset(
        name="3D-IRCADb-01",
        adapter="ircadb",
        root=root,
        dims=3,
        modalities=("CT",),
        labels=("background", "liver", "tumor"),
        cases=check_ids(root, cases),
        read_image=lambda case: read_volume(case.image),
        read_label=_read_masks,
    )


def _read_masks(case: Case) -> Volume:
    """Read the liver, and every tumour as the one class after it."""
    liver = read_volume(label_path(case))
    classes = (one_channel(liver, label_path(case)) > 0).astype(np.uint8)
    for path in case.parts:
        tumour = read_volume(path)
        if not liver.same_grid(tumour):
            raise DataError(
                f"{path}: must lie on the grid of the liver's mask. Restore its images."
            )
        classes[one_channel(tumour, path) > 0] = 2
    return liver.with_array(classes)


def example(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write patients with a liver, a tumour and another structure."""
    for number in range(1, cases + 1):
        image, label = examples.draw(rng, 2)
        folder = root / f"3Dircadb1.{number}"
        for name, array in (
            ("PATIENT_DICOM", image),
            ("MASKS_DICOM/liver", (label > 0) * np.int16(255)),
            ("MASKS_DICOM/livertumor01", (label > 1) * np.int16(255)),
            ("MASKS_DICOM/bone", (label > 0) * np.int16(0)),
        ):
            examples.save_series(array, folder / name)
            for index, path in enumerate(sorted((folder / name).glob("*.dcm"))):
                path.rename(path.with_name(f"image_{index}"))


ADAPTERS = (
    Adapter(
        name="ircadb",
        title="3D-IRCADb-01: liver and liver tumours in CT",
        layout="3Dircadb1.1/PATIENT_DICOM/image_0 with 3Dircadb1.1/MASKS_DICOM/liver/image_0",
        dims=3,
        reference="Soler et al. 2010, IRCAD, 3D image reconstruction for comparison of algorithm",
        licence="CC BY-NC-ND 4.0",
        recognises=recognises,
        open=open_ircadb,
        example=example,
    ),
)
