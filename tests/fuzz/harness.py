"""What the fuzz programs share: damage, limits, counting, and one table of readers each.

A program declares its readers and calls :func:`main`::

    READERS = {"nrrd": Reader(sources=make_nrrd, read=read_nrrd, oracle=checksum)}
    if __name__ == "__main__":
        sys.exit(main(__doc__, READERS))

It takes ``[--reader NAME] [--inputs N] [--seed N] [--seconds S] [--keep FOLDER]`` and exits with
1 when a reading ended in anything but an answer or a one-line TfsegError, took longer than
20 s, needed more memory than four times what the file declares (and more than 200 MB), or when
an answer was given although the reader's oracle calls the file damaged. The first damaged file
of each kind of failure is kept in ``--keep``.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

LIMIT_S = 20
FLOOR_MB = 200  # the interpreter's own ups and downs
ANSWERED, REFUSED = "answered", "refused"


@dataclass(frozen=True, eq=False)
class Source:
    """A good file to damage.

    Attributes:
        name: what it is called on disk, for readers that go by the suffix.
        content: its bytes.
        beside: further files of its folder, name -> bytes; they stay whole unless ``damages``
            names one of them.
        damages: the file to damage; by default the source's own.
    """

    name: str
    content: bytes
    beside: Mapping[str, bytes] = field(default_factory=dict)
    damages: str = ""


@dataclass(frozen=True)
class Reader:
    """One way to read files.

    Attributes:
        sources: returns the good files, in a fixed order.
        read: reads ``path``; returns whatever it found, and raises TfsegError to refuse.
        declared: the bytes that a file says it needs.
        oracle: told the damaged file, its source and the answer of ``read``; returns why the
            answer must not have been given (an independent reader or a checksum says so), or "".
        damage: makes a damaged copy from the good bytes and a generator.
    """

    sources: Callable[[], Sequence[Source]]
    read: Callable[[Path], object]
    declared: Callable[[Path], int] = lambda path: path.stat().st_size
    oracle: Callable[[Path, Source, object], str] | None = None
    damage: Callable[[bytes, np.random.Generator], bytes] | None = None


class TooSlowError(Exception):
    """A reading took longer than allowed."""


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


def one_bit(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a copy with one bit flipped anywhere."""
    data = bytearray(content)
    data[int(rng.integers(0, len(data)))] ^= 1 << int(rng.integers(0, 8))
    return bytes(data)


def attempt(reader: Reader, path: Path, source: Source) -> str:
    """Read a damaged file; return ``answered``, ``refused``, or what was wrong."""
    from tfseg.errors import TfsegError

    try:
        try:
            answer = reader.read(path)
        except TfsegError:
            return REFUSED
        wrong = reader.oracle(path, source, answer) if reader.oracle else ""
        return f"silent: {wrong}" if wrong else ANSWERED
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"


def on_alarm(number: int, frame: object) -> None:
    """Turn the alarm into an exception."""
    raise TooSlowError


def peak_kb() -> int:
    """Return the peak resident memory since it was last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return 0


def real_data() -> Path:
    """Return the folder of real scans; it may be absent."""
    default = Path(__file__).resolve().parents[3] / "shared/data"
    return Path(os.environ.get("TFSEG_TEST_DATA", default))


def main(about: str | None, readers: Mapping[str, Reader]) -> int:
    """Fuzz the readers by the command line's options; 1 where something failed."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=20_000, help="of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of each reader")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--reader", choices=list(readers), help="by default every one")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    signal.signal(signal.SIGALRM, on_alarm)
    names = [options.reader] if options.reader else list(readers)
    return max(_fuzz(name, readers[name], options) for name in names)


def _fuzz(name: str, reader: Reader, options: argparse.Namespace) -> int:
    sources = list(reader.sources())
    if not sources:
        print(f"{name}: no files to damage: set TFSEG_TEST_DATA", file=sys.stderr)
        return 1
    counts: dict[str, int] = {}
    failures: dict[str, int] = {}
    slowest, begun, done = 0.0, time.monotonic(), 0
    for number in range(options.inputs):
        if time.monotonic() - begun > options.seconds:
            break
        rng = np.random.default_rng([options.seed, number])
        source = sources[int(rng.integers(0, len(sources)))]
        with tempfile.TemporaryDirectory() as folder:
            path, broken = write_damaged(Path(folder), source, reader, rng)
            result, seconds = _measured(reader, path, source)
            slowest = max(slowest, seconds)
            done += 1
            if result in {ANSWERED, REFUSED}:
                counts[result] = counts.get(result, 0) + 1
                continue
            failures[result] = failures.get(result, 0) + 1
            print(f"{name} {number}: {source.name}: {result}", flush=True)
            if options.keep and failures[result] == 1:
                options.keep.mkdir(parents=True, exist_ok=True)
                kept = options.keep / f"{options.seed}-{number}-{broken.name}"
                kept.write_bytes(broken.read_bytes())
    print(
        f"{name}: {done} inputs from {len(sources)} files, seed {options.seed}: "
        f"{counts.get(ANSWERED, 0)} answered, {counts.get(REFUSED, 0)} refused, "
        f"{sum(failures.values())} failures; slowest {slowest:.1f} s"
    )
    return 1 if failures else 0


def write_damaged(
    folder: Path, source: Source, reader: Reader, rng: np.random.Generator
) -> tuple[Path, Path]:
    """Write the files of a source, one of them damaged; return what to read, and that one."""
    files = {**source.beside, source.name: source.content}
    target = source.damages or source.name
    files[target] = (reader.damage or damaged)(files[target], rng)
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    return folder / source.name, folder / target


def _measured(reader: Reader, path: Path, source: Source) -> tuple[str, float]:
    """Return what a reading came to, and its seconds."""
    Path("/proc/self/clear_refs").write_text("5")
    before_kb, started = peak_kb(), time.monotonic()
    signal.alarm(LIMIT_S)
    try:
        result = attempt(reader, path, source)
    except TooSlowError:  # as the reading ended
        result = "TooSlowError: "
    finally:
        signal.alarm(0)
    used = (peak_kb() - before_kb) * 1024
    if used > max(4 * reader.declared(path), FLOOR_MB << 20):
        result = f"memory: {used >> 20} MB"
    return result, time.monotonic() - started
