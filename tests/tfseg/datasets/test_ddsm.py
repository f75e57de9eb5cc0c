"""DDSM's overlays by hand, CBIS-DDSM's masks, and what is refused of both."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.datasets import open_dataset
from tfseg.datasets.cbis import example as example_cbis
from tfseg.datasets.ddsm import example
from tfseg.datasets.examples import save_picture, write_text
from tfseg.errors import DataError

ICS = """ics_version 1.0
filename B-3024-1
DATE_OF_STUDY 2 7 1995
DIGITIZER LUMISYS LASER
SELECTED
LEFT_CC  LINES 8 PIXELS_PER_LINE 9 BITS_PER_PIXEL 12 RESOLUTION 43.5 OVERLAY
RIGHT_MLO LINES 4 PIXELS_PER_LINE 4 BITS_PER_PIXEL 12 RESOLUTION 43.5 NON_OVERLAY
"""

# A triangle with its right angle at column 1, row 1; a square of calcifications that overlaps it.
OVERLAY = """TOTAL_ABNORMALITIES 2
ABNORMALITY 1
LESION_TYPE MASS SHAPE IRREGULAR MARGINS SPICULATED
LESION_TYPE CALCIFICATION TYPE PLEOMORPHIC DISTRIBUTION CLUSTERED
ASSESSMENT 5
SUBTLETY 5
PATHOLOGY MALIGNANT
TOTAL_OUTLINES 2
BOUNDARY
1 1 2 2 2 2 5 5 5 5 0 0 0 0 #
\tCORE
2 2 2 5 0 #
ABNORMALITY 2
LESION_TYPE CALCIFICATION TYPE N/A DISTRIBUTION N/A
TOTAL_OUTLINES 1
BOUNDARY
4 3 2 2 2 4 4 4 6 6 6 0 0 0 #
"""
EXPECTED = [
    "000000000",
    "022222000",
    "022220000",
    "022211110",
    "022011110",
    "020011110",
    "000011110",
    "000000000",
]


@pytest.fixture
def data(tmp_path):
    """One case as the publisher's description of the format shows it, its picture converted."""
    folder = tmp_path / "data/cancers/cancer_05/case3024"
    write_text(folder / "B-3024-1.ics", ICS)
    write_text(folder / "B_3024_1.LEFT_CC.OVERLAY", OVERLAY)
    write_text(folder / "B_3024_1.LEFT_CC.LJPEG", "")
    write_text(folder / "B_3024_1.RIGHT_MLO.LJPEG", "")
    gray = (np.arange(72).reshape(8, 9) * 50).astype(np.uint16)
    save_picture(gray, folder / "PNGFiles/B_3024_1.LEFT_CC.png")
    return tmp_path / "data"


def test_outlines_with_their_inside_and_the_scanners_resolution(data):
    dataset = open_dataset(data)
    assert dataset.adapter == "ddsm"
    assert dataset.remarks == ("1 views without an outline are left out.",)
    (case,) = dataset.labelled
    assert (case.id, case.group) == ("B_3024_1.LEFT_CC", "B_3024_1")
    image, label = dataset.load(case)
    assert ["".join(map(str, row)) for row in label.array[0]] == EXPECTED
    assert image.spacing_mm == pytest.approx((1, 0.0435, 0.0435))
    assert image.array[0, 7, 8] == 71 * 50


def replace(name, old, new):
    def spoil(root):
        path = next(root.glob(f"**/{name}"))
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return spoil


def unconverted(root):
    next(root.glob("**/*.png")).unlink()


def resized(root):
    save_picture(np.zeros((4, 4), np.uint8), next(root.glob("**/*.png")))


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (unconverted, "LJPEG is not read: its headers are not true. Convert the pictures"),
        (resized, "the .ics tells of 8 x 9 pixels; the picture has 4 x 4"),
        (replace("*.OVERLAY", "4 3 2 2", "4 3 8 2"), "must be 0 to 7; got 8"),
        (
            replace("*.OVERLAY", "4 3 2 2", "4 -3 2 2"),
            "'column row' and steps of 0 to 7; got '4 -3",
        ),
        (replace("*.OVERLAY", "BOUNDARY", "OUTLINE"), "holds no BOUNDARY"),
        (replace("*.OVERLAY", "E MASS", "E OTHER"), "CALCIFICATION or MASS; got 'OTHER'"),
        (replace("*.OVERLAY", "LESION_TYPE", "LESION"), "needs a LESION_TYPE before it"),
        (replace("*.OVERLAY", "4 3 2 2", "4444444 3 2"), "got '4444444 3 2"),
        (replace("*.ics", "LINES 8", "LINES 888888888"), "is said to have 888888888 x 9"),
        (replace("*.ics", "LEFT_CC", "LEFT_XX"), "needs a line 'LEFT_CC LINES"),
    ],
)
def test_bad_input_ddsm(data, capfd, spoil, rule):
    spoil(data)
    before = sorted(data.rglob("*"))
    assert run(["check", str(data)]) == 2
    said = capfd.readouterr().err
    assert rule in said
    assert said.count("\n") == 1
    assert sorted(data.rglob("*")) == before


def test_damaged_texts_are_read_or_refused(data):
    rng = np.random.default_rng(1)
    dataset = open_dataset(data)
    texts = {next(data.glob(f"**/*.{kind}")): None for kind in ("ics", "OVERLAY")}
    texts = {path: path.read_bytes() for path in texts}
    said = []
    for _ in range(300):
        for path, text in texts.items():
            damaged = bytearray(text)
            for place in rng.integers(0, len(damaged), rng.integers(0, 4)):
                damaged[place] = rng.choice(list(b"0123456789 \n#-.eA\xff"))
            path.write_bytes(damaged)
        try:
            dataset.load(dataset.cases[0])
        except DataError as error:
            said.append(str(error))
    assert 50 < len(said) < 300
    assert "\n" not in "".join(said)


def test_the_example_is_outlined_exactly(tmp_path):
    from tfseg.datasets.examples import picture

    example(tmp_path, 2, np.random.default_rng(7))
    dataset = open_dataset(tmp_path)
    again = np.random.default_rng(7)
    for case in dataset.labelled:
        gray, label = picture(again, 2)
        image, read = dataset.load(case)
        np.testing.assert_array_equal(read.array[0], label)
        np.testing.assert_array_equal(image.array[0], gray.astype(int) * 16)


def test_masks_are_found_in_either_order_and_patients_stay_on_one_side(tmp_path):
    example_cbis(tmp_path, 3, np.random.default_rng(1))
    # A patient whose calcification is in the training part and whose mass is in the test part.
    for path in sorted(tmp_path.glob("Mass-Training_P_00002*")):
        path.rename(path.with_name(path.name.replace("Training", "Test")))
    dataset = open_dataset(tmp_path)
    assert [(case.id, case.split) for case in dataset.cases] == [
        ("P_00001_LEFT_CC", "train"),
        ("P_00001_RIGHT_CC", "train"),
        ("P_00002_LEFT_CC", "test"),
        ("P_00090_LEFT_CC", "test"),
    ]
    assert [case.group for case in dataset.labelled] == ["P_00001", "P_00001"]
    for case in dataset.cases:
        image, label = dataset.load(case)
        means = [image.array[label.array == value].mean() for value in range(3)]
        assert means == sorted(means)


def test_views_of_tested_patients_are_not_trained_on(tmp_path):
    example_cbis(tmp_path, 3, np.random.default_rng(1))
    for path in sorted(tmp_path.glob("*-Training_P_00001_RIGHT*")):
        path.rename(path.with_name(path.name.replace("Training", "Test")))
    dataset = open_dataset(tmp_path)
    assert [case.id for case in dataset.labelled] == ["P_00002_LEFT_CC"]
    assert dataset.remarks == (
        "1 training views are of patients who are tested too; they count as test cases.",
    )


@pytest.mark.parametrize("scale", [1, 2])
def test_a_mask_of_other_pixels_is_brought_to_the_mammogram(tmp_path, scale):
    from tfseg.datasets.cbis import _save

    example_cbis(tmp_path, 2, np.random.default_rng(1))
    dataset = open_dataset(tmp_path)
    before = dataset.read_label(dataset.labelled[0]).array
    path = tmp_path / "Calc-Training_P_00001_LEFT_CC_1/1.2/1.4/1-2.dcm"
    mask = (before[0] == 1).repeat(scale, 0).repeat(scale, 1)
    _save(mask.astype(np.int16) * np.int16(255), path)
    np.testing.assert_array_equal(dataset.read_label(dataset.labelled[0]).array, before)


def without_mask(root):
    (root / "Calc-Training_P_00001_LEFT_CC_1/1.2/1.4/1-2.dcm").unlink()


def without_masks_of_one_kind(root):
    shutil.rmtree(root / "Calc-Training_P_00001_LEFT_CC_1")


def without_mammogram(root):
    (root / "Calc-Training_P_00001_LEFT_CC/1.2/1.3/1-1.dcm").unlink()


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (
            without_mask,
            "must cover its mammogram of 36 x 32 pixels; the largest picture there is 12 x 12",
        ),
        (without_masks_of_one_kind, "Calc-Training_P_00001_LEFT_CC_1: the file is missing"),
        (without_mammogram, "needs one mammogram; found 0 .dcm files"),
    ],
)
def test_bad_input_cbis(tmp_path, capfd, spoil, rule):
    example_cbis(tmp_path, 2, np.random.default_rng(1))
    spoil(tmp_path)
    assert run(["check", str(tmp_path)]) == 2
    said = capfd.readouterr().err
    assert rule in said
    assert said.count("\n") == 1
