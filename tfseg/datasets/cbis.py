"""CBIS-DDSM: the curated part of DDSM, as DICOM with masks (Lee et al. 2017).

``Mass-Training_P_00001_LEFT_CC/STUDY/SERIES/1-1.dcm`` is a mammogram,
``Mass-Training_P_00001_LEFT_CC_1/.../*.dcm`` are the mask of its first abnormality and a picture
cut out around it, in one folder or two and in either order. Masses and calcifications come in two
parts that share patients.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.ddsm import LESIONS
from tfseg.datasets.reading import binary, check_ids, find, label_path, one_channel
from tfseg.errors import DataError
from tfseg.volume import Volume

_FOLDER = re.compile(r"(Calc|Mass)-(Training|Test)_((P_\d+)_(?:LEFT|RIGHT)_(?:CC|MLO))(_\d+)?")
_VALUES = {"Calc": 1, "Mass": 2}  # as in LESIONS
_SAME_SHAPE = 0.01  # by which the sides of a mask and its mammogram may be out of proportion


class _Folder(NamedTuple):
    """What the name of a folder tells."""

    path: Path
    kind: str
    half: str
    view: str
    patient: str
    is_mask: bool


def _folders(root: Path) -> list[_Folder]:
    found = []
    for path in find(root, "**/*_P_*"):
        matched = _FOLDER.fullmatch(path.name)
        if matched and path.is_dir():
            kind, half, view, patient, number = matched.groups()
            found.append(_Folder(path, kind, half, view, patient, number is not None))
    return found


def recognises(root: Path) -> bool:
    """Tell whether there are folders like ``Mass-Training_P_00001_LEFT_CC_1``."""
    return any(folder.is_mask for folder in _folders(root))


def open_cbis(root: Path) -> Dataset:
    """Open each mammogram with all of its abnormalities; a patient is one group.

    The two parts were split apart from each other, so some patients are in the training cases of
    one and in the test cases of the other. They stay in the test set alone.
    """
    folders = _folders(root)
    tested = {folder.patient for folder in folders if folder.half == "Test"}
    cases = []
    views = sorted({(folder.patient in tested, folder.view) for folder in folders})
    for in_test, view in views:
        own = [folder for folder in folders if folder.view == view]
        masks = [folder.path for folder in own if folder.is_mask]
        pictures = [folder.path for folder in own if not folder.is_mask]
        # The same view is published with masses and with calcifications, each with its masks.
        for picture in pictures:
            if not any(mask.name.startswith(f"{picture.name}_") for mask in masks):
                masks.append(picture.with_name(f"{picture.name}_1"))  # check names it as missing
        cases.append(
            Case(
                view,
                # Without it, the folder that should be there.
                pictures[0] if pictures else Path(str(masks[0]).rpartition("_")[0]),
                masks[0],
                split="test" if in_test else "train",
                parts=tuple(masks[1:]),
                group=own[0].patient,
            )
        )
    moved = sum(
        case.split == "test" and all(f.half == "Training" for f in folders if f.view == case.id)
        for case in cases
    )
    remark = f"{moved} training views are of patients who are tested too; they count as test cases."
    return Dataset(
        name="CBIS-DDSM",
        adapter="cbis_ddsm",
        root=root,
        dims=2,
        modalities=("MG",),
        labels=("background", *LESIONS),
        cases=check_ids(root, cases),
        read_image=lambda case: _read_film(_one_file(case.image)),
        read_label=_read_masks,
        remarks=(remark,) if moved else (),
    )


def _one_file(folder: Path) -> Path:
    files = find(folder, "**/*.dcm")
    if len(files) != 1:
        raise DataError(f"{folder}: needs one mammogram; found {len(files)} .dcm files.")
    return files[0]


def _read_film(path: Path) -> Volume:
    """Read one picture; that no header tells its place and its pixels' size need not be said."""
    from tfseg.io.dicom import load, the_volume

    with the_volume(path) as (stack, _, _):
        try:
            return load(stack).volume
        except DataError as error:
            raise DataError(f"{path}: {error}") from error


def _read_masks(case: Case) -> Volume:
    image = _read_film(_one_file(case.image))
    classes = np.zeros(image.shape, np.uint8)
    for folder in (label_path(case), *case.parts):
        matched = _FOLDER.fullmatch(folder.name)
        value = _VALUES[matched[1]] if matched else 0
        inside = _read_mask(folder, image)
        np.maximum(classes, value * inside, out=classes, casting="unsafe")
    return image.with_array(classes)


def _read_mask(folder: Path, image: Volume) -> NDArray[np.bool_]:
    """Return the mask in a folder: the largest picture, at the mammogram's size.

    A few masks have other pixels than their mammogram; the nearest are taken where the sides
    are in proportion.
    """
    files = find(folder, "**/*.dcm", least=1, what="a mask")
    volumes = {path: _read_film(path) for path in files}
    path = max(volumes, key=lambda one: volumes[one].array.size)
    sizes = np.array(volumes[path].shape[1:]), np.array(image.shape[1:])
    ratio = sizes[0] / sizes[1]
    if abs(ratio[0] / ratio[1] - 1) > _SAME_SHAPE or ratio.min() < 0.5:
        raise DataError(
            f"{path}: the mask must cover its mammogram of {sizes[1][0]} x {sizes[1][1]} pixels; "
            f"the largest picture there is {sizes[0][0]} x {sizes[0][1]}. Restore the mask."
        )
    mask = binary(one_channel(volumes[path], path), path)
    rows, columns = (
        ((np.arange(wanted) + 0.5) * have / wanted).astype(np.intp)
        for have, wanted in zip(*sizes, strict=True)
    )
    nearest: NDArray[np.bool_] = mask[0][np.ix_(rows, columns)][np.newaxis]
    return nearest


def example(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write views with a mass and a calcification each, two to a patient; one test view."""
    for number in range(cases + 1):
        image, label = examples.draw(rng, len(LESIONS), (36, 32))
        half = "Training" if number < cases else "Test"
        side = ("LEFT", "RIGHT")[number % 2] if number < cases else "LEFT"
        patient = number // 2 + 1 if number < cases else 90
        for kind, value in _VALUES.items():
            name = f"{kind}-{half}_P_{patient:05d}_{side}_CC"
            _save(image + np.int16(1000), root / name / "1.2/1.3/1-1.dcm")
            mask, crop = (label == value) * np.int16(255), image[8:20, 8:20] + np.int16(1000)
            # In either order, as published.
            pair = (mask, crop) if number % 2 else (crop, mask)
            for index, array in enumerate(pair, start=1):
                _save(array, root / f"{name}_1/1.2/1.4/1-{index}.dcm")


def _save(array: NDArray[np.int16], path: Path) -> None:
    """Write a scanned film: without a place in space and without a pixel's size."""
    import pydicom

    path.parent.mkdir(parents=True, exist_ok=True)
    examples.save_dicom(array, path)
    dataset = pydicom.dcmread(path)
    dataset.Modality = "MG"
    dataset.RescaleIntercept = "0"
    dataset.PixelData = array.astype(np.uint16).tobytes()
    for keyword in (
        "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
        "FrameOfReferenceUID",
    ):  # fmt: skip
        del dataset[keyword]
    dataset.save_as(path)


ADAPTERS = (
    Adapter(
        name="cbis_ddsm",
        title="CBIS-DDSM: masses and calcifications in mammograms",
        layout="Mass-Training_P_00001_LEFT_CC/**/*.dcm with Mass-Training_P_00001_LEFT_CC_1",
        dims=2,
        reference="Lee et al. 2017, doi:10.1038/sdata.2017.177",
        licence="CC BY 3.0",
        recognises=recognises,
        open=open_cbis,
        example=example,
    ),
)
