"""A run whose plan has steps: exported, it answers as the run does."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tfseg.artifact import Manifest
from tfseg.inference.predictor import Predictor
from tfseg.plan import Plan
from tfseg.volume import Volume
from tfseg_export import export_run

STEPS = [
    {"kind": "percentile_clip"},
    {"kind": "bias_field"},
    {"kind": "nlm"},
    {"kind": "hist_match", "percentiles": [1, 50, 99], "landmarks": [0, 40, 100]},
    {"kind": "clahe"},
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15
def test_an_exported_run_with_steps_answers_as_the_run(run_folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_folder("unet-3d"), run)
    manifest = Manifest.load(run, "manifest.json")
    channel = {"name": "MR", "steps": STEPS, "normalisation": {"kind": "zscore"}}
    plan = Plan.parse({**manifest.plan.model_dump(), "channels": [channel]}, "test")
    manifest.model_copy(update={"plan": plan}).save(run, "manifest.json")

    artifact = export_run(run, "savedmodel", tmp_path / "export")
    assert artifact.parity["segment"]["label_agreement_decided"] == 1
    scan = np.exp(np.random.default_rng(3).normal(4, 1, (9, 20, 13))).astype(np.float32)
    volume = Volume.from_geometry(scan, spacing_mm=(2.5, 1.1, 0.9))
    ours, theirs = (
        Predictor.open(path).predict(volume).labels.array for path in (run, artifact.path)
    )
    assert (ours == theirs).mean() > 0.999
