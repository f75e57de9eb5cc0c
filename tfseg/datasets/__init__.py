"""Data sets on disk: one adapter per published layout, recognised from a folder's content."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tfseg.datasets import (
    archive,
    bids,
    body,
    brain,
    breast,
    cbis,
    cine,
    ddsm,
    drive,
    eye,
    folders,
    heart,
    ircadb,
    lidc,
    msd,
    nnunet,
    oasis,
    photos,
    thorax,
)
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.unlabelled import refuse_unlabelled
from tfseg.errors import ConfigError, DataError, unknown_name
from tfseg.files import atomic_path, check_folder

__all__ = ["ADAPTERS", "Adapter", "Case", "Dataset", "make_example", "open_dataset"]

_MAX_EXAMPLES = 99  # numbers of some layouts have two digits

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
    *cine.ADAPTERS,
    *body.ADAPTERS,
    *breast.ADAPTERS,
    *ddsm.ADAPTERS,
    *cbis.ADAPTERS,
    *oasis.ADAPTERS,
    *lidc.ADAPTERS,
    *ircadb.ADAPTERS,
    *archive.ADAPTERS,
    *photos.ADAPTERS,
    *folders.ADAPTERS[1:],
)


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Open a data set folder; its layout is recognised from what is in it.

    No image is read: an unreadable file shows when its case is loaded (or in ``tfseg check``).

    Raises:
        DataError: no such folder, no known layout, a data set without segmentations, or a
            description that is not valid.
    """
    root = Path(path)
    if not root.is_dir():
        kind = "a data set must be a folder; this is a file" if root.exists() else "no such folder"
        raise DataError(f"{root}: {kind}. Check the path.")
    for adapter in ADAPTERS:
        if adapter.recognises(root):
            return adapter.open(root)
    refuse_unlabelled(root)
    known = ", ".join(adapter.name for adapter in ADAPTERS)
    raise DataError(
        f"{root}: no known data set layout. Looked for {known}; `tfseg datasets` says what makes "
        "a folder each of them. Any data can be given as images/ beside labels/, or in a cases.csv."
    )


def make_example(out: str | os.PathLike[str], layout: str, cases: int, seed: int = 0) -> None:
    """Write a tiny data set in a published layout.

    Args:
        out: the folder to make; it must be absent or empty.
        layout: an adapter's name.
        cases: labelled training cases, 1 to 99; most layouts add a test case.
        seed: not negative; the same seed gives the same voxels.

    Raises:
        ConfigError: unknown layout, ``cases`` or ``seed`` out of range.
        DataError: ``out`` is not empty or cannot be written; nothing stays there then.
    """
    out = Path(out)
    adapters = {adapter.name: adapter for adapter in ADAPTERS}
    if layout not in adapters:
        raise unknown_name("layout", layout, adapters)
    if not 1 <= cases <= _MAX_EXAMPLES:
        raise ConfigError(f"--cases must be 1 to {_MAX_EXAMPLES} with --layout; got {cases}.")
    if seed < 0:
        raise ConfigError(f"--seed must not be negative; got {seed}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: the output folder must be new or empty. Choose another.")
    check_folder(out.parent)
    with atomic_path(out) as folder:
        adapters[layout].example(folder, cases, np.random.default_rng(seed))
