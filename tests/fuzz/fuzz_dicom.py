"""Throw damaged DICOM files at the readers: no crash, no hang, no wild memory, one kind of error.

Takes real files (``TFSEG_TEST_DATA``), damages them in a way that a seed and a number determine,
and reads each::

    python tests/fuzz/fuzz_dicom.py [--reader images] [--inputs 20000] [--seed 0] [--seconds S]
                                    [--keep FOLDER]

The readers: ``images``, the one of ``import-dicom``; ``labels``, Segmentations and structure sets
drawn onto an image; ``results``, scans that a Segmentation and a structure set are written for.

Exits with 1 when a reading ended in anything but a volume or a TfsegError, took longer than
20 s, or needed more memory than allowed: four times what the file declares, over 200 MB. The
first damaged file of each kind of failure is kept in ``--keep``.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LIMIT_S = 20
FLOOR_MB = 200  # the interpreter's own ups and downs
MOST_SOURCE_BYTES = 600_000
# SOP classes of Segmentation, Label Map Segmentation and RT Structure Set.
OBJECTS = (
    b"1.2.840.10008.5.1.4.1.1.66.4", b"1.2.840.10008.5.1.4.1.1.66.7",
    b"1.2.840.10008.5.1.4.1.1.481.3",
)  # fmt: skip


def sources(folder: Path, reader: str) -> list[bytes]:
    """Return the files to damage: one of each kind, small ones, in a fixed order."""
    found: dict[tuple[str, int], bytes] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size <= MOST_SOURCE_BYTES:
            content = path.read_bytes()
            is_object = any(uid in content[:1024] for uid in OBJECTS)
            if content[128:132] == b"DICM" and (reader != "labels" or is_object):
                # One of each folder and size: series have hundreds of files alike.
                found.setdefault((str(path.parent), len(content) // 4096), content)
    return list(found.values())


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a damaged copy: bits, bytes, numbers, blocks, lengths; mostly in the header."""
    data = bytearray(content)
    reach = len(data) if rng.random() < 0.3 else min(len(data), 4096)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, max(1, reach)))
        at = min(at, len(data) - 1)
        kind = int(rng.integers(0, 8))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            data[at] = int(rng.integers(0, 256))
        elif kind == 2:
            special = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE)
            value = special[int(rng.integers(0, len(special)))]
            data[at : at + 4] = value.to_bytes(4, "little")[: len(data) - at]
        elif kind == 3:
            del data[at : at + int(rng.integers(1, 64))]
        elif kind == 4:
            data[at:at] = bytes(rng.integers(0, 256, int(rng.integers(1, 32)), np.uint8))
        elif kind == 5:
            start = int(rng.integers(0, len(data)))
            data[at : at + 32] = data[start : start + 32]
        elif kind == 6 and rng.random() < 0.3:
            del data[at:]
        else:  # a number where text or a number was
            texts = (b"-1", b"1e308", b"nan", b"inf", b"0", b"99999999", b"1\\2\\3\\4", b"")
            text = texts[int(rng.integers(0, len(texts)))]
            data[at : at + len(text)] = text
        if not data:
            return b""
    return bytes(data)


class TooSlowError(Exception):
    """A reading took longer than allowed."""


def on_alarm(number: int, frame: object) -> None:
    """Turn the alarm into an exception."""
    raise TooSlowError


def peak_kb() -> int:
    """Return the peak resident memory since it was last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return 0


def declared_bytes(path: Path) -> int:
    """Return what the file says its pixels need, or its own size where that is more."""
    from tfseg.errors import DataError
    from tfseg.io.dicom.headers import read_header

    try:
        sheet = read_header(path)
    except DataError:
        return path.stat().st_size
    needed = 0 if sheet is None else sheet.header.frame_bytes * sheet.header.frames
    return max(needed, path.stat().st_size)


def read_all(path: Path) -> str:
    """Read every volume of a file; return ``volume`` or ``refused``."""
    from tfseg.errors import TfsegError
    from tfseg.io import dicom

    result = "refused"
    try:
        for series in dicom.scan_tree(path).series:
            for stack in dicom.split(series):
                try:
                    dicom.load(stack)
                    result = "volume"
                except TfsegError as error:
                    check(error)
    except TfsegError as error:
        check(error)
    return result


def read_labels(path: Path) -> str:
    """Draw a Segmentation or structure set onto an image; return ``volume`` or ``refused``."""
    from tfseg.errors import TfsegError
    from tfseg.io.dicom_out.rtstruct_read import read_rtstruct
    from tfseg.io.dicom_out.seg_read import read_seg
    from tfseg.io.references import object_kind
    from tfseg.volume import Volume

    image = Volume.from_geometry(np.zeros((40, 80, 80), np.uint8), (8, 8, 8), (-320, -320, -160))
    try:
        read = read_rtstruct if object_kind(path) == "RTSTRUCT" else read_seg
        read(path, image)
    except TfsegError as error:
        check(error)
        return "refused"
    return "volume"


def write_results(path: Path) -> str:
    """Write results that refer to a scan; return ``volume`` or ``refused``."""
    from tfseg.errors import TfsegError
    from tfseg.io.dicom_out.about import About
    from tfseg.io.outputs import Output, source_for, write_labels
    from tfseg.volume import Volume

    about = About(("background", "organ"), ((0, 0, 0), (9, 9, 9)), "network", "1")
    try:
        for output in (Output("dicom-seg"), Output("rtstruct")):
            source = source_for(path, output)
            if source is None or np.prod(source.grid_shape) > 1 << 20:
                return "refused"
            labels = np.zeros(source.grid_shape, np.uint8)
            labels[:, : labels.shape[1] // 2, : labels.shape[2] // 2] = 1
            write_labels(
                Volume(labels, source.grid_affine), path.with_name("out.dcm"), output, about, source
            )
    except TfsegError as error:
        check(error)
        return "refused"
    return "volume"


READERS = {"images": read_all, "labels": read_labels, "results": write_results}


def check(error: Exception) -> None:
    """A message is one line."""
    if "\n" in str(error):
        raise ValueError(f"a message of several lines: {error}")


def main() -> int:
    """Fuzz; 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--reader", choices=list(READERS), default="images")
    options = parser.parse_args()
    default = Path(__file__).resolve().parents[3] / "shared/data"
    files = sources(Path(os.environ.get("TFSEG_TEST_DATA", default)) / "dicom", options.reader)
    if not files:
        print("no files to damage: set TFSEG_TEST_DATA", file=sys.stderr)
        return 1
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    signal.signal(signal.SIGALRM, on_alarm)
    counts: dict[str, int] = {}
    failures: dict[str, int] = {}
    slowest, begun, done = 0.0, time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "damaged.dcm")
        for number in range(options.inputs):
            if time.monotonic() - begun > options.seconds:
                break
            rng = np.random.default_rng([options.seed, number])
            content = damaged(files[int(rng.integers(0, len(files)))], rng)
            path.write_bytes(content)
            Path("/proc/self/clear_refs").write_text("5")
            before_kb, started = peak_kb(), time.monotonic()
            signal.alarm(LIMIT_S)
            try:
                result = READERS[options.reader](path)
            except Exception as error:
                result = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
            finally:
                signal.alarm(0)
            slowest = max(slowest, time.monotonic() - started)
            used = (peak_kb() - before_kb) * 1024
            if used > max(4 * declared_bytes(path), FLOOR_MB << 20):
                result = f"memory: {used >> 20} MB"
            done += 1
            if result in {"volume", "refused"}:
                counts[result] = counts.get(result, 0) + 1
                continue
            failures[result] = failures.get(result, 0) + 1
            print(f"input {number}: {result}", flush=True)
            if options.keep and failures[result] == 1:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{options.seed}-{number}.dcm").write_bytes(content)
    print(
        f"{done} inputs from {len(files)} files, seed {options.seed}: "
        f"{counts.get('volume', 0)} volumes, {counts.get('refused', 0)} refused, "
        f"{sum(failures.values())} failures; slowest {slowest:.1f} s"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
