"""Names in the folders of runs and of exported models: what is a run, which versions there are."""

from __future__ import annotations

from pathlib import Path

# Files of a run.
CONFIG, MANIFEST = "config.json", "manifest.json"

EXTRA = "assets.extra"  # of a SavedModel: TensorFlow Serving carries it along without reading it
_MAX_VERSION = 2**63 - 1


def is_run(folder: Path) -> bool:
    """Tell whether a folder is a training run, begun or finished, by what is in it."""
    return (folder / CONFIG).is_file()


def version_of(name: str) -> int | None:
    """Return the version that a folder's name says, as TensorFlow Serving reads it, or ``None``.

    It is the whole name, an integer that fits 64 bits.
    """
    if not (name.isascii() and name.isdigit() and len(name) < 64):
        return None
    return int(name) if int(name) <= _MAX_VERSION else None


def versions_of(folder: Path) -> dict[int, Path]:
    """Return version to folder, of the folders of versions below a model's folder."""
    found = {version_of(child.name): child for child in sorted(folder.iterdir()) if child.is_dir()}
    return {version: child for version, child in found.items() if version is not None}


def newest_version(folder: Path) -> Path | None:
    """Return the folder of a model's highest version; ``None`` if it has none."""
    versions = versions_of(folder)
    return versions[max(versions)] if versions else None
