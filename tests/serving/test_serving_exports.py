"""A network of this project, exported, served and queried: nothing in between is a fake."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from tfseg.cli.main import run
from tfseg_serving.config import models_from_folders
from tfseg_serving.server import Server, ServerOptions

PLAN = {
    "version": 1,
    "dims": 3,
    "batch_size": 1,
    "spacing_mm": [2.0, 1.0, 1.0],
    "patch_size": [8, 16, 8],
    "labels": ["background", "organ", "lesion"],
    "channels": [{"name": "MR", "normalisation": {"kind": "zscore"}}],
}


def test_a_served_export_answers_as_the_saved_model_itself(tmp_path: Path, capsys) -> None:
    import keras
    import tensorflow as tf

    from tfseg.artifact import Manifest
    from tfseg.io import read_volume
    from tfseg.models import build, inference_model
    from tfseg.plan import Plan
    from tfseg_export.export import export_run

    keras.utils.set_random_seed(3)
    plan = Plan.parse(PLAN, "test")
    options = {"base_filters": 4, "depth": 2}
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    model = inference_model(build("unet", (8, 16, 8, 1), 3, **options))
    model.save(run_folder / "model.keras")
    manifest = Manifest(format="run", model="unet", config=options, plan=plan)
    manifest.save(run_folder, "manifest.json")
    exported = export_run(run_folder, "savedmodel", tmp_path / "exports", name="unet").path

    scan, out = tmp_path / "scan.nii.gz", tmp_path / "seg.nii.gz"
    voxels = np.random.default_rng(1).normal(100, 40, (21, 19, 11)).astype(np.float32)
    affine = np.diag([-0.8, -0.9, 3.0, 1.0])  # canonical already: x to Left, y to Posterior
    nib.save(nib.Nifti1Image(voxels, affine), scan)
    volume = read_volume(scan)
    segment = tf.saved_model.load(str(exported)).signatures["segment"]
    expected = segment(
        volume=volume.channel_last().astype(np.float32),
        spacing_mm=np.array(volume.spacing_mm, np.float32),
    )["labels"].numpy()

    # The export's own warm-up requests have run when the server is up.
    with Server(
        models_from_folders([tmp_path / "exports"]), ServerOptions(rest_port=0, grpc_port=0)
    ) as server:
        assert server.available() == {"unet": [1]}
        query = ["query", str(scan), "-o", str(out), "--overwrite"]
        for url in (server.grpc_url, server.rest_url):
            assert run([*query, "--url", url, "--name", "unet"]) == 0
            labels = nib.load(out)
            np.testing.assert_array_equal(np.asarray(labels.dataobj), expected.transpose(2, 1, 0))
            np.testing.assert_array_equal(labels.affine, nib.load(scan).affine)

        # Tiling on this side is what predict does with the same export, by the same code.
        near, options = tmp_path / "near.nii.gz", ["--name", "unet", "--patches", "--manifest"]
        assert run(["predict", str(exported), str(scan), "-o", str(near)]) == 0
        arguments = [*query, "--url", server.grpc_url]
        assert run([*arguments, *options, str(exported.parent)]) == 0
        assert [line.split()[1] for line in capsys.readouterr().out.splitlines() if "│" in line][
            -2:
        ] == ["organ", "lesion"]
        patches = np.asarray(nib.load(out).dataobj)
        np.testing.assert_array_equal(patches, np.asarray(nib.load(near).dataobj))
        assert (patches == expected.transpose(2, 1, 0)).mean() > 0.999
    assert len(np.unique(expected)) > 1
