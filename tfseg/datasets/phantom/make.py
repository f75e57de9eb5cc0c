"""Write phantom data sets: every case drawn from its own seed, the folder complete or absent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseg.errors import ConfigError, DataError, unknown_name
from tfseg.files import atomic_path, check_folder, write_json
from tfseg.io import write_volume
from tfseg.volume import Volume

MAX_CASES = 900  # test cases are numbered from 901
_TEST_CASES = 2
_OBLIQUE_EVERY = 3  # every third scan is oblique to the patient

MakeCase = Callable[[np.random.Generator, bool], tuple[Volume, Volume]]
Progress = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True)
class _Scan:
    """A kind of volume phantom: one module's generator and what dataset.json says about it."""

    title: str
    modality: str
    prefix: str
    labels: tuple[str, ...]
    make_case: MakeCase


def make_phantom(
    out: str | os.PathLike[str],
    kind: str = "ct-abdomen",
    cases: int = 12,
    dicom: bool = False,
    seed: int = 0,
    progress: Progress = iter,
) -> Path:
    """Write a synthetic data set and return its folder.

    Case ``i`` depends on ``kind``, ``seed`` and ``i`` alone, so a larger set begins with the
    smaller one's cases.

    Args:
        out: the folder to make; it must be absent or empty.
        kind: ``ct-abdomen`` or ``mr-brain`` (MSD layout, NIfTI) or ``fundus`` (DRIVE layout).
        cases: labelled training cases, 1 to 900; 2 test cases without labels are added.
        dicom: write each CT also as a DICOM series, one file a slice, in ``dicom/<case>``.
        seed: not negative; the same seed gives the same voxels.
        progress: wraps the sequence of case numbers, to show how far the work is.

    Raises:
        ConfigError: unknown kind, ``cases`` or ``seed`` out of range, DICOM for another kind.
        DataError: ``out`` is not empty or cannot be written; nothing stays there then.
    """
    out = Path(out)
    if kind not in KINDS:
        raise unknown_name("phantom kind", kind, KINDS)
    if not 1 <= cases <= MAX_CASES:
        raise ConfigError(f"--cases must be 1 to {MAX_CASES}; got {cases}.")
    if seed < 0:
        raise ConfigError(f"--seed must not be negative; got {seed}.")
    if dicom and kind != "ct-abdomen":
        raise ConfigError(f"--dicom writes CT series: it needs --kind ct-abdomen; got {kind}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: the output folder must be new or empty. Choose another.")
    check_folder(out.parent)
    with atomic_path(out) as folder:
        for number in progress(range(cases + _TEST_CASES)):
            split = "train" if number < cases else "test"
            index = number if split == "train" else number - cases
            rng = np.random.default_rng([seed, KINDS.index(kind), int(split == "test"), index])
            if kind == "fundus":
                _write_fundus(folder, rng, index, split)
            else:
                _write_scan(folder, kind, rng, index, split, dicom=dicom, seed=seed)
        if kind != "fundus":
            _write_description(folder, _scan(kind), cases, seed)
    return out


KINDS = ("ct-abdomen", "mr-brain", "fundus")


def _scan(kind: str) -> _Scan:
    if kind == "ct-abdomen":
        from tfseg.datasets.phantom import ct

        return _Scan("Phantom CT of the abdomen", "CT", "abdomen", ct.LABELS, ct.make_case)
    from tfseg.datasets.phantom import brain

    return _Scan("Phantom T1 MR of the head", "MRI", "brain", brain.LABELS, brain.make_case)


def _names(prefix: str, index: int, split: str) -> tuple[str, str]:
    """Return the case's id and its image folder."""
    number = index + 1 if split == "train" else index + 901
    return f"{prefix}_{number:03d}", "imagesTr" if split == "train" else "imagesTs"


def _write_scan(
    folder: Path,
    kind: str,
    rng: np.random.Generator,
    index: int,
    split: str,
    *,
    dicom: bool,
    seed: int,
) -> None:
    scan = _scan(kind)
    image, label = scan.make_case(rng, index % _OBLIQUE_EVERY == _OBLIQUE_EVERY - 1)
    name, images = _names(scan.prefix, index, split)
    if dicom:
        from tfseg.datasets.phantom.series import write_ct_series

        write_ct_series(image, folder / "dicom" / name, entropy=f"{seed}/{name}")
    if index % 2:  # half of the files in the order that most converters write: R, A, S
        image, label = _flip_in_plane(image), _flip_in_plane(label)
    write_volume(image, folder / images / f"{name}.nii.gz")
    if split == "train":
        write_volume(label, folder / "labelsTr" / f"{name}.nii.gz")


def _flip_in_plane(volume: Volume) -> Volume:
    affine = volume.affine.copy()
    for axis in (1, 2):
        affine[:3, 3] += affine[:3, axis] * (volume.shape[axis] - 1)
        affine[:3, axis] *= -1
    return Volume(volume.array[:, ::-1, ::-1], affine, volume.modality)


def _write_description(folder: Path, scan: _Scan, cases: int, seed: int) -> None:
    training = [_names(scan.prefix, index, "train")[0] for index in range(cases)]
    test = [_names(scan.prefix, index, "test")[0] for index in range(_TEST_CASES)]
    write_json(
        folder / "dataset.json",
        {
            "name": scan.title,
            "description": f"Synthetic scans with exact labels, seed {seed}",
            "licence": "CC0",
            "tensorImageSize": "3D",
            "modality": {"0": scan.modality},
            "labels": {str(value): name for value, name in enumerate(scan.labels)},
            "numTraining": cases,
            "numTest": _TEST_CASES,
            "training": [
                {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
                for name in training
            ],
            "test": [f"./imagesTs/{name}.nii.gz" for name in test],
        },
    )


def _write_fundus(folder: Path, rng: np.random.Generator, index: int, split: str) -> None:
    """Write one photograph in DRIVE's layout: training from 21, test from 01, as published."""
    from PIL import Image

    from tfseg.datasets.phantom import fundus

    photo, vessels, field_of_view = fundus.make_case(rng)
    half = "training" if split == "train" else "test"
    number = f"{index + 21 if split == 'train' else index + 1:02d}"
    base = folder / half
    wanted = {
        f"images/{number}_{half}.tif": photo,
        f"mask/{number}_{half}_mask.gif": np.uint8(255) * field_of_view,
    }
    if split == "train":
        wanted[f"1st_manual/{number}_manual1.gif"] = np.uint8(255) * vessels
    for name, pixels in wanted.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(base / name)
