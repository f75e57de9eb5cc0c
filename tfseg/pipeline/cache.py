"""Prepared volumes on disk, memory-mapped: patches read only what they touch.

A cache folder belongs to one data set and the parts of the plan that change voxels, so runs
that share both share it; each case in it belongs to the files that it was made of. It may be
deleted at any time (``tfseg cache``); the next run makes it again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tfseg.arrays import DAMAGE, read_npz
from tfseg.datasets.base import Case, Dataset
from tfseg.errors import DataError
from tfseg.files import atomic_path, write_error, write_json
from tfseg.locks import locked
from tfseg.plan import Plan
from tfseg.preprocess import prepare, prepare_label

_Case = TypeVar("_Case")
_log = logging.getLogger(__name__)

DESCRIPTION = "cache.json"

_PLACES = 4096  # voxels remembered per class; enough that no patch centre repeats often
# Of the plan; what else is in it does not change a prepared volume.
_CHANGES_VOXELS = {"dims", "spacing_mm", "channels", "interpolation", "label_interpolation"}

_WORKERS = 2  # each holds one case in memory: the bound on memory while preparing


@dataclass(frozen=True)
class PreparedCase:
    """One case as the network sees it.

    Attributes:
        id: the case's id.
        image: (z, y, x, c) float32, memory-mapped.
        label: (z, y, x) uint8, memory-mapped.
        places: for every foreground class present, (n, 3) voxel indices of some of its voxels.
        folder: where they lie.
        voxel_map: (z, y, x) float32, memory-mapped: what a loss knows of each voxel beforehand.
    """

    id: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    places: dict[int, NDArray[np.int32]]
    folder: Path | None = None
    voxel_map: NDArray[np.float32] | None = None

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """What a patch is cut from: image, label, and the map if there is one."""
        return (self.image, self.label, *(() if self.voxel_map is None else (self.voxel_map,)))


def prepare_cases(
    dataset: Dataset,
    cases: Sequence[Case],
    plan: Plan,
    root: Path,
    progress: Callable[[Iterable[Case]], Iterable[Case]] = iter,
) -> list[PreparedCase]:
    """Prepare the cases that the cache below ``root`` lacks and open all of them.

    Args:
        progress: wraps the iterable of cases to show how far it is.

    Raises:
        DataError: a case that cannot be used; the message names it and the remedy.
    """
    folder = root / cache_key(dataset.root, dataset.labels, plan)
    places = {case.id: folder / _case_key(case) for case in cases}
    if not all(place.is_dir() for place in places.values()):
        with _alone(folder):
            _describe(folder, dataset, plan)
            missing = [case for case in cases if not places[case.id].is_dir()]
            _for_each(missing, lambda case: _write(dataset, case, plan, places[case.id]), progress)
    opened = [_open(places[case.id], case.id) for case in cases]
    with suppress(OSError):
        os.utime(folder / DESCRIPTION)  # the day of its last use
    return opened


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let no other run prepare the same volumes meanwhile: whoever waits finds them done."""

    def say(holder: str) -> None:
        _log.warning("%s is preparing the same volumes; waiting for it.", holder)

    try:
        with locked(folder, on_wait=say):
            yield
    except OSError as error:
        raise write_error(folder, error) from error


def _describe(folder: Path, dataset: Dataset, plan: Plan) -> None:
    """Write what the cache is of, for those who tidy up."""
    spacing = None if plan.spacing_mm is None else list(plan.spacing_mm)
    document = {"data": str(dataset.root.resolve()), "dims": plan.dims, "spacing_mm": spacing}
    write_json(folder / DESCRIPTION, document)


def with_voxel_maps(
    cases: Sequence[PreparedCase],
    make: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    key: str,
    plan: Plan,
    progress: Callable[[Iterable[PreparedCase]], Iterable[PreparedCase]] = iter,
) -> list[PreparedCase]:
    """Return the cases with a map each, made where the cache lacks it.

    Args:
        cases: as :func:`prepare_cases` returned them.
        make: label map ([z,] y, x) -> map of the same shape; a 2D plan is given slices.
        key: what the map depends on besides the labels, in words; names its file.
        plan: of the run.
        progress: wraps the iterable of cases to show how far it is.
    """
    name = f"map-{hashlib.sha256(f'{key} {plan.dims}'.encode()).hexdigest()[:16]}.npy"

    def write(case: PreparedCase) -> None:
        if case.folder is None or (case.folder / name).exists():
            return
        label = np.asarray(case.label)
        found = np.stack([make(piece) for piece in label]) if plan.dims == 2 else make(label)
        with atomic_path(case.folder / name) as temporary, temporary.open("wb") as file:
            np.save(file, found.astype(np.float32, copy=False))

    _for_each(cases, write, progress)
    return [
        replace(case, voxel_map=_load_map(case.folder / name))
        for case in cases
        if case.folder is not None
    ]


def _load_map(path: Path) -> NDArray[np.float32]:
    try:
        found: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGE as error:
        raise DataError(f"the cached map {path} is damaged. Delete it and run again.") from error
    return found


def _for_each(
    cases: Sequence[_Case],
    work: Callable[[_Case], None],
    progress: Callable[[Iterable[_Case]], Iterable[_Case]],
) -> None:
    """Do the work of every case, a few at a time; the first error ends it."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        jobs = [pool.submit(work, case) for case in cases]
        try:
            for case, job in zip(progress(cases), jobs, strict=False):
                del case
                job.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _write(dataset: Dataset, case: Case, plan: Plan, target: Path) -> None:
    image, label = dataset.load(case)
    canonical, way = image.canonical()
    # The image's affine for both: grids that differ by rounding must not be sized differently.
    reference = canonical.with_array(way.apply(label.array))
    voxels = prepare(canonical, plan)
    labels = prepare_label(reference, plan).astype(np.uint8)
    try:
        with atomic_path(target, replace=False) as temporary:
            temporary.mkdir()
            np.save(temporary / "image.npy", np.ascontiguousarray(voxels))
            np.save(temporary / "label.npy", np.ascontiguousarray(labels))
            np.savez(temporary / "places.npz", **_places(labels, plan.num_classes))
    except DataError:
        # Without locks another run may have made the same meanwhile, and may be reading it.
        if not target.is_dir():
            raise


def _places(labels: NDArray[np.uint8], classes: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)  # which voxels are kept must not depend on the run
    found = {}
    for value in range(1, classes):
        voxels = np.argwhere(labels == value).astype(np.int32)
        if len(voxels) > _PLACES:
            voxels = voxels[rng.choice(len(voxels), _PLACES, replace=False)]
        if len(voxels):
            found[str(value)] = voxels
    return found


def _open(folder: Path, case_id: str) -> PreparedCase:
    try:
        stored = read_npz(folder / "places.npz")
        places = {int(value): voxels for value, voxels in stored.items()}
        return PreparedCase(
            case_id,
            np.load(folder / "image.npy", mmap_mode="r", allow_pickle=False),
            np.load(folder / "label.npy", mmap_mode="r", allow_pickle=False),
            places,
            folder,
        )
    except DAMAGE as error:
        raise DataError(
            f"the cached case {case_id} is damaged. Delete {folder} and run again."
        ) from error


def cache_key(data: Path, labels: Sequence[str], plan: Plan) -> str:
    """Return the name of the cache folder of a data set and a plan."""
    return _digest(
        {
            "data": str(data.resolve()),
            "labels": tuple(labels),
            "plan": plan.model_dump(mode="json", include=_CHANGES_VOXELS),
            "format": 2,
        }
    )


def _case_key(case: Case) -> str:
    """Return the name of a case's folder: never its id, which may be no file name."""
    files = [file for file in case.files if file != case.mask]
    return _digest(
        {"id": case.id, "files": [(str(file.resolve()), *_stamp(file)) for file in files]}
    )


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()[:16]


def _stamp(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, 0  # the reader reports it by name
    return status.st_size, status.st_mtime_ns
