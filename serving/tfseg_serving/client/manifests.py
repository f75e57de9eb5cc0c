"""Where the manifest of a served model is found."""

from __future__ import annotations

from pathlib import Path

from tfseg.artifact import FILE_NAME, Manifest, find_manifest
from tfseg.errors import ConfigError, DataError


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of an export or a run.

    Args:
        path: the file, the folder of an export or a run, or a SavedModel's folder of versions,
            of which the highest is taken.

    Raises:
        DataError: none there, or a damaged one.
        ConfigError: it breaks its rules, or says that the export failed its parity gate.
    """
    file = find_manifest(path)
    if file is None:
        raise DataError(
            f"--manifest must be {FILE_NAME}, or the folder of an export or a run; found none at "
            f"{path}."
        )
    manifest = Manifest.load(file.parent, file.name)
    if manifest.parity is not None and not manifest.parity.get("passed"):
        raise ConfigError(
            f"{file} tells of an export that does not reproduce its network (parity.passed is "
            "not true). Export again."
        )
    return manifest
