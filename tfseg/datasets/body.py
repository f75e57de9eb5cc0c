"""Abdomen, pelvis and knee: LiTS, KiTS, PROMISE12 and SKI10."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.reading import check_ids, find, read_image, read_values

_LITS = re.compile(r"(test-)?volume-(\d+)\.nii(?:\.gz)?")


def recognises_lits(root: Path) -> bool:
    """Tell whether there are ``volume-N.nii`` and ``segmentation-N.nii``."""
    return any(root.glob("**/volume-*.nii*")) and any(root.glob("**/segmentation-*.nii*"))


def open_lits(root: Path) -> Dataset:
    """Open LiTS: liver and its tumours in CT."""
    cases = []
    for image in find(root, "**/*volume-*.nii*"):
        matched = _LITS.fullmatch(image.name)
        if not matched:
            continue
        test = bool(matched[1])
        label = image.with_name(image.name.replace("volume-", "segmentation-"))
        cases.append(
            Case(
                image.name.partition(".nii")[0],
                image,
                None if test else label,
                split="test" if test else "train",
            )
        )
    cases.sort(key=lambda case: (case.split == "test", int(case.id.rpartition("-")[2])))
    return Dataset(
        name="LiTS",
        adapter="lits",
        root=root,
        dims=3,
        modalities=("CT",),
        labels=("background", "liver", "tumor"),
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, {0: 0, 1: 1, 2: 2}),
    )


def example_lits(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write both training batches, and one test scan."""
    for number in range(cases):
        image, label = examples.draw(rng, 2)
        folder = root / f"Training Batch {1 + number % 2}"
        examples.save(image, folder / f"volume-{number}.nii")
        examples.save(label, folder / f"segmentation-{number}.nii")
    image, _ = examples.draw(rng, 2)
    examples.save(image, root / "Test Data/test-volume-0.nii")


def recognises_kits(root: Path) -> bool:
    """Tell whether case folders hold ``imaging.nii.gz`` and ``segmentation.nii.gz``."""
    return any(root.glob("**/case_*/segmentation.nii*"))


def open_kits(root: Path) -> Dataset:
    """Open KiTS19 and later years: kidneys and their tumours (from 2021 on, cysts too)."""
    cases = []
    for folder in find(root, "**/case_*"):
        images = find(folder, "imaging.nii*") if folder.is_dir() else []
        if images:
            labels = find(folder, "segmentation.nii*")
            label = labels[0] if labels else None
            cases.append(Case(folder.name, images[0], label, split="train" if label else "test"))
    cases.sort(key=lambda case: (case.split == "test", case.id))
    cysts = any(root.glob("**/kits2[13].json"))
    labels_of = ("background", "kidney", "tumor", *(("cyst",) if cysts else ()))
    values = {value: value for value in range(len(labels_of))}
    return Dataset(
        name="KiTS",
        adapter="kits19",
        root=root,
        dims=3,
        modalities=("CT",),
        labels=labels_of,
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, values),
    )


def example_kits(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write the layout of 2019 with one test case."""
    for number in range(cases + 1):
        image, label = examples.draw(rng, 2)
        folder = root / f"data/case_{number:05d}"
        examples.save(image, folder / "imaging.nii.gz")
        if number < cases:
            examples.save(label, folder / "segmentation.nii.gz")
    examples.write_text(root / "data/kits.json", "[]\n")


def recognises_promise(root: Path) -> bool:
    """Tell whether there are ``Case00.mhd`` and ``Case00_segmentation.mhd``."""
    return any(root.glob("**/Case*_segmentation.mhd"))


def open_promise(root: Path) -> Dataset:
    """Open PROMISE12: the prostate in T2-weighted MR."""
    cases = []
    for image in find(root, "**/Case*.mhd"):
        if image.stem.endswith("_segmentation"):
            continue
        label = image.with_name(f"{image.stem}_segmentation.mhd")
        labelled = label.is_file()
        test = not labelled and "Test" in str(image.relative_to(root))
        cases.append(
            Case(
                f"test_{image.stem}" if test else image.stem,
                image,
                None if test else label,
                split="test" if test else "train",
            )
        )
    cases.sort(key=lambda case: (case.split == "test", case.id))
    return Dataset(
        name="PROMISE12",
        adapter="promise12",
        root=root,
        dims=3,
        modalities=("MR",),
        labels=("background", "prostate"),
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, {0: 0, 1: 1}),
    )


def example_promise(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write training parts, and one test case."""
    for number in range(cases):
        image, label = examples.draw(rng, 1)
        folder = root / f"TrainingData_Part{1 + number % 3}"
        examples.save(image, folder / f"Case{number:02d}.mhd")
        examples.save(label.astype(np.int8), folder / f"Case{number:02d}_segmentation.mhd")
    image, _ = examples.draw(rng, 1)
    examples.save(image, root / "TestData/Case00.mhd")


def recognises_ski(root: Path) -> bool:
    """Tell whether there are ``image-001.mhd`` and ``labels-001.mhd``."""
    return any(root.glob("**/labels-*.mhd"))


def open_ski(root: Path) -> Dataset:
    """Open SKI10: bones and cartilage of the knee in MR."""
    labels = {path.name: path for path in find(root, "**/labels-*.mhd")}
    cases = []
    for image in find(root, "**/image-*.mhd"):
        label = labels.get(image.name.replace("image-", "labels-"))
        cases.append(Case(image.stem, image, label, split="train" if label else "test"))
    cases.sort(key=lambda case: (case.split == "test", case.id))
    return Dataset(
        name="SKI10",
        adapter="ski10",
        root=root,
        dims=3,
        modalities=("MR",),
        labels=("background", "femur", "femoral_cartilage", "tibia", "tibial_cartilage"),
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, {value: value for value in range(5)}),
    )


def example_ski(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write training pairs, and one test image."""
    for number in range(1, cases + 2):
        image, label = examples.draw(rng, 4)
        examples.save(image, root / f"image-{number:03d}.mhd")
        if number <= cases:
            examples.save(label, root / f"labels-{number:03d}.mhd")


ADAPTERS = (
    Adapter(
        name="lits",
        title="LiTS: liver and liver tumours in CT",
        layout="volume-N.nii with segmentation-N.nii",
        dims=3,
        reference="Bilic et al. 2023, doi:10.1016/j.media.2022.102680",
        licence="CC BY-NC-SA 4.0 or CC BY-NC-ND 4.0: the publishers differ",
        registration=True,
        recognises=recognises_lits,
        open=open_lits,
        example=example_lits,
    ),
    Adapter(
        name="kits19",
        title="KiTS: kidneys and kidney tumours in CT",
        layout="case_00000/imaging.nii.gz with case_00000/segmentation.nii.gz",
        dims=3,
        reference="Heller et al. 2021, doi:10.1016/j.media.2020.101821",
        licence="CC BY-NC-SA 4.0",
        recognises=recognises_kits,
        open=open_kits,
        example=example_kits,
    ),
    Adapter(
        name="promise12",
        title="PROMISE12: prostate in MR",
        layout="Case00.mhd with Case00_segmentation.mhd",
        dims=3,
        reference="Litjens et al. 2014, doi:10.1016/j.media.2013.12.002",
        licence="terms of use of the challenge",
        registration=True,
        recognises=recognises_promise,
        open=open_promise,
        example=example_promise,
    ),
    Adapter(
        name="ski10",
        title="SKI10: bones and cartilage of the knee in MR",
        layout="image-001.mhd with labels-001.mhd",
        dims=3,
        reference="Heimann et al. 2010, MICCAI workshop on knee image segmentation",
        licence="terms of use of the challenge",
        registration=True,
        recognises=recognises_ski,
        open=open_ski,
        example=example_ski,
    ),
)
