"""Data sets on disk: one adapter per published layout, recognised from a folder's content."""

from __future__ import annotations

import os
from pathlib import Path

from tfseg.datasets import drive, msd
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.errors import DataError

__all__ = ["ADAPTERS", "Adapter", "Case", "Dataset", "open_dataset"]

# In the order they are tried; the most specific layout first.
ADAPTERS: tuple[Adapter, ...] = (msd.ADAPTER, drive.ADAPTER)


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Open a data set folder; its layout is recognised from what is in it.

    No image is read: an unreadable file shows when its case is loaded (or in ``tfseg check``).

    Raises:
        DataError: no such folder, no known layout, or a description that is not valid.
    """
    root = Path(path)
    if not root.is_dir():
        kind = "a data set must be a folder; this is a file" if root.exists() else "no such folder"
        raise DataError(f"{root}: {kind}. Check the path.")
    for adapter in ADAPTERS:
        if adapter.recognises(root):
            return adapter.open(root)
    looked_for = "; ".join(f"{adapter.name}: {adapter.layout}" for adapter in ADAPTERS)
    raise DataError(f"{root}: no known data set layout. Looked for {looked_for}.")
