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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfseg.errors import ConfigError, InputError, ParityError
from tfseg.files import atomic_path, check_folder, remove_abandoned, write_json, write_text
from tfseg.layout import versions_of
from tfseg_export.formats import FORMATS, Settings, settings

if TYPE_CHECKING:
    from tfseg_export.source import Source

PARITY_FILE = "parity.json"


@dataclass(frozen=True)
class Artifact:
    """A finished export.

    Attributes:
        path: its folder.
        format: its name in :data:`tfseg_export.FORMATS`.
        precision: of weights and arithmetic.
        size_bytes: of all files in the folder.
        parity: the content of its ``parity.json``.
        remark: on the versions before it; ``None`` where there is nothing to say.
    """

    path: Path
    format: str
    precision: str
    size_bytes: int
    parity: dict[str, Any]
    remark: str | None = None


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
    new_lineage: bool = False,
    say: Callable[[str], None] = lambda message: None,
) -> Artifact:
    """Export a run's network.

    Args:
        run: run folder.
        format: a name of :data:`tfseg_export.FORMATS`.
        out: folder that takes ``<name>/<version>`` or ``<name>-<format>``; default ``exports``,
            for Triton ``exports/triton``.
        name: of the model; default the name of the run's folder.
        version: of a SavedModel or a model for Triton; default the next free one.
        precision: ``fp32`` or, where the format offers it, ``fp16``.
        capabilities: GPU compute capabilities of a TensorRT engine; empty means all.
        accelerator: ``tensorrt``: Triton shall compile the graph by it on GPUs.
        new_lineage: a version need not have the labels, channels and plan of the last one.
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
        new_lineage=new_lineage,
    )
    from tfseg.artifact import digest_files
    from tfseg.quiet import import_tensorflow

    import_tensorflow()
    from tfseg_export.lineage import model_name, refuse_another_run
    from tfseg_export.parity import parity_windows
    from tfseg_export.source import load_source

    name = model_name(Path(run), name)
    out = Path(chosen.format.out if out is None else out)
    check_folder(out / name if chosen.format.versioned else out)
    _refuse_too_large(_told_parameters(Path(run)), chosen)
    say(f"Loading {run}")
    source = load_source(run)
    _refuse_too_large(source.network.count_params(), chosen)
    target, remark = _target(out, name, source, chosen)
    remove_abandoned(target.parent)
    exporter = importlib.import_module(chosen.format.module)
    shared: dict[Path, str] = {}
    if chosen.format.has_shared:
        shared = exporter.beside(target.parent, source, chosen)
    with atomic_path(target, replace=not chosen.format.versioned) as folder:
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
                "run_id": source.run_id,
                "versions": {**source.manifest.versions, **versions},
                "files": digest_files(folder),
                "parity": parity,
            }
        ).save(notes)
        if chosen.format.versioned and not parity["passed"]:
            raise _parity_error(_set_aside(folder, target), parity)
        for path, text in shared.items():
            write_text(path, text)
        if not chosen.format.versioned:
            refuse_another_run(target, source)  # which may have come meanwhile
    artifact = Artifact(
        path=target,
        format=chosen.format.name,
        precision=chosen.precision,
        size_bytes=sum(path.stat().st_size for path in target.rglob("*") if path.is_file()),
        parity=parity,
        remark=remark,
    )
    if not parity["passed"]:
        raise _parity_error(target, parity)
    return artifact


def _told_parameters(run: Path) -> int:
    """Return how many parameters a run says that it has, roughly; 0 if it does not say."""
    from tfseg.artifact import Manifest

    try:
        told = Manifest.load(run, "manifest.json").training.get("parameters")
    except InputError:  # which loading the run tells, with the file that is missing
        return 0
    return told * 9 // 10 if isinstance(told, int) else 0  # heads for training are not exported


def _refuse_too_large(parameters: int, chosen: Settings) -> None:
    """Refuse a network that the format cannot hold, before memory is spent on the attempt."""
    size, largest = 4 * parameters, chosen.format.largest
    if largest is not None and size > largest:
        offering = [name for name, entry in FORMATS.items() if entry.largest is None]
        raise ConfigError(
            f"{chosen.format.title} takes networks of up to {largest / 2**30:.2f} GiB of weights "
            f"in float32; this one has about {size / 2**30:.2f} GiB. "
            f"Export it as {', '.join(offering)}, or train one with fewer base_filters."
        )


def _parity_error(target: Path, parity: dict[str, Any]) -> ParityError:
    return ParityError(
        f"{target} does not reproduce its network: {parity['verdict']}. It is marked as "
        f"failed and nothing opens it; {PARITY_FILE} in it has the figures."
    )


def _set_aside(folder: Path, target: Path) -> Path:
    """Move a version that failed to a name that no server takes for a version."""
    # The number must not come first: Triton takes that for the version, whatever follows it.
    aside, number = target.with_name(f"failed-{target.name}"), 1
    while aside.exists():  # of another run perhaps, and kept for study
        number += 1
        aside = target.with_name(f"failed-{target.name}-{number}")
    with atomic_path(aside) as place:
        os.rename(folder, place)
    return aside


def _target(out: Path, name: str, source: Source, chosen: Settings) -> tuple[Path, str | None]:
    """Return the folder to make and a remark, after checking that nothing else is in its place."""
    from tfseg_export.lineage import refuse_another_lineage, refuse_another_run

    if not chosen.format.versioned:
        target = out / f"{name}-{chosen.format.name}"
        refuse_another_run(target, source)
        return target, None
    base = out / name
    taken = set(versions_of(base)) if base.is_dir() else set()
    _refuse_mixture(base, taken, chosen)
    version = chosen.version or max(taken, default=0) + 1
    if version in taken:
        raise ConfigError(
            f"{base / str(version)} exists, and a version that may be in use is never "
            f"replaced. Leave --version out to get {max(taken) + 1}."
        )
    return base / str(version), refuse_another_lineage(base, taken, source, chosen)


def _refuse_mixture(base: Path, taken: set[int], chosen: Settings) -> None:
    """Refuse a model's folder that is an artifact, or whose versions are of another format."""
    from tfseg.artifact import FILE_NAME

    if (base / FILE_NAME).is_file():
        raise ConfigError(
            f"{base} is an exported model itself and takes no versions. "
            "Choose another --name or output folder."
        )

    for other in FORMATS.values():
        if not other.versioned or other is chosen.format:
            continue
        if any((base / str(one) / other.manifest_folder / FILE_NAME).is_file() for one in taken):
            raise ConfigError(
                f"the versions of a model must be of one format, since a server takes the highest; "
                f"{base} holds {other.name}, and this is {chosen.format.name}. Choose another "
                "output folder."
            )
