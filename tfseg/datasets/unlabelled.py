"""Data sets that the surveys name and that hold no segmentations: recognised, to say so."""

from __future__ import annotations

from pathlib import Path

from tfseg.errors import DataError

# Name, files that tell it, and what it holds.
_SETS = (
    ("MedMNIST", "**/*mnist*.npz", "pictures of 28 to 224 pixels with one class each"),
    ("IXI", "**/IXI[0-9][0-9][0-9]-*.nii*", "brain MR without label maps"),
)


def refuse_unlabelled(root: Path) -> None:
    """Refuse a folder of such a data set.

    Raises:
        DataError: it is one.
    """
    for name, pattern, content in _SETS:
        found = next(root.glob(pattern), None)
        if found is not None:
            raise DataError(
                f"{root}: {name} holds {content} ({found.name}), no segmentations to learn from. "
                "With label maps of your own give it as images/ beside labels/."
            )
