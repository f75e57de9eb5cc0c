"""Label maps in the format that is asked for: what ``predict`` and ``query`` write through.

output = Output("dicom-seg")
output.check()                            # options that do not fit, before any work
source = source_for(scan, output)         # a scan that the format cannot refer to, likewise
write_labels(labels, target, output, about, source)
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import ConfigError, DataError
from tfseg.files import atomic_path
from tfseg.io import volume_stem, write_volume
from tfseg.io.dicom_out import SEG_TYPES
from tfseg.volume import Volume

if TYPE_CHECKING:
    from tfseg.io.dicom_out.about import About
    from tfseg.io.dicom_out.codes import Concept
    from tfseg.io.dicom_out.sources import Source
    from tfseg.io.scans import Scan

# Format -> suffixes of its files, the first for those in a folder.
FORMATS: Mapping[str, tuple[str, ...]] = {
    "nifti": (".nii.gz", ".nii"),
    "png": (".png",),
    "dicom-seg": (".dcm",),
    "rtstruct": (".dcm",),
}
_DICOM = ("dicom-seg", "rtstruct")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Output:
    """How results are to be written.

    Attributes:
        format_name: one of :data:`FORMATS`; ``None`` goes by the target's suffix.
        seg_type: of ``dicom-seg``: one of :data:`SEG_TYPES`, by default binary.
        codes: JSON file of coded names for DICOM, see :func:`.dicom_out.codes.read_codes`.
        report: also write a structured report with the volumes beside a ``dicom-seg``.
    """

    format_name: str | None = None
    seg_type: str | None = None
    codes: Path | None = None
    report: bool = False

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What a target may end with; empty where its suffix chooses the format."""
        return FORMATS[self.format_name] if self.format_name else ()

    @property
    def needs_probabilities(self) -> bool:
        """Whether :func:`write_labels` needs them."""
        return self.seg_type == "fractional"

    def check(self) -> None:
        """Refuse unknown names, and options that the format would not heed.

        Raises:
            ConfigError: there is one.
        """
        if self.format_name is not None and self.format_name not in FORMATS:
            raise ConfigError(f"a format is one of {', '.join(FORMATS)}; got {self.format_name!r}.")
        if self.seg_type is not None and self.seg_type not in SEG_TYPES:
            raise ConfigError(
                f"a SEG type is one of {', '.join(SEG_TYPES)}; got {self.seg_type!r}."
            )
        given = self.format_name or "no format"
        if self.seg_type is not None and self.format_name != "dicom-seg":
            raise ConfigError(f"--seg-type belongs to --format dicom-seg; got {given}.")
        if self.report and self.format_name != "dicom-seg":
            raise ConfigError(f"--report belongs to --format dicom-seg; got {given}.")
        if self.codes is not None and self.format_name not in _DICOM:
            raise ConfigError(f"--codes belongs to --format {' or '.join(_DICOM)}; got {given}.")

    def concepts(self) -> dict[str, Concept]:
        """Return the coded names of the file ``codes``; none without one.

        Raises:
            DataError: it cannot be read.
            ConfigError: it breaks its rules.
        """
        from tfseg.io.dicom_out.codes import read_codes

        return read_codes(self.codes) if self.codes is not None else {}


def source_for(scan: Scan, output: Output) -> Source | None:
    """Return what a result in DICOM refers to; ``None`` for the other formats.

    Called before the work, so that a scan that cannot be referred to costs none.

    Raises:
        DataError: the scan is no DICOM, or cannot be referred to.
    """
    if output.format_name not in _DICOM:
        return None
    try:
        return scan.source()
    except DataError as error:
        raise DataError(
            f"--format {output.format_name} refers to the DICOM series of the scan: {error}"
        ) from error


def write_labels(
    labels: Volume,
    target: Path,
    output: Output,
    about: About,
    source: Source | None = None,
    *,
    probabilities: NDArray[np.float32] | None = None,
    scan: Volume | None = None,
    remarks: Sequence[str] = (),
) -> tuple[Path, ...]:
    """Write a label map on its scan's grid.

    Args:
        labels: (z, y, x) unsigned integers.
        target: file to write.
        output: the format and its options.
        about: names of the labels and the model, for DICOM and ``.seg.nrrd``.
        source: from :func:`source_for`, for DICOM.
        probabilities: (z, y, x, classes), where ``output`` needs them.
        scan: the scan itself, whose mean in each label a report then tells.
        remarks: what a person must know of this result; DICOM objects say it.

    Returns:
        The files written, ``target`` first.

    Raises:
        DataError: the format cannot hold it, or a failing disk.
        ConfigError: what DICOM needs is not given.
    """
    if output.format_name not in _DICOM:
        write_volume(labels, target, about.names, about.colours)
        return (target,)
    if source is None or output.needs_probabilities != (probabilities is not None):
        raise ConfigError(
            f"{output.format_name} needs the source series, and probabilities if fractional."
        )
    from tfseg.io.dicom_out.stamp import Stamp

    about = replace(about, remark="; ".join(remarks)) if remarks else about
    stamp = Stamp.now(
        str(source.slices[0].header.SeriesInstanceUID), about.digest, labels.array.tobytes()
    )
    for said in source.corrected:
        _log.warning(
            "%s: the result is on the %d slices of the series, by nearest neighbour: %s",
            source.path, len(source.slices), said,
        )  # fmt: skip
    if output.format_name == "rtstruct":
        from tfseg.io.dicom_out.rtstruct import write_rtstruct

        write_rtstruct(labels, source, target, about, stamp)
        return (target,)
    from tfseg.io.dicom_out.seg import write_seg

    kind = output.seg_type or "binary"
    if not output.report:
        write_seg(labels, source, target, about, stamp, kind=kind, probabilities=probabilities)
        return (target,)
    from tfseg.io.dicom_out.sr import write_report

    report = report_of(target)
    with atomic_path(target) as temporary:  # both or none
        written = write_seg(
            labels, source, temporary, about, stamp, kind=kind, probabilities=probabilities
        )
        write_report(labels, source, written, report, about, stamp, scan)
    return target, report


def report_of(target: Path) -> Path:
    """Return where the report of a SEG goes: ``<name>_report.dcm`` beside it."""
    return target.with_name(volume_stem(target) + "_report.dcm")
