"""Structure sets of others, written here with pydicom alone, as label maps on images' grids."""

from __future__ import annotations

import itertools
import zipfile

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Outline
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.io.dicom_out import solid
from tfseg.io.dicom_out.rtstruct_read import read_rtstruct
from tfseg.volume import Volume

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


def structure_set(
    rois, *, syntax=ImplicitVRLittleEndian, kind="CLOSED_PLANAR", numbers=None, step_mm=None
) -> Dataset:
    """Name to contours, (n, 3) in mm each, as an RT Structure Set."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.3.4"
    dataset.SeriesInstanceUID, dataset.Modality = "1.2.3", "RTSTRUCT"
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for index, (name, contours) in enumerate(rois.items()):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber = drawn.ReferencedROINumber = numbers[index] if numbers else index + 1
        roi.ROIName = name.strip("*")  # stars tell names apart that are one in the file
        drawn.ContourSequence = []
        if step_mm is not None:
            planes = Dataset()
            planes.SpacingBetweenSlices = step_mm
            drawn.SourcePixelPlanesCharacteristicsSequence = [planes]
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType = kind
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [f"{number:.2f}" for number in np.ravel(points)]
            drawn.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(drawn)
    return dataset


@pytest.fixture
def read(tmp_path):
    """Write a structure set and read it onto a grid."""

    def call(rois, grid, *, names=None, **more):
        path = tmp_path / "rt.dcm"
        structure_set(rois, **more).save_as(path, enforce_file_format=True)
        return read_rtstruct(path, grid, names=names)

    return call


def box(z, low, high):
    """A square contour from (low, low) to (high, high), mm, at height ``z``."""
    return [(low, low, z), (high, low, z), (high, high, z), (low, high, z)]


def grid_of(shape=(8, 12, 12), spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)):
    return Volume.from_geometry(np.zeros(shape, np.int16), spacing, origin)


def planes_with(labels, value=1):
    return np.flatnonzero((labels.array == value).any(axis=(1, 2))).tolist()


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda one: one.name)
def test_a_box_is_filled_edges_included(read, syntax):
    labels, names, remarks = read({"Box": [box(3, 2, 6), box(4, 2, 6)]}, grid_of(), syntax=syntax)
    expected = np.zeros((8, 12, 12), np.uint8)
    expected[3:5, 2:7, 2:7] = 1
    np.testing.assert_array_equal(labels.array, expected)
    assert (names, remarks, labels.array.dtype) == ({1: "Box"}, (), np.uint8)


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_inner_contours_are_holes_and_islands_in_them(read, kind):
    nested = [box(3, 0.5, 10.5), box(3, 2.5, 8.5), box(3, 4.5, 6.5)]
    labels, _, remarks = read({"Shell": nested}, grid_of(), kind=kind)
    assert ("contours within others are taken as holes" in str(remarks)) == (kind[6] == "_")
    y, x = np.indices((12, 12))
    ring = np.maximum(abs(y - 5.5), abs(x - 5.5))
    np.testing.assert_array_equal(labels.array[3], (ring < 5) & (ring > 3) | (ring < 1))


def test_contours_beside_each_other_are_no_holes(read):
    ell = [(1, 1, 3), (9, 1, 3), (9, 3, 3), (3, 3, 3), (3, 9, 3), (1, 9, 3)]
    labels, _, remarks = read({"Two": [ell, box(3, 5, 7)]}, grid_of())
    assert remarks == ()
    assert labels.array[3, 6, 6]


def test_contours_without_a_structure_are_said(read, tmp_path):
    dataset = structure_set({"Box": [box(3, 2, 6)], "Lost": [box(4, 2, 6)]})
    dataset.ROIContourSequence[1].ReferencedROINumber = 9
    dataset.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    remarks = read_rtstruct(tmp_path / "rt.dcm", grid_of())[2]
    assert "contours of 1 structures that have no name are left out" in remarks
    dataset.StructureSetROISequence[1].ROINumber = 1
    dataset.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    with pytest.raises(DataError, match=r"needs a ROINumber of its own.*two have the same"):
        read_rtstruct(tmp_path / "rt.dcm", grid_of())


def test_a_contour_that_is_there_twice_counts_once(read):
    labels, _, _ = read({"Box": [box(3, 2.5, 6.5), box(3, 2.5, 6.5)]}, grid_of())
    assert np.count_nonzero(labels.array) == 16


def test_any_polygon_is_what_matplotlib_makes_of_it(read):
    rng = np.random.default_rng(3)
    spacing = (3.0, 0.7, 0.9)
    grid = grid_of((5, 40, 50), spacing, (-11.0, 7.0, 20.0))
    contours = []
    for z in range(1, 4):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 40))
        away = rng.uniform(5, 12, 40)
        x, y = 10 + away * np.cos(angle), 20 + away * np.sin(angle)
        contours.append(np.c_[x, y, np.full(40, 20 + 3.0 * z)].round(2))
    labels, _, _ = read({"Star": contours}, grid)
    y, x = np.indices((40, 50))
    centres = np.c_[(-11 + 0.9 * x).ravel(), (7 + 0.7 * y).ravel()]
    for z, contour in enumerate(contours, start=1):
        outline = Outline(contour[:, :2])
        inside = outline.contains_points(centres).reshape(40, 50)
        differ = np.flatnonzero(labels.array[z] != inside)
        assert len(differ) <= 3  # centres within a hundredth of a pixel from an edge
    assert planes_with(labels) == [1, 2, 3]


SLABS = {
    # name: (heights of contours in mm, slices of 1 mm that they stand for, file states the step)
    "every slice": ([2, 3, 4, 5], [2, 3, 4, 5], None),
    "a gap of one slice": ([2, 3, 5, 6], [2, 3, 5, 6], None),
    "every second slice": ([1, 3, 5], [0, 1, 2, 3, 4, 5], None),
    "every second slice, stated": ([1, 3, 5], [1, 3, 5], 1.0),
    "thick, stated": ([2, 5], [1, 2, 3, 4, 5, 6], 3.0),
    "very thick, stated": ([6, 18], list(range(24)), 12.0),
    "two planes": ([2, 5], [1, 2, 3, 4, 5, 6], None),
    "one plane": ([4], [4], None),
    "far apart": ([1, 13, 25], [1, 13, 25], None),
    "uneven": ([1, 3, 6.5], [0, 1, 2, 3, 4, 5, 6, 7], None),
    "between slices": ([2.3, 3.3], [2, 3], None),
    "finer than slices": ([2.5, 3.0, 3.5, 4.0], [3, 4], None),
}


@pytest.mark.parametrize("case", SLABS)
def test_contours_stand_for_slabs(read, case):
    heights, slices, stated = SLABS[case]
    grid = grid_of((30, 12, 12))
    labels, _, remarks = read({"Box": [box(z, 2, 6) for z in heights]}, grid, step_mm=stated)
    assert planes_with(labels) == slices
    thick = len(slices) > len(heights) and stated is None
    assert bool(remarks) == (thick or len(slices) < len(heights))


def test_the_planes_of_all_structures_tell_the_step(read):
    body = [box(z, 0, 11) for z in range(8)]
    labels, _, _ = read({"Body": body, "Two": [box(2, 3, 6), box(5, 3, 6)]}, grid_of())
    assert planes_with(labels, 2) == [2, 5]  # alone they would be thick


def test_the_smaller_structure_is_kept(read):
    rois = {"Tumour": [box(3, 4, 5)], "Organ": [box(3, 3, 7)], "Body": [box(3, 1, 9)]}
    for order in itertools.permutations(rois):
        labels, names, remarks = read({name: rois[name] for name in order}, grid_of())
        value = {name: number for number, name in names.items()}
        counts = np.bincount(labels.array.ravel(), minlength=4)
        assert counts[value["Tumour"]] == 4
        assert counts[value["Organ"]] == 25 - 4
        assert counts[value["Body"]] == 81 - 25
        assert any("overlap in 29 voxels: the smaller" in said for said in remarks)


def test_structures_are_chosen_by_name(read):
    rois = {"Liver ": [box(3, 1, 3)], "SPLEEN": [box(3, 5, 7)], "Skin": [box(3, 0, 11)]}
    labels, names, remarks = read(rois, grid_of(), names=["spleen", "liver", "kidney"])
    assert names == {1: "SPLEEN", 2: "Liver"}
    assert (labels.array[3, 6, 6], labels.array[3, 2, 2], labels.array[3, 10, 10]) == (1, 2, 0)
    assert remarks == ("kidney: no such structure", "not asked for: Skin")


def test_numbers_that_are_no_values_are_counted_anew(read):
    rois = {"A": [box(3, 1, 3)], "B": [box(3, 5, 7)]}
    assert read(rois, grid_of(), numbers=[300, 7])[1] == {300: "A", 7: "B"}
    assert read(rois, grid_of(), numbers=[300, 7])[0].array.dtype == np.uint16
    for numbers in ([0, 1], [70000, 2]):
        _, names, remarks = read(rois, grid_of(), numbers=numbers)
        assert names == {1: "A", 2: "B"}
        assert "ROI numbers" in remarks[0]


def test_points_and_open_lines_are_left_out_and_said(read, tmp_path):
    dataset = structure_set({"Box": [box(3, 2, 6), box(4, 2, 6)], "Iso": [[(1, 1, 1)]], "None": []})
    second = dataset.ROIContourSequence[1].ContourSequence[0]
    second.ContourGeometricType = "POINT"
    dataset.ROIContourSequence[0].ContourSequence[1].ContourGeometricType = "OPEN_PLANAR"
    dataset.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    labels, names, remarks = read_rtstruct(tmp_path / "rt.dcm", grid_of())
    assert planes_with(labels) == [3]
    assert names == {1: "Box", 2: "Iso", 3: "None"}
    assert remarks == (
        "Box: 1 contours of type OPEN_PLANAR left out",
        "Iso: 1 contours of type POINT left out",
        "Iso: it has no closed contour",
        "None: it has no closed contour",
    )


def test_short_contours_are_left_out_and_said(read):
    labels, _, remarks = read({"Box": [box(3, 2, 6), box(5, 2, 6)[:2]]}, grid_of())
    assert planes_with(labels) == [3]
    assert remarks == ("Box: 1 contours of fewer than 3 points left out",)


def test_a_structure_beyond_the_image_is_said(read):
    rois = {"In": [box(3, 2, 6)], "Out": [box(3, 200, 260)], "Above": [box(99, 2, 6)]}
    labels, _, remarks = read(rois, grid_of())
    assert set(np.unique(labels.array)) == {0, 1}
    assert set(remarks) == {
        "Out: no voxel of the image lies in it",
        "Above: no voxel of the image lies in it",
    }


def test_an_image_oblique_to_the_contours(read):
    # A cylinder drawn on axial slices; an image turned by 30 degrees around x, and by 90.
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    ring = np.c_[9 * np.cos(angle), 9 * np.sin(angle)]
    contours = [np.c_[ring, np.full(120, float(z))] for z in range(-10, 11, 2)]
    for turn in (np.pi / 6, np.pi / 2):
        turned = np.array(
            [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
        )
        direction = turned @ np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]])
        shape = (50, 52, 54)
        origin = -direction @ (np.array(shape) / 2) + 0.3  # no centre on a border
        grid = Volume.from_geometry(np.zeros(shape, np.int16), (1, 1, 1), origin, direction)
        labels, _, _ = read({"Cylinder": contours}, grid, step_mm=2.0)
        index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
        x, y, z = np.moveaxis(index @ grid.affine[:3, :3].T + grid.affine[:3, 3], -1, 0)
        truth = (np.hypot(x, y) < 9) & (abs(z) < 11)
        both = np.count_nonzero(truth & (labels.array > 0))
        dice = 2 * both / (np.count_nonzero(truth) + np.count_nonzero(labels.array))
        assert dice > 0.99


def test_a_rounded_height_leaves_contours_on_their_slices(read):
    contours = [box(z, 2, 6) for z in (3, 4)]
    expected, _, _ = read({"Box": contours}, grid_of())
    contours[0][1] = (6, 2, 3.15)  # within 0.2 mm
    labels, _, remarks = read({"Box": contours}, grid_of())
    np.testing.assert_array_equal(labels.array, expected.array)
    assert remarks == ()


def test_oblique_contours_cost_no_more_than_their_image(read, monkeypatch):
    turned = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    contours = [np.array(box(z, 2, 9)) @ turned.T for z in (0.0, 1.0, 2.0)]
    good, _, _ = read({"Box": contours}, grid_of())
    monkeypatch.setattr(solid, "_MOST_FINE_PIXELS", 1 << 18)
    far = contours[2].copy()
    far[1] = far[0] + (far[1] - far[0]) * 90_000  # kilometres away, in the same plane
    labels, _, _ = read({"Box": [*contours[:2], far]}, grid_of())
    assert good.array.any()
    assert not (good.array & ~labels.array)[:4].any()


def test_planes_that_show_nowhere_and_points_that_are_missing_are_said(read, tmp_path):
    labels, _, remarks = read({"Box": [box(z, 2, 6) for z in (3, 4, 30)]}, grid_of(), step_mm=1)
    assert planes_with(labels) == [3, 4]
    assert remarks == (
        "Box: 1 of its 3 planes show nowhere: they lie outside the image or between its slices",
    )
    dataset = pydicom.dcmread(tmp_path / "rt.dcm")
    dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 9
    dataset.save_as(tmp_path / "rt.dcm")
    remarks = read_rtstruct(tmp_path / "rt.dcm", grid_of())[2]
    assert remarks[0] == "Box: 1 contours have other numbers of points than they say"


def test_a_folder_or_a_zip_may_hold_it(read, tmp_path):
    read({"Box": [box(3, 2, 6)]}, grid_of())
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "notes.txt").write_text("no DICOM")
    (tmp_path / "rt.dcm").rename(folder / "anything")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.write(folder / "anything", "a/b")
    for place in (folder, tmp_path / "study.zip"):
        assert np.count_nonzero(read_rtstruct(place, grid_of())[0].array) == 25
    (folder / "other").write_bytes((folder / "anything").read_bytes())
    with pytest.raises(DataError, match="one RTSTRUCT file is needed; the folder holds 2"):
        read_rtstruct(folder, grid_of())


def test_real_structures_lie_where_they_were_drawn(real_data):
    folder = real_data / "dicom/rt_utils_mock"
    scan = read_volume(folder)
    for name in ("invalid_reference_rt", "non_existent_reference_rt"):
        labels, names, remarks = read_rtstruct(folder / f"{name}.dcm", scan)
        # Voxels as plastimatch 1.10 counts them; what they refer to does not matter.
        assert np.bincount(labels.array.ravel())[1:].tolist() == [4976, 3697, 4519, 6954]
        assert names == {number: f"ROI-{number}" for number in range(1, 5)}
        assert len(remarks) == 4  # the scan is two of their three slices
        assert all("1 of its 3 planes show nowhere" in said for said in remarks)
    labels, _, _ = read_rtstruct(folder / "rt.dcm", scan)
    # A square with an octagon cut out of it, on one slice.
    drawn = pydicom.dcmread(folder / "rt.dcm").ROIContourSequence[0].ContourSequence
    outer, inner = (np.array(one.ContourData, float).reshape(-1, 3)[:, :2] for one in drawn)
    x, y = np.indices((512, 512))[::-1] * 0.488281 - 125
    centres = np.c_[x.ravel(), y.ravel()]
    inside = Outline(outer).contains_points(centres) & ~Outline(inner).contains_points(centres)
    np.testing.assert_array_equal(labels.array[0], inside.reshape(512, 512))
    assert not labels.array[1].any()
