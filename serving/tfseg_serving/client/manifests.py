"""Where the manifest of a served model is found."""

from __future__ import annotations

from pathlib import Path

from tfseg.artifact import FILE_NAME, Manifest
from tfseg.errors import ConfigError, DataError

# Where a folder may keep its manifest: an export, a SavedModel's version, a run.
_PLACES = (FILE_NAME, f"assets.extra/{FILE_NAME}", "manifest.json")


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of an export or a run.

    Args:
        path: the file, the folder of an export or a run, or a SavedModel's folder of versions,
            of which the highest is taken.

    Raises:
        DataError: none there, or a damaged one.
        ConfigError: it breaks its rules, or says that the export failed its parity gate.
    """
    file = _find(path)
    manifest = Manifest.load(file.parent, file.name)
    if manifest.parity is not None and not manifest.parity.get("passed"):
        raise ConfigError(
            f"{file} tells of an export that does not reproduce its network (parity.passed is "
            "not true). Export again."
        )
    return manifest


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    if path.is_dir():
        versions = [one for one in path.iterdir() if one.name.isdecimal() and one.is_dir()]
        newest = sorted(versions, key=lambda one: int(one.name), reverse=True)[:1]
        for folder in (path, *newest):
            for place in _PLACES:
                if (folder / place).is_file():
                    return folder / place
    raise DataError(
        f"--manifest must be {FILE_NAME}, or the folder of an export or a run; found none at "
        f"{path}."
    )
