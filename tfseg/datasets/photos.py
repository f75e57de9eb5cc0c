"""Skin and microscopy in colour: ISIC 2017, Dermofit, GlaS and ALL-IDB."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.reading import colour_pictures, find, read_objects, read_picture_masks
from tfseg.volume import Volume


def _pictures(
    root: Path,
    adapter: str,
    name: str,
    label: str,
    cases: list[Case],
    read_label: Callable[[Case], Volume] = read_picture_masks,
) -> Dataset:
    in_order = sorted(cases, key=lambda case: (case.split == "test", case.id))
    return colour_pictures(root, adapter, name, (label,), in_order, read_label)


def recognises_isic(root: Path) -> bool:
    """Tell whether there are ``ISIC_0000000_segmentation.png`` and their like."""
    return any(root.glob("**/ISIC_*_segmentation.png"))


def open_isic(root: Path) -> Dataset:
    """Open ISIC 2017, part 1; what its folders call validation and test is the test set."""
    masks = {
        path.name.removesuffix("_segmentation.png"): path
        for path in find(root, "**/ISIC_*_segmentation.png")
    }
    cases = []
    for image in find(root, "**/ISIC_*.jpg"):
        folder = image.parent.name.lower()
        split = "test" if "test" in folder or "validation" in folder else "train"
        label = masks.get(image.stem)
        if split == "train" and label is None:
            label = image.with_name(f"{image.stem}_segmentation.png")  # check names it as missing
        cases.append(Case(image.stem, image, label, split=split))
    return _pictures(root, "isic2017", "ISIC 2017", "lesion", cases)


def example_isic(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write training pictures with superpixels and masks, and one for validation."""
    for number in range(cases + 1):
        gray, label = examples.picture(rng)
        half = "Training" if number < cases else "Validation"
        name = f"ISIC_{number:07d}"
        folder = root / f"ISIC-2017_{half}_Data"
        examples.save_picture(examples.colour(gray), folder / f"{name}.jpg")
        examples.save_picture(examples.colour(gray), folder / f"{name}_superpixels.png")
        truth = root / f"ISIC-2017_{half}_Part1_GroundTruth"
        examples.save_picture(label * np.uint8(255), truth / f"{name}_segmentation.png")


_DERMOFIT = re.compile(r"[A-Z]\d+[a-z]?")


def recognises_dermofit(root: Path) -> bool:
    """Tell whether there are pairs like ``A1a.png`` and ``A1amask.png``."""
    return any(
        _DERMOFIT.fullmatch(path.stem.removesuffix("mask")) for path in root.glob("**/*mask.png")
    )


def open_dermofit(root: Path) -> Dataset:
    """Open Dermofit: skin lesions."""
    cases = []
    for label in find(root, "**/*mask.png"):
        stem = label.stem.removesuffix("mask")
        if _DERMOFIT.fullmatch(stem):
            cases.append(Case(stem, label.with_name(f"{stem}.png"), label))
    return _pictures(root, "dermofit", "Dermofit", "lesion", cases)


def example_dermofit(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write pictures with masks, in folders of diagnoses."""
    for number in range(cases):
        gray, label = examples.picture(rng)
        folder = root / ("AK" if number % 2 else "BCC")
        name = f"{'AB'[number % 2]}{number + 1}"
        examples.save_picture(examples.colour(gray), folder / f"{name}.png")
        examples.save_picture(label * np.uint8(255), folder / f"{name}mask.png")


def recognises_glas(root: Path) -> bool:
    """Tell whether there are ``train_1.bmp`` and ``train_1_anno.bmp``."""
    return any(root.glob("**/train_*_anno.bmp"))


def open_glas(root: Path) -> Dataset:
    """Open GlaS: every numbered gland becomes the one class; ``testA`` and ``testB`` are tests."""
    cases = []
    for label in find(root, "**/*_anno.bmp"):
        stem = label.stem.removesuffix("_anno")
        split = "train" if stem.startswith("train_") else "test"
        cases.append(Case(stem, label.with_name(f"{stem}.bmp"), label, split=split))
    return _pictures(root, "glas", "GlaS", "gland", cases, read_objects)


def example_glas(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write training pictures with two numbered glands, and one test picture."""
    for number in range(1, cases + 2):
        gray, label = examples.picture(rng, 2)
        name = f"train_{number}" if number <= cases else "testA_1"
        examples.save_picture(examples.colour(gray), root / f"{name}.bmp")
        examples.save_picture(label, root / f"{name}_anno.bmp")


def recognises_all_idb(root: Path) -> bool:
    """Tell whether there are ``Im001_1.jpg`` and a mask with the same name beside them."""
    return any(root.glob("**/Im*_[01].jpg")) and any(root.glob("**/masks/Im*_[01].*"))


def open_all_idb(root: Path) -> Dataset:
    """Open ALL-IDB1 with masks of your own in ``masks``: the publisher has none."""
    masks = {path.stem: path for path in find(root, "**/masks/Im*_[01].*")}
    cases = [
        Case(image.stem, image, masks[image.stem])
        for image in find(root, "**/Im*_[01].jpg")
        if "masks" not in image.parts and image.stem in masks
    ]
    return _pictures(root, "all_idb1", "ALL-IDB1", "leukocyte", cases)


def example_all_idb(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write pictures, the publisher's points, and masks."""
    for number in range(1, cases + 1):
        gray, label = examples.picture(rng)
        name = f"Im{number:03d}_{number % 2}"
        examples.save_picture(examples.colour(gray), root / f"img/{name}.jpg")
        examples.save_picture(label * np.uint8(255), root / f"masks/{name}.png")
        examples.write_text(root / f"xyc/{name}.xyc", "16 18\n")


ADAPTERS = (
    Adapter(
        name="isic2017",
        title="ISIC 2017: skin lesions",
        layout="ISIC_0000000.jpg with ISIC_0000000_segmentation.png",
        dims=2,
        reference="Codella et al. 2018, arXiv:1710.05006",
        licence="CC0 1.0 or CC BY-NC 4.0, by image",
        recognises=recognises_isic,
        open=open_isic,
        example=example_isic,
    ),
    Adapter(
        name="dermofit",
        title="Dermofit: skin lesions",
        layout="A1a.png with A1amask.png",
        dims=2,
        reference="Ballerini et al. 2013, doi:10.1007/978-94-007-5389-1_4",
        licence="licence agreement with the publisher",
        registration=True,
        recognises=recognises_dermofit,
        open=open_dermofit,
        example=example_dermofit,
    ),
    Adapter(
        name="glas",
        title="GlaS: glands in colon tissue",
        layout="train_1.bmp with train_1_anno.bmp",
        dims=2,
        reference="Sirinukunwattana et al. 2017, doi:10.1016/j.media.2016.08.008",
        licence="terms of use of the challenge",
        registration=True,
        recognises=recognises_glas,
        open=open_glas,
        example=example_glas,
    ),
    Adapter(
        name="all_idb1",
        title="ALL-IDB1: leukaemia in blood smears",
        layout="img/Im001_1.jpg with masks/Im001_1.png of your own",
        dims=2,
        reference="Donida Labati et al. 2011, doi:10.1109/ICIP.2011.6115881",
        licence="terms of use of the publisher",
        registration=True,
        recognises=recognises_all_idb,
        open=open_all_idb,
        example=example_all_idb,
    ),
)
