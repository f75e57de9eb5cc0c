"""FreeSurfer's volumes against nibabel, and OASIS-3's tissues on the scan's grid."""

from __future__ import annotations

import gzip
import struct

import nibabel
import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.datasets import freesurfer, open_dataset
from tfseg.datasets.examples import draw
from tfseg.datasets.oasis import example_3
from tfseg.errors import DataError

# What FreeSurfer conforms to: x to the left, y to the feet, z to the front.
CONFORMED = np.array([[-1, 0, 0, 9], [0, 0, 1, -7], [0, -1, 0, 5], [0, 0, 0, 1]], float)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("suffix", [".mgz", ".mgh"])
def test_voxels_and_places_are_nibabels(tmp_path, dtype, suffix):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 200, (4, 5, 6)).astype(dtype)
    affine = CONFORMED @ np.diag([1.5, 1, 2, 1])
    nibabel.save(nibabel.freesurfer.MGHImage(array, affine), tmp_path / f"x{suffix}")
    volume = freesurfer.read(tmp_path / f"x{suffix}")
    assert volume.array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.array, array.transpose(2, 1, 0))
    for index in [(0, 0, 0), (3, 1, 2)]:
        right, front, up = nibabel.affines.apply_affine(affine, index)
        left_back_up = volume.affine @ [*index[::-1], 1]
        np.testing.assert_allclose(left_back_up[:3], [-right, -front, up], atol=1e-4)


def test_frames_are_channels(tmp_path):
    array = np.arange(48, dtype=np.float32).reshape(2, 3, 4, 2)
    nibabel.save(nibabel.freesurfer.MGHImage(array, np.eye(4)), tmp_path / "x.mgz")
    assert freesurfer.read(tmp_path / "x.mgz").array.shape == (4, 3, 2, 2)


def test_no_structure_has_two_tissues_and_the_common_ones_have_the_right_one():
    groups = (freesurfer._OUTSIDE, freesurfer._FLUID, freesurfer._GRAY, freesurfer._WHITE)
    assert len(freesurfer.ASEG_TISSUES) == sum(map(len, groups))
    # By the colour table: ventricle, cortex, putamen, hippocampus, white matter, brain stem.
    for value, tissue in ((0, 0), (4, 1), (42, 2), (12, 2), (53, 2), (41, 3), (16, 3)):
        assert freesurfer.ASEG_TISSUES[value] == tissue


def test_tissues_are_brought_to_the_scans_grid(tmp_path):
    example_3(tmp_path, 4, np.random.default_rng(5))
    path = next(tmp_path.glob("OAS30001_Freesurfer53_d0000/**/aseg.mgz"))
    stored = nibabel.load(path)
    # The same structures as FreeSurfer writes them: other axes, in a larger box.
    turned = stored.as_reoriented(nibabel.orientations.axcodes2ornt("LIA"))
    larger = np.pad(np.asarray(turned.dataobj), 3)
    affine = turned.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ [3, 3, 3]
    nibabel.save(nibabel.freesurfer.MGHImage(larger, affine), path)
    (tmp_path / "OAS30009_MR_d0000/anat1").mkdir(parents=True)
    (tmp_path / "OAS30009_MR_d0000/anat1/sub-OAS30009_ses-d0000_T1w.nii.gz").touch()
    dataset = open_dataset(tmp_path)
    assert dataset.remarks == ("1 sessions without aseg.mgz are left out.",)
    assert [case.id for case in dataset.cases] == [
        "OAS30001_d0000", "OAS30001_d0100", "OAS30002_d0200", "OAS30002_d0300",
    ]  # fmt: skip
    assert {case.group for case in dataset.cases} == {"OAS30001", "OAS30002"}
    assert dataset.cases[3].image.name == "orig.mgz"
    again = np.random.default_rng(5)
    for case in dataset.cases:
        image, label = draw(again, 3)
        read, tissues = dataset.load(case)
        np.testing.assert_array_equal(read.array, image)
        np.testing.assert_array_equal(tissues.array, label)


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


def shortened(path):
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:1000]))


def no_volume(path):
    path.write_text("<html>404</html>" * 40)


def huge(path):
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into(">3i", content, 4, 60000, 60000, 60000)
    path.write_bytes(gzip.compress(bytes(content)))


def unknown_structure(path):
    image = nibabel.load(path)
    array = np.asarray(image.dataobj).copy()
    array[0, 0, :3] = 199
    nibabel.save(nibabel.freesurfer.MGHImage(array, image.affine), path)


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (cut, "the gzip data end too early"),
        (shortened, "truncated: 6044 bytes expected, 1000 found"),
        (no_volume, "no FreeSurfer volume (version 1)"),
        (huge, "more than a file of"),
        (unknown_structure, "it has 199 in 3 voxels"),
    ],
)
def test_bad_input_aseg(tmp_path, capfd, spoil, rule):
    example_3(tmp_path, 2, np.random.default_rng(5))
    spoil(next(tmp_path.glob("OAS30001_Freesurfer53_d0000/**/aseg.mgz")))
    assert run(["check", str(tmp_path)]) == 2
    said = capfd.readouterr().err
    assert rule in said
    assert said.count("\n") == 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.mgz: there is no such file"):
        freesurfer.read(tmp_path / "none.mgz")


def test_damaged_headers_are_read_or_refused(tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "x.mgh"
    image = nibabel.freesurfer.MGHImage(np.ones((3, 4, 5), np.int16), CONFORMED)
    nibabel.save(image, path)
    whole, said = path.read_bytes(), []
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, 90, rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            freesurfer.read(path)
        except DataError as error:
            said.append(str(error))
    assert 50 < len(said) < 300
    assert "\n" not in "".join(said)
