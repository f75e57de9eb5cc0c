"""LIDC-IDRI: lung nodules as four readers drew them (Armato et al. 2011).

``LIDC-IDRI-0001/STUDY/SERIES/*.dcm`` with an XML file beside the images. A reader's contour of a
nodule on a slice is the ring of pixels just outside it; the nodule is what the ring encloses. A
voxel counts as nodule where at least half of the readers put one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.polygons import fill
from tfseg.datasets.reading import check_ids, find, label_path
from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.volume import Volume

_NAMESPACE = "{http://www.nih.gov}"
_MAX_XML_BYTES = 64 << 20
_AGREED = 0.5  # of the readers


def recognises(root: Path) -> bool:
    """Tell whether there are patients' folders and XML files of readings."""
    return any(root.glob("**/LIDC-IDRI-*/*/*/*.xml"))


def open_lidc(root: Path) -> Dataset:
    """Open the CT series that have readings; X-rays, which have none, are passed over."""
    cases: list[Case] = []
    for reading in find(root, "**/LIDC-IDRI-*/*/*/*.xml"):
        series = reading.parent
        if not any(series.glob("*.dcm")):
            continue
        patient = next(part for part in reversed(reading.parts) if part.startswith("LIDC-IDRI-"))
        # A few patients have several scans.
        number = sum(case.group == patient for case in cases)
        name = patient if number == 0 else f"{patient}_{number + 1}"
        cases.append(Case(name, series, reading, group=patient))
    return Dataset(
        name="LIDC-IDRI",
        adapter="lidc",
        root=root,
        dims=3,
        modalities=("CT",),
        labels=("background", "nodule"),
        cases=check_ids(root, cases),
        read_image=lambda case: read_volume(case.image),
        read_label=_read_consensus,
        folds=10,
    )


def _read_consensus(case: Case) -> Volume:
    image, path = read_volume(case.image), label_path(case)
    sessions = list(_parse(path).iter(f"{_NAMESPACE}readingSession"))
    if not sessions:
        raise DataError(f"{path}: holds no readingSession of LIDC. Is it the CT's XML file?")
    votes = np.zeros(image.shape, np.uint8)
    for session in sessions:
        votes += _drawn(session, image, path)
    return image.with_array((votes >= _AGREED * len(sessions)).astype(np.uint8))


def _parse(path: Path) -> ET.Element:
    try:
        if path.stat().st_size > _MAX_XML_BYTES:
            raise DataError(f"{path}: readings must be at most {_MAX_XML_BYTES} bytes.")
        text = path.read_bytes()
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:  # what XML bombs are made of
            raise DataError(f"{path}: readings must not declare entities.")
        return ET.fromstring(text)
    except (OSError, ET.ParseError) as error:
        raise DataError(f"{path}: cannot be read as XML ({error}).") from error


def _drawn(session: ET.Element, image: Volume, path: Path) -> NDArray[np.bool_]:
    """Return the voxels that one reader's nodules enclose."""
    drawn = np.zeros(image.shape, np.bool_)
    heights = (image.affine @ _slices(image))[2]
    for roi in session.iter(f"{_NAMESPACE}roi"):
        points = np.array(list(_points(roi, path)), float).reshape(-1, 2)
        if len(points) < 3:
            continue  # a nodule below 3 mm is marked by one point
        height = float(roi.findtext(f"{_NAMESPACE}imageZposition") or "nan")
        index = int(np.argmin(np.abs(heights - height)))
        if not abs(heights[index] - height) < 0.5 * image.spacing_mm[0]:
            raise DataError(
                f"{path}: a contour lies at z = {height:g} mm, where the series has no slice. "
                "Restore the missing images."
            )
        ring = np.zeros(image.shape[1:], np.bool_)
        columns, rows = points.astype(int).T
        if (
            columns.min() < 0
            or rows.min() < 0
            or max(rows.max() - ring.shape[0], columns.max() - ring.shape[1]) >= 0
        ):
            raise DataError(f"{path}: a contour leaves the image of {ring.shape} pixels.")
        ring[rows, columns] = True
        inside = fill([points], ring.shape) & ~ring
        if roi.findtext(f"{_NAMESPACE}inclusion", "TRUE").strip().upper() == "FALSE":
            drawn[index] &= ~inside  # a hole
        else:
            drawn[index] |= inside
    return drawn


def _slices(image: Volume) -> NDArray[np.float64]:
    count = image.shape[0]
    return np.stack([np.arange(count), np.zeros(count), np.zeros(count), np.ones(count)])


def _points(roi: ET.Element, path: Path) -> Iterator[tuple[float, float]]:
    for edge in roi.iter(f"{_NAMESPACE}edgeMap"):
        try:
            yield (
                float(edge.findtext(f"{_NAMESPACE}xCoord", "")),
                float(edge.findtext(f"{_NAMESPACE}yCoord", "")),
            )
        except ValueError as error:
            raise DataError(f"{path}: an edge map needs xCoord and yCoord ({error}).") from error


def example(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write series with four readings, of which one differs."""
    for number in range(1, cases + 1):
        image, label = examples.draw(rng, 1)
        folder = root / f"LIDC-IDRI-{number:04d}/1.3.6.1/1.3.6.2"
        examples.save_series(image, folder)
        heights = (examples.volume(image).affine @ _slices(examples.volume(image)))[2]
        good = [
            _roi(mask, height) for mask, height in zip(label, heights, strict=True) if mask.any()
        ]
        sessions = "".join(
            f"<readingSession>{_nodule(good if reader < 3 else [])}</readingSession>"
            for reader in range(4)
        )
        examples.write_text(
            folder / "069.xml",
            f'<LidcReadMessage xmlns="http://www.nih.gov">{sessions}</LidcReadMessage>\n',
        )


def _nodule(rois: list[str]) -> str:
    return f"<unblindedReadNodule><noduleID>1</noduleID>{''.join(rois)}</unblindedReadNodule>"


def _roi(mask: NDArray[np.uint8], height: float) -> str:
    """Return the ring of pixels around a box, which is what the examples draw."""
    rows, columns = np.nonzero(mask)
    top, bottom = rows.min() - 1, rows.max() + 1
    left, right = columns.min() - 1, columns.max() + 1
    ring = [(x, top) for x in range(left, right)] + [(right, y) for y in range(top, bottom)]
    ring += [(x, bottom) for x in range(right, left, -1)]
    ring += [(left, y) for y in range(bottom, top, -1)]
    points = "".join(
        f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in ring
    )
    return (
        f"<roi><imageZposition>{height}</imageZposition><inclusion>TRUE</inclusion>{points}</roi>"
    )


ADAPTERS = (
    Adapter(
        name="lidc",
        title="LIDC-IDRI: lung nodules of four readers",
        layout="LIDC-IDRI-0001/STUDY/SERIES/*.dcm with readings in *.xml",
        dims=3,
        reference="Armato et al. 2011, doi:10.1118/1.3528204",
        licence="CC BY 3.0",
        recognises=recognises,
        open=open_lidc,
        example=example,
    ),
)
