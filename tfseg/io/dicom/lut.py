"""Modality LUT (PS3.3 C.11.1.1): a table in place of rescale slope and intercept."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.io.dicom.charsets import printable
from tfseg.io.dicom.damage import damage, lenient, reason
from tfseg.io.dicom.dataset import sequences
from tfseg.io.dicom.elements import BIG_ENDIAN
from tfseg.io.dicom.frames import Frame, Header

LUT_DTYPE: np.dtype[Any] = np.dtype(np.uint16)


def with_units(frames: tuple[Frame, ...], what: str) -> tuple[Frame, ...]:
    """Return the slices with the units that their tables say, in place of RescaleType.

    Raises:
        DataError: a table is damaged.
    """
    headers = {frame.header.path: frame.header for frame in frames if frame.header.has_lut}
    units = {path: ModalityLut.of(header, what).unit for path, header in headers.items()}
    return tuple(
        replace(frame, unit=units[frame.header.path]) if frame.header.has_lut else frame
        for frame in frames
    )


@dataclass(frozen=True)
class ModalityLut:
    """A table of values.

    Attributes:
        table: uint16; entry i belongs to the stored value ``first + i``; stored values outside
            take the nearest end.
        first: stored value of the first entry.
        unit: ModalityLUTType; empty where absent.
    """

    table: NDArray[np.uint16]
    first: int
    unit: str = ""

    def __call__(self, stored: NDArray[Any]) -> NDArray[np.uint16]:
        """Return the values of stored pixels."""
        index = np.clip(stored.astype(np.int64) - self.first, 0, len(self.table) - 1)
        return np.asarray(self.table[index])

    @classmethod
    def of(cls, header: Header, what: str) -> ModalityLut:
        """Read the table of a file.

        Raises:
            DataError: it is damaged.
        """
        dataset = sequences(
            header.path, header.name, ["ModalityLUTSequence", "PixelRepresentation"]
        )
        try:
            with lenient():
                item = dataset.ModalityLUTSequence[0]
                entries, first, bits = (int(number) for number in item.LUTDescriptor)
                data = item.LUTData
                unit = printable(str(item.get("ModalityLUTType") or ""))
        except damage() as error:
            raise DataError(
                f"{what}: the Modality LUT of {header.name} is damaged ({reason(error)})."
            ) from error
        entries = entries or 1 << 16  # PS3.3: 0 says 65536
        if isinstance(data, bytes):
            order = ">" if header.syntax == BIG_ENDIAN else "<"
            data = struct.unpack(f"{order}{len(data) // 2}H", data[: len(data) // 2 * 2])
        table = np.atleast_1d(np.asarray(data)) & 0xFFFF
        if bits not in range(8, 17) or len(table) != entries:
            raise DataError(
                f"{what}: a Modality LUT must have as many entries of 8 to 16 bits as it says; "
                f"that of {header.name} says {entries} of {bits} bits and has {len(table)}."
            )
        if header.signed and first > 0x7FFF:
            first -= 1 << 16  # the descriptor is read as unsigned
        return cls(table.astype(np.uint16), first, unit)
