"""Measure small label maps with the field's own packages; writes metric_goldens.json beside it.

    pip install surface-distance-based-measures monai torch medpy seg-metrics SimpleITK
    python tests/goldens/make_metric_goldens.py

The maps are written into the file as digits, so that the tests need neither this script nor any of
the packages, and nothing depends on a random generator's version.
"""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from pathlib import Path

import medpy.metric as medpy
import numpy as np
import SimpleITK as sitk  # noqa: N813
import surface_distance
import torch
from monai import metrics as monai
from scipy import ndimage
from seg_metrics import seg_metrics

TARGET = Path(__file__).with_name("metric_goldens.json")
TOLERANCE_MM = 1.5
PACKAGES = ("monai", "medpy", "surface-distance-based-measures", "seg-metrics")


def ellipsoid(shape, centre, radii):
    grids = np.ogrid[tuple(slice(size) for size in shape)]
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grids, centre, radii, strict=True)) <= 1


def cases():
    """Yield name, spacing in mm (z, y, x), reference, prediction."""
    shape = (9, 14, 12)
    a, b = np.zeros((2, *shape), np.uint8)
    a[ellipsoid(shape, (4, 6, 5), (3, 4.5, 4))] = 1
    b[ellipsoid(shape, (5, 7, 6), (3, 4, 4.5))] = 1
    yield "shifted ellipsoids", (2.5, 0.8, 0.9), a, b

    a, b = np.zeros((2, *shape), np.uint8)
    a[:4, :5, :6] = 1
    b[:5, :4, :8] = 1
    yield "corner of the array", (1.0, 1.0, 1.0), a, b

    a, b = np.zeros((2, *shape), np.uint8)
    a[1, 2, 3], b[6, 9, 8] = 1, 1
    yield "one voxel each", (3.0, 1.0, 0.5), a, b

    a, b = np.zeros((2, *shape), np.uint8)
    a[1:3, 1:4, 1:4], b[6:8, 10:13, 8:11] = 1, 1
    yield "far apart", (2.0, 0.7, 0.7), a, b

    a, b = np.zeros((2, *shape), np.uint8)
    a[1:8, 1:13, 1:11], b[3:6, 4:9, 4:8] = 1, 1
    yield "one inside the other", (2.0, 0.7, 1.1), a, b

    a, b = np.zeros((2, 1, 20, 20), np.uint8)
    a[ellipsoid((1, 20, 20), (0, 9, 9), (1, 6, 4))] = 1
    b[ellipsoid((1, 20, 20), (0, 10, 11), (1, 4, 6))] = 1
    yield "single slice", (5.0, 0.6, 0.9), a, b

    rng = np.random.default_rng(11)
    a, b = rng.integers(0, 3, (2, 6, 9, 8)).astype(np.uint8)
    yield "noise of two classes", (1.7, 0.9, 0.6), a, b

    field = ndimage.gaussian_filter(rng.standard_normal((2, 10, 16, 14)), (0, 1, 2, 2))
    a, b = np.digitize(field, [0.02, 0.1]).astype(np.uint8)
    yield "ragged shapes of two classes", (3.0, 1.0, 1.0), a, b


def by_monai(a, b, spacing):
    # (batch, channel, z, y, x), foreground only; a volume of one slice as the image it is.
    flat = a.shape[0] == 1
    a, b = (torch.from_numpy(m[0] if flat else m)[None, None] for m in (a, b))
    spacing = spacing[1:] if flat else spacing
    near = {"include_background": True, "spacing": spacing}
    counts = monai.get_confusion_matrix(b.float(), a.float())
    return {
        "dice": monai.compute_dice(b, a),
        "jaccard": monai.compute_iou(b, a),
        **{
            name: monai.compute_confusion_matrix_metric(theirs, counts)
            for name, theirs in {
                "sensitivity": "sensitivity",
                "specificity": "specificity",
                "precision": "precision",
                "accuracy": "accuracy",
                "mcc": "matthews correlation coefficient",
            }.items()
        },
        "hausdorff": monai.compute_hausdorff_distance(b, a, **near),
        "hd95": monai.compute_hausdorff_distance(b, a, percentile=95, **near),
        "hausdorff_to_reference": monai.compute_hausdorff_distance(b, a, directed=True, **near),
        "assd": monai.compute_average_surface_distance(b, a, symmetric=True, **near),
        "asd_to_reference": monai.compute_average_surface_distance(b, a, **near),
        "nsd": monai.compute_surface_dice(b, a, [TOLERANCE_MM], **near),
    }


def by_medpy(a, b, spacing):
    near = {"voxelspacing": spacing, "connectivity": 1}
    if a.shape[0] == 1:
        a, b, near["voxelspacing"] = a[0], b[0], spacing[1:]
    return {
        "dice": medpy.dc(b, a),
        "jaccard": medpy.jc(b, a),
        "sensitivity": medpy.sensitivity(b, a),
        "specificity": medpy.specificity(b, a),
        "precision": medpy.precision(b, a),
        "rvd": medpy.ravd(b, a),
        "hausdorff": medpy.hd(b, a, **near),
        "hd95 pooled": medpy.hd95(b, a, **near),
        "asd_to_reference": medpy.asd(b, a, **near),
        "asd_to_prediction": medpy.asd(a, b, **near),
        "assd": medpy.assd(b, a, **near),
    }


def by_surface_distance(a, b, spacing):
    found = surface_distance.compute_surface_distances(a, b, spacing)
    forth, back = surface_distance.compute_average_surface_distance(found)
    return {
        "dice": surface_distance.compute_dice_coefficient(a, b),
        "hausdorff": surface_distance.compute_robust_hausdorff(found, 100),
        "hd95": surface_distance.compute_robust_hausdorff(found, 95),
        "asd_to_prediction": forth,
        "asd_to_reference": back,
        "nsd": surface_distance.compute_surface_dice_at_tolerance(found, TOLERANCE_MM),
    }


def by_seg_metrics(a, b, spacing):
    # It reads files; ITK's spacing is (x, y, z).
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, mask in (("reference", a), ("prediction", b)):
            image = sitk.GetImageFromArray(mask.astype(np.uint8))
            image.SetSpacing([float(mm) for mm in spacing[::-1]])
            paths.append(str(Path(folder, f"{name}.mha")))
            sitk.WriteImage(image, paths[-1])
        found = seg_metrics.write_metrics(
            labels=[1], gdth_path=paths[0], pred_path=paths[1],
            metrics=["dice", "jaccard", "precision", "recall", "hd", "hd95", "msd"],
            fully_connected=False, verbose=False,
        )  # fmt: skip
    found = found[0] if isinstance(found, list) else found
    names = {
        "dice": "dice",
        "jaccard": "jaccard",
        "precision": "precision",
        "recall": "sensitivity",
        "hd": "hausdorff",
        "hd95": "hd95 pooled",
        "msd": "assd",
    }
    return {ours: np.ravel(found[theirs])[0] for theirs, ours in names.items()}


PEERS = {
    "monai": by_monai,
    "medpy": by_medpy,
    "surface-distance": by_surface_distance,
    "seg-metrics": by_seg_metrics,
}


def digits(labels):
    rows = labels.reshape(-1, labels.shape[-1])
    return " ".join("".join(map(str, row)) for row in rows.tolist())


def main() -> None:
    written = []
    for name, spacing, reference, prediction in cases():
        values = {}
        for label in range(1, int(max(reference.max(), prediction.max())) + 1):
            a, b = reference == label, prediction == label
            values[str(label)] = {
                peer: {metric: float(value) for metric, value in measure(a, b, spacing).items()}
                for peer, measure in PEERS.items()
            }
        written.append(
            {
                "name": name,
                "spacing_mm": spacing,
                "shape": reference.shape,
                "reference": digits(reference),
                "prediction": digits(prediction),
                "values": values,
            }
        )
    document = {
        "tolerance_mm": TOLERANCE_MM,
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
        "cases": written,
    }
    TARGET.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
