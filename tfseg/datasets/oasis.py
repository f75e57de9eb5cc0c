"""OASIS: brain MR with tissues that programs drew, FSL FAST in OASIS-1 and FreeSurfer in OASIS-3.

OASIS-1 (Marcus et al. 2007): ``disc1/OAS1_0001_MR1/PROCESSED/MPRAGE/T88_111/*_gfc.hdr`` with
``FSL_SEG/*_gfc_fseg.hdr``. OASIS-3 (LaMontagne et al. 2019):
``OAS30001_MR_d0129/anat2/*_T1w.nii.gz`` with FreeSurfer's ``mri/aseg.mgz`` there or in
``OAS30001_Freesurfer53_d0129``; its 40 structures become the same three tissues.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tfseg.datasets import examples, freesurfer
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.reading import (
    check_ids,
    find,
    label_path,
    one_channel,
    read_image,
    read_values,
    to_classes,
)
from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.io.dicom_out.nearest import nearest
from tfseg.volume import Volume

_SESSION = re.compile(r"(OAS1_\d{4})_MR(\d+)")
_SESSION_3 = re.compile(r"(OAS3\d{4})_(?:MR|Freesurfer\d*)_(d\d+)")


def recognises(root: Path) -> bool:
    """Tell whether sessions with FSL's tissues are there."""
    return any(root.glob("**/OAS1_*_MR*/FSL_SEG/*_fseg.hdr"))


def open_oasis(root: Path) -> Dataset:
    """Open the skull-stripped images in Talairach space; a person's sessions are one group.

    Raises:
        DataError: a session has tissues and no image.
    """
    cases = []
    for label in find(root, "**/OAS1_*_MR*/FSL_SEG/*_fseg.hdr"):
        session = label.parents[1]
        matched = _SESSION.fullmatch(session.name)
        if not matched:
            continue
        # The name tells how many scans were averaged: mpr_n3, mpr_n4, ...
        name = label.name.replace("_fseg.hdr", ".hdr")
        images = find(session, f"PROCESSED/MPRAGE/T88_111/{name}")
        if not images:
            raise DataError(f"{session}: PROCESSED/MPRAGE/T88_111/{name} is missing. Restore it.")
        cases.append(Case(session.name, images[0], label, group=matched[1]))
    return Dataset(
        name="OASIS-1",
        adapter="oasis1",
        root=root,
        dims=3,
        modalities=("T1",),
        labels=("background", *freesurfer.TISSUES),
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, {0: 0, 1: 1, 2: 2, 3: 3}),
    )


def example(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write sessions, every second one a person's second."""
    for number in range(cases):
        image, label = examples.draw(rng, 3)
        session = f"OAS1_{number // 2 + 1:04d}_MR{number % 2 + 1}"
        stem = f"{session}_mpr_n4_anon_111_t88_masked_gfc"
        folder = root / "disc1" / session
        examples.save_analyze(image, folder / f"PROCESSED/MPRAGE/T88_111/{stem}.hdr")
        examples.save_analyze(label, folder / f"FSL_SEG/{stem}_fseg.hdr")


def recognises_3(root: Path) -> bool:
    """Tell whether sessions of OASIS-3 with FreeSurfer's label map are there."""
    return any(_session_3(path) for path in root.glob("**/OAS3*_d*/**/mri/aseg.mgz"))


def _session_3(path: Path) -> tuple[str, str] | None:
    """Return person and day that a path tells of."""
    found = (_SESSION_3.fullmatch(part) for part in reversed(path.parts))
    return next(((match[1], match[2]) for match in found if match), None)


def open_oasis_3(root: Path) -> Dataset:
    """Open the sessions that FreeSurfer has processed; a person's are one group.

    The image is the first T1w of the session's ``anat`` folders. Where none was fetched it is
    FreeSurfer's ``orig.mgz``, the same scan at 1 mm.
    """
    scans: dict[tuple[str, str] | None, Path] = {}
    for path in find(root, "**/OAS3*_d*/anat*/**/*_T1w.nii*"):
        scans.setdefault(_session_3(path), path)
    labels = {_session_3(path): path for path in find(root, "**/OAS3*_d*/**/mri/aseg.mgz")}
    cases = []
    for session, label in labels.items():
        if session is not None:
            image = scans.get(session, label.with_name("orig.mgz"))
            cases.append(Case("_".join(session), image, label, group=session[0]))
    cases.sort(key=lambda case: case.id)
    left = len(set(scans) - set(labels))
    return Dataset(
        name="OASIS-3",
        adapter="oasis3",
        root=root,
        dims=3,
        modalities=("T1",),
        labels=("background", *freesurfer.TISSUES),
        cases=check_ids(root, cases),
        read_image=_read_image_3,
        read_label=_read_tissues,
        remarks=(f"{left} sessions without aseg.mgz are left out.",) if left else (),
    )


def _read_image_3(case: Case) -> Volume:
    if case.image.suffix == ".mgz":
        return freesurfer.read(case.image)
    return read_volume(case.image)


def _read_tissues(case: Case) -> Volume:
    """Return the tissues on the image's grid: FreeSurfer's is one of its own, of 1 mm."""
    path, image = label_path(case), _read_image_3(case)
    structures = freesurfer.read(path)
    tissues = to_classes(one_channel(structures, path), freesurfer.ASEG_TISSUES, path)
    return image.with_array(nearest(tissues, structures.affine, image.affine, image.shape))


def example_3(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write sessions, every second one a person's second; of the last one FreeSurfer's alone."""
    for number in range(cases):
        image, label = examples.draw(rng, 3)
        structures = np.array([0, 4, 42, 251], np.uint8)[label]
        person, day = f"OAS3{number // 2 + 1:04d}", f"d{number * 100:04d}"
        folder = root / f"{person}_Freesurfer53_{day}/DATA/{person}_MR_{day}/mri"
        examples.save_freesurfer(structures, folder / "aseg.mgz")
        if number < cases - 1:
            scan = f"{person}_MR_{day}/anat2/sub-{person}_ses-{day}_T1w.nii.gz"
            examples.save(image, root / scan)
        else:
            examples.save_freesurfer(image, folder / "orig.mgz")


ADAPTERS = (
    Adapter(
        name="oasis1",
        title="OASIS-1: brain tissues",
        layout="OAS1_0001_MR1/FSL_SEG/*_fseg.hdr with PROCESSED/MPRAGE/T88_111",
        dims=3,
        reference="Marcus et al. 2007, doi:10.1162/jocn.2007.19.9.1498",
        licence="data use agreement with the publisher",
        registration=True,
        recognises=recognises,
        open=open_oasis,
        example=example,
    ),
    Adapter(
        name="oasis3",
        title="OASIS-3: brain tissues",
        layout="OAS30001_MR_d0129/anat2/*_T1w.nii.gz with mri/aseg.mgz of FreeSurfer",
        dims=3,
        reference="LaMontagne et al. 2019, doi:10.1101/2019.12.13.19014902",
        licence="data use agreement with the publisher",
        registration=True,
        recognises=recognises_3,
        open=open_oasis_3,
        example=example_3,
    ),
)
