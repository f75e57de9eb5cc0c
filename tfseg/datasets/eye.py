"""Fundus photographs: STARE, CHASE_DB1, Drishti-GS and RIM-ONE."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.reading import (
    binary,
    colour_pictures,
    find,
    label_path,
    one_channel,
    read_picture,
    read_picture_masks,
)
from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.volume import Volume

_CUP = ("disc", "cup")  # the cup lies inside the disc


def _stare_files(root: Path) -> list[Path]:
    return [*find(root, "stare-images/im*.ppm"), *find(root, "stare-images/im*.ppm.gz")]


def recognises_stare(root: Path) -> bool:
    """Tell whether ``stare-images`` holds pictures named like ``im0001.ppm``."""
    return any(_stare_files(root))


def open_stare(root: Path) -> Dataset:
    """Open STARE with the first observer's vessels (``labels-ah``)."""
    cases = []
    for image in _stare_files(root):
        stem = image.name.split(".")[0]
        label = image.parents[1] / "labels-ah" / image.name.replace(".ppm", ".ah.ppm")
        cases.append(Case(stem, image, label))
    return colour_pictures(root, "stare", "STARE", ("vessel",), cases, read_picture_masks)


def example_stare(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write pictures with the vessels of both observers."""
    for number in range(1, cases + 1):
        gray, label = examples.picture(rng)
        name = f"im{number:04d}"
        examples.save_picture(examples.colour(gray), root / f"stare-images/{name}.ppm")
        for observer in ("ah", "vk"):
            examples.save_picture(label * 255, root / f"labels-{observer}/{name}.{observer}.ppm")


_CHASE = re.compile(r"Image_(\d+)([LR])\.jpg")
_CHASE_TRAINING = 20  # of 28 photographs, the first, as most publications take them


def recognises_chase(root: Path) -> bool:
    """Tell whether ``Image_01L.jpg`` and ``Image_01L_1stHO.png`` and their like are there."""
    return any(root.glob("**/Image_*_1stHO.png"))


def open_chase(root: Path) -> Dataset:
    """Open CHASE_DB1 with the first observer's vessels; both eyes of a child are one group."""
    cases: list[Case] = []
    for image in find(root, "**/Image_*.jpg"):
        matched = _CHASE.fullmatch(image.name)
        if matched:
            split = "train" if len(cases) < _CHASE_TRAINING else "test"
            label = image.with_name(f"{image.stem}_1stHO.png")
            cases.append(Case(image.stem, image, label, split=split, group=matched[1]))
    return colour_pictures(root, "chasedb1", "CHASE_DB1", ("vessel",), cases, read_picture_masks)


def example_chase(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write left and right eyes in turn, with two observers' vessels."""
    for number in range(cases):
        gray, label = examples.picture(rng)
        name = f"Image_{number // 2 + 1:02d}{'LR'[number % 2]}"
        examples.save_picture(examples.colour(gray), root / f"{name}.jpg")
        for observer in ("1stHO", "2ndHO"):
            examples.save_picture(label.astype(bool), root / f"{name}_{observer}.png")


_DRISHTI_AGREED = 0.75  # of the four experts, at least three


def recognises_drishti(root: Path) -> bool:
    """Tell whether soft maps of disc and cup are there."""
    return any(root.glob("**/SoftMap/*ODsegSoftmap.png"))


def open_drishti(root: Path) -> Dataset:
    """Open Drishti-GS: disc and cup where at least three of four experts drew them."""
    maps = {
        path.name.removesuffix("_ODsegSoftmap.png"): path
        for path in find(root, "**/SoftMap/*ODsegSoftmap.png")
    }
    cases = []
    for half, split in (("Training", "train"), ("Test", "test")):
        for image in find(root, f"**/{half}/Images/**/*.png"):
            disc = maps.get(image.stem)
            cup = disc.with_name(f"{image.stem}_cupsegSoftmap.png") if disc else None
            cases.append(Case(image.stem, image, disc, split=split, parts=(cup,) if cup else ()))
    return colour_pictures(root, "drishti_gs", "Drishti-GS", _CUP, cases, _read_soft_maps)


def _read_soft_maps(case: Case) -> Volume:
    disc = read_volume(label_path(case), labels=True)
    classes = np.zeros(disc.shape, np.uint8)
    for value, path in enumerate((label_path(case), *case.parts), start=1):
        stored = one_channel(read_volume(path, labels=True), path)
        if stored.shape != disc.shape:
            raise DataError(f"{path}: must be as large as the map of the disc, {disc.shape[1:]}.")
        classes[stored >= _DRISHTI_AGREED * 255] = value
    return disc.with_array(classes)


def example_drishti(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write training photographs with soft maps, and one test photograph without."""
    for number in range(1, cases + 2):
        gray, label = examples.picture(rng, 2)
        half = "Training" if number <= cases else "Test"
        name = f"drishtiGS_{number:03d}"
        examples.save_picture(examples.colour(gray), root / half / f"Images/{name}.png")
        if number <= cases:
            folder = root / half / "GT" / name / "SoftMap"
            # Half of the experts drew everything.
            soft = np.where(label > 0, 255, 128).astype(np.uint8)
            examples.save_picture(soft, folder / f"{name}_ODsegSoftmap.png")
            soft = np.where(label > 1, 192, 64).astype(np.uint8)
            examples.save_picture(soft, folder / f"{name}_cupsegSoftmap.png")


_RIM_ONE_EYE = re.compile(r"(.+)-Disc-exp1\.png")


def recognises_rim_one(root: Path) -> bool:
    """Tell whether the first expert's masks of discs are there."""
    return any(root.glob("**/Expert1_masks/*-Disc-exp1.png"))


def open_rim_one(root: Path) -> Dataset:
    """Open RIM-ONE r3: stereo photographs with the first expert's disc and cup."""
    cases = []
    for disc in find(root, "**/Expert1_masks/*-Disc-exp1.png"):
        matched = _RIM_ONE_EYE.fullmatch(disc.name)
        if not matched:
            continue
        images = [
            path
            for suffix in ("jpg", "png")
            for path in find(disc.parents[1], f"Stereo Images/{matched[1]}.{suffix}")
        ]
        if not images:
            raise DataError(f"{disc}: its photograph Stereo Images/{matched[1]}.jpg is missing.")
        cup = disc.with_name(f"{matched[1]}-Cup-exp1.png")
        cases.append(Case(matched[1], images[0], disc, parts=(cup,)))
    pictures = colour_pictures(root, "rim_one", "RIM-ONE r3", _CUP, cases, _read_left_masks)
    return replace(pictures, read_image=_read_left)


def _read_left(case: Case) -> Volume:
    """Read the left half of a stereo photograph, or a single one."""
    stereo, mask = read_picture(case), read_volume(label_path(case), labels=True)
    width = mask.shape[2]
    # The masks are drawn on one half.
    if stereo.shape[2] not in {width, 2 * width}:
        raise DataError(
            f"{case.image}: must be as wide as its masks or twice so; got {stereo.shape[2]} and "
            f"{width}."
        )
    return Volume(stereo.array[:, :, :width], stereo.affine, stereo.modality)


def _read_left_masks(case: Case) -> Volume:
    disc = read_volume(label_path(case), labels=True)
    classes = np.zeros(disc.shape, np.uint8)
    for value, path in enumerate((label_path(case), *case.parts), start=1):
        classes[binary(one_channel(read_volume(path, labels=True), path), path)] = value
    return disc.with_array(classes)


def example_rim_one(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write stereo photographs of both groups with the first expert's masks."""
    for number in range(1, cases + 1):
        gray, label = examples.picture(rng, 2)
        folder = root / ("Healthy" if number % 2 else "Glaucoma and suspects")
        name = f"{'N' if number % 2 else 'G'}-{number}-L"
        stereo = examples.colour(np.concatenate([gray, gray], axis=1))
        examples.save_picture(stereo, folder / f"Stereo Images/{name}.jpg")
        masks = folder / "Expert1_masks"
        examples.save_picture((label > 0) * np.uint8(255), masks / f"{name}-Disc-exp1.png")
        examples.save_picture((label > 1) * np.uint8(255), masks / f"{name}-Cup-exp1.png")


ADAPTERS = (
    Adapter(
        name="stare",
        title="STARE: retinal vessels",
        layout="stare-images/im0001.ppm with labels-ah/im0001.ah.ppm (also .gz)",
        dims=2,
        reference="Hoover et al. 2000, doi:10.1109/42.845178",
        licence="terms of use of the publisher",
        recognises=recognises_stare,
        open=open_stare,
        example=example_stare,
    ),
    Adapter(
        name="chasedb1",
        title="CHASE_DB1: retinal vessels of children",
        layout="Image_01L.jpg with Image_01L_1stHO.png",
        dims=2,
        reference="Fraz et al. 2012, doi:10.1109/TBME.2012.2205687",
        licence="terms of use of the publisher",
        recognises=recognises_chase,
        open=open_chase,
        example=example_chase,
    ),
    Adapter(
        name="drishti_gs",
        title="Drishti-GS: optic disc and cup",
        layout="Training/Images/NAME.png with .../NAME/SoftMap/NAME_ODsegSoftmap.png",
        dims=2,
        reference="Sivaswamy et al. 2014, doi:10.1109/ISBI.2014.6867807",
        licence="terms of use of the publisher",
        registration=True,
        recognises=recognises_drishti,
        open=open_drishti,
        example=example_drishti,
    ),
    Adapter(
        name="rim_one",
        title="RIM-ONE r3: optic disc and cup",
        layout="GROUP/Stereo Images/NAME.jpg with GROUP/Expert1_masks/NAME-Disc-exp1.png",
        dims=2,
        reference="Fumero et al. 2015, RIM-ONE release 3",
        licence="terms of use of the publisher",
        recognises=recognises_rim_one,
        open=open_rim_one,
        example=example_rim_one,
    ),
)
