"""PET: activity to standardised uptake values, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tfseg.errors import DataError
from tfseg.io import dicom

ARRAY = np.random.default_rng(5).integers(0, 30000, (4, 5, 7)).astype(np.uint16)
Write = Callable[..., list[Path]]


def drug(**elements: Any) -> Sequence:
    item = Dataset()
    given = {
        "RadionuclideTotalDose": 4e8,
        "RadionuclideHalfLife": 6000,
        "RadiopharmaceuticalStartTime": "100000",
    }
    for keyword, value in (given | elements).items():
        if value is not None:
            setattr(item, keyword, value)
    return Sequence([item])


PET: dict[str, Any] = {
    "Modality": "PT",
    "Units": "BQML",
    "DecayCorrection": "START",
    "CorrectedImage": ["DECY", "ATTN", "SCAT"],
    "PatientWeight": 80,
    "SeriesDate": "20200304",
    "SeriesTime": "114000",
    "AcquisitionDate": "20200304",
    "AcquisitionTime": "114000.500000",
    "RescaleSlope": 0.5,
    "RadiopharmaceuticalInformationSequence": drug(),
}
# 100 minutes are one half-life: half the dose is left. 80 kg are 80,000 g.
HALF = 80_000 / 2e8
FULL = 80_000 / 4e8


def load(write: Write, suv: bool = True, **elements: Any) -> dicom.Loaded:
    folder = write(ARRAY, **(PET | elements))[0].parent
    (series,) = dicom.scan_tree(folder).series
    (stack,) = dicom.split(series)
    return dicom.load(stack, suv=suv)


@pytest.mark.parametrize(
    ("elements", "factor"),
    [
        ({}, HALF),
        ({"DecayCorrection": "ADMIN"}, FULL),
        ({"SeriesTime": "114000.000", "SeriesDate": "20200304"}, HALF),
        # Injected before midnight, scanned after it.
        (
            {
                "SeriesTime": "004000",
                "AcquisitionTime": "004000",
                "RadiopharmaceuticalInformationSequence": drug(
                    RadiopharmaceuticalStartTime="230000"
                ),
            },
            HALF,
        ),
        # Date and time of the injection together go before its time alone.
        (
            {
                "RadiopharmaceuticalInformationSequence": drug(
                    RadiopharmaceuticalStartDateTime="20200304082000.000",
                )
            },
            80_000 / 1e8,
        ),
        # A series derived later: its acquisition began at 11:40.
        ({"SeriesTime": "180000", "AcquisitionTime": "114000"}, HALF),
    ],
)
def test_activity_becomes_uptake(
    write_series: Write, elements: dict[str, Any], factor: float
) -> None:
    loaded = load(write_series, **elements)
    assert loaded.unit == "SUVbw g/ml"
    assert loaded.decisions[-1].startswith("activity scaled to SUV by body weight")
    assert loaded.volume.array.dtype == np.float32
    np.testing.assert_allclose(loaded.volume.array, ARRAY * 0.5 * factor, rtol=1e-6)


def test_each_slice_keeps_its_own_slope(write_series: Write) -> None:
    folder = write_series(
        ARRAY,
        **(PET | {"RescaleSlope": 1}),
        each=lambda index: {"RescaleSlope": 0.25 * (index + 1)},
    )[0].parent
    (stack,) = dicom.split(dicom.scan_tree(folder).series[0])
    slopes = 0.25 * np.arange(1, 5)[:, np.newaxis, np.newaxis]
    np.testing.assert_allclose(dicom.load(stack).volume.array, ARRAY * slopes * HALF, rtol=1e-6)


@pytest.mark.parametrize(
    ("elements", "unit", "said"),
    [
        ({"Units": "CNTS"}, "CNTS", "values stay in CNTS: SUV needs Units BQML"),
        ({"PatientWeight": None}, "BQML", "SUV needs PatientWeight"),
        ({"PatientWeight": 0}, "BQML", "SUV needs PatientWeight"),
        ({"PatientWeight": 80_000}, "BQML", "SUV needs PatientWeight of 0.01 to 500 kg; it is not"),
        ({"CorrectedImage": ["DECY"]}, "BQML", "SUV needs correction of attenuation and decay"),
        ({"DecayCorrection": "NONE"}, "BQML", "SUV needs DecayCorrection START or ADMIN; it is NO"),
        (
            {"SeriesDate": None, "AcquisitionDate": None},
            "BQML",
            "SUV needs SeriesDate and SeriesTime",
        ),
        (
            {
                "RadiopharmaceuticalInformationSequence": drug(
                    RadiopharmaceuticalStartDateTime="20200305100000"
                )
            },
            "BQML",
            "SUV needs an injection before the scan",
        ),
        (
            {"RadiopharmaceuticalInformationSequence": None},
            "BQML",
            "SUV needs RadionuclideTotalDose of 100000 to 1e+11 Bq; it is missing",
        ),
        (
            {
                "RadiopharmaceuticalInformationSequence": drug(RadiopharmaceuticalStartTime=None),
            },
            "BQML",
            "SUV needs the time of injection",
        ),
    ],
)
def test_values_stay_where_the_header_lacks_something(
    write_series: Write, elements: dict[str, Any], unit: str, said: str
) -> None:
    loaded = load(write_series, **elements)
    assert loaded.unit == unit
    assert said in loaded.decisions[-1]
    np.testing.assert_allclose(loaded.volume.array, ARRAY * 0.5, rtol=1e-6)


def test_uptake_that_is_stored_already(write_series: Write) -> None:
    loaded = load(write_series, Units="GML")
    assert (loaded.unit, loaded.decisions) == (
        "SUVbw g/ml",
        ("values are SUV by body weight already",),
    )
    np.testing.assert_allclose(loaded.volume.array, ARRAY * 0.5, rtol=1e-6)


def test_philips_counts_have_a_factor(write_series: Write) -> None:
    import pydicom

    paths = write_series(ARRAY, **(PET | {"Units": "CNTS"}))
    for path in paths:
        dataset = pydicom.dcmread(path)
        block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", "0.0125")
        dataset.save_as(path)
    (stack,) = dicom.split(dicom.scan_tree(paths[0].parent).series[0])
    loaded = dicom.load(stack)
    assert loaded.unit == "SUVbw g/ml"
    np.testing.assert_allclose(loaded.volume.array, ARRAY * 0.5 * 0.0125, rtol=1e-6)


def test_stored_values_when_asked_for(write_series: Write) -> None:
    loaded = load(write_series, suv=False)
    assert (loaded.unit, loaded.decisions) == ("BQML", ())
    np.testing.assert_allclose(loaded.volume.array, ARRAY * 0.5, rtol=1e-6)


def test_a_pet_that_is_no_uptake_is_said_aloud(
    write_series: Write, caplog: pytest.LogCaptureFixture
) -> None:
    dicom.read(write_series(ARRAY, **(PET | {"PatientWeight": None}))[0].parent)
    assert "PT 1: values stay in BQML: SUV needs PatientWeight" in caplog.text


def injected(**elements: Any) -> dict[str, Any]:
    return {"RadiopharmaceuticalInformationSequence": drug(**elements)}


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        # A day early: 1540 minutes are 15 half-lives. The clock alone: a day is taken off.
        (injected(RadiopharmaceuticalStartDateTime="20200303100000"),
         "half-lives before the scan; the header says 25.7 hours, and a half-life of 100 minutes"),
        (injected(RadiopharmaceuticalStartDateTime="19000101100000"), "at most 4 half-lives"),
        (injected(RadiopharmaceuticalStartTime="120000"), "at most 4 half-lives before the scan"),
        (injected(RadiopharmaceuticalStartDateTime="20200304120000"), "an injection before the"),
        (injected(RadionuclideHalfLife=109.8), "at most 10 half-lives before the scan"),
        (injected(RadionuclideHalfLife=None), "RadionuclideHalfLife of 10 to 1e+07 s; it is missi"),
        (injected(RadionuclideTotalDose=400), "RadionuclideTotalDose of 100000 to 1e+11 Bq; it is"),
        # No zone of the scanner to compare with, and no clock of the room.
        (injected(RadiopharmaceuticalStartDateTime="20200304080000+0000"), "TimezoneOffsetFromUTC"),
        ({"SeriesTime": "000000", "AcquisitionTime": None,
          **injected(RadiopharmaceuticalStartTime="000000")}, "are at midnight, as if removed"),
        ({"RadiopharmaceuticalInformationSequence": Sequence([*drug(), *drug()])}, "one radioph"),
    ],
)  # fmt: skip
def test_what_no_scan_can_be_is_not_computed_with(
    write_series: Write, caplog: pytest.LogCaptureFixture, elements: dict[str, Any], said: str
) -> None:
    loaded = load(write_series, **elements)
    assert loaded.unit == "BQML"
    assert said in loaded.cautions[-1]
    np.testing.assert_allclose(loaded.volume.array, ARRAY * 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("elements", "doubt"),
    [
        # UTC, and the scanner two hours before it.
        ({"TimezoneOffsetFromUTC": "+0200",
          **injected(RadiopharmaceuticalStartDateTime="20200304080000+0000")}, ""),
        ({"TimezoneOffsetFromUTC": "-0500",
          **injected(RadiopharmaceuticalStartDateTime="20200304150000.000000+0000")}, ""),
        ({"TimezoneOffsetFromUTC": "+0200",
          **injected(RadiopharmaceuticalStartDateTime="20200304100000")}, ""),
        # The clock of the room says that the offset is the scanner's.
        (injected(RadiopharmaceuticalStartDateTime="20200304100000+0200"), ""),
        # They contradict each other: said.
        (injected(RadiopharmaceuticalStartDateTime="20200304100000",
                  RadiopharmaceuticalStartTime="103000"), "RadiopharmaceuticalStartTime differs"),
    ],
)  # fmt: skip
def test_zones_and_clocks(write_series: Write, elements: dict[str, Any], doubt: str) -> None:
    loaded = load(write_series, **elements)
    np.testing.assert_allclose(loaded.volume.array, ARRAY * 0.5 * HALF, rtol=1e-6)
    assert doubt in loaded.decisions[-1]
    assert bool(doubt) == bool(loaded.cautions)


def test_tracers_of_minutes_and_days(write_series: Write) -> None:
    # Zirconium-89 after six days, oxygen-15 after ten minutes.
    for half_life, when, waited in (
        (282_240, "20200227114000", 6 * 86400), (122, "20200304113000", 600),
    ):  # fmt: skip
        elements = injected(
            RadionuclideHalfLife=half_life, RadiopharmaceuticalStartDateTime=when,
            RadiopharmaceuticalStartTime=None,
        )  # fmt: skip
        factor = FULL * 2 ** (waited / half_life)
        loaded = load(write_series, **elements)
        np.testing.assert_allclose(loaded.volume.array, ARRAY * 0.5 * factor, rtol=1e-6)


def test_uptake_by_something_else_is_not_by_weight(write_series: Write) -> None:
    loaded = load(write_series, Units="GML", SUVType="LBM")
    assert loaded.unit == "GML"
    assert "SUV needs body weight (SUVType BW); it is by LBM" in loaded.cautions[-1]


def test_slices_of_two_units_are_refused(write_series: Write) -> None:
    folder = write_series(ARRAY, **PET, each=lambda i: {"Units": ["BQML", "CNTS"][i % 2]})[0].parent
    (stack,) = dicom.split(dicom.scan_tree(folder).series[0])
    with pytest.raises(DataError, match="must be in one unit"):
        dicom.load(stack)


@pytest.mark.parametrize(
    ("odd", "name"),
    [
        ({"PatientWeight": 70}, "PatientWeight"),
        ({"RadiopharmaceuticalInformationSequence": drug(RadionuclideTotalDose=2e8)},
         "RadionuclideTotalDose"),
    ],
)  # fmt: skip
def test_a_file_with_another_dose_or_weight(write_series: Write, odd, name) -> None:
    loaded = load(write_series, each=lambda index: odd if index == 2 else {})
    assert loaded.unit == "BQML"
    assert any(f"SUV needs one {name} in all files" in one for one in loaded.cautions)


@pytest.mark.parametrize(("half_life", "doubtful"), [(6586.2, False), (6588, False), (1221, True)])
def test_a_half_life_that_is_not_that_of_the_nuclide(write_series, half_life, doubtful) -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "C-111A1", "SRT", "18F"
    info = drug(RadionuclideHalfLife=half_life, RadionuclideCodeSequence=Sequence([code]))
    loaded = load(write_series, RadiopharmaceuticalInformationSequence=info)
    assert any("that of the coded F-18 is 6586.2 s" in one for one in loaded.cautions) is doubtful
