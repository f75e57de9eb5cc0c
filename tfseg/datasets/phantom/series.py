"""Write a volume as a CT series: one file a slice (DICOM PS3.3 A.3, CT Image IOD)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tfseg import __version__
from tfseg.errors import DataError
from tfseg.volume import Volume

_INTERCEPT = -1024  # stored values are HU + 1024, unsigned, as CT scanners store them
_MAX_STORED = 4095  # 12 bits
_DATE, _TIME = "20200101", "120000"  # fixed: the same seed gives the same bytes
_DS_LENGTH = 16  # characters of a decimal string, PS3.5 6.2


def write_ct_series(volume: Volume, folder: Path, entropy: str) -> None:
    """Write ``folder/001.dcm`` and so on, in the order of the volume's slices.

    Args:
        volume: integer HU from -1024 to 3071 on an upright grid of right angles.
        folder: made if absent.
        entropy: text that all UIDs are derived from.

    Raises:
        DataError: values outside 12 bits, or a sheared grid.
    """
    stored = volume.array.astype(np.int32) - _INTERCEPT
    if stored.min() < 0 or stored.max() > _MAX_STORED:
        raise DataError(
            f"CT slices hold -1024 to 3071 HU; got {volume.array.min()} to {volume.array.max()}."
        )
    direction = volume.direction
    if not np.allclose(np.cross(direction[:, 2], direction[:, 1]), direction[:, 0], atol=1e-6):
        raise DataError("DICOM slices need axes z, y, x at right angles, z along x cross y.")
    folder.mkdir(parents=True, exist_ok=True)
    for index, plane in enumerate(stored.astype(np.uint16)):
        dataset = _instance(volume, index, plane.tobytes(), entropy)
        dataset.save_as(folder / f"{index + 1:03d}.dcm", enforce_file_format=True)


def _instance(volume: Volume, index: int, pixels: bytes, entropy: str) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    def uid(of: str) -> str:
        return str(generate_uid(entropy_srcs=["tfseg phantom", entropy, of]))

    sop_instance = uid(f"instance {index}")
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = sop_instance
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = uid("implementation")
    dataset.file_meta.ImplementationVersionName = f"TFSEG {__version__}"
    dataset.SpecificCharacterSet = "ISO_IR 192"

    # Patient, General Study and General Series: type 2 elements are there, empty (C.7.1 - C.7.3).
    dataset.PatientName, dataset.PatientID = "Phantom", entropy.replace("/", "-")
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyInstanceUID, dataset.StudyID = uid("study"), "1"
    dataset.StudyDate, dataset.StudyTime = _DATE, _TIME
    dataset.ReferringPhysicianName = dataset.AccessionNumber = ""
    dataset.Modality, dataset.SeriesInstanceUID, dataset.SeriesNumber = "CT", uid("series"), 1
    dataset.PatientPosition = "HFS"
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = uid("frame"), ""
    dataset.Manufacturer, dataset.ManufacturerModelName = "tfseg", "phantom"
    dataset.SoftwareVersions = __version__

    # General Image, Image Plane, Image Pixel, CT Image (C.7.6.1 - C.7.6.3, C.8.2.1).
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, sop_instance
    dataset.InstanceNumber, dataset.AcquisitionNumber = index + 1, 1
    dataset.ContentDate, dataset.ContentTime = _DATE, _TIME
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientOrientation = ""
    row, column = volume.direction[:, 2], volume.direction[:, 1]
    place = volume.affine @ [index, 0, 0, 1]
    dataset.ImageOrientationPatient = _decimals([*row, *column])
    dataset.ImagePositionPatient = _decimals(place[:3])
    dataset.PixelSpacing = _decimals(volume.spacing_mm[1:])
    dataset.SliceThickness = _decimals(volume.spacing_mm[:1])[0]
    dataset.KVP = "120"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = volume.shape[1:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope = str(_INTERCEPT), "1"
    dataset.RescaleType = "HU"
    dataset.WindowCenter, dataset.WindowWidth = "40", "400"
    dataset.PixelData = pixels
    return dataset


def _decimals(values: Any) -> list[str]:
    """Return each number with as many digits as a decimal string holds."""
    texts = []
    for value in values:
        digits = 15
        while len(text := f"{float(value):.{digits}g}") > _DS_LENGTH:
            digits -= 1
        texts.append(text)
    return texts
