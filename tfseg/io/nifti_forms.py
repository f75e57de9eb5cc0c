"""Where a NIfTI header places voxels: sform, qform, or neither, and the same for results.

The rules are those of https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h, section "3D IMAGE
(VOLUME) ORIENTATION AND LOCATION IN SPACE".
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.volume import Forms

MM_PER_UNIT = {1: 1000.0, 3: 0.001}  # NIFTI_UNITS_METER, _MICRON; all else is taken as mm
_MM = 2  # NIFTI_UNITS_MM
_SPACE_UNITS = 0x07  # the bits of xyzt_units that tell the unit of length
_SFORM = ("sform_code", "srow_x", "srow_y", "srow_z")
_QFORM = (
    "qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
)  # fmt: skip
_ROUNDED = 1e-3  # of a quaternion's length 1, in float32 and by careless writers
_APART = 0.1  # of a voxel: what two forms may differ by for rounding

_log = logging.getLogger(__name__)


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused in the end
def placed(header: Any, shape: tuple[int, ...], path: Path) -> tuple[geometry.Affine, Forms]:
    """Return the affine that a header means, and what it says, for results on the same grid.

    The sform wins over the qform, as in nibabel. Without either, x is taken to run to the left
    and the middle to be the origin, as nibabel takes it, and that is said.

    Args:
        header: nibabel's, of which single fields are read.
        shape: (x, y, z[, ...]).
        path: for messages.

    Raises:
        DataError: the form that counts is not usable.
    """
    unit = int(header["xyzt_units"]) & _SPACE_UNITS
    mm = MM_PER_UNIT.get(unit, 1.0)
    if unit not in {0, _MM, *MM_PER_UNIT}:
        _log.warning("%s: unit of length %d (xyzt_units) is none; mm are assumed.", path, unit)
    has_sform, has_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    qform = None
    if has_qform:
        try:
            qform = _checked(_qform(header, shape, path), mm, path)
        except DataError:
            if not has_sform:
                raise
    if has_sform:
        affine = _checked(_sform(header), mm, path)
    elif qform is not None:
        affine = qform
    else:
        _log.warning(
            "%s: the header has neither sform nor qform, so it does not say which side is left; "
            "x is taken to run to the left, y to the front, z upwards.",
            path,
        )
        affine = _checked(_from_sizes(header, shape, path), mm, path)
    sizes = np.array(header["pixdim"][:4], np.float64)
    other = None
    if has_sform and qform is not None:
        other = qform if _are_apart(affine, qform, header, shape, path) else None
    elif has_sform:
        _compare_sizes(affine, sizes[1:] * mm, path)
    usable = (*_SFORM, *(() if has_qform and qform is None else _QFORM))
    fields = {name: np.array(header[name]) for name in usable if np.isfinite(header[name]).all()}
    if not (np.isfinite(sizes).all() and (sizes[1:] > 0).all()):
        sizes[1:] = np.array(geometry.spacing_of(affine)[::-1]) / mm
        sizes[0] = 1 if not np.isfinite(sizes[0]) else sizes[0]
    fields["pixdim"] = sizes
    fields["xyzt_units"] = np.array(unit if unit in MM_PER_UNIT else _MM)
    return affine, Forms(affine, fields, other)


def keep_forms(header: Any, forms: Forms) -> None:
    """Give a header what another one said: every viewer then places both alike."""
    header["qform_code"] = 0
    for name, value in forms.fields.items():
        if name == "pixdim":
            header["pixdim"][:4] = value
        else:
            header[name] = value


def _checked(ras: Any, mm: float, path: Path) -> geometry.Affine:
    affine = np.array(ras, np.float64)
    affine[:3] *= mm
    return geometry.check_affine(geometry.affine_from_ras_xyz(affine), str(path))


def _sform(header: Any) -> Any:
    rows = [np.asarray(header[name], np.float64) for name in _SFORM[1:]]
    return np.vstack([*rows, [0, 0, 0, 1]])


def _qform(header: Any, shape: tuple[int, ...], path: Path) -> Any:
    """Return the affine of method 2: a rotation, voxel sizes, and the handedness in pixdim[0]."""
    imaginary = np.array([header[name] for name in _QFORM[1:4]], np.float64)
    offset = np.array([header[name] for name in _QFORM[4:]], np.float64)
    squared = float(imaginary @ imaginary)
    if not np.isfinite(squared) or squared > 1 + _ROUNDED:
        raise DataError(
            f"{path}: the qform's quaternion (b, c, d) must have a length of at most 1; it is "
            f"({', '.join(f'{value:g}' for value in imaginary)}). Repair the header."
        )
    if squared > 1:  # a is 0 then: rounding has made it slightly longer than 1
        imaginary /= np.sqrt(squared)
    b, c, d = imaginary
    a = np.sqrt(max(0.0, 1 - min(squared, 1.0)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    sizes = _sizes(header, shape, path)
    # Only -1 is left-handed; 0, which is not allowed, means 1.
    sizes[2] *= -1 if header["pixdim"][0] < 0 else 1
    affine = np.eye(4)
    affine[:3, :3] = rotation * sizes
    affine[:3, 3] = offset
    return affine


def _sizes(header: Any, shape: tuple[int, ...], path: Path) -> Any:
    """Return the voxel sizes (x, y, z) of ``pixdim``; 1 for an axis of one voxel without."""
    sizes = np.array(header["pixdim"][1:4], np.float64)
    flat = np.array(shape[:3]) == 1
    sizes[flat & (sizes == 0)] = 1
    if not np.isfinite(sizes).all() or (sizes <= 0).any():
        raise DataError(
            f"{path}: voxel sizes (pixdim) must be above 0; the header says "
            f"{', '.join(f'{size:g}' for size in sizes)}. Repair the header."
        )
    return sizes


def _from_sizes(header: Any, shape: tuple[int, ...], path: Path) -> Any:
    affine = np.diag([*(_sizes(header, shape, path) * [-1, 1, 1]), 1])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape[:3]) - 1) / 2)
    return affine


def _are_apart(
    sform: geometry.Affine, qform: geometry.Affine, header: Any, shape: tuple[int, ...], path: Path
) -> bool:
    """Say it where the two forms place voxels apart: programs differ in which one they take."""
    far = geometry.farthest_apart(sform, qform, (*shape[:3][::-1],))
    apart = not far <= _APART * min(geometry.spacing_of(sform))
    if apart:
        _log.warning(
            "%s: sform (code %d) and qform (code %d) place voxels up to %.3g mm apart; the sform "
            "is taken. Results keep both, so that every viewer shows them on this image.",
            path, int(header["sform_code"]), int(header["qform_code"]), far,
        )  # fmt: skip
    return apart


def _compare_sizes(affine: geometry.Affine, sizes_mm: Any, path: Path) -> None:
    """Say it where the voxel sizes are others than the sform's: some programs take them."""
    ours = np.array(geometry.spacing_of(affine)[::-1])
    if np.isfinite(sizes_mm).all() and not np.allclose(np.abs(sizes_mm), ours, rtol=0.01):
        _log.warning(
            "%s: voxels measure %s mm by the sform and %s mm by pixdim; the sform is taken.",
            path, " x ".join(f"{size:.4g}" for size in ours),
            " x ".join(f"{size:.4g}" for size in sizes_mm),
        )  # fmt: skip
