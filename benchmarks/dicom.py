"""Time to read a DICOM series: tfseg against pydicom's loop and SimpleITK's series reader.

Writes series of 512 x 512 slices to a temporary folder, then reads each with every contender,
each reading in a fresh process, one after another, and repeats; the least CPU and wall times
and the greatest memory above the interpreter's count. What is read is compared with what was
written. Exits with 1 where a goal is missed::

    python benchmarks/dicom.py [--slices 300] [--compressed-slices 60] [--repeats 3]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CONTENDERS = ("tfseg", "pydicom", "SimpleITK")
SYNTAXES = ("uncompressed", "RLE", "JPEG 2000", "JPEG-LS")
GOAL_UNCOMPRESSED = 2.0  # times faster than each peer, in CPU and in wall time
GOAL_COMPRESSED = 1.0  # never slower than pydicom's loop, in CPU time
NOISE = 1.05  # CPU times of one program differ by as much
GOAL_MEMORY_MB = 150  # above the volume


def read_tfseg(folder: Path) -> np.ndarray:
    """tfseg's reader, geometry checked."""
    from tfseg.io import read_volume

    return read_volume(folder).array


def read_pydicom(folder: Path) -> np.ndarray:
    """The loop of every tutorial: read, sort by position, rescale, stack."""
    import pydicom

    slices = [pydicom.dcmread(path) for path in folder.iterdir()]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    return np.stack(
        [
            one.pixel_array.astype(np.int16) * int(one.RescaleSlope) + int(one.RescaleIntercept)
            for one in slices
        ]
    )


def read_simpleitk(folder: Path) -> np.ndarray:
    """SimpleITK's reader of the sorted names of a folder."""
    import SimpleITK as sitk  # noqa: N813

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return sitk.GetArrayFromImage(reader.Execute())


READERS = {"tfseg": read_tfseg, "pydicom": read_pydicom, "SimpleITK": read_simpleitk}


def measure(contender: str, folder: Path) -> dict[str, float | str]:
    """Read once, warm: imports and caches have been paid for by a reading of one slice."""
    one = folder.parent / "one"
    READERS[contender](one)
    before_kb = resident_kb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    cpu, wall = time.process_time(), time.perf_counter()
    array = READERS[contender](folder)
    return {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
        "memory_mb": (resident_kb("VmHWM") - before_kb) / 1024,
        "volume_mb": array.nbytes / 2**20,
        "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
    }


def resident_kb(kind: str) -> int:
    """Return the resident memory of this process: now (VmRSS) or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind))


def volume(slices: int) -> np.ndarray:
    """A smooth body with noise, so that it compresses as scans do."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    body = np.where(x**2 + y**2 < 0.7, 40 + 300 * np.cos(5 * x) * np.sin(3 * y), -1000)
    noise = rng.integers(-20, 20, (slices, 512, 512))
    return (body + noise).astype(np.int16)


def write(folder: Path, array: np.ndarray, syntax: str) -> None:
    """Write a CT series with the elements that scanners write."""
    import gdcm
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    series, study = generate_uid(), generate_uid()
    for index, plane in enumerate(array):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, study
        dataset.PatientName, dataset.PatientID, dataset.Modality = "A^B", "1", "CT"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        for number in range(60):  # private elements, of which scanners write many
            dataset.add_new((0x0009, 0x1000 + number), "LO", f"private {number}")
        dataset.private_block(0x0009, "BENCHMARK", create=True)
        dataset.SeriesNumber, dataset.InstanceNumber = 1, index + 1
        dataset.ImagePositionPatient = [-250, -250, 1.5 * index]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [0.977, 0.977], 1.5
        dataset.Rows, dataset.Columns = plane.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelRepresentation = 0
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        dataset.PixelData = (plane + 1024).astype(np.uint16).tobytes()
        path = folder / f"{(index * 7919) % 100_000:05d}"
        dataset.save_as(path, enforce_file_format=True)
        if syntax == "uncompressed":
            continue
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        kind = {
            "RLE": gdcm.TransferSyntax.RLELossless,
            "JPEG 2000": gdcm.TransferSyntax.JPEG2000Lossless,
            "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
        }[syntax]
        change.SetTransferSyntax(gdcm.TransferSyntax(kind))
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise RuntimeError(f"gdcm cannot write {syntax}")
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.Write()


def compare(folder: Path, array: np.ndarray, repeats: int) -> dict[str, dict[str, float]]:
    """Measure every contender ``repeats`` times in turn; return the best of each."""
    wanted = hashlib.sha256(array.tobytes()).hexdigest()
    best: dict[str, dict[str, float]] = {}
    for _ in range(repeats):
        for contender in CONTENDERS:
            done = subprocess.run(
                [sys.executable, __file__, "--measure", contender, str(folder)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            found = json.loads(done.stdout)
            if found.pop("sha256") != wanted:
                print(f"<!-- {contender} read other voxels than were written -->")
                if contender == "tfseg":
                    raise SystemExit("tfseg read other voxels than were written")
            known = best.setdefault(contender, found)
            for key in ("cpu_s", "wall_s"):
                known[key] = min(known[key], found[key])
            known["memory_mb"] = max(known["memory_mb"], found["memory_mb"])
    return best


def main() -> int:
    """Run the comparison and print a table; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--compressed-slices", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("CONTENDER", "FOLDER"))
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], Path(options.measure[1]))))
        return 0
    missed = []
    print("| series | reader | CPU s | wall s | memory above the volume, MB |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as root:
        for syntax in SYNTAXES:
            plain = syntax == "uncompressed"
            array = volume(options.slices if plain else options.compressed_slices)
            place = Path(root, syntax)
            place.mkdir()
            write(place / "series", array, syntax)
            write(place / "one", array[:1], syntax)
            found = compare(place / "series", array, options.repeats)
            for contender, row in found.items():
                extra = row["memory_mb"] - row["volume_mb"]
                print(
                    f"| {len(array)} x 512 x 512 {syntax} | {contender} | {row['cpu_s']:.3f} | "
                    f"{row['wall_s']:.3f} | {extra:.0f} |",
                    flush=True,
                )
            ours = found["tfseg"]
            for peer in ("pydicom", "SimpleITK"):
                for clock in ("cpu_s", "wall_s"):
                    ratio = found[peer][clock] / ours[clock]
                    print(f"<!-- {syntax}: {peer} / tfseg, {clock}: {ratio:.2f} -->")
                    judged = plain or (peer == "pydicom" and clock == "cpu_s")
                    goal = GOAL_UNCOMPRESSED if plain else GOAL_COMPRESSED / NOISE
                    if judged and ratio < goal:
                        missed.append(f"{syntax} against {peer}: {clock} {ratio:.2f} < {goal:.2f}")
            if ours["memory_mb"] - ours["volume_mb"] > GOAL_MEMORY_MB:
                missed.append(f"{syntax}: memory above the volume")
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
