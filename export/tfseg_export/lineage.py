"""Which run an export is of, and whether it may stand beside or replace what is there.

A server takes up the highest version of a model, and a client that knows the model's labels and
channels gets its answers without a word. So the versions of one name are of one lineage: they have
the labels, the channels and the plan in common. And what one run exported, no other run replaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tfseg.artifact import FILE_NAME, Manifest
from tfseg.errors import ConfigError, InputError
from tfseg.plan import Plan
from tfseg_export.formats import Settings
from tfseg_export.source import Source

# What a folder, a URL of TensorFlow Serving and a shell all take as one plain word.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]+")

# Entries of a plan that only training reads.
_OF_TRAINING = ("version", "batch_size", "label_interpolation")


def model_name(run: Path, name: str | None) -> str:
    """Return what the exported model is called: ``name``, or the name of the run's folder.

    What a model's name cannot hold becomes a hyphen in the latter.

    Raises:
        ConfigError: no word that folders and URLs take.
    """
    given = run.resolve().name if name is None else name
    word = _FOREIGN.sub("-", given).lstrip("_.-") if name is None else name
    if not _NAME.fullmatch(word):
        raise ConfigError(
            "a model's name must be letters, digits, '_', '-' and '.', beginning with a letter "
            f"or digit; got {given!r}. Give another with --name."
        )
    return word


def refuse_another_run(target: Path, source: Source) -> None:
    """Check that an artifact to be replaced is an earlier export of the same run.

    Raises:
        ConfigError: it is something else, or of a run that is another or unknown.
    """
    if not target.exists():
        return
    remedy = "Choose another --name or output folder, or remove it."
    if not (target / FILE_NAME).is_file():
        raise ConfigError(
            f"{target} exists and is no exported model, so it is not replaced. {remedy}"
        )
    known = Manifest.load(target).run_id
    if known != source.run_id:
        other = f"another run ({known[:12]})" if known else "an unknown run"
        raise ConfigError(
            f"{target} was exported from {other}, and no export replaces another run's; this is "
            f"{source.folder} ({source.run_id[:12]}). {remedy}"
        )


def refuse_another_lineage(
    base: Path, taken: set[int], source: Source, chosen: Settings
) -> str | None:
    """Check that a new version of a model fits its last one.

    Args:
        base: the model's folder.
        taken: the versions in it.
        source: the network to export.
        chosen: the options of the export.

    Returns:
        A remark, where the last version is of another run.

    Raises:
        ConfigError: labels, channels or plan differ, or the last version tells none; unless the
            options say that a new lineage begins.
    """
    if not taken or chosen.new_lineage:
        return None
    last = base / str(max(taken))
    try:
        before = Manifest.load(last / chosen.format.manifest_folder)
    except InputError as error:
        raise ConfigError(
            f"a new version must have the labels, channels and plan of the last one, {last}, which "
            f"tells none: {error} Choose another --name, or give --new-lineage."
        ) from error
    differences = "; ".join(_differences(before.plan, source.manifest.plan))
    if differences:
        raise ConfigError(
            f"a new version must have the labels, channels and plan of the last one, since "
            f"clients of {base.name} go on as before; {last} differs from {source.folder}: "
            f"{differences}. Choose another --name, or give --new-lineage."
        )
    if before.run_id == source.run_id:
        return None
    return f"{last} is of another run; both have the same labels, channels and plan."


def _differences(old: Plan, new: Plan) -> Iterator[str]:
    """Yield what differs between two plans in what they make of a scan, as old -> new."""
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    for key in before:
        if key in _OF_TRAINING or before[key] == after[key]:
            continue
        if key == "channels" and len(before[key]) == len(after[key]):
            for index, (one, other) in enumerate(zip(before[key], after[key], strict=True)):
                for part in one:
                    if one[part] != other[part]:
                        yield f"channel {index} {part} {_short(one[part])} -> {_short(other[part])}"
            continue
        yield f"{key} {_short(before[key])} -> {_short(after[key])}"


def _short(value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        text = ", ".join(value) or "none"
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        text = ", ".join(str(item.get("name", item.get("kind"))) for item in value)
    elif isinstance(value, dict):
        text = " ".join(f"{name}={one}" for name, one in value.items())
    else:
        text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
