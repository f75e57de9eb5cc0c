"""Turn a tree of DICOM files into NIfTI volumes and a manifest of every volume."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfseg import __version__, geometry
from tfseg.errors import DataError
from tfseg.files import atomic_path, check_folder, write_json
from tfseg.io import nifti
from tfseg.io.dicom import Stack, Tree, load, opened, scan_tree, split_all
from tfseg.io.dicom.privacy import LEFT_OUT, Private, private_words
from tfseg.io.dicom.sidecar import sidecar

MANIFEST = "manifest.json"
_LABEL_CHARACTERS = 40
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")  # a value, which may be of another element

Progress = Callable[[Sequence[Stack]], Iterable[Stack]]


def convert_tree(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    progress: Progress = iter,
    *,
    damaged: Callable[[Path, str], None] | None = None,
    allow_gaps: bool = False,
    suv: bool = True,
    orientation: str | None = None,
    identify: bool = False,
) -> dict[str, Any]:
    """Write each volume as ``<modality>-<number>-<id>[-<label>].nii.gz``, and ``manifest.json``.

    The manifest lists every volume with its geometry, file and what was decided, or the rule
    for which it was refused. How a volume was acquired stands in a JSON file beside it, see
    :func:`tfseg.io.dicom.sidecar.sidecar`. Neither holds data about the patient: no name, no
    UID, no path. The ``id`` is a hash of the SeriesInstanceUID.

    Args:
        source: folder of any depth, zip or file; files that are no DICOM are skipped.
        out: new or empty folder. It is written as a whole, or, where nothing can be
            converted, not at all.
        progress: wraps the sequence of volumes, to show how far the work is.
        damaged: is told of each damaged file that is skipped, and why.
        allow_gaps: interpolate missing slices instead of refusing them.
        suv: scale PET to standardised uptake values where the header allows it.
        orientation: turn and flip the axes so that x, y and z run to this, e.g. ``RAS``; ``None``
            keeps them as they are stored.
        identify: also write SeriesInstanceUIDs, the names of damaged files, what people typed
            (descriptions, protocols, contrast agents), and the patient's sex, age, weight and
            size.

    Returns:
        The manifest.

    Raises:
        DataError: no such source, no DICOM in it, ``out`` not empty, or a failing disk.
    """
    source, out = Path(source), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: the output folder must be new or empty. Choose another.")
    check_folder(out.parent)
    with opened(source) as place:
        tree = scan_tree(place)
        if not tree.series:
            raise DataError(
                f"{source}: holds no DICOM series ({tree.skipped} other files, "
                f"{len(tree.unreadable)} damaged ones{_first_damaged(tree)})."
            )
        if damaged is not None:
            for broken in tree.unreadable:
                damaged(broken.path, broken.reason)
        manifest: dict[str, Any] = {
            "version": 2,
            "tfseg": __version__,
            "converted": 0,
            "refused": 0,
            "skipped_files": tree.skipped,
            "damaged_files": [
                {"reason": broken.reason, "file": str(broken.path)}
                if identify
                else {"reason": _QUOTED.sub(LEFT_OUT, broken.reason)}
                for broken in tree.unreadable
            ],
            "series": [],
        }
        with atomic_path(out) as folder:
            folder.mkdir()
            names: set[str] = set()
            for stack in progress(split_all(tree.series)):
                entry = _convert(
                    stack,
                    folder,
                    names,
                    allow_gaps=allow_gaps,
                    suv=suv,
                    orientation=orientation,
                    identify=identify,
                )
                if identify:
                    entry["series_uid"] = stack.series.uid
                manifest["converted" if entry["file"] else "refused"] += 1
                manifest["series"].append(entry)
            if not manifest["converted"]:
                raise NothingConvertedError(source, manifest)
            write_json(folder / MANIFEST, manifest)
    return manifest


class NothingConvertedError(DataError):
    """Every volume of a tree was refused; ``manifest`` says why."""

    def __init__(self, source: Path, manifest: dict[str, Any]) -> None:
        self.manifest = manifest
        first = manifest["series"][0]["reason"]
        super().__init__(
            f"{source}: none of {manifest['refused']} volumes can be converted; the first: {first}"
        )


def _first_damaged(tree: Tree) -> str:
    if not tree.unreadable:
        return ""
    first = tree.unreadable[0]
    return f"; the first damaged one: {first.path}: {first.reason}"


def _convert(
    stack: Stack,
    folder: Path,
    names: set[str],
    *,
    allow_gaps: bool,
    suv: bool,
    orientation: str | None,
    identify: bool,
) -> dict[str, Any]:
    private = private_of(stack)
    shown, number = str if identify else private.clean, stack.series.number
    entry: dict[str, Any] = {
        "id": stack.series.identity,
        "modality": stack.series.modality,
        "number": stack.series.number if identify or not private.holds(number) else None,
        "description": stack.series.description if identify else "",
        "label": shown(stack.label),
        "dicom_files": len({frame.header.path for frame in stack.frames}),
        "slices": len(stack.frames),
        "file": None,
        "reason": None,
        "decisions": [shown(one) for one in stack.decisions],
    }
    try:
        loaded = load(stack, allow_gaps=allow_gaps, suv=suv)
        first = stack.frames[0]
        acquired = sidecar(first.header.path, first.index, identify=identify)
    except DataError as error:
        return entry | {"reason": shown(str(error))}
    volume, decisions = loaded.volume, [shown(one) for one in loaded.decisions]
    if orientation is not None:
        stored = geometry.orientation_code(volume.affine)[::-1]
        volume, _ = volume.oriented(orientation[::-1])
        if stored != orientation:
            decisions.append(f"axes turned from {stored} to {orientation}")
    name = _file_name(stem_of(stack, entry["label"], entry["number"]), names)
    nifti.write(volume, folder / name)
    write_json(folder / name.replace(".nii.gz", ".json"), acquired)
    return entry | {
        "file": name,
        "decisions": decisions,
        "unit": loaded.unit,
        "shape": list(volume.shape),
        "dtype": str(volume.array.dtype),
        "spacing_mm": list(volume.spacing_mm),
        "orientation": geometry.orientation_code(volume.affine),
        "affine_lps_zyx": volume.affine.tolist(),
        "min": float(volume.array.min()),
        "max": float(volume.array.max()),
    }


def private_of(stack: Stack) -> Private:
    """Return the words of a volume's headers that must not be written.

    Raises:
        DataError: a header is damaged.
    """
    private = private_words(stack.frames[0].header.path)
    # Other slices of the volume may have a description of their own.
    typed = {frame.header.description for frame in stack.frames} - {""}
    return replace(private, typed=tuple(sorted({*private.typed, *typed}, key=len)[::-1]))


def stem_of(stack: Stack, label: str, number: int | None) -> str:
    """Return what a volume's files are called: ``<modality>-<number>-<id>[-<label>]``.

    Without a number it has an ``x`` there.
    """
    # What a header says may hold anything: letters and digits alone become a file name.
    modality = re.sub(r"[^A-Za-z0-9]", "", stack.series.modality)[:16] or "OT"
    label = re.sub(r"[^A-Za-z0-9.]+", "-", label).strip("-.")[:_LABEL_CHARACTERS]
    stem = f"{modality}-{'x' if number is None else number}-{stack.series.identity}"
    return f"{stem}-{label}" if label else stem


def _file_name(stem: str, names: set[str]) -> str:
    name, count = f"{stem}.nii.gz", 1
    while name.lower() in names:
        count += 1
        name = f"{stem}-{count}.nii.gz"
    names.add(name.lower())
    return name
