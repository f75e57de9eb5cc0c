"""What a data set has twice and should have once: patients in both parts, labels, names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfseg.datasets.base import Case
from tfseg.errors import some


def twice(cases: Sequence[Case]) -> list[str]:
    """Return a sentence for what the cases' names and places alone tell; no file is read.

    It tells patients who are in the training and in the test part, label files of two cases, and
    ids that differ by capitals only, whose results are one file on disks that know no difference.
    """
    parts: dict[str, set[str]] = {}
    files: dict[tuple[Path, ...], list[str]] = {}
    names: dict[str, list[str]] = {}
    for case in cases:
        if case.group:
            parts.setdefault(case.group, set()).add(case.split)
        if case.label is not None:
            paths = tuple(path.resolve() for path in (case.label, *case.parts))
            files.setdefault(paths, []).append(case.id)
        names.setdefault(case.id.casefold(), []).append(case.id)
    both = sorted(group for group, found in parts.items() if len(found) > 1)
    said = []
    if both:
        said.append(
            f"cases of one patient are in the training and in the test part ({some(both)}): what a "
            "network scores on these test cases is no proof. Leave them out of one part."
        )
    said += [
        f"{paths[0].name} is the label of {some(ids)}. Give each case its own."
        for paths, ids in files.items()
        if len(ids) > 1
    ]
    said += [
        f"{' and '.join(ids)} differ by capitals only: some disks take their files for one. "
        "Rename one."
        for ids in names.values()
        if len(ids) > 1
    ]
    return said
