"""Which label map each input becomes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfseg.errors import ConfigError
from tfseg.io import volume_suffix
from tfseg.io.scans import Scan, suffix_for
from tfseg.io.suffixes import WRITTEN


def label_targets(
    scans: Sequence[Scan], output: str, suffixes: tuple[str, ...] = ()
) -> list[tuple[Scan, Path]]:
    """Pair every scan with the label map to write for it.

    One scan may have an output file; otherwise the output is a folder and each label map takes its
    scan's name and the first of ``suffixes`` (default: ``.png`` for pictures and ``.nii.gz`` for
    all else). Files of DICOM, ``.dcm``, are there for formats that say so in ``suffixes``.

    Raises:
        ConfigError: several scans for one output file, two of the same name, an output that
            would replace a scan, or a file of a format that is not written.
    """
    target = Path(output)
    if volume_suffix(target) in (*WRITTEN, *suffixes) and not target.is_dir():
        if len(scans) != 1:
            raise ConfigError(
                f"one output file takes one scan; {len(scans)} were given for {target}. "
                "Name a folder as output."
            )
        if suffixes and volume_suffix(target) not in suffixes:
            raise ConfigError(
                f"a file of this format must end in {' or '.join(suffixes)}; got {target}."
            )
        return _spare_the_scans([(scans[0], target)])
    if target.is_file() or (volume_suffix(target) and not target.is_dir()):
        raise ConfigError(
            f"label maps are written as {', '.join(suffixes or WRITTEN)}; got the file {target}. "
            "Name a folder, or a file with one of these suffixes"
            f"{'' if suffixes else ', or a --format that writes DICOM'}."
        )
    pairs = [
        (scan, target / (scan.stem + (suffixes[0] if suffixes else suffix_for(scan))))
        for scan in scans
    ]
    names: dict[Path, Scan] = {}
    for scan, path in pairs:
        if path in names:
            raise ConfigError(
                f"{names[path]} and {scan} would both be written to {path}. "
                "Rename one, or run them into two folders."
            )
        names[path] = scan
    return _spare_the_scans(pairs)


def _spare_the_scans(pairs: list[tuple[Scan, Path]]) -> list[tuple[Scan, Path]]:
    scans = {scan.path.resolve() for scan, _ in pairs}
    for scan, path in pairs:
        if path.resolve() in scans:
            raise ConfigError(
                f"the label map of {scan} would replace the scan {path}. Name another output."
            )
    return pairs
