"""The manifest ``tfseg.json``: what a run or an export is, where it came from, how good it is.

It travels beside every artifact. A reader of the file needs nothing else to use the artifact:
the plan is inside. It holds no patient data: counts and statistics only, never case names.

It vouches for the artifact: it names the SHA-256 of every file, and of its own content, so that a
label or a spacing that was changed after the export is found out like a changed weight. This is
against accidents, not against forgers, who would write a new digest: there is no signature.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tfseg import __version__
from tfseg.errors import ConfigError, DataError
from tfseg.files import read_json, sha256, write_json
from tfseg.fingerprint import ImageFingerprint
from tfseg.layout import EXTRA, MANIFEST, newest_version
from tfseg.plan import Plan, first_problem

FILE_NAME = "tfseg.json"
_PLACES = (FILE_NAME, f"{EXTRA}/{FILE_NAME}", MANIFEST)
_OWN_DIGEST = "sha256"

_log = logging.getLogger(__name__)

# Colours for label overlays, RGB; the label value indexes them, 0 is the background.
_PALETTE = (
    (0, 0, 0), (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48),
    (145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 212),
    (0, 128, 128), (220, 190, 255), (170, 110, 40), (255, 250, 200), (128, 0, 0),
)  # fmt: skip


def find_manifest(path: Path) -> Path | None:
    """Return the manifest's file of an export or a run, or ``None``.

    Args:
        path: the file, the folder of an export or a run, or a model's folder of versions, of
            which the highest is taken.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        return None
    newest = newest_version(path)
    for folder in (path,) if newest is None else (path, newest):
        for place in _PLACES:
            if (folder / place).is_file():
                return folder / place
    return None


def label_colour(value: int) -> tuple[int, int, int]:
    """Return the RGB colour (0-255) of a label value; 0 is black, others repeat after 15."""
    return _PALETTE[0] if value == 0 else _PALETTE[1 + (value - 1) % (len(_PALETTE) - 1)]


class Manifest(BaseModel):
    """The content of ``tfseg.json``.

    Attributes:
        format_version: of this document.
        versions: package name to version: tfseg, tensorflow, keras, and the exporter's own.
        format: what it stands beside: ``run``, ``savedmodel``, ``onnx``, ``tensorrt``, ...
        run_id: of the training, drawn when it began and kept ever after; it tells apart runs of
            one network and exports of one name.
        model: registry name; ``config`` holds the builder's arguments.
        plan: preprocessing and tiling.
        fingerprint: of the training images; ``None`` where none was taken.
        training: summary (number of cases, steps, seconds, seed, fold); no case names.
        metrics: mean Dice per class and the rest, on the held-out fold.
        files: relative path to SHA-256, for every other file of the artifact.
        parity: the parity report, on exports; ``passed`` tells the gate's answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    versions: dict[str, str] = Field(default_factory=lambda: {"tfseg": __version__})
    format: str
    run_id: str = ""
    model: str
    config: dict[str, Any] = Field(default_factory=dict)
    plan: Plan
    fingerprint: ImageFingerprint | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    parity: dict[str, Any] | None = None

    @property
    def colours(self) -> dict[str, tuple[int, int, int]]:
        """Label name to RGB colour."""
        return {name: label_colour(value) for value, name in enumerate(self.plan.labels)}

    def save(self, folder: str | os.PathLike[str], file_name: str = FILE_NAME) -> None:
        """Write the manifest into ``folder``, atomically, with label colours and its own digest."""
        document = self.model_dump(mode="json")
        document["label_colours"] = {name: list(rgb) for name, rgb in self.colours.items()}
        document[_OWN_DIGEST] = _digest(document)
        write_json(Path(folder) / file_name, document)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], file_name: str = FILE_NAME) -> Manifest:
        """Read and validate the manifest of ``folder``.

        Raises:
            DataError: missing, no JSON, or changed since it was written.
            ConfigError: a field is unknown or breaks its rule.
        """
        path = Path(folder) / file_name
        document = read_json(path, "the manifest")
        if isinstance(document, dict):
            _check_digest(path, document)
            document.pop("label_colours", None)
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ConfigError(f"{path} is no valid manifest: {first_problem(error)}.") from error


def _digest(document: dict[str, Any]) -> str:
    """Return the SHA-256 of a document's content, whatever the order and the blanks in its file."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _check_digest(path: Path, document: dict[str, Any]) -> None:
    """Take a document's own digest out of it and compare the two."""
    named = document.pop(_OWN_DIGEST, None)
    if named is None:
        _log.warning(
            "%s names no SHA-256 of its own, so nothing vouches for its plan and labels.", path
        )
    elif named != _digest(document):
        raise DataError(
            f"{path} was changed after it was written: its content does not have the SHA-256 that "
            f'it names. Restore it; if you changed it on purpose, remove its entry "{_OWN_DIGEST}".'
        )


def digest_files(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Return relative path to SHA-256 for every file below ``folder`` but the manifest."""
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): sha256(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != FILE_NAME
    }


def verify_files(
    folder: str | os.PathLike[str], manifest: Manifest, needed: Iterable[str] = ()
) -> None:
    """Check every file the manifest names.

    Args:
        folder: the artifact.
        manifest: of the artifact.
        needed: files that it must name, relative to ``folder``.

    Raises:
        DataError: one is missing, has other content than when it was written, or is needed and
            not named.
    """
    for name in needed:
        if name not in manifest.files:
            raise DataError(
                f"nothing vouches for {Path(folder) / name}: the manifest names no SHA-256 of it. "
                "Export again."
            )
    for name, digest in manifest.files.items():
        path = Path(folder) / name
        if not path.is_file():
            raise DataError(f"{path} is missing although the manifest lists it. Export again.")
        if sha256(path) != digest:
            raise DataError(f"{path} is damaged: its SHA-256 is not the manifest's. Export again.")
