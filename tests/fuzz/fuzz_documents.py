"""Throw damaged plans, configurations, manifests, tables and checkpoints at their readers.

Bytes are damaged as everywhere; documents of JSON are also bent: a value, a key or the encoding
becomes another one that a careless or hostile writer may have put there. See :mod:`harness` for
the options and for what counts as a failure::

    python tests/fuzz/fuzz_documents.py --reader plan --inputs 20000

Of a checkpoint, an answer is a failure where its arrays are others than in the good file.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from harness import Reader, Source, damaged, main

SCALARS: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, -(2**70), 10**400, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", " ", "../../etc/passwd", "/dev/zero", "a\0b", "\ud800", "é" * 300, "x\ny",
    [], {}, [[]], [{}], {"": None}, [0] * 300, list(range(3)), {"0": 1, "1": "0"},
)  # fmt: skip
DEPTHS = (10, 100, 5000, 100_000)
CONFIG = {"model": "unet", "data": "somewhere", "epochs": 3, "seed": 1}
PLAN: dict[str, Any] = {
    "dims": 3,
    "spacing_mm": [2.5, 1, 1],
    "patch_size": [16, 32, 48],
    "batch_size": 2,
    "channels": [
        {"name": "CT", "unit": "HU", "normalisation": {"kind": "scale", "offset": 0, "scale": 9}}
    ],
    "labels": ["background", "liver"],
}
MSD = {
    "name": "Liver", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"},
    "numTraining": 1, "numTest": 0, "test": [],
    "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
}  # fmt: skip
NNUNET = {
    "channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "numTraining": 1,
    "file_ending": ".nii.gz",
}  # fmt: skip
CODES = {"liver": {"category": ["91723000", "SCT", "Organ"], "type": ["10200004", "SCT", "Liver"]}}


def as_json(document: Any) -> bytes:
    """Return a document as people write it, wrong values included."""
    return json.dumps(document, indent=1, ensure_ascii=bool(document)).encode()


def bent(content: bytes, rng: np.random.Generator) -> bytes:
    """Return damaged bytes, or a document with another value, key or encoding in it."""
    kind = int(rng.integers(0, 10))
    if kind < 3:
        return damaged(content, rng)
    if kind == 3:
        text = content.decode()
        encoding = ("utf-8-sig", "utf-16", "utf-32", "utf-16-be", "utf-7")[int(rng.integers(5))]
        return text.encode(encoding)
    document = json.loads(content)
    places = list(_places(document))
    holder, key = places[int(rng.integers(len(places)))]
    if kind == 4:  # something that nests
        depth = DEPTHS[int(rng.integers(len(DEPTHS)))]
        nest = (
            "[" * depth + "]" * depth if rng.random() < 0.5 else '{"a":' * depth + "1" + "}" * depth
        )
        holder[key] = "HERE"
        return as_json(document).replace(b'"HERE"', nest.encode())
    if kind == 5 and isinstance(holder, dict):  # a key twice
        text = json.dumps(document)
        name = json.dumps(key)
        return text.replace(name, f"{name}: 1, {name}", 1).encode()
    if kind == 6 and isinstance(holder, dict):
        holder[str(SCALARS[int(rng.integers(len(SCALARS)))])] = holder.pop(key)
        return _dumped(document)
    if kind == 7:
        del holder[key]
        return _dumped(document)
    holder[key] = SCALARS[int(rng.integers(len(SCALARS)))]
    return _dumped(document)


def _dumped(document: Any) -> bytes:
    return json.dumps(document).encode()


def _places(node: Any) -> Any:
    """Yield (holder, key) of every value."""
    children = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(children):
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


@cache
def scan() -> bytes:
    """Return a small scan as ``.nii.gz``, which is a label map too."""
    from tfseg.io import write_volume
    from tfseg.volume import Volume

    array = np.zeros((4, 6, 5), np.uint8)
    array[1:3, 2:4, 1:4] = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nii.gz"
        write_volume(Volume.from_geometry(array), path)
        return path.read_bytes()


def documents(name: str, *contents: Any) -> Callable[[], list[Source]]:
    """Return sources of documents of one name."""
    return lambda: [Source(name, as_json(content)) for content in contents]


def data_set(name: str, content: bytes) -> Callable[[], list[Source]]:
    """Return the source of a description of a data set, its files beside it."""

    def sources() -> list[Source]:
        files = ("imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "imagesTr/a_0000.nii.gz", "a.nii.gz")
        return [Source(name, content, dict.fromkeys(files, scan()))]

    return sources


def manifests() -> list[Source]:
    """Return manifests, with and without their own digest."""
    from tfseg.artifact import Manifest
    from tfseg.plan import Plan

    manifest = Manifest(
        format="run", model="unet", plan=Plan.parse(PLAN, "p"), config={"faithful": True},
        training={"steps": 5, "fold": 0}, metrics={"mean_dice": 0.5}, files={"model.keras": "0"},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        manifest.save(folder)
        whole = (Path(folder) / "tfseg.json").read_bytes()
    bare = manifest.model_dump(mode="json")
    return [Source("tfseg.json", whole), Source("tfseg.json", as_json(bare))]


def metrics() -> list[Source]:
    """Return the measurements of a run."""
    document = {
        "version": 2, "data": "d", "source": "s", "metrics": ["dice"], "distance_unit": "mm",
        "cases": 1, "mean_dice": 0.5, "classes": {}, "failed": [], "missing": [],
        "per_case": [{"case": "a", "mean_dice": 0.5, "scores": {"liver": {"dice": 0.5}}}],
    }  # fmt: skip
    return [Source("metrics.json", as_json(document))]


def checkpoints() -> list[Source]:
    """Return archives of arrays, plain and packed."""
    arrays = {
        "progress": np.array('{"epoch": 1}'), "model/0000": np.arange(60.0).reshape(3, 4, 5),
        "optimizer/0000": np.array(7, np.int64),
    }  # fmt: skip
    found = []
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, **arrays)
        found.append(Source("last.npz", stream.getvalue()))
    return found


def read_plan(path: Path) -> object:
    """Read a plan."""
    from tfseg.plan import Plan

    return Plan.load(path)


def read_config(path: Path) -> object:
    """Read a run's configuration."""
    from tfseg.config import TrainConfig
    from tfseg.files import read_json

    return TrainConfig.parse(read_json(path, "the run's configuration"), str(path))


def read_manifest(path: Path) -> object:
    """Read a manifest."""
    from tfseg.artifact import Manifest

    return Manifest.load(path.parent)


def read_codes(path: Path) -> object:
    """Read a table of coded names."""
    from tfseg.io.dicom_out.codes import read_codes as read

    return read(path)


def read_metrics(path: Path) -> object:
    """Read measurements."""
    from tfseg.evaluation.document import Metrics

    return Metrics.load(path)


def read_data_set(path: Path) -> object:
    """Open a data set and read its first case."""
    from tfseg.datasets import open_dataset

    dataset = open_dataset(path.parent)
    case = dataset.cases[0]
    dataset.read_image(case)
    return dataset.read_label(case) if case.label is not None else None


def read_checkpoint(path: Path) -> object:
    """Read the arrays of a checkpoint."""
    from tfseg.arrays import DAMAGE, read_npz
    from tfseg.errors import DataError

    try:
        return read_npz(path)
    except DAMAGE as error:
        raise DataError(f"the checkpoint is damaged ({type(error).__name__}).") from error


def other_arrays(path: Path, source: Source, answer: object) -> str:
    """Tell whether arrays are others than those in the good file."""
    with np.load(io.BytesIO(source.content)) as good:
        expected = {name: good[name] for name in good.files}
    assert isinstance(answer, dict)
    for name, array in answer.items():
        if name in expected and not np.array_equal(array, expected[name]):
            return f"other values in {name}"
    return ""


READERS = {
    "plan": Reader(documents("plan.json", PLAN, {**PLAN, "dims": 2, "patch_size": [16, 16],
                                                 "spacing_mm": None}), read_plan, damage=bent),
    "config": Reader(documents("config.json", CONFIG, {**CONFIG, "fold": "all"}), read_config,
                     damage=bent),
    "manifest": Reader(manifests, read_manifest, damage=bent),
    "codes": Reader(documents("codes.json", CODES), read_codes, damage=bent),
    "metrics": Reader(metrics, read_metrics, damage=bent),
    "msd": Reader(data_set("dataset.json", as_json(MSD)), read_data_set, damage=bent),
    "nnunet": Reader(data_set("dataset.json", as_json(NNUNET)), read_data_set, damage=bent),
    "table": Reader(data_set("cases.csv", b"id,image,label\na,a.nii.gz,a.nii.gz\n"), read_data_set),
    "checkpoint": Reader(checkpoints, read_checkpoint, oracle=other_arrays),
}  # fmt: skip

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    sys.exit(main(__doc__, READERS))
