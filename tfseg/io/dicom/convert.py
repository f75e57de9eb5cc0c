"""Turn a tree of DICOM files into NIfTI volumes and a manifest of every series."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tfseg import __version__, geometry
from tfseg.errors import DataError
from tfseg.files import atomic_path, write_json
from tfseg.io import nifti
from tfseg.io.dicom import Series, read_series, scan_tree

MANIFEST = "manifest.json"

Progress = Callable[[Sequence[Series]], Iterable[Series]]


def convert_tree(
    source: str | os.PathLike[str], out: str | os.PathLike[str], progress: Progress = iter
) -> dict[str, Any]:
    """Write each readable series as ``<modality>-<number>-<hash>.nii.gz``, and ``manifest.json``.

    The manifest lists every series with its geometry and file, or the rule for which it was
    refused. It holds no data about the patient and no path: series are named by their UID.

    Args:
        source: folder of any depth; files that are no DICOM are skipped.
        out: new or empty folder. It is written as a whole, or, where no series can be
            converted, not at all.
        progress: wraps the sequence of series, to show how far the work is.

    Returns:
        The manifest.

    Raises:
        DataError: no such source, no DICOM in it, ``out`` not empty, or a failing disk.
    """
    source, out = Path(source), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: the output folder must be new or empty. Choose another.")
    tree = scan_tree(source)
    if not tree.series:
        broken = f"; the first damaged one: {tree.unreadable[0].reason}" if tree.unreadable else ""
        raise DataError(
            f"{source}: holds no DICOM series ({tree.skipped} other files, "
            f"{len(tree.unreadable)} damaged ones{broken})."
        )
    manifest: dict[str, Any] = {
        "version": 1,
        "tfseg": __version__,
        "converted": 0,
        "refused": 0,
        "skipped_files": tree.skipped,
        "damaged_files": len(tree.unreadable),
        "series": [],
    }
    with atomic_path(out) as folder:
        folder.mkdir()
        for series in progress(tree.series):
            entry = _convert(series, folder)
            manifest["converted" if entry["file"] else "refused"] += 1
            manifest["series"].append(entry)
        if manifest["converted"]:
            write_json(folder / MANIFEST, manifest)
        else:
            raise NothingConvertedError(source, manifest)
    return manifest


class NothingConvertedError(DataError):
    """Every series of a tree was refused; ``manifest`` says why."""

    def __init__(self, source: Path, manifest: dict[str, Any]) -> None:
        self.manifest = manifest
        first = manifest["series"][0]["reason"]
        super().__init__(
            f"{source}: none of {manifest['refused']} series can be converted; the first: {first}"
        )


def _convert(series: Series, folder: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "series_uid": series.uid,
        "modality": series.modality,
        "number": series.number,
        "dicom_files": len(series.headers),
        "file": None,
        "reason": None,
    }
    try:
        volume = read_series(series)
    except DataError as error:
        return entry | {"reason": str(error)}
    name = _file_name(series)
    nifti.write(volume, folder / name)
    return entry | {
        "file": name,
        "shape": list(volume.shape),
        "dtype": str(volume.array.dtype),
        "spacing_mm": list(volume.spacing_mm),
        "orientation": geometry.orientation_code(volume.affine),
        "affine_lps_zyx": volume.affine.tolist(),
        "min": float(volume.array.min()),
        "max": float(volume.array.max()),
    }


def _file_name(series: Series) -> str:
    # What a header says may hold anything: letters and digits alone become a file name.
    modality = re.sub(r"[^A-Za-z0-9]", "", series.modality) or "OT"
    identity = series.uid or str(series.headers[0].path)
    return f"{modality}-{series.number}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}.nii.gz"
