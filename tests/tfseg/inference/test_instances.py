"""Objects one by one: joined over windows and drawn, against values worked by hand."""

import json

import nibabel
import numpy as np
import pytest

from tests.backends import Answers
from tfseg.artifact import Manifest
from tfseg.errors import ConfigError
from tfseg.inference.backend import Backend, Detections
from tfseg.inference.instances import Finding, Found, describe_instances, draw_instances
from tfseg.inference.instances import find_instances as joined
from tfseg.inference.predictor import Predictor
from tfseg.inference.sliding import segment_array
from tfseg.plan import Plan
from tfseg.volume import Volume


def plan_of(*patch, labels=("background", "organ", "lesion")):
    return Plan.parse(
        {
            "dims": len(patch),
            "spacing_mm": None,
            "patch_size": patch,
            "batch_size": 1,
            "channels": [{"name": "CT", "normalisation": {"kind": "scale"}}],
            "labels": labels,
        },
        "test",
    )


class Sees(Backend):
    """A detector that finds boxes painted into the image: value 1.09 is label 1, score 0.9."""

    finds_instances = True

    def __init__(self, objects, masks=False):
        self.objects, self.masks = objects, masks

    def detect(self, batch):
        image = batch[0, ..., 0]
        boxes, scores, labels = [], [], []
        for value in self.objects:
            where = np.argwhere(np.isclose(image, value))
            if len(where):
                boxes.append([*where.min(0), *(where.max(0) + 1)])
                scores.append(round((value % 1) * 10, 3))
                labels.append(int(value))
        rank = image.ndim
        answer = [
            np.array(boxes, np.float32).reshape(1, -1, 2 * rank),
            np.array([scores], np.float32),
            np.array([labels], np.float32),
        ]
        if self.masks:
            answer.append(np.ones((1, len(boxes), *(3,) * rank, 1), np.float32))
        return np.ones((*batch.shape[:-1], 3), np.float32) / 3, Detections(*answer)


def find_instances(image, detector, plan):
    """The objects in a prepared image, beside its label map."""
    finding = Finding(detector)
    segment_array(image, finding, plan)
    return joined(finding.seen, image.shape[:3], plan)


@pytest.mark.parametrize("masks", [False, True])
def test_an_object_that_windows_share_is_one(masks):
    image = np.zeros((6, 20, 24, 1), np.float32)
    image[1:4, 7:12, 9:14] = 1.09
    image[2:6, 0:4, 18:24] = 2.08
    found = find_instances(image, Sees([1.09, 2.08], masks), plan_of(6, 10, 12))
    assert [(one.label, round(one.score, 2), one.cut) for one in found] == [
        (1, 0.9, False),
        (2, 0.8, False),
    ]
    assert found[0].low.tolist() == [1, 7, 9]
    assert found[0].high.tolist() == [4, 12, 14]
    numbers, there = draw_instances(found, image.shape[:3], image.shape[:3])
    assert len(there) == 2
    expected = (image[..., 0] > 1) + (image[..., 0] > 2).astype(int)
    # The mask's linear edge reaches half a cell into the box's border at most.
    assert np.mean(numbers == expected) > (0.97 if masks else 0.9999)


def test_a_slice_has_objects_of_its_own():
    image = np.zeros((2, 16, 16, 1), np.float32)
    image[0, 2:6, 2:6] = image[1, 3:7, 3:7] = 1.09
    found = find_instances(image, Sees([1.09]), plan_of(16, 16))
    assert sorted((one.low.tolist(), one.high.tolist()) for one in found) == [
        ([0, 2, 2], [1, 6, 6]),
        ([1, 3, 3], [2, 7, 7]),
    ]


def test_unsure_detections_are_left_out():
    image = np.zeros((4, 8, 8, 1), np.float32)
    image[:2, :2, :2] = 1.04
    assert find_instances(image, Sees([1.04]), plan_of(4, 8, 8)) == []


def box(label, score, low, high):
    return Found(label, score, np.array(low, float), np.array(high, float), None, False)


def test_the_better_one_is_on_top():
    found = [box(1, 0.9, (0, 0, 0), (1, 4, 4)), box(2, 0.8, (0, 2, 2), (1, 6, 6)),
             box(1, 0.7, (0, 0, 0), (1, 2, 2))]  # fmt: skip
    numbers, there = draw_instances(found, (1, 8, 8), (1, 8, 8))
    assert there == found[:2]  # nothing is left of the third
    assert (numbers == 1).sum() == 16
    assert (numbers == 2).sum() == 16 - 4


def test_drawn_on_a_finer_grid():
    numbers, _ = draw_instances([box(1, 0.9, (0, 1, 2), (1, 3, 4))], (1, 4, 8), (2, 8, 16))
    expected = np.zeros((2, 8, 16))
    expected[:, 2:6, 4:8] = 1
    np.testing.assert_array_equal(numbers, expected)


def test_what_is_told_of_an_object():
    """Voxels of 2 x 1 x 0.5 mm; a box of 2 x 3 x 4 voxels whose first one lies at (5, 6, 7) mm."""
    volume = Volume.from_geometry(np.zeros((4, 5, 6)), (2.0, 1.0, 0.5), (5.0, 6.0, 7.0))
    numbers = np.zeros((4, 5, 6), np.uint16)
    numbers[:2, :3, :4] = 1
    (told,) = describe_instances(
        numbers, [box(2, 0.75, (0, 0, 0), (2, 3, 4))], ("background", "a", "b"), volume.affine
    )
    assert told == {
        "id": 1, "label": "b", "value": 2, "score": 0.75, "box_vox": [[0, 0, 0], [2, 3, 4]],
        "box_lps_mm": [[4.75, 5.5, 6.0], [6.75, 8.5, 10.0]], "volume_ml": 0.024,
    }  # fmt: skip


def test_other_networks_have_no_objects():
    plan = plan_of(4, 8, 8)
    predictor = Predictor(
        Answers(lambda batch: batch), Manifest(format="onnx", model="mask_rcnn", plan=plan)
    )
    assert not predictor.finds_instances
    with pytest.raises(ConfigError, match="from the run of a detector; this is mask_rcnn as onnx"):
        predictor.predict(Volume.from_geometry(np.zeros((4, 8, 8))), instances=True)


@pytest.mark.parametrize("name", ["mask_rcnn", "cfun"])
def test_the_command_writes_them(name, tmp_path):
    """With certain detections, by the bias of the class head: the label map shows the same."""
    import keras

    from tfseg.cli.main import run
    from tfseg.models import build

    keras.utils.set_random_seed(0)
    plan = plan_of(16, 16, 16, labels=("background", "organ"))
    options = {
        "base_filters": 2, "box_cells": 2, "candidates": 4, "proposals": 4, "detections": 2,
        "max_objects": 2, "mask_cells": 32 if name == "cfun" else 2,
    }  # fmt: skip
    model = build(name, (16, 16, 16, 1), 2, **options)
    model.get_layer("box_classes").bias.assign([0.0, 6.0])
    folder = tmp_path / "run"
    folder.mkdir()
    model.save(folder / "model.keras")
    Manifest(format="run", model=name, config=options, plan=plan).save(folder, "manifest.json")
    scan = np.random.default_rng(0).normal(size=(18, 17, 16)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(scan, np.diag([1.0, 1, 2, 1])), tmp_path / "scan.nii.gz")
    code = run(
        ["predict", str(folder), str(tmp_path / "scan.nii.gz"), "-o", str(tmp_path / "out.nii.gz")]
    )
    assert code == 0
    numbers = np.asarray(nibabel.load(tmp_path / "out_instances.nii.gz").dataobj)
    assert numbers.shape == scan.shape
    document = json.loads((tmp_path / "out_instances.json").read_text())
    assert document["scan"] == "scan.nii.gz"
    assert [entry["id"] for entry in document["instances"]] == sorted(set(np.unique(numbers)) - {0})
    for entry in document["instances"]:
        assert entry["score"] > 0.5
        assert entry["label"] == "organ"
