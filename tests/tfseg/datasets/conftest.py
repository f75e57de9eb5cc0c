"""A tiny data set in the Decathlon layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfseg.files import write_json
from tfseg.io import write_volume
from tfseg.volume import Volume


@pytest.fixture
def make_msd(tmp_path: Path) -> Callable[..., Path]:
    """Write three labelled cases and one test case; arguments override dataset.json's entries."""

    def make(**entries: Any) -> Path:
        root = tmp_path / "data"
        rng = np.random.default_rng(0)
        for name in ("a", "b", "c"):
            image = Volume.from_geometry(rng.integers(0, 99, (4, 5, 6)).astype(np.int16))
            label = image.with_array((image.array > 50).astype(np.uint8))
            write_volume(image, root / f"imagesTr/{name}.nii.gz")
            write_volume(label, root / f"labelsTr/{name}.nii.gz")
        write_volume(
            Volume.from_geometry(np.arange(8, dtype=np.int16).reshape(2, 2, 2)),
            root / "imagesTs/t.nii.gz",
        )
        document = {
            "name": "Tiny",
            "modality": {"0": "CT"},
            "labels": {"0": "background", "1": "organ"},
            "numTraining": 3,
            "numTest": 1,
            "training": [
                {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
                for name in ("a", "b", "c")
            ],
            "test": ["./imagesTs/t.nii.gz"],
        }
        write_json(root / "dataset.json", document | entries)
        return root

    return make
