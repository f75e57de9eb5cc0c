"""The check that every exported artifact passes before it answers for its network."""

from __future__ import annotations

from pathlib import Path

from tfseg.artifact import Manifest, verify_files
from tfseg.errors import DataError


def open_manifest(folder: Path, kind: str, *needed: str, inside: str = ".") -> Manifest:
    """Return the manifest of an artifact after checking the artifact against it.

    Args:
        folder: the artifact.
        kind: the format it must have, e.g. ``"onnx"``.
        *needed: files that it must vouch for.
        inside: where in ``folder`` the manifest lies.

    Raises:
        DataError: another format, a parity gate that failed at export, or a file that is
            missing, has changed since, or is not in the manifest.
    """
    manifest = Manifest.load(folder / inside)
    if manifest.format != kind:
        raise DataError(
            f"{folder} must hold an artifact of format {kind}; its manifest says "
            f"{manifest.format!r}. Export again."
        )
    if not (manifest.parity or {}).get("passed"):
        raise DataError(
            f"{folder} must not be used: it does not reproduce the network it was exported "
            "from (parity.passed is not true in its manifest; parity.json has the figures). "
            "Export again."
        )
    verify_files(folder, manifest, needed)
    return manifest
