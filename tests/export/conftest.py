"""Run folders of tiny networks, written once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfseg.artifact import Manifest
from tfseg.plan import Plan

CT = {
    "name": "CT",
    "unit": "HU",
    "normalisation": {"kind": "clip_zscore", "low": -200, "high": 300, "mean": 40, "std": 80},
}
RGB = [
    {"name": name, "normalisation": {"kind": "scale", "offset": 127, "scale": 60}} for name in "RGB"
]
LABELS = ["background", "organ", "lesion"]

# name -> (network, options, plan): every layer form that the exporters meet, in 2D and 3D.
_PLANS: dict[int, dict[str, Any]] = {
    2: {"dims": 2, "spacing_mm": None, "patch_size": [16, 24], "channels": RGB},
    3: {"dims": 3, "spacing_mm": [2.0, 1.0, 1.0], "patch_size": [8, 16, 8], "channels": [CT]},
}
_NETWORKS: dict[str, dict[str, Any]] = {
    "unet": {"base_filters": 4, "depth": 2},
    "pspnet": {"base_filters": 2, "bins": (1, 2)},
}


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a name such as unet-2d to a run folder, made when first asked for."""
    root = tmp_path_factory.mktemp("runs")

    def make(name: str) -> Path:
        folder = root / name
        if not folder.exists():
            _write_run(folder, *name.split("-"))
        return folder

    return make


def _write_run(folder: Path, network: str, rank: str) -> None:
    import keras

    from tfseg.models import build, inference_model

    plan = Plan.parse(
        {"version": 1, "batch_size": 1, "labels": LABELS, **_PLANS[int(rank[0])]}, "test"
    )
    options = _NETWORKS[network]
    keras.utils.set_random_seed(7)
    shape = (*plan.patch_size, len(plan.channels))
    model = inference_model(build(network, shape, plan.num_classes, **options))
    folder.mkdir()
    model.save(folder / "model.keras")
    Manifest(format="run", model=network, config=options, plan=plan).save(folder, "manifest.json")
