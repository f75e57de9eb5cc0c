"""One file's header and the slices in it: one, the frames of a multi-frame file, or tiles.

A :class:`Frame` is what a volume is stacked from. Where it lies comes from Image Position,
Image Orientation and Pixel Spacing alone (PS3.3 C.7.6.2.1.1), in the file or in its functional
groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tfseg.errors import DataError
from tfseg.io.dicom.damage import IrregularError
from tfseg.io.dicom.elements import Elements, PixelPlace
from tfseg.io.dicom.traits import Traits, traits_of

# Objects that refer to pictures of the patient, or show what was made of them.
DERIVED_OBJECTS = frozenset(
    ("SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "SR", "PR", "KO", "REG", "DOC", "ANN",
     "PLAN", "FID", "RWV", "AU", "ECG", "HD")
)  # fmt: skip
UNSPECIFIED = "US"  # RescaleType of values in no unit (PS3.3 C.11.1.1.2)
_CAPTURES = "1.2.840.10008.5.1.4.1.1.7."  # Secondary Capture, single-frame and multi-frame
_COLOURS = ("PALETTE COLOR", "RGB", "ARGB", "YBR", "HSV", "CMYK", "XYB")  # PS3.3 C.7.6.3.1.2
_MOST_FRAMES = 1 << 20
_MOST_SIDE = 1 << 16
FURTHEST_MM = 1e6  # a kilometre: more is no place in a scanner, and overflows when squared


class Box(NamedTuple):
    """A part of a picture: first row and column, and its size."""

    row: int
    column: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Header:
    """One DICOM file without its pixels.

    Attributes:
        path: the file.
        series_uid, instance_uid: SeriesInstanceUID and SOPInstanceUID; empty where absent.
        modality: DICOM's code; ``OT`` where absent.
        number, instance: SeriesNumber and InstanceNumber; 0 where absent.
        description: SeriesDescription.
        image_type: ImageType.
        rows, columns, frames, samples: size of the pixel data; 0 rows where there is none.
        photometric: PhotometricInterpretation.
        allocated, stored, high, signed: how a pixel's bits are used (PS3.5 8.1.1).
        syntax: transfer syntax UID.
        pixels: where the pixel data is.
        has_lut: whether a Modality LUT of the file takes the place of slope and intercept.
        has_groups: whether frames are described in functional groups.
        sop_class: SOPClassUID.
        owner: digests of PatientID, PatientName and PatientBirthDate; empty ones where absent.
        study_uid, space_uid: StudyInstanceUID and FrameOfReferenceUID; empty where absent.
    """

    path: Path
    series_uid: str
    instance_uid: str
    modality: str
    number: int
    instance: int
    description: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    allocated: int
    stored: int
    high: int
    signed: bool
    syntax: str
    pixels: PixelPlace | None
    has_lut: bool
    has_groups: bool
    sop_class: str = ""
    owner: tuple[str, ...] = ("", "", "")
    study_uid: str = ""
    space_uid: str = ""

    @property
    def name(self) -> str:
        """What messages call it: by its InstanceNumber, since file names may name patients."""
        return f"image {self.instance}"

    @property
    def is_capture(self) -> bool:
        """Whether it shows a screen, a scanned page or a converted picture (PS3.3 A.8)."""
        return f"{self.sop_class}.".startswith(_CAPTURES) or "SCREEN SAVE" in self.image_type

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, uncompressed."""
        return self.rows * self.columns * self.samples * self.allocated // 8


@dataclass(frozen=True, slots=True)
class Frame:
    """One slice: where it is in its file and in the patient.

    Attributes:
        header: the file.
        index: number of the frame in the file, from 0.
        box: the part of the frame that is the slice, or ``None`` for all of it.
        position: LPS mm of the centre of its first pixel, or ``None``.
        orientation: direction of a row, then of a column; or ``None``.
        spacing: mm between rows, between columns; or ``None``.
        slope, intercept: from stored values to the modality's unit; 1 and 0 where not said.
        scale: which of them the file says: ``both``, ``slope``, ``intercept`` or ``none``.
        unit: RescaleType or, of PET, Units: e.g. ``HU``; empty where absent.
        thickness_mm: SliceThickness or SpacingBetweenSlices: used for a lone slice only.
        traits: what may tell apart slices at one place, by name; see :mod:`.traits`.
        remarks: sentences that a person should know of it.
    """

    header: Header
    index: int
    box: Box | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    slope: float
    intercept: float
    unit: str
    thickness_mm: float | None
    traits: Traits = field(repr=False)
    remarks: tuple[str, ...] = ()
    scale: str = "both"

    @property
    def name(self) -> str:
        """What messages call it."""
        many = self.header.frames > 1
        return f"{self.header.name} frame {self.index + 1}" if many else self.header.name

    @property
    def is_placed(self) -> bool:
        """Whether position and orientation are given, as numbers that can be calculated with."""
        numbers = (*(self.position or (math.nan,)), *(self.orientation or (math.nan,)))
        return all(abs(number) <= FURTHEST_MM for number in numbers)  # NaN is not

    @property
    def named_unit(self) -> str:
        """The unit that values are in, or an empty string; CT with a rescale is in HU.

        PS3.3 C.8.2.1.1.2: unless RescaleType says otherwise.
        """
        header = self.header
        if self.unit == UNSPECIFIED:
            return ""
        if self.unit or header.modality != "CT" or header.has_groups or header.is_capture:
            return self.unit
        return "HU" if header.has_lut or self.scale != "none" else ""

    @property
    def inverted(self) -> bool:
        """Whether values are to be mirrored, so that more is brighter.

        MONOCHROME1 shows less as brighter. Where the header names a unit, the values are
        quantities and not brightness: mirrored they would be false. Those of CT with a rescale
        are HU in all likelihood, named or not, unless RescaleType says that they are not.
        """
        header = self.header
        scaled = self.unit != UNSPECIFIED and (header.has_lut or self.scale != "none")
        quantities = self.named_unit or (header.modality == "CT" and scaled)
        return header.photometric == "MONOCHROME1" and not quantities

    @property
    def rows(self) -> int:
        """Rows of the slice."""
        return self.box.rows if self.box else self.header.rows

    @property
    def columns(self) -> int:
        """Columns of the slice."""
        return self.box.columns if self.box else self.header.columns


def header_of(path: Path, elements: Elements) -> Header:
    """Return the header of a file.

    Raises:
        ValueError: an element has a value that its meaning excludes.
    """
    representation = elements.count("PixelRepresentation", 0)
    if representation not in {0, 1}:
        raise IrregularError(
            f"PixelRepresentation must be 0 (unsigned) or 1 (signed); it is {representation}"
        )
    allocated = elements.count("BitsAllocated", 16)
    stored = elements.count("BitsStored", allocated)
    header = Header(
        path=path,
        series_uid=elements.text("SeriesInstanceUID"),
        instance_uid=elements.text("SOPInstanceUID"),
        modality=elements.text("Modality")[:16] or "OT",
        number=_whole(elements, "SeriesNumber"),
        instance=_whole(elements, "InstanceNumber"),
        description=elements.text("SeriesDescription"),
        image_type=elements.texts("ImageType"),
        rows=elements.count("Rows", 0) if elements.pixels else 0,
        columns=elements.count("Columns", 0) if elements.pixels else 0,
        frames=elements.count("NumberOfFrames", 1) or 1,  # 0 in single-frame files of some writers
        samples=elements.count("SamplesPerPixel", 1),
        photometric=elements.text("PhotometricInterpretation"),
        allocated=allocated,
        stored=stored,
        high=elements.count("HighBit", stored - 1),
        signed=representation == 1,
        syntax=elements.syntax,
        pixels=elements.pixels,
        has_lut="ModalityLUTSequence" in elements,
        has_groups="PerFrameFunctionalGroupsSequence" in elements,
        sop_class=elements.text("SOPClassUID"),
        owner=tuple(
            elements.values.get(keyword, b"").hex()
            for keyword in ("PatientID", "PatientName", "PatientBirthDate")
        ),
        study_uid=elements.text("StudyInstanceUID"),
        space_uid=elements.text("FrameOfReferenceUID"),
    )
    _check(header)
    if elements.count("NumberOfFrames", 1) == 0 and _holds_several(header):
        raise IrregularError("NumberOfFrames is 0, and the pixel data is that of several frames")
    spare = spare_bytes(header)
    if spare and spare >= header.frame_bytes * header.frames:
        raise IrregularError(
            f"the pixel data has {header.frame_bytes * header.frames + spare} bytes, and Rows, "
            f"Columns, BitsAllocated and NumberOfFrames ask for {spare} less: one of them is wrong"
        )
    return header


def spare_bytes(header: Header) -> int:
    """Return how many bytes follow the pixels of an uncompressed file, but for one of padding."""
    if header.rows == 0 or header.pixels is None or header.pixels.length is None:
        return 0
    extra = header.pixels.length - header.frame_bytes * header.frames
    return extra if extra > 1 and header.pixels.keyword == "PixelData" else 0


def _holds_several(header: Header) -> bool:
    if header.pixels is None or header.rows == 0:
        return False
    return header.has_groups or (header.pixels.length or 0) >= 2 * header.frame_bytes


def _check(header: Header) -> None:
    if header.rows == 0:
        return  # no picture: nothing below matters
    if not 1 <= header.frames <= _MOST_FRAMES:
        raise IrregularError(f"NumberOfFrames must be 1 to {_MOST_FRAMES}; it is {header.frames}")
    if not (1 <= header.rows < _MOST_SIDE and 1 <= header.columns < _MOST_SIDE):
        raise IrregularError(
            f"Rows and Columns must be 1 to {_MOST_SIDE - 1}; they are {header.rows} and "
            f"{header.columns}"
        )
    if header.allocated not in {1, 8, 16, 32, 64} or not (
        1 <= header.stored <= header.allocated
        and header.stored - 1 <= header.high < header.allocated
    ):
        raise IrregularError(
            "BitsStored must be at most BitsAllocated (1, 8, 16, 32 or 64) and HighBit between; "
            f"they are {header.stored}, {header.allocated} and {header.high}"
        )


def single_frame(header: Header, elements: Elements) -> Frame:
    """Return the slice of a single-frame file.

    Raises:
        ValueError: an element has a value that its meaning excludes.
    """
    thickness = _first(elements, "SliceThickness") or _first(elements, "SpacingBetweenSlices")
    return Frame(
        header=header,
        index=0,
        box=None,
        position=elements.exactly("ImagePositionPatient", 3),
        orientation=elements.exactly("ImageOrientationPatient", 6),
        spacing=elements.exactly("PixelSpacing", 2),
        slope=(elements.exactly("RescaleSlope", 1) or (1.0,))[0],
        intercept=(elements.exactly("RescaleIntercept", 1) or (0.0,))[0],
        unit=elements.text("Units") or elements.text("RescaleType"),
        thickness_mm=abs(thickness) or None,
        traits=traits_of(header.image_type, elements),
        scale=_scale(elements),
    )


def _scale(elements: Elements) -> str:
    return scale_of(elements.numbers("RescaleSlope"), elements.numbers("RescaleIntercept"))


def scale_of(slope: object, intercept: object) -> str:
    """Return which of the two are given, for :attr:`Frame.scale`."""
    if slope is None:
        return "none" if intercept is None else "intercept"
    return "slope" if intercept is None else "both"


def _first(elements: Elements, keyword: str) -> float:
    """Return a number that does without: 0 where it is missing or unreadable."""
    return (elements.hint(keyword) or (0.0,))[0]


def _whole(elements: Elements, keyword: str) -> int:
    """Return a number of at most nine digits that does without: 0 where it is no such number."""
    found = _first(elements, keyword)
    return int(found) if abs(found) < 1e9 else 0


def require_gray(header: Header, what: str) -> None:
    """Refuse colour.

    Raises:
        DataError: more than one sample a pixel, a palette, or one sample of a colour.
    """
    if header.samples != 1 or header.photometric.startswith(_COLOURS):
        raise DataError(
            f"{what}: pixels must be gray; {header.name} has {header.samples} samples a pixel "
            f"({header.photometric or 'no photometric interpretation'})."
        )
