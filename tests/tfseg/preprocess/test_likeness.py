"""What is plainly another kind of image is refused, and what is only unusual is not."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tfseg.artifact import Manifest
from tfseg.errors import DataError
from tfseg.plan import Plan
from tfseg.preprocess.likeness import check_likeness, kind_of, look_at, summarise
from tfseg.volume import Volume

HU = {"kind": "clip_zscore", "low": -900, "high": 900, "mean": 0, "std": 300}
BYTES = {"kind": "scale", "offset": 127, "scale": 60}
OWN = {"kind": "zscore"}


def image(
    low: float, high: float, shape: Any = (20, 40, 40), mm: Any = (3, 1, 1), modality: Any = None
) -> Volume:
    """Values spread evenly from low to high."""
    values = np.linspace(low, high, int(np.prod(shape))).reshape(shape).astype(np.float32)
    return Volume.from_geometry(values, mm, modality=modality)


def model(
    *images: Volume, name: str = "x", rule: Any = OWN, pictures: bool = False, dims: int = 3
) -> Manifest:
    looks = [look_at(one.canonical()[0], picture=pictures) for one in images]
    plan = {
        "dims": dims,
        "spacing_mm": None if pictures else [1.0] * dims,
        "patch_size": [8] * dims,
        "batch_size": 1,
        "channels": [{"name": name, "normalisation": rule}],
        "labels": ["background", "liver"],
    }
    return Manifest(
        format="run",
        model="unet",
        plan=Plan.parse(plan, "test"),
        fingerprint=summarise(looks, [name]),
    )


CT = model(image(-1000, 1500), image(-1024, 900), name="CT", rule=HU)
MR = model(image(0, 900), image(0, 4000), name="T1_IR")
GREY = model(image(0, 255, (1, 64, 64), (1, 1, 1)), rule=BYTES, pictures=True, dims=2)
SLICES = model(image(-1000, 1500), name="CT", rule=HU, dims=2)

PLAIN: dict[str, tuple[Manifest, Volume, bool, str]] = {
    "CT for MR": (MR, image(0, 1000, modality="CT"), False, "it is CT, the training images are MR"),
    "MR for CT": (CT, image(-900, 900, modality="MR"), False, "it is MR, .* are CT"),
    "PET for CT": (CT, image(-900, 900, modality="PT"), False, "it is PT, .* are CT"),
    "8 bits for HU": (CT, image(0, 255), False, "CT has no values below 0, .* 5 % are -"),
    "no rescale": (CT, image(0, 3000), False, "CT has no values below 0"),
    "HU in an unnamed file": (MR, image(-1000, 1500), False, r"values down to -98\d.*none below 0"),
    "scaled to 1": (CT, image(-1, 1), False, "CT has values of -0.99 to 0.99, the training images"),
    "16 bits for 8": (GREY, image(0, 65535, (1, 64, 64)), True, "has values of 327.7 to 6.521e"),
    "microscope": (CT, image(-1000, 1500, mm=(0.01, 0.003, 0.003)), False, "voxel size .* 333 tim"),
    "cm": (CT, image(-1000, 1500, mm=(30, 10, 10)), False, r"extent \(600 x 400 x 400 mm\) is up"),
    "picture": (CT, image(-1000, 1500, (1, 40, 40)), True, "it is a picture without millimetres"),
    "volume": (GREY, image(0, 255), False, "it is a volume of 20 slices, .* are pictures"),
}


@pytest.mark.parametrize("case", PLAIN)
def test_another_kind_of_image_is_refused(case: str) -> None:
    manifest, volume, picture, words = PLAIN[case]
    with pytest.raises(DataError, match=rf"^a\.nii is plainly another kind .*{words}.*--anyway"):
        check_likeness(volume, "a.nii", manifest, picture=picture)
    remarks = check_likeness(volume, "a.nii", manifest, picture=picture, anyway=True)
    assert remarks[0].startswith("segmented anyway: ")


LIKE: dict[str, tuple[Manifest, Volume, bool, str]] = {
    "the same": (CT, image(-1000, 1500, modality="CT"), False, ""),
    "another scanner": (CT, image(-2000, 3071, (60, 80, 80), (1, 0.6, 0.6)), False, ""),
    "secondary capture": (CT, image(-1000, 1500, modality="OT"), False, ""),
    "one slice": (CT, image(-1000, 1500, (1, 40, 40)), False, "extent .* up to 20 times off"),
    "thick slices": (CT, image(-1000, 1500, (2, 40, 40), (45, 1, 1)), False, "voxel size .* 15 ti"),
    "a slice for 2D": (SLICES, image(-1000, 1500, (1, 40, 40), (99, 1, 1)), False, ""),
    "whole head for a crop": (MR, image(0, 900, (80, 190, 190)), False, "up to 4.75 times off"),
    "another gain": (MR, image(0, 1.7e6, modality="MR"), False, ""),
    "from 0 to 1": (MR, image(0, 1), False, ""),
    "z-scores": (MR, image(-3, 5), False, ""),
    "larger picture": (GREY, image(0, 255, (1, 900, 900), (1, 1, 1)), True, ""),
    "dark picture": (GREY, image(0, 60, (1, 64, 64), (1, 1, 1)), True, ""),
    "secondary picture": (GREY, image(0, 255, (1, 64, 64), (0.1, 0.1, 0.1)), False, ""),
    "constant": (MR, image(7, 7), False, "T1_IR is constant"),
    "bones only": (CT, image(-50, 3300), False, "its median, 1625, is outside"),
}


@pytest.mark.parametrize("case", LIKE)
def test_what_is_like_enough_is_taken(case: str) -> None:
    manifest, volume, picture, words = LIKE[case]
    remarks = check_likeness(volume, "a.nii", manifest, picture=picture)
    if not words:
        assert remarks == ()
    else:
        (remark,) = remarks
        assert re.search(words, remark), remark


def test_without_a_fingerprint_the_modality_alone_is_compared() -> None:
    old = CT.model_copy(update={"fingerprint": None})
    assert check_likeness(image(0, 255), "a", old, picture=True) == ()
    with pytest.raises(DataError, match="it is MR, the training images are CT"):
        check_likeness(image(-900, 900, modality="MR"), "a", old, picture=False)


@pytest.mark.parametrize("anyway", [False, True])
def test_another_number_of_channels_is_always_refused(anyway: bool) -> None:
    two = Volume.from_geometry(np.zeros((4, 4, 4, 2), np.float32), modality="MR")
    with pytest.raises(DataError, match=r"a: the model takes 1 channels \(CT\); the image has 2"):
        check_likeness(two, "a", CT, picture=False, anyway=anyway)


def test_a_single_slice_beside_other_series_is_no_volume() -> None:
    slice_of = image(-1000, 1500, (1, 40, 40))
    for manifest in (CT, CT.model_copy(update={"fingerprint": None})):
        with pytest.raises(DataError, match="it is a single slice, the network takes volumes"):
            check_likeness(slice_of, "a", manifest, picture=False, part=True)
    assert not check_likeness(image(-1000, 1500), "a", CT, picture=False, part=True)
    assert not check_likeness(slice_of, "a", SLICES, picture=False, part=True)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["CT", "ct", "CTs", "CT_portal", "CECT", "HU"], "CT"),
        (["MR", "MRI", "T1", "T1w", "T2_FLAIR", "FLAIR", "ADC", "T1ce", "DWI b1000"], "MR"),
        (["PT", "PET", "SUV"], "PT"),
        (["CR", "DX", "X-ray", "RG"], "CR"),
        (["R", "G", "B", "grey", "image", "", "OT", "SC", "OP", "Tumour", "C-arm"], None),
    ],
)
def test_names_of_modalities(names: list[str], kind: str | None) -> None:
    assert [kind_of(name) for name in names] == [kind] * len(names)


def test_figures_by_hand() -> None:
    first, second = image(0, 100, (2, 2, 3)), image(50, 250, (4, 2, 2), (1, 2, 4))
    known = summarise([look_at(one, picture=False) for one in (first, second)], ["MRI"])
    assert (known.cases, known.modality, known.slices) == (2, "MR", (2, 4))
    assert known.spacing_mm == ((1, 3), (1, 2), (1, 4))
    assert known.extent_mm == ((4, 6), (2, 4), (3, 8))
    assert known.channels[0].percentiles[2] == (50, 150)
    assert known.channels[0].percentiles[1] == (pytest.approx(5), pytest.approx(60))
    assert Manifest.model_validate_json(MR.model_dump_json()) == MR


def test_percentiles_of_a_large_image_are_sampled() -> None:
    volume = image(0, 1000, (100, 200, 200))  # four million voxels
    expected = np.percentile(volume.array, [0.5, 5, 50, 95, 99.5])
    found = look_at(volume, picture=False).percentiles[0]
    np.testing.assert_allclose(found, expected, atol=25)
