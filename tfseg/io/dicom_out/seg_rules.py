"""What the header of a Segmentation must say so that its pixels have one meaning (C.8.20)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfseg.errors import DataError
from tfseg.io.dicom_out.stamp import text

if TYPE_CHECKING:
    from pydicom import Dataset

CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # SEG, label map SEG
_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
_HIGHEST = 65535  # number of a segment
# Syntaxes that may change pixels: JPEG, JPEG-LS near-lossless, JPEG 2000, HTJ2K.
_LOSSY = (
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203",
)  # fmt: skip


@dataclass(frozen=True)
class Meaning:
    """What pixels stand for.

    Attributes:
        kind: ``BINARY``, ``FRACTIONAL`` or ``LABELMAP``.
        least: the pixel value from which on a segment is meant: half of what a fraction of 1
            is stored as, 1 in a mask.
        most: the highest value that may occur; ``None`` without a bound.
        remarks: what a person should know.
    """

    kind: str
    least: int
    most: int | None
    remarks: tuple[str, ...]


def segment_names(dataset: Dataset) -> dict[int, str]:
    """Return segment number to label, of the segments that are no background.

    Raises:
        DataError: a segment without a number, or two with the same.
    """
    found: dict[int, str] = {}
    for item in dataset.get("SegmentSequence") or ():
        number = item.get("SegmentNumber")
        if number is None or not 0 <= int(number) <= _HIGHEST or int(number) in found:
            raise DataError(
                f"each segment needs a SegmentNumber of its own, to {_HIGHEST} (PS3.3 C.8.20.2); "
                f"got {number}. Export the Segmentation again."
            )
        found[int(number)] = text(str(item.get("SegmentLabel") or "")) or f"segment {number}"
    found.pop(0, None)
    return found


def meaning_of(path: Path, dataset: Dataset) -> Meaning:
    """Return what the pixels of a Segmentation stand for.

    Raises:
        DataError: the header does not say it clearly.
    """
    allocated = int(dataset.get("BitsAllocated") or 0)
    kind = str(dataset.get("SegmentationType") or "")
    if not kind and dataset.SOPClassUID == CLASSES[1]:
        kind = "LABELMAP"
    if not kind and allocated == 1:
        kind = "BINARY"
    if kind not in _KINDS:
        raise DataError(
            f"{path}: SegmentationType must be {', '.join(_KINDS)} (PS3.3 C.8.20.2); got "
            f"{text(kind) or 'none'}. Export the Segmentation again."
        )
    samples = int(dataset.get("SamplesPerPixel") or 1)
    photometric = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2")
    if samples != 1 or photometric not in {"MONOCHROME2", "PALETTE COLOR"}:
        raise DataError(
            f"{path}: pixels of a Segmentation are one sample of MONOCHROME2, or of PALETTE COLOR "
            f"in a label map; got {samples} of {text(photometric)}."
        )
    said = []
    syntax = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    if syntax in _LOSSY:
        said.append(
            f"pixels are stored in a transfer syntax that may change them ({syntax}): masks and "
            "segment numbers may be others at the borders"
        )
    if kind != "FRACTIONAL":
        return Meaning(kind, 1, None, tuple(said))
    most = dataset.get("MaximumFractionalValue")
    if most is None or not 1 <= int(most) <= 255:
        raise DataError(
            f"{path}: fractions need a MaximumFractionalValue from 1 to 255 (PS3.3 C.8.20.2); got "
            f"{most}. Export the Segmentation again."
        )
    least = (int(most) + 1) // 2
    if least > 1:
        said.append("fractions of at least a half count as the segment")
    return Meaning(kind, least, int(most), tuple(said))


def require_length(path: Path, dataset: Dataset, frames: int) -> None:
    """Refuse uncompressed pixels that are not as many as the header says.

    Raises:
        DataError: fewer, or more than the one byte that makes their number even.
    """
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        return
    bits = int(dataset.Rows) * int(dataset.Columns) * frames * int(dataset.BitsAllocated)
    needed, found = (bits + 7) // 8, len(dataset.get("PixelData") or b"")
    if not needed <= found <= needed + 1:
        raise DataError(
            f"{path}: {frames} frames of {dataset.Rows} x {dataset.Columns} pixels need {needed} "
            f"bytes, packed without gaps (PS3.5 8.1.1); there are {found}. Copy or export the "
            "Segmentation again."
        )
