"""Mammograms: the mini-MIAS database."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.reading import check_ids, find, label_path, read_gray
from tfseg.errors import DataError
from tfseg.volume import Volume

_MIAS = re.compile(r"mdb(\d{3})")


def recognises_mias(root: Path) -> bool:
    """Tell whether there are ``mdb001.pgm`` and ``Info.txt``."""
    return any(root.glob("**/mdb*.pgm")) and any(root.glob("**/Info.txt"))


def open_mias(root: Path) -> Dataset:
    """Open mini-MIAS: the circles around abnormalities; both breasts of a woman are one group.

    Normal pictures, and those whose abnormality has no place, are left out.
    """
    table = find(root, "**/Info.txt", least=1, what="the table")[0]
    circles, unplaced = _circles(table)
    cases, left = [], 0
    for image in find(root, "**/mdb*.pgm"):
        matched = _MIAS.fullmatch(image.stem)
        if not matched:
            continue
        if image.stem in unplaced:
            left += 1
            continue
        number = int(matched[1])
        group = f"pair{(number + 1) // 2:03d}"  # 001 is the left breast, 002 the right one
        label = table if image.stem in circles else None
        cases.append(Case(image.stem, image, label, group=group))
    remarks = [f"{left} pictures whose abnormality has no place are left out."] if left else []
    if lost := sorted(set(circles) - {case.id for case in cases}):
        remarks.append(f"of {', '.join(lost)} {table.name} tells; the pictures are missing.")
    return Dataset(
        name="mini-MIAS",
        adapter="mias",
        root=root,
        dims=2,
        modalities=("MG",),
        labels=("background", "abnormality"),
        cases=check_ids(root, [case for case in cases if case.label]),
        read_image=read_gray,
        read_label=lambda case: _read_circles(case, circles),
        remarks=tuple(remarks),
    )


def _circles(table: Path) -> tuple[dict[str, list[tuple[float, float, float]]], set[str]]:
    """Return the circles (x, y from below, radius) by picture, and pictures with none placed."""
    circles: dict[str, list[tuple[float, float, float]]] = {}
    unplaced = set()
    try:
        lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{table}: cannot be read ({error.strerror}).") from error
    for line in lines:
        words = line.split()
        if not words or not _MIAS.fullmatch(words[0]) or len(words) < 3 or words[2] == "NORM":
            continue
        try:
            x, y, radius = (float(word) for word in words[4:7])
        except ValueError:
            unplaced.add(words[0])
            continue
        circles.setdefault(words[0], []).append((x, y, radius))
    return circles, unplaced - set(circles)


def _read_circles(case: Case, circles: dict[str, list[tuple[float, float, float]]]) -> Volume:
    label_path(case)
    image = read_gray(case)
    height, width = image.shape[1:]
    rows, columns = np.mgrid[:height, :width]
    classes = np.zeros(image.shape, np.uint8)
    for x, y, radius in circles[case.id]:
        # The origin is at the lower left.
        classes[0][np.hypot(rows - (height - y), columns - x) <= radius] = 1
    return image.with_array(classes)


def example_mias(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write pictures with a circle each, one without a place and one that is normal."""
    lines = ["Information about the pictures."]
    size = 36
    rows, columns = np.mgrid[:size, :size]
    for number in range(1, cases + 3):
        name = f"mdb{number:03d}"
        x, y, radius = int(rng.integers(12, 20)), int(rng.integers(12, 20)), 8
        inside = np.hypot(rows - (size - y), columns - x) <= radius
        gray = (rng.normal(60, 10, (size, size)) + 100 * inside).clip(0, 255).astype(np.uint8)
        examples.save_picture(gray, root / f"{name}.pgm")
        if number <= cases:
            lines.append(f"{name} G CIRC B {x} {y} {radius}")
        else:
            lines.append(f"{name} F CALC M *NOTE 3*" if number > cases + 1 else f"{name} D NORM")
    examples.write_text(root / "Info.txt", "\n".join(lines) + "\n")


ADAPTERS = (
    Adapter(
        name="mias",
        title="mini-MIAS: abnormalities in mammograms",
        layout="mdb001.pgm with Info.txt",
        dims=2,
        reference="Suckling et al. 1994, Exerpta Medica, International Congress Series 1069:375",
        licence="licence agreement with the publisher",
        recognises=recognises_mias,
        open=open_mias,
        example=example_mias,
    ),
)
