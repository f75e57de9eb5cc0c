"""Layouts that were published in several forms: those that the examples do not show."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.datasets import open_dataset
from tfseg.datasets.cine import _rings, _write_contour
from tfseg.datasets.examples import draw, save, save_dicom, save_picture, write_text


@pytest.fixture
def drawn():
    """A label map of three structures, an image of it."""
    return draw(np.random.default_rng(4), 3)


def test_brats_of_2015_is_metaimage_and_tells_two_kinds_of_core_apart(tmp_path, drawn):
    image, label = drawn
    for group, patient in (("HGG", "brats_2013_pat0001_1"), ("LGG", "brats_tcia_pat101_1")):
        folder = tmp_path / "BRATS2015_Training" / group / patient
        for number, channel in enumerate(("MR_Flair", "MR_T1", "MR_T1c", "MR_T2"), start=1):
            stem = f"VSD.Brain.XX.O.{channel}.{54510 + number}"
            save((number * image).astype(np.int16), folder / stem / f"{stem}.mha")
        stem = "VSD.Brain_3more.XX.XX.OT.54517"
        # Necrosis and the core that does not enhance are one class of the later years.
        stored = np.array([0, 3, 2, 4], np.uint8)[label]
        stored[(label == 1) & (np.indices(label.shape)[1] % 2 == 0)] = 1
        save(stored, folder / stem / f"{stem}.mha")
    dataset = open_dataset(tmp_path)
    assert (dataset.adapter, len(dataset.labelled)) == ("brats", 2)
    for case in dataset.labelled:
        read, tumour = dataset.load(case)
        np.testing.assert_array_equal(tumour.array, label)
        # The order of the channels is that of every year: T1, T1c, T2, FLAIR.
        np.testing.assert_array_equal(read.array[..., 0], 2 * image)
        np.testing.assert_array_equal(read.array[..., 3], image)


def test_brats_of_2023_has_other_names_and_values(tmp_path, drawn):
    image, label = drawn
    folder = tmp_path / "BraTS-GLI-00000-000"
    for number, channel in enumerate(("t1n", "t1c", "t2w", "t2f"), start=1):
        save((number * image).astype(np.int16), folder / f"{folder.name}-{channel}.nii.gz")
    save(label, folder / f"{folder.name}-seg.nii.gz")
    dataset = open_dataset(tmp_path)
    read, tumour = dataset.load(dataset.labelled[0])
    np.testing.assert_array_equal(tumour.array, label)
    np.testing.assert_array_equal(read.array[..., 3], 4 * image)


def test_isles_of_2015_and_of_2018(tmp_path, drawn):
    image, label = drawn
    kinds = {
        "2015": ("VSD.Brain.XX.O.{}.70000", ("MR_DWI", "MR_Flair", "MR_T1", "MR_T2")),
        "2018": ("SMIR.Brain.XX.O.{}.345562", ("CT", "CT_CBF", "CT_MTT", "CT_4DPWI")),
    }
    for year, (form, channels) in kinds.items():
        for case in ("1", "2"):
            for channel in (*channels, "OT"):
                stem = form.format(channel)
                array = (label > 0).astype(np.uint8) if channel == "OT" else image
                save(array, tmp_path / year / case / stem / f"{stem}.nii")
        dataset = open_dataset(tmp_path / year)
        assert dataset.adapter == "isles"
        assert len(dataset.labelled) == 2
        _, lesion = dataset.load(dataset.labelled[0])
        np.testing.assert_array_equal(lesion.array, label > 0)
    assert open_dataset(tmp_path / "2015").modalities == ("DWI", "Flair", "T1", "T2")
    assert open_dataset(tmp_path / "2018").modalities == ("CBF", "CT", "MTT")


def test_stare_as_it_is_downloaded_is_packed(tmp_path):
    gray = np.arange(1200, dtype=np.uint8).reshape(30, 40)
    for folder, name in (("stare-images", "im0001.ppm"), ("labels-ah", "im0001.ah.ppm")):
        array = (
            np.stack([gray] * 3, -1) if folder == "stare-images" else (gray > 99) * np.uint8(255)
        )
        save_picture(array, tmp_path / folder / "x.ppm")
        packed = tmp_path / folder / "x.ppm"
        (tmp_path / folder / f"{name}.gz").write_bytes(gzip.compress(packed.read_bytes()))
        packed.unlink()
    dataset = open_dataset(tmp_path)
    image, label = dataset.load(dataset.labelled[0])
    np.testing.assert_array_equal(label.array[0], gray > 99)
    np.testing.assert_array_equal(image.array[0, ..., 1], gray)


@pytest.fixture
def sunnybrook(tmp_path):
    """The Sunnybrook data as the challenge of 2009 had them: no table, other series beside."""
    rng = np.random.default_rng(2)
    root = tmp_path / "data"
    for patient in ("SC-HF-I-1", "SC-HYP-03"):
        folder = root / "challenge_training" / patient.replace("-03", "-3")
        for number in (48, 59, 68):
            image, outer, inner = _rings(rng)
            save_dicom(image, folder / f"IM-0004-{number:04d}.dcm")
            contours = root / f"TrainingDataContours/{patient}/contours-manual/IRCCI-expert"
            _write_contour(inner, contours / f"IM-0001-{number:04d}-icontour-manual.txt")
            _write_contour(outer, contours / f"IM-0001-{number:04d}-ocontour-manual.txt")
        save_dicom(_rings(rng)[0], folder / "IM-0005-0048.dcm")  # another view of the heart
    return root


def test_sunnybrook_without_its_table(sunnybrook):
    dataset = open_dataset(sunnybrook)
    assert dataset.adapter == "scd"
    assert {case.group for case in dataset.cases} == {"SC-HF-I-1", "SC-HYP-3"}
    assert len(dataset.labelled) == 6
    for case in dataset.labelled:
        assert case.image.name.startswith("IM-0004-")
        image, label = dataset.load(case)
        means = [image.array[label.array == value].mean() for value in range(3)]
        assert means == sorted(means)


def test_bad_input_sunnybrook_without_an_image(sunnybrook, capfd):
    (sunnybrook / "challenge_training/SC-HF-I-1/IM-0004-0048.dcm").unlink()
    assert run(["check", str(sunnybrook)]) == 2
    said = capfd.readouterr().err
    assert "its image SC-HF-I-1/IM-0004-0048.dcm is missing" in said
    assert said.count("\n") == 1


def test_kits_of_later_years_has_cysts_too(tmp_path, drawn):
    image, label = drawn
    for number in range(2):
        save(image + np.int16(number), tmp_path / f"case_{number:05d}/imaging.nii.gz")
        save(label, tmp_path / f"case_{number:05d}/segmentation.nii.gz")
    write_text(tmp_path / "kits23.json", "[]")
    dataset = open_dataset(tmp_path)
    assert dataset.labels == ("background", "kidney", "tumor", "cyst")
    np.testing.assert_array_equal(dataset.load(dataset.labelled[0])[1].array, label)
