"""DDSM: scanned mammograms with outlines of masks and calcifications (Heath et al. 2001).

``cancer_01/case1016/A-1016-1.ics`` tells size and resolution of a case's four views,
``A_1016_1.LEFT_CC.OVERLAY`` outlines what is wrong in one of them. The pictures are published as
``.LJPEG``, a lossless JPEG that no common decoder reads rightly: width and height are swapped in
many headers, and the differences between pixels are not those that the header announces. They are
read from PNG, TIFF or PGM of the same name, beside them or in ``PNGFiles``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.polygons import fill
from tfseg.datasets.reading import check_ids, find, label_path, read_gray
from tfseg.errors import DataError
from tfseg.volume import Volume

# The later class is kept where two overlap, as do those of a mass that holds calcifications.
LESIONS = ("calcification", "mass")
_CLASSES = {name.upper(): value for value, name in enumerate(LESIONS, start=1)}
_CONVERTED = (".png", ".tif", ".tiff", ".pgm")
_VIEW = re.compile(
    r"(\w+_(?:CC|MLO)) LINES (\d{1,9}) PIXELS_PER_LINE (\d{1,9}) BITS_PER_PIXEL \d+ "
    r"RESOLUTION (\d{1,9}(?:\.\d+)?)\b"
)
# Directions 0 to 7 of the chain code as (x, y): up, then clockwise.
_STEPS = np.array([(0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1)])
_MAX_PIXELS = 1 << 28  # five times the largest film
_MAX_DIGITS = 6  # of a column or row
_MAX_BYTES = 1 << 24  # of an overlay; the largest that are known have some ten thousand


class _View(NamedTuple):
    """What the .ics tells of one picture."""

    rows: int
    columns: int
    spacing_mm: float


def recognises(root: Path) -> bool:
    """Tell whether there are cases' ``.ics`` files and overlays."""
    return any(root.glob("**/*.ics")) and any(root.glob("**/*.OVERLAY"))


def open_ddsm(root: Path) -> Dataset:
    """Open the views that have outlines; those of a case are one group.

    Raises:
        DataError: the pictures are all LJPEG still.
    """
    cases = []
    for overlay in find(root, "**/*.OVERLAY"):
        group, _, view = overlay.stem.partition(".")
        cases.append(Case(f"{group}.{view}", _picture(overlay), overlay, group=group))
    packed = find(root, "**/*.LJPEG")
    if packed and not any(case.image.exists() for case in cases):
        raise DataError(
            f"{packed[0]}: LJPEG is not read: its headers are not true. Convert the pictures, not "
            f"resized, to 16-bit {cases[0].image.name} and so on beside them (the free program "
            "aaalgo/ljpeg does)."
        )
    outlined = {case.id for case in cases}
    normal = sum(f"{path.stem}" not in outlined for path in packed)
    return Dataset(
        name="DDSM",
        adapter="ddsm",
        root=root,
        dims=2,
        modalities=("MG",),
        labels=("background", *LESIONS),
        cases=check_ids(root, cases),
        read_image=_read_image,
        read_label=_read_outlines,
        remarks=(f"{normal} views without an outline are left out.",) if normal else (),
    )


def _picture(overlay: Path) -> Path:
    """Return the converted picture of an overlay, or the name that it should have."""
    folders = (overlay.parent, overlay.parent / "PNGFiles")
    named = [folder / f"{overlay.stem}{suffix}" for folder in folders for suffix in _CONVERTED]
    return next((path for path in named if path.is_file()), named[0])


def _view(case: Case) -> _View:
    """Return what the .ics of a case tells of its picture.

    Raises:
        DataError: no .ics, nothing in it of this view, or more pixels than a film has.
    """
    overlay = label_path(case)
    tables = find(overlay.parent, "*.ics", least=1, what="a description of the case")
    name = case.id.removeprefix(f"{case.group}.")
    for found in _VIEW.finditer(_text(tables[0])):
        if found[1] != name:
            continue
        view = _View(int(found[2]), int(found[3]), float(found[4]) / 1000)
        if not 0 < view.rows * view.columns <= _MAX_PIXELS:
            raise DataError(
                f"{tables[0]}: a film has 1 to {_MAX_PIXELS} pixels; {name} is said to have "
                f"{found[2]} x {found[3]}."
            )
        return view
    raise DataError(f"{tables[0]}: needs a line '{name} LINES ... RESOLUTION ...'; it has none.")


def _text(path: Path) -> str:
    """Read a small text file, blanks between words being one space."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path}: must have at most {_MAX_BYTES} bytes.")
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    return "\n".join(" ".join(line.split()) for line in lines)


def _read_image(case: Case) -> Volume:
    picture, view = read_gray(case), _view(case)
    if picture.shape[1:] != (view.rows, view.columns):
        raise DataError(
            f"{case.image}: the .ics tells of {view.rows} x {view.columns} pixels; the picture has "
            f"{picture.shape[1]} x {picture.shape[2]}. Convert the LJPEG without resizing it."
        )
    spacing = view.spacing_mm or 1.0
    return Volume.from_geometry(picture.array, (1.0, spacing, spacing))


def _read_outlines(case: Case) -> Volume:
    """Return the outlined regions with the pixels that the outline runs through."""
    path, view = label_path(case), _view(case)
    classes = np.zeros((1, view.rows, view.columns), np.uint8)
    found = False
    for value, points in _outlines(path):
        found = True
        inside = fill([points.astype(float)], (view.rows, view.columns))
        columns, rows = points.T
        on = (rows >= 0) & (columns >= 0) & (rows < view.rows) & (columns < view.columns)
        inside[rows[on], columns[on]] = True
        np.maximum(classes[0], value * inside, out=classes[0], casting="unsafe")
    if not found:
        raise DataError(f"{path}: holds no BOUNDARY. Copy it again.")
    spacing = view.spacing_mm or 1.0
    return Volume.from_geometry(classes, (1.0, spacing, spacing))


def _outlines(path: Path) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield class and points (n, 2) as (x, y) of each boundary; cores inside them are left out."""
    kinds: list[int] = []
    lines = iter(_text(path).splitlines())
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "ABNORMALITY":
            kinds = []
        elif word == "LESION_TYPE":
            kind = rest.partition(" ")[0]
            if kind not in _CLASSES:
                raise DataError(
                    f"{path}: LESION_TYPE must be {' or '.join(_CLASSES)}; got {kind!r}. "
                    "Remove the case."
                )
            kinds.append(_CLASSES[kind])
        elif word == "BOUNDARY":
            if not kinds:
                raise DataError(f"{path}: a BOUNDARY needs a LESION_TYPE before it; it has none.")
            yield max(kinds), _chain(next(lines, ""), path)


def _chain(line: str, path: Path) -> NDArray[np.int64]:
    """Return the points of a chain code: first column and row, steps, ``#``."""
    words = line.removesuffix("#").split()
    if len(words) < 3 or not all(w.isdecimal() and len(w) <= _MAX_DIGITS for w in words):
        raise DataError(
            f"{path}: a boundary must be 'column row' and steps of 0 to 7; got {line[:40]!r}."
        )
    numbers = np.array(words, np.int64)
    steps = numbers[2:]
    if steps.max() > 7:
        raise DataError(f"{path}: steps of a boundary must be 0 to 7; got {steps.max()}.")
    return np.vstack([numbers[:2], numbers[:2] + np.cumsum(_STEPS[steps], axis=0)])


def example(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write cases of one outlined view, with a normal view that is still packed."""
    for number in range(1, cases + 1):
        picture, label = examples.picture(rng, len(LESIONS))
        stem, rows, columns = f"A_{number:04d}_1", *picture.shape
        folder = root / f"cancers/cancer_01/case{number:04d}"
        examples.save_picture(picture.astype(np.uint16) << 4, folder / f"{stem}.LEFT_CC.png")
        examples.write_text(folder / f"{stem}.RIGHT_CC.LJPEG", "")
        size = f"LINES {rows} PIXELS_PER_LINE {columns} BITS_PER_PIXEL 12 RESOLUTION 50"
        examples.write_text(
            folder / f"{stem.replace('_', '-')}.ics",
            f"ics_version 1.0\nfilename {stem.replace('_', '-')}\n"
            f"LEFT_CC {size} OVERLAY\nRIGHT_CC {size} NON_OVERLAY\n",
        )
        lines = [f"TOTAL_ABNORMALITIES {len(LESIONS)}"]
        for value, kind in enumerate(_CLASSES, start=1):
            lines += [f"ABNORMALITY {value}", f"LESION_TYPE {kind} SHAPE OVAL", "ASSESSMENT 4"]
            lines += ["PATHOLOGY MALIGNANT", "TOTAL_OUTLINES 1", "BOUNDARY"]
            lines.append(_box_chain(label == value))
        examples.write_text(folder / f"{stem}.LEFT_CC.OVERLAY", "\n".join(lines) + "\n")


def _box_chain(mask: NDArray[np.bool_]) -> str:
    """Return the chain code around a box: right, down, left, up."""
    rows, columns = np.nonzero(mask)
    across, down = int(np.ptp(columns)), int(np.ptp(rows))
    steps = ["2"] * across + ["4"] * down + ["6"] * across + ["0"] * down
    return f"{columns.min()} {rows.min()} {' '.join(steps)} #"


ADAPTERS = (
    Adapter(
        name="ddsm",
        title="DDSM: masses and calcifications in mammograms",
        layout="case1016/A-1016-1.ics with A_1016_1.LEFT_CC.OVERLAY and A_1016_1.LEFT_CC.png",
        dims=2,
        reference="Heath et al. 2001, Proc. 5th International Workshop on Digital Mammography",
        licence="terms of use of the publisher",
        recognises=recognises,
        open=open_ddsm,
        example=example,
    ),
)
