"""Data sets on disk: one adapter per published layout, recognised from a folder's content."""

from __future__ import annotations

import os
from pathlib import Path

from tfseg.datasets import bids, body, brain, drive, eye, folders, heart, msd, nnunet, thorax
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.errors import DataError

__all__ = ["ADAPTERS", "Adapter", "Case", "Dataset", "open_dataset"]

# In the order they are tried; the most specific layout first.
ADAPTERS: tuple[Adapter, ...] = (
    *folders.ADAPTERS[:1],  # a table of cases says itself what it is
    *nnunet.ADAPTERS,
    msd.ADAPTER,
    *bids.ADAPTERS,
    drive.ADAPTER,
    *eye.ADAPTERS,
    *brain.ADAPTERS,
    *thorax.ADAPTERS,
    *heart.ADAPTERS,
    *body.ADAPTERS,
    *folders.ADAPTERS[1:],
)


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
    known = ", ".join(adapter.name for adapter in ADAPTERS)
    raise DataError(
        f"{root}: no known data set layout. Looked for {known}; `tfseg datasets` says what makes "
        "a folder each of them. Any data can be given as images/ beside labels/, or in a cases.csv."
    )
