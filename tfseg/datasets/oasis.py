"""OASIS-1: brain MR of all ages with the tissues of FSL FAST (Marcus et al. 2007).

``disc1/OAS1_0001_MR1/PROCESSED/MPRAGE/T88_111/*_t88_masked_gfc.hdr`` with
``FSL_SEG/*_t88_masked_gfc_fseg.hdr``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.reading import check_ids, find, read_image, read_values
from tfseg.errors import DataError

_SESSION = re.compile(r"(OAS1_\d{4})_MR(\d+)")


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
        labels=("background", "cerebrospinal_fluid", "gray_matter", "white_matter"),
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
)
