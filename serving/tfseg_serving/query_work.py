"""What ``query`` does with one scan, in a thread of its own: read, ask, write, count."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfseg.artifact import Manifest
from tfseg.errors import ConfigError, InputError, TfsegError
from tfseg.io.dicom_out.about import About
from tfseg.io.outputs import Output, report_of, source_for, write_labels
from tfseg.io.scans import Scan
from tfseg.preprocess.likeness import check_likeness
from tfseg.volume import Volume
from tfseg_serving.client import Segmenter


class QueryWork:
    """Takes scans from file to label map.

    Args:
        segmenter: of the served model.
        output: the format of the label maps.
        about: what they say of themselves.
        scans: how many there are.
        show: called with the finished share of all scans, in (0, 1].
        manifest: of the export that is served, if it is known; scans are compared with its
            training images.
        anyway: take what is plainly another kind of image.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        output: Output,
        about: About,
        scans: int,
        show: Callable[[float], None],
        manifest: Manifest | None = None,
        *,
        anyway: bool = False,
    ) -> None:
        self._segmenter, self._output, self._about = segmenter, output, about
        self._scans, self._show = scans, show
        self._manifest, self._anyway = manifest, anyway
        self._shares: dict[Scan, float] = {}
        self._lock = threading.Lock()

    def one(self, pair: tuple[Scan, Path]) -> dict[str, Any] | TfsegError:
        """Return what is told of one scan, or why it failed; other scans go on either way."""
        scan, target = pair
        start = time.perf_counter()
        try:
            source = source_for(scan, self._output)
            volume = scan.read()
            remarks = self._compare(scan, volume)
            labels = self._ask(scan, volume)
            told = volume if self._output.report else None
            files = write_labels(
                labels, target, self._output, self._about, source, scan=told, remarks=remarks
            )
        except TfsegError as error:
            self._advance(scan, 1.0)
            return error
        return {
            "input": str(scan),
            "output": str(target),
            "files": [str(file) for file in files],
            "seconds": round(time.perf_counter() - start, 3),
            "labels": count_labels(labels, self._segmenter.labels),
            "remarks": list(remarks),
        }

    def _compare(self, scan: Scan, volume: Volume) -> tuple[str, ...]:
        if self._manifest is None:
            return ()
        return check_likeness(
            volume,
            str(scan),
            self._manifest,
            picture=scan.is_picture,
            anyway=self._anyway,
            part=scan.is_part,
        )

    def _ask(self, scan: Scan, volume: Volume) -> Volume:
        try:
            return self._segmenter(volume, lambda share: self._advance(scan, share))
        except InputError as error:
            raise type(error)(f"{scan}: {error}") from error

    def _advance(self, scan: Scan, share: float) -> None:
        with self._lock:
            self._shares[scan] = share
            self._show(sum(self._shares.values()) / self._scans)


def about_model(name: str, manifest: Manifest | None, output: Output) -> About:
    """Return what label maps say of themselves.

    Args:
        name: of the model on the server.
        manifest: of its export, if given.
        output: the format.

    Raises:
        ConfigError: the format names every label, and there is no manifest to name them; or
            coded names that break their rules.
        DataError: coded names that cannot be read.
    """
    concepts = output.concepts()
    if manifest is not None:
        return About.of(manifest, concepts)
    if output.format_name in {"dicom-seg", "rtstruct"}:
        raise ConfigError(
            f"--format {output.format_name} names every label: name the export that is served, "
            "or its tfseg.json, with --manifest."
        )
    return About(names=(), colours=(), algorithm=name, version="")


def refuse_shared_reports(targets: Sequence[Path]) -> None:
    """Check that no report would replace a result.

    Raises:
        ConfigError: one would.
    """
    for target in targets:
        if report_of(target) in targets:
            raise ConfigError(
                f"the report of {target} would replace another scan's result, "
                f"{report_of(target)}. Rename the scan."
            )


def count_labels(labels: Volume, names: tuple[str, ...] | None) -> list[dict[str, Any]]:
    """Return value, name, voxels and ml of each label, without the background.

    Args:
        labels: a label map.
        names: of the values 0, 1, ...; ``None`` if they are unknown: then those that occur are
            listed, with no name.
    """
    counts = np.bincount(labels.array.ravel(), minlength=len(names or ()))
    voxel_ml = float(np.prod(labels.spacing_mm)) / 1000
    return [
        {
            "value": value,
            "name": names[value] if names and value < len(names) else None,
            "voxels": int(counts[value]),
            "ml": round(float(counts[value]) * voxel_ml, 3),
        }
        for value in range(1, len(counts))
        if names or counts[value]
    ]
