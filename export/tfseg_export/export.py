"""From a run folder to a verified artifact: the steps that every format shares.

1. the network is loaded and checked against its plan (:mod:`tfseg_export.source`);
2. the format's module writes its files into a temporary folder: ``write(folder, source,
   settings)`` returns the versions of the packages that made them;
3. it measures its own parity on those very files: ``measure(folder, source, settings, windows)``;
4. ``parity.json`` and the manifest ``tfseg.json`` with the digest of every file join them;
5. the folder is renamed to its final name. Nothing of that name exists before.

A server takes up a new version at once, so a version that fails its parity gets no number: it is
set aside as ``failed-<version>``, which servers pass over.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfseg.errors import ConfigError, ParityError
from tfseg.files import atomic_path, write_json, write_text
from tfseg_export.formats import FORMATS, Settings, settings

PARITY_FILE = "parity.json"

# What a folder, a URL of TensorFlow Serving and a shell all take as one plain word.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Artifact:
    """A finished export.

    Attributes:
        path: its folder.
        format: its name in :data:`tfseg_export.FORMATS`.
        precision: of weights and arithmetic.
        size_bytes: of all files in the folder.
        parity: the content of its ``parity.json``.
    """

    path: Path
    format: str
    precision: str
    size_bytes: int
    parity: dict[str, Any]


def export_run(
    run: str | Path,
    format: str,
    out: str | Path | None = None,
    *,
    name: str | None = None,
    version: int | None = None,
    precision: str | None = None,
    capabilities: tuple[str, ...] = (),
    accelerator: str | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Artifact:
    """Export a run's best network.

    Args:
        run: run folder.
        format: a name of :data:`tfseg_export.FORMATS`.
        out: folder that takes ``<name>/<version>`` or ``<name>-<format>``; default ``exports``,
            for Triton ``exports/triton``.
        name: of the model; default the network's.
        version: of a SavedModel or a model for Triton; default the next free one.
        precision: ``fp32`` or, where the format offers it, ``fp16``.
        capabilities: GPU compute capabilities of a TensorRT engine; empty means all.
        accelerator: ``tensorrt``: Triton shall compile the graph by it on GPUs.
        say: called with one line before each long step.

    Raises:
        InputError: wrong options, no run, or a target that must not be replaced; nothing is
            left behind.
        ParityError: the artifact does not reproduce the network. It is kept for study, marked
            as failed, and refused by every reader.
    """
    chosen = settings(
        format,
        precision=precision,
        version=version,
        capabilities=capabilities,
        accelerator=accelerator,
    )
    if name is not None:
        _check_name(name)

    from tfseg.artifact import digest_files
    from tfseg.quiet import import_tensorflow

    import_tensorflow()
    from tfseg_export.parity import parity_windows
    from tfseg_export.source import load_source

    say(f"Loading {run}")
    source = load_source(run)
    name = name or source.manifest.model
    target = _target(Path(chosen.format.out if out is None else out), name, chosen)
    exporter = importlib.import_module(chosen.format.module)
    shared: dict[Path, str] = {}
    if chosen.format.has_shared:
        shared = exporter.beside(target.parent, source, chosen)
    with atomic_path(target) as folder:
        folder.mkdir()
        say(f"Writing {chosen.format.title}")
        versions = exporter.write(folder, source, chosen)
        say("Measuring parity")
        parity = exporter.measure(folder, source, chosen, parity_windows(source))
        notes = folder / chosen.format.manifest_folder
        write_json(notes / PARITY_FILE, parity)
        source.manifest.model_copy(
            update={
                "format": chosen.format.opened_as or chosen.format.name,
                "versions": {**source.manifest.versions, **versions},
                "files": digest_files(folder),
                "parity": parity,
            }
        ).save(notes)
        if chosen.format.versioned and not parity["passed"]:
            raise _parity_error(_set_aside(folder, target), parity)
        for path, text in shared.items():
            write_text(path, text)
    artifact = Artifact(
        path=target,
        format=chosen.format.name,
        precision=chosen.precision,
        size_bytes=sum(path.stat().st_size for path in target.rglob("*") if path.is_file()),
        parity=parity,
    )
    if not parity["passed"]:
        raise _parity_error(target, parity)
    return artifact


def _parity_error(target: Path, parity: dict[str, Any]) -> ParityError:
    return ParityError(
        f"{target} does not reproduce its network: {parity['verdict']}. It is marked as "
        f"failed and nothing opens it; {PARITY_FILE} in it has the figures."
    )


def _set_aside(folder: Path, target: Path) -> Path:
    """Move a version that failed to a name that no server takes for a version."""
    # The number must not come first: Triton takes that for the version, whatever follows it.
    aside = target.with_name(f"failed-{target.name}")
    with atomic_path(aside) as place:
        os.rename(folder, place)
    return aside


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            "a model's name must be letters, digits, '_', '-' and '.', beginning with a letter "
            f"or digit; got {name!r}."
        )


def _target(out: Path, name: str, chosen: Settings) -> Path:
    """Return the folder to make, after checking that nothing foreign is in its place."""
    if chosen.format.versioned:
        base = out / name
        taken = _versions(base)
        _refuse_mixture(base, taken, chosen)
        version = chosen.version or max(taken, default=0) + 1
        if version in taken:
            raise ConfigError(
                f"{base / str(version)} exists, and a version that may be in use is never "
                f"replaced. Leave --version out to get {max(taken) + 1}."
            )
        return base / str(version)
    from tfseg.artifact import FILE_NAME

    target = out / f"{name}-{chosen.format.name}"
    if target.exists() and not (target / FILE_NAME).is_file():
        raise ConfigError(
            f"{target} exists and is no exported model, so it is not replaced. "
            "Choose another --name or output folder."
        )
    return target


def _refuse_mixture(base: Path, taken: set[int], chosen: Settings) -> None:
    """Refuse a model's folder whose versions are of another versioned format."""
    from tfseg.artifact import FILE_NAME

    for other in FORMATS.values():
        if not other.versioned or other is chosen.format:
            continue
        if any((base / str(one) / other.manifest_folder / FILE_NAME).is_file() for one in taken):
            raise ConfigError(
                f"the versions of a model must be of one format, since a server takes the highest; "
                f"{base} holds {other.name}, and this is {chosen.format.name}. Choose another "
                "output folder."
            )


def _versions(base: Path) -> set[int]:
    if not base.is_dir():
        return set()
    return {int(child.name) for child in base.iterdir() if child.name.isdecimal()}
