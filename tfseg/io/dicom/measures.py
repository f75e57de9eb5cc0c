"""How large pixels are in the patient, and what that is known from.

Slices have PixelSpacing. Projections may have a size at the detector instead, or that of a film's
scanner (PS3.3 10.7.1.3); ultrasound has one for each region of the picture (PS3.3 C.8.5.5).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tfseg.errors import DataError
from tfseg.io.dicom.damage import damage, lenient, reason
from tfseg.io.dicom.dataset import sequences
from tfseg.io.dicom.elements import Elements
from tfseg.io.dicom.frames import Frame

_Spacing = tuple[float, ...]
_ALIKE = 1e-3
_CENTIMETRES, _TISSUE = 3, 1  # PhysicalUnitsXDirection, RegionSpatialFormat: 2D
_REGIONS = "SequenceOfUltrasoundRegions"


def measured(frame: Frame, elements: Elements) -> Frame:
    """Return the slice with its pixel spacing, and with remarks on where that is from.

    Raises:
        DataError: the ultrasound regions are damaged.
        ValueError: an element has a value that its meaning excludes.
    """
    found = {
        name: _pair(elements, name) for name in ("ImagerPixelSpacing", "NominalScannedPixelSpacing")
    } | {"PixelSpacing": frame.spacing}
    pixel, detector = found["PixelSpacing"], found["ImagerPixelSpacing"]
    factor = elements.hint("EstimatedRadiographicMagnificationFactor")
    by = f" of {factor[0]:g}" if factor else ""
    remark = ""
    if pixel and detector and not np.allclose(pixel, detector, rtol=_ALIKE, atol=0):
        remark = f"PixelSpacing {_text(pixel)} mm is used, not ImagerPixelSpacing {_text(detector)}"
    elif detector:
        remark = (
            "pixel spacing is that of the detector (ImagerPixelSpacing): in the patient it is "
            f"smaller by the magnification{by}"
        )
    spacing = pixel or detector
    if spacing is None and (spacing := found["NominalScannedPixelSpacing"]):
        remark = "pixel spacing is that of the film's scanner (NominalScannedPixelSpacing)"
    if _REGIONS in elements:
        region, said = _of_regions(frame)
        if spacing and region and not np.allclose(spacing, region, rtol=_ALIKE * 10, atol=0):
            remark = f"PixelSpacing is used, not {_text(region)} mm of the ultrasound region"
        elif spacing is None:
            spacing, remark = region, said
    shape = _pair(elements, "PixelAspectRatio") or (1.0, 1.0)
    if spacing is None and frame.position is None and min(shape) > 0 and shape[0] != shape[1]:
        spacing = (shape[0] / shape[1], 1.0)
        remark = f"no pixel spacing: 1 mm taken along rows, PixelAspectRatio {_text(shape)}"
    return replace(frame, spacing=spacing, remarks=(remark,) if remark else ())


def _pair(elements: Elements, keyword: str) -> _Spacing | None:
    found = elements.numbers(keyword)
    return found if found is not None and len(found) == 2 else None


def _text(numbers: _Spacing) -> str:
    return "\\".join(f"{number:g}" for number in numbers)


def _of_regions(frame: Frame) -> tuple[_Spacing | None, str]:
    """Return mm between rows and between columns of the regions that show tissue; and a remark."""
    dataset = sequences(frame.header.path, frame.header.name, (_REGIONS,))
    sizes: list[_Spacing] = []
    try:
        with lenient():
            for item in dataset.get(_REGIONS) or ():
                units = (item.get("PhysicalUnitsYDirection"), item.get("PhysicalUnitsXDirection"))
                size = tuple(
                    10 * abs(float(item.get(name) or 0))
                    for name in ("PhysicalDeltaY", "PhysicalDeltaX")
                )
                if (
                    item.get("RegionSpatialFormat", _TISSUE) == _TISSUE
                    and units == (_CENTIMETRES, _CENTIMETRES)
                    and all(0 < side < float("inf") for side in size)
                ):
                    sizes.append(size)
    except damage() as error:
        raise DataError(
            f"the ultrasound regions of {frame.header.name} are damaged ({reason(error)})."
        ) from error
    if not sizes:
        return None, ""
    if not np.allclose(sizes, sizes[0], rtol=_ALIKE, atol=0):
        texts = ", ".join(sorted({_text(size) for size in sizes})[:4])
        return None, f"ultrasound regions have pixels of several sizes ({texts} mm): none is taken"
    return sizes[0], "pixel spacing is that of the ultrasound region (PhysicalDelta)"
