"""A CT of 512 x 512 x 1000 voxels goes through in 4 GB beside the network."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import resource
import numpy as np
from tfseg.artifact import Manifest
from tfseg.inference.backend import Backend
from tfseg.inference.predictor import Predictor
from tfseg.plan import Channel, ClipZScore, Plan
from tfseg.volume import Volume

plan = Plan(
    dims=3, spacing_mm=(1.5, 1.5, 1.5), patch_size=(96, 160, 160), batch_size=1,
    channels=(Channel(name="CT", normalisation=ClipZScore(low=-1000, high=1000, mean=0, std=300)),),
    labels=tuple(f"class {number}" for number in range(20)),
)
answer = np.full((1, 96, 160, 160, 20), 0.05, np.float32)
answer[..., 7] = 0.06
scan = Volume.from_geometry(np.ones((1000, 512, 512), np.int16), spacing_mm=(1.0, 0.8, 0.8))
manifest = Manifest(format="run", model="unet", plan=plan)

class Same(Backend):
    def __call__(self, batch):
        return answer

labels = Predictor(Same(), manifest).predict(scan).labels
assert labels.shape == scan.shape
assert (labels.array[::50] == 7).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""

_MOST_MIB = 4_000  # the scan itself and one answer of a network are in it


@pytest.mark.slow
def test_peak_memory_of_a_long_ct() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < _MOST_MIB
