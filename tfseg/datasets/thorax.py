"""Chest X-ray and CT: JSRT with SCR, Montgomery and RibFrac."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from scipy.ndimage import zoom

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.reading import (
    binary,
    check_ids,
    find,
    label_path,
    one_channel,
    read_gray,
    read_image,
    read_masks,
    read_objects,
)
from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.volume import Volume

_JSRT_EDGE = 2048  # pixels, of 0.175 mm (Shiraishi et al. 2000)
_JSRT_MM = 0.175
_SCR_PARTS = ("left lung", "right lung", "heart", "left clavicle", "right clavicle")


def recognises_scr(root: Path) -> bool:
    """Tell whether JSRT's raw images and SCR's masks are both below the folder."""
    return any(root.glob("**/JPC[LN]N*.IMG")) and any(root.glob("**/masks/heart/JPC*.gif"))


def open_scr(root: Path) -> Dataset:
    """Open the chest X-rays of JSRT with SCR's five structures and two folds.

    The structures overlap in SCR; here the later of left lung, right lung, heart, left clavicle,
    right clavicle is kept. The gray values are inverted as usual, so that air is dark.

    Raises:
        DataError: an image has no masks.
    """
    hearts = {path.stem: path for path in find(root, "**/masks/heart/JPC*.gif")}
    cases = []
    for image in find(root, "**/JPC[LN]N*.IMG"):
        heart = hearts.get(image.stem)
        if heart is None:
            raise DataError(f"{image}: SCR has no masks/heart/{image.stem}.gif for it.")
        masks = [heart.parents[1] / part / heart.name for part in _SCR_PARTS]
        fold = 1 if "fold2" in heart.parts else 0
        cases.append(Case(image.stem, image, masks[0], parts=tuple(masks[1:]), fold=fold))
    return Dataset(
        name="JSRT/SCR",
        adapter="scr",
        root=root,
        dims=2,
        modalities=("CR",),
        labels=("background", *(part.replace(" ", "_") for part in _SCR_PARTS)),
        cases=check_ids(root, cases),
        read_image=_read_jsrt,
        read_label=_read_scr,
        folds=2,
    )


def _read_jsrt(case: Case) -> Volume:
    """Read a headerless square picture of 12 bits in big-endian 16-bit words."""
    path = case.image
    size = path.stat().st_size if path.is_file() else 0
    edge = int(np.sqrt(size / 2))
    if edge == 0 or size != 2 * edge * edge:
        raise DataError(
            f"{path}: must hold 2048 x 2048 big-endian words of 16 bits; it has {size} bytes."
        )
    words = np.fromfile(path, ">u2").reshape(1, edge, edge)
    spacing = _JSRT_MM * _JSRT_EDGE / edge
    return Volume.from_geometry((4095 - words.astype(np.int16)), (1.0, spacing, spacing))


def _read_scr(case: Case) -> Volume:
    """Read SCR's masks, which are half as large as JSRT's images."""
    image = _read_jsrt(case)
    classes = np.zeros(image.shape, np.uint8)
    for value, path in enumerate((label_path(case), *case.parts), start=1):
        mask = binary(one_channel(read_volume(path, labels=True), path), path)[0]
        scale = np.divide(image.shape[1:], mask.shape)
        if scale[0] != scale[1]:
            raise DataError(f"{path}: the mask must be square like its image; got {mask.shape}.")
        classes[0][
            zoom(mask.astype(np.uint8), scale, order=0, grid_mode=True, mode="nearest") > 0
        ] = value
    return image.with_array(classes)


def example_scr(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write square pictures with masks of half their size."""
    for number in range(1, cases + 1):
        gray, label = examples.picture(rng, 5, (32, 32))
        name = f"JPCLN{number:03d}"
        path = root / f"All247images/{name}.IMG"
        path.parent.mkdir(parents=True, exist_ok=True)
        words = 4095 - 16 * np.repeat(np.repeat(gray.astype(int), 2, axis=0), 2, axis=1)
        words.astype(">u2").tofile(path)
        fold = "fold1" if number % 2 else "fold2"
        for value, part in enumerate(_SCR_PARTS, start=1):
            mask = (label == value) * np.uint8(255)
            examples.save_picture(mask, root / f"scratch/{fold}/masks/{part}/{name}.gif")


def recognises_montgomery(root: Path) -> bool:
    """Tell whether ``CXR_png`` and ``ManualMask/leftMask`` hold pictures."""
    return any(root.glob("**/CXR_png/MCUCXR_*.png"))


def open_montgomery(root: Path) -> Dataset:
    """Open the Montgomery County chest X-rays; both lungs are one class each."""
    cases = []
    for image in find(root, "**/CXR_png/MCUCXR_*.png"):
        masks = image.parents[1] / "ManualMask"
        cases.append(
            Case(
                image.stem,
                image,
                masks / "leftMask" / image.name,
                parts=(masks / "rightMask" / image.name,),
            )
        )
    return Dataset(
        name="Montgomery County X-ray Set",
        adapter="montgomery",
        root=root,
        dims=2,
        modalities=("CR",),
        labels=("background", "left_lung", "right_lung"),
        cases=check_ids(root, cases),
        read_image=read_gray,
        read_label=lambda case: read_masks(case, allow_2d=True),
    )


def example_montgomery(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write pictures with one mask a lung, healthy and ill in turn."""
    for number in range(1, cases + 1):
        gray, label = examples.picture(rng, 2)
        name = f"MCUCXR_{number:04d}_{number % 2}.png"
        examples.save_picture(gray, root / "MontgomerySet/CXR_png" / name)
        for value, side in ((1, "left"), (2, "right")):
            mask = (label == value) * np.uint8(255)
            examples.save_picture(mask, root / f"MontgomerySet/ManualMask/{side}Mask" / name)


_RIBFRAC = re.compile(r"(RibFrac\d+)-image\.nii(?:\.gz)?")


def recognises_ribfrac(root: Path) -> bool:
    """Tell whether there are files named like ``RibFrac1-image.nii.gz``."""
    return any(_RIBFRAC.fullmatch(path.name) for path in root.glob("**/RibFrac*-image.nii*"))


def open_ribfrac(root: Path) -> Dataset:
    """Open RibFrac: every numbered fracture becomes the one class."""
    cases = []
    for image in find(root, "**/RibFrac*-image.nii*"):
        matched = _RIBFRAC.fullmatch(image.name)
        if not matched:
            continue
        # Images and labels lie in folders of their own, or in one.
        labels = find(root, f"**/{matched[1]}-label.nii*")
        label = labels[0] if labels else None
        cases.append(Case(matched[1], image, label, split="train" if label else "test"))
    return Dataset(
        name="RibFrac",
        adapter="ribfrac",
        root=root,
        dims=3,
        modalities=("CT",),
        labels=("background", "fracture"),
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=read_objects,
    )


def example_ribfrac(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write training scans with two numbered fractures, and one test scan."""
    for number in range(1, cases + 2):
        image, label = examples.draw(rng, 2)
        half = "train" if number <= cases else "test"
        examples.save(image, root / f"ribfrac-{half}-images/RibFrac{number}-image.nii.gz")
        if number <= cases:
            examples.save(label, root / f"ribfrac-{half}-labels/RibFrac{number}-label.nii.gz")


ADAPTERS = (
    Adapter(
        name="scr",
        title="JSRT with SCR: lungs, heart and clavicles in chest X-rays",
        layout="JPCLN001.IMG (raw) with fold1/masks/heart/JPCLN001.gif",
        dims=2,
        reference="Shiraishi et al. 2000, doi:10.2214/ajr.174.1.1740071; "
        "van Ginneken et al. 2006, doi:10.1016/j.media.2005.02.002",
        licence="terms of use of the publisher",
        registration=True,
        ids=("scr", "jsrt"),
        recognises=recognises_scr,
        open=open_scr,
        example=example_scr,
    ),
    Adapter(
        name="montgomery",
        title="Montgomery County: lungs in chest X-rays",
        layout="CXR_png/MCUCXR_0001_0.png with ManualMask/leftMask and rightMask",
        dims=2,
        reference="Jaeger et al. 2014, doi:10.3978/j.issn.2223-4292.2014.11.20",
        licence="terms of use of the publisher",
        recognises=recognises_montgomery,
        open=open_montgomery,
        example=example_montgomery,
    ),
    Adapter(
        name="ribfrac",
        title="RibFrac: rib fractures in CT",
        layout="RibFrac1-image.nii.gz with RibFrac1-label.nii.gz",
        dims=3,
        reference="Jin et al. 2020, doi:10.1016/j.ebiom.2020.103106",
        licence="terms of use of the challenge",
        registration=True,
        recognises=recognises_ribfrac,
        open=open_ribfrac,
        example=example_ribfrac,
    ),
)
