"""Segmentations as 3D Slicer writes them, on their image and in folders of cases."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.datasets import open_dataset
from tfseg.errors import DataError
from tfseg.io import write_volume
from tfseg.io.dicom_out.about import About
from tfseg.io.nrrd_header import read_header
from tfseg.io.outputs import Output, write_labels
from tfseg.io.references import object_kind, structure_names
from tfseg.io.segments import Segment, read_segments, segments
from tfseg.volume import Volume

IMAGE = Volume.from_geometry(
    np.random.default_rng(0).integers(0, 99, (5, 6, 7)).astype(np.int16), (3, 2, 1), (7, 8, 9)
)
ORGAN, TUMOUR = np.zeros((2, 5, 6, 7), np.uint8)
ORGAN[1:4, 1:5, 1:6] = 1
TUMOUR[2, 2:4, 2:4] = 1


def slicer(
    path: Path, layers: list[np.ndarray], found: list[tuple], start=(0, 0, 0), **changes: str
) -> Path:
    """Write layers (z, y, x) as 3D Slicer does; segments are (name, layer, value) or (name,)."""
    z, y, x = layers[0].shape
    several = len(layers) > 1
    steps = changes.get("steps", "(1,0,0) (0,2,0) (0,0,3)")
    place = IMAGE.affine @ [*start, 1]
    lines = [
        "NRRD0004", "type: unsigned char", f"dimension: {4 if several else 3}",
        "space: left-posterior-superior",
        f"sizes: {f'{len(layers)} ' if several else ''}{x} {y} {z}",
        f"space directions: {'none ' if several else ''}{steps}",
        f"kinds: {'list ' if several else ''}domain domain domain", "encoding: gzip",
        f"space origin: ({place[0]},{place[1]},{place[2]})",
    ]  # fmt: skip
    for number, (name, *rest) in enumerate(found):
        lines += [f"Segment{number}_ID:=Segment_{number + 1}", f"Segment{number}_Name:={name}"]
        if rest:
            lines += [f"Segment{number}_Layer:={rest[0]}", f"Segment{number}_LabelValue:={rest[1]}"]
    lines += ["Segmentation_ContainedRepresentationNames:=Binary labelmap|", "", ""]
    data = np.stack(layers, axis=-1).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(lines).encode() + gzip.compress(data))
    return path


def test_one_layer_and_its_names(tmp_path: Path) -> None:
    path = slicer(
        tmp_path / "a.seg.nrrd", [5 * ORGAN + 2 * TUMOUR],
        [("Liver ", 0, 5), ("tumour", 0, 7)],
    )  # fmt: skip
    assert object_kind(path) == "SEGMENTS"
    assert structure_names(path) == ("Liver", "tumour")
    assert segments(path) == (Segment("Liver", 0, 5), Segment("tumour", 0, 7))
    labels, names, remarks = read_segments(path, IMAGE, names=["tumour", "other", "LIVER"])
    assert names == {1: "tumour", 3: "LIVER"}
    assert np.array_equal(labels.array, np.where(TUMOUR, 1, 3 * ORGAN))
    assert remarks == ()


@pytest.mark.parametrize("values", [True, False], ids=["with values", "as before 4.11"])
def test_layers_overlap_and_the_smaller_segment_is_kept(tmp_path: Path, values: bool) -> None:
    found = [("tumour", 0, 1), ("liver", 1, 1)] if values else [("tumour",), ("liver",)]
    path = slicer(tmp_path / "a.seg.nrrd", [TUMOUR, ORGAN], found)
    labels, names, remarks = read_segments(path, IMAGE)
    assert np.array_equal(labels.array, np.where(TUMOUR, 1, 2 * ORGAN))
    assert names == {1: "tumour", 2: "liver"}
    assert remarks == (f"segments overlap in {TUMOUR.sum()} voxels: the smaller one is kept",)


def test_a_part_of_the_image_is_put_in_its_place(tmp_path: Path) -> None:
    path = slicer(tmp_path / "a.seg.nrrd", [ORGAN[1:4, 1:5, 1:6]], [("organ", 0, 1)], (1, 1, 1))
    assert np.array_equal(read_segments(path, IMAGE)[0].array, ORGAN)
    turned, way = IMAGE.oriented("ILA")
    labels, _, _ = read_segments(path, turned)
    assert np.array_equal(labels.array, way.apply(ORGAN))
    slicer(path, [ORGAN], [("organ", 0, 1)], (2, 0, 0))
    labels, _, remarks = read_segments(path, IMAGE)
    assert np.array_equal(labels.array[2:], ORGAN[:3])
    assert remarks == (f"{ORGAN[3:].sum()} voxels of segments lie outside of the image; "
                       "they are left out",)  # fmt: skip


@pytest.mark.parametrize(
    ("layers", "found", "changes", "rule"),
    [
        ([ORGAN], [("organ", 0, 1), ("organ 2", 0, 1)], {}, "two share one"),
        ([ORGAN], [("organ", 0, 0)], {}, "a layer from 0 and a value from 1"),
        ([ORGAN], [("organ", 3, 1)], {}, "layers; it has 1"),
        ([ORGAN], [("other", 0, 1)], {}, "needs a segment named organ; it has other"),
        ([ORGAN], [("organ", 0, 1)], {"steps": "(2,0,0) (0,2,0) (0,0,3)"}, "must be those of its"),
        ([ORGAN], [("organ", 0, 1)], {"start": (0.5, 0, 0)}, "must be those of its image"),
        ([ORGAN], [("organ", 0, 1)], {"start": (50, 0, 0)}, "It belongs to another image"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, layers, found, changes, rule: str) -> None:
    path = slicer(tmp_path / "a.seg.nrrd", layers, found, **changes)
    with pytest.raises(DataError, match=rule):
        read_segments(path, IMAGE, names=["organ"])


def test_values_of_no_segment_are_said(tmp_path: Path) -> None:
    path = slicer(tmp_path / "a.seg.nrrd", [ORGAN + 8 * TUMOUR], [("organ", 0, 1)])
    _, _, remarks = read_segments(path, IMAGE)
    assert remarks == (f"{TUMOUR.sum()} voxels have values of no segment; they are background",)


@pytest.mark.parametrize("name", ["{}.seg.nrrd", "{}_label.seg.nrrd", "{}-segmentation.seg.nrrd"])
def test_folders_of_images_with_segmentations(tmp_path: Path, name: str, capsys) -> None:
    for case in ("c0", "c1.seg"):  # an image may be called so too
        image = IMAGE.with_array(IMAGE.array + len(case))
        write_volume(image, tmp_path / f"images/{case}.nii.gz")
    target = tmp_path / "labels" / name.format("c0")
    slicer(target, [5 * ORGAN + 2 * TUMOUR], [("Liver", 0, 5), ("tumour", 0, 7)])
    other = [("Tumour", 1, 3), ("liver", 0, 2)]
    slicer(tmp_path / "labels" / name.format("c1.seg"), [2 * ORGAN, 3 * TUMOUR], other)
    dataset = open_dataset(tmp_path)
    assert dataset.labels[0] == "background"
    assert [label.lower() for label in dataset.labels[1:]] == ["liver", "tumour"]
    for case in dataset.cases:
        assert np.array_equal(dataset.read_label(case).array, ORGAN + TUMOUR)
    capsys.readouterr()
    assert run(["check", str(tmp_path), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err.count("segments overlap in 4 voxels") == 1
    (said,) = json.loads(printed.out)["said"]
    assert said.endswith("segments overlap in 4 voxels: the smaller one is kept")


def test_labels_csv_by_value_where_no_name_fits(tmp_path: Path, caplog) -> None:
    write_volume(IMAGE, tmp_path / "images/c0.nii.gz")
    slicer(tmp_path / "labels/c0.seg.nrrd", [5 * ORGAN], [("Segment_1", 0, 5)])
    (tmp_path / "labels.csv").write_text("value,name\n0,background\n5,liver\n")
    dataset = open_dataset(tmp_path)
    assert np.array_equal(dataset.read_label(dataset.cases[0]).array, ORGAN)
    assert "its segments are named Segment_1, none as the labels are (liver)" in caplog.text


@pytest.mark.parametrize("names", [("background", "Liver", "t u", "gone"), ()])
def test_what_is_written_is_read(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = tmp_path / "a.SEG.nrrd"
    labels = IMAGE.with_array((ORGAN + TUMOUR).astype(np.int32))
    about = About(names, ((0, 0, 0), (255, 0, 51)), "unet", "1")
    assert write_labels(labels, path, Output(), about) == (path,)
    wanted = [*names[1:]] or ["Segment_1", "Segment_2"]
    assert segments(path) == tuple(Segment(name, 0, n + 1) for n, name in enumerate(wanted))
    found, named, remarks = read_segments(path, IMAGE, names=wanted)
    assert np.array_equal(found.array, labels.array)
    assert list(named.values()) == wanted
    assert remarks == ()
    pairs = read_header(path).pairs
    assert (pairs["Segment1_Extent"], pairs["Segment0_Color"]) == ("2 3 2 3 2 2", "1 0 0.2")


@pytest.mark.parametrize("array", [IMAGE.array / 2, IMAGE.array - 50, np.stack([ORGAN, ORGAN], 3)])
def test_what_is_no_label_map_is_not_written_as_segments(tmp_path: Path, array) -> None:
    with pytest.raises(DataError, match="whole numbers from 0 to 65535 in one channel"):
        write_volume(Volume(array, IMAGE.affine), tmp_path / "a.seg.nrrd")
    assert list(tmp_path.iterdir()) == []


def test_predictions_may_be_segmentations(tmp_path: Path, capsys) -> None:
    write_volume(IMAGE, tmp_path / "data/images/c0.nii.gz")
    slicer(tmp_path / "data/labels/c0.seg.nrrd", [ORGAN], [("organ", 0, 1)])
    slicer(tmp_path / "found/c0.seg.nrrd", [TUMOUR, ORGAN], [("tumour", 0, 1), ("Organ", 1, 1)])
    arguments = ["evaluate", str(tmp_path / "found"), "--data", str(tmp_path / "data")]
    assert run([*arguments, "-o", str(tmp_path / "out")]) == 0
    written = json.loads((tmp_path / "out/metrics.json").read_text())
    assert written["mean_dice"] == 1.0
