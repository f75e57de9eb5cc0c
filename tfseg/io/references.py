"""References with names: a Segmentation or structure set of DICOM, or one of 3D Slicer.

They are drawn onto the image that they belong to.

Other references are label maps of their own and go through :func:`tfseg.io.read_volume`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from tfseg.errors import DataError
from tfseg.io import volume_suffix
from tfseg.io.suffixes import DICOM, NRRD
from tfseg.volume import Volume

_OBJECTS = ("SEG", "RTSTRUCT")  # in the order of preference, where a folder holds both
SEGMENTS = "SEGMENTS"
_MAYBE_DICOM = ("", *DICOM)

_log = logging.getLogger(__name__)


def object_kind(path: Path) -> str:
    """Return ``SEG`` or ``RTSTRUCT`` where ``path`` is or holds one, else an empty string.

    A NRRD file that names segments, as 3D Slicer's do, is ``SEGMENTS``. Only headers are read,
    and those only where the name may be DICOM's or NRRD's.
    """
    if volume_suffix(path) in NRRD:
        from tfseg.io.segments import has_segments

        return SEGMENTS if has_segments(path) else ""
    if not path.is_dir() and volume_suffix(path) not in _MAYBE_DICOM:
        return ""
    from tfseg.io.dicom import opened, scan_tree

    with opened(path) as place:
        found = {series.modality for series in scan_tree(place).series}
    return next((kind for kind in _OBJECTS if kind in found), "")


def structure_names(path: Path) -> tuple[str, ...]:
    """Return the names of the structures in a SEG, RTSTRUCT or file of 3D Slicer, in its order.

    Raises:
        DataError: neither, or damaged.
    """
    from tfseg.io.dicom import opened
    from tfseg.io.dicom.damage import damage, lenient, reason
    from tfseg.io.dicom.dataset import read_dataset
    from tfseg.io.dicom_out.one_file import one_file
    from tfseg.io.dicom_out.seg_rules import segment_names
    from tfseg.io.dicom_out.stamp import text

    kind = object_kind(path)
    if not kind:
        raise DataError(f"{path}: a Segmentation or a structure set is needed; there is none.")
    if kind == SEGMENTS:
        from tfseg.io.segments import segments

        return tuple(segment.name for segment in segments(path))
    with opened(path) as place, lenient():
        file = one_file(place, path, kind)
        try:
            dataset = read_dataset(file)
            if kind == "SEG":
                return tuple(segment_names(dataset).values())
            rois = dataset.get("StructureSetROISequence") or ()
            return tuple(
                text(str(roi.get("ROIName") or "")) or f"ROI {int(roi.ROINumber)}" for roi in rois
            )
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        except damage() as error:
            raise DataError(f"{path}: the {kind} is damaged ({reason(error)}).") from error


def read_structures(
    path: Path, image: Volume, names: Sequence[str], scan: Path | None = None
) -> Volume:
    """Read structures by name onto the grid of an image.

    What was decided on the way is logged as warnings.

    Args:
        path: a SEG or RTSTRUCT, or a folder or zip that holds one; or a file of 3D Slicer.
        image: the image it belongs to.
        names: of the structures; they become the values 1, 2, ... Others are left out.
        scan: where the image was read from; if it is DICOM, both headers are compared.

    Returns:
        The label map (z, y, x), unsigned.

    Raises:
        DataError: damaged, none of ``names`` in it, nothing of it within the image, or it
            belongs to another one (see :func:`.dicom_out.belonging.belonging`).
    """
    from tfseg.io.dicom_out.rtstruct_read import read_rtstruct
    from tfseg.io.dicom_out.seg_read import read_seg
    from tfseg.io.segments import read_segments

    if object_kind(path) == SEGMENTS:
        labels, _, remarks = read_segments(path, image, names=names)
    else:
        read = read_rtstruct if object_kind(path) == "RTSTRUCT" else read_seg
        labels, _, remarks = read(path, image, names=names, image=scan)
    for said in remarks:
        _log.warning("%s: %s", path, said)
    return labels
