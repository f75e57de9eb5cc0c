"""Small data sets for tests below."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest


@pytest.fixture
def write_msd(tmp_path: Path) -> Callable[..., Path]:
    """Write a data set in the Decathlon layout with nibabel.

    ``cases`` are (image (z, y, x[, c]), label (z, y, x), spacing_mm (z, y, x)).
    """

    def write(
        cases: list[tuple[np.ndarray, np.ndarray, tuple[float, float, float]]],
        modalities: tuple[str, ...] = ("CT",),
        labels: tuple[str, ...] = ("background", "organ"),
        name: str = "data",
    ) -> Path:
        root = tmp_path / name
        for folder in ("imagesTr", "labelsTr"):
            (root / folder).mkdir(parents=True)
        entries = []
        for number, (image, label, spacing) in enumerate(cases):
            # NIfTI runs x, y, z to Right, Anterior, Superior: this places the axes at L, P, S.
            affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
            for folder, array in (("imagesTr", image), ("labelsTr", label)):
                xyz = array.transpose(2, 1, 0, *range(3, array.ndim))
                file = root / folder / f"case_{number}.nii.gz"
                nibabel.save(nibabel.Nifti1Image(xyz, affine), file)
            entries.append(
                {
                    "image": f"./imagesTr/case_{number}.nii.gz",
                    "label": f"./labelsTr/case_{number}.nii.gz",
                }
            )
        document = {
            "name": "Tiny",
            "modality": {str(index): value for index, value in enumerate(modalities)},
            "labels": {str(value): label for value, label in enumerate(labels)},
            "training": entries,
            "test": [],
        }
        (root / "dataset.json").write_text(json.dumps(document))
        return root

    return write
