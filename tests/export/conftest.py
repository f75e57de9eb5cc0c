"""Run folders of tiny networks, written once a session."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfseg.artifact import Manifest
from tfseg.plan import Plan
from tfseg_export import Artifact, export_run

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
    """Return a function from a name to a run folder, made when first asked for.

    Names are such as unet-2d; pspnet-3d-batch has batch normalisation instead of instance
    normalisation.
    """
    root = tmp_path_factory.mktemp("runs")

    def make(name: str) -> Path:
        folder = root / name
        if not folder.exists():
            _write_run(folder, *name.split("-"))
        return folder

    return make


@pytest.fixture(scope="session")
def exported(
    run_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Artifact]]:
    """Give a function (run, format, precision) -> artifact that exports each once.

    Networks are loaded and traced once for all formats, which is most of an export's time.
    """
    from tfseg_export import source

    root = tmp_path_factory.mktemp("exports")
    done: dict[tuple[str, str, str], Artifact] = {}

    def export(run: str, format: str, precision: str = "fp32") -> Artifact:
        key = run, format, precision
        if key not in done:
            # One compute capability but once: compiling for each takes as long again.
            one = format == "tensorrt" and key != ("unet-3d", "tensorrt", "fp32")
            done[key] = export_run(
                run_folder(run),
                format,
                root / run / format / precision,  # a model's versions are of one format
                precision=precision,
                capabilities=("sm89",) if one else (),
            )
        return done[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "load_source", functools.cache(source.load_source))
        yield export


def _write_run(folder: Path, network: str, rank: str, norm: str = "instance") -> None:
    import keras
    import numpy as np

    from tfseg.models import build, inference_model

    plan = Plan.parse(
        {"version": 1, "batch_size": 1, "labels": LABELS, **_PLANS[int(rank[0])]}, "test"
    )
    options = {**_NETWORKS[network], "norm": norm}
    keras.utils.set_random_seed(7)
    shape = (*plan.patch_size, len(plan.channels))
    model = inference_model(build(network, shape, plan.num_classes, **options))
    rng = np.random.default_rng(7)
    for weight in model.non_trainable_weights:  # as training leaves them: neither 0 nor 1
        if weight.name in {"moving_mean", "moving_variance"}:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    folder.mkdir()
    model.save(folder / "model.keras")
    Manifest(format="run", model=network, config=options, plan=plan).save(folder, "manifest.json")
