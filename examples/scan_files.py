"""From a NIfTI file to the arrays that the signature ``segment`` takes, and back.

The other examples here share it. It needs numpy and nibabel, and nothing of tfseg: a client in
another language does the same.

    python examples/scan_files.py request scan.nii.gz > request.json
    python examples/scan_files.py labels answer.json scan.nii.gz labels.nii.gz

``segment`` takes ``volume`` float32 (z, y, x, channels), raw intensities, with z to Superior, y to
Posterior and x to Left, and ``spacing_mm`` float32 (3,) in the same order; it gives ``labels``
uint8 (z, y, x). A NIfTI file stores (x, y, z) with its axes along any of the patient's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations

LPS = orientations.axcodes2ornt(("L", "P", "S"))


def read_scan(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Return volume (z, y, x, 1) and spacing_mm (3,) of a scan with one channel."""
    scan = nib.load(path)
    turn = orientations.ornt_transform(orientations.io_orientation(scan.affine), LPS)
    # Scale and offset of the file's header are applied: raw intensities are, say, HU.
    turned = scan.as_reoriented(turn)
    volume = np.asarray(turned.dataobj, np.float32).transpose(2, 1, 0)
    spacing_mm = np.linalg.norm(turned.affine[:3, :3], axis=0)[::-1]
    return np.ascontiguousarray(volume[..., np.newaxis]), spacing_mm.astype(np.float32)


def write_labels(labels: np.ndarray, scan: str | Path, path: str | Path) -> None:
    """Write labels (z, y, x) on the grid of the scan they are of."""
    affine = nib.load(scan).affine
    back = orientations.ornt_transform(LPS, orientations.io_orientation(affine))
    turned = orientations.apply_orientation(labels.transpose(2, 1, 0), back)
    nib.save(nib.Nifti1Image(turned.astype(np.uint8), affine), path)


def main() -> None:
    """Write a request for TensorFlow Serving's REST API, or read its answer."""
    match sys.argv[1:]:
        case ["request", scan]:
            volume, spacing_mm = read_scan(scan)
            inputs = {"volume": volume.tolist(), "spacing_mm": spacing_mm.tolist()}
            json.dump({"signature_name": "segment", "inputs": inputs}, sys.stdout)
        case ["labels", answer, scan, path]:
            # One output: its value stands without a name.
            write_labels(np.array(json.loads(Path(answer).read_text())["outputs"]), scan, path)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
