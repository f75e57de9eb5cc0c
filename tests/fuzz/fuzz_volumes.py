"""Throw damaged volumes at the readers of NIfTI, Analyze, MetaImage, NRRD and FreeSurfer.

The good files are written here, one of each way to keep voxels, and some real ones are added
where there are any; see :mod:`harness` for the options and for what counts as a failure::

    python tests/fuzz/fuzz_volumes.py --reader nrrd --inputs 20000

An answer is a failure, too, where two readings differ (it came from memory that was never
written), where a compressed stream was damaged and the voxels are others than in the good file,
and where nibabel reads other voxels from the same bytes.
"""

from __future__ import annotations

import bz2
import gzip
import logging
import sys
import tempfile
import warnings
import zlib
from functools import cache, partial
from pathlib import Path

import numpy as np
from harness import Reader, Source, damaged, main, one_bit, real_data

VALUES = np.random.default_rng(1).integers(0, 900, (5, 6, 7)).astype("<i2")  # z, y, x
RAW = VALUES.tobytes()
TEXT = b" ".join(b"%d" % value for value in VALUES.ravel())
MOST_SOURCE_BYTES = 100_000
REAL_FILES = 4

MHA = (
    "ObjectType = Image\nNDims = 3\nBinaryData = {binary}\nBinaryDataByteOrderMSB = False\n"
    "CompressedData = {packed}\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\n"
    "ElementSpacing = 1 2 3\nDimSize = 7 6 5\nElementType = MET_SHORT\nElementDataFile = {where}\n"
)
NRRD = (
    "NRRD0005\n# a comment\ntype: short\ndimension: 3\nspace: left-posterior-superior\n"
    "sizes: 7 6 5\nspace directions: (1,0,0) (0,2,0) (0,0,3)\nkinds: domain domain domain\n"
    'space units: "mm" "mm" "mm"\nendian: little\nencoding: {encoding}\n'
    "space origin: (1,2,3)\nkey:=value\n{more}"
)


def metaimages() -> list[Source]:
    """Return MetaImages, plain and packed, in one file and in several."""

    def header(where: str, packed: bool = False, binary: bool = True) -> bytes:
        return MHA.format(binary=binary, packed=packed, where=where).encode()

    planes = {f"{place}.raw": plane.tobytes() for place, plane in enumerate(VALUES)}
    listed = "".join(f"{name}\n" for name in planes).encode()
    return [
        Source("plain.mha", header("LOCAL") + RAW),
        Source("packed.mha", header("LOCAL", packed=True) + zlib.compress(RAW)),
        Source("text.mha", header("LOCAL", binary=False) + TEXT),
        Source("plain.mhd", header("x.raw"), {"x.raw": RAW}),
        Source(
            "stream.mhd", header("x.zraw", packed=True), {"x.zraw": zlib.compress(RAW)}, "x.zraw"
        ),
        Source("packed.mhd", header("x.zraw", packed=True), {"x.zraw": zlib.compress(RAW)}),
        Source("list.mhd", header("LIST") + listed, planes),
        Source("series.mhd", header("%d.raw 0 4 1"), planes),
        *real(".mha", ".mhd"),
    ]


def nrrds() -> list[Source]:
    """Return NRRDs of every encoding, in one file and in several."""

    def header(encoding: str, more: str = "") -> bytes:
        return NRRD.format(encoding=encoding, more=more).encode()

    planes = {f"{place}.raw": plane.tobytes() for place, plane in enumerate(VALUES)}
    listed = "".join(f"{name}\n" for name in planes)
    packed = {"x.gz": gzip.compress(RAW, mtime=0)}
    return [
        Source("raw.nrrd", header("raw", "\n") + RAW),
        Source("gzip.nrrd", header("gzip", "\n") + gzip.compress(RAW, mtime=0)),
        Source("bzip2.nrrd", header("bzip2", "\n") + bz2.compress(RAW)),
        Source("text.nrrd", header("text", "\n") + TEXT),
        Source("hex.nrrd", header("hex", "\n") + RAW.hex().encode()),
        Source("raw.nhdr", header("raw", "byte skip: -1\ndata file: x.raw\n"), {"x.raw": RAW}),
        Source("stream.nhdr", header("gzip", "data file: x.gz\n"), packed, "x.gz"),
        Source("gzip.nhdr", header("gzip", "data file: x.gz\n"), packed),
        Source("list.nhdr", header("raw", f"data file: LIST\n{listed}"), planes),
        Source("series.nhdr", header("raw", "data file: %d.raw 0 4 1\n"), planes),
        *real(".nrrd"),
    ]


def niftis() -> list[Source]:
    """Return NIfTI-1 and NIfTI-2, plain and packed, of both byte orders."""
    import nibabel as nib

    found = []
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        for order in "<>":
            header = kind.header_class(endianness=order)
            header.set_data_dtype(f"{order}i2")
            image = kind(VALUES.T, np.diag([1.0, 2, 3, 1]), header)
            image.set_qform(image.affine, 1)
            image.header.set_slope_inter(0.5, -7)
            content = image.to_bytes()
            name = f"{kind.__name__}-{'big' if order == '>' else 'little'}"
            found += [
                Source(f"{name}.nii", content),
                Source(f"{name}.nii.gz", gzip.compress(content, mtime=0)),
            ]
    return [*found, *real(".nii.gz", ".nii")]


def pairs() -> list[Source]:
    """Return pairs of .hdr and .img, of which either is damaged."""
    import nibabel as nib

    found = []
    for kind in (nib.AnalyzeImage, nib.Spm2AnalyzeImage, nib.Nifti1Pair):
        image = kind(VALUES.T, np.diag([-1.0, 2, 3, 1]))
        with tempfile.TemporaryDirectory() as folder:
            nib.save(image, Path(folder, "a.img"))
            parts = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        header, pixels = parts["a.hdr"], parts["a.img"]
        for target in ("", "a.img"):
            found.append(Source("a.hdr", header, {"a.img": pixels}, target))
    return found


def slicer() -> list[Source]:
    """Return segmentations of 3D Slicer, of one layer and of two, on a part of the image."""
    one, two = VALUES.astype(np.uint8) % 3, VALUES.astype(np.uint8) % 2
    found = []
    for name, layers, keys in (
        ("one", one, (("organ", 0, 1), ("tumour", 0, 2))),
        ("two", np.stack([one, two], axis=-1), (("organ", 0, 1), ("tumour", 1, 1))),
    ):
        more = "".join(
            f"Segment{number}_ID:=S{number}\nSegment{number}_Name:={structure}\n"
            f"Segment{number}_Layer:={layer}\nSegment{number}_LabelValue:={value}\n"
            for number, (structure, layer, value) in enumerate(keys)
        )
        header = NRRD.format(encoding="gzip", more=more + "\n").replace("short", "uchar")
        if name == "two":
            for old, new in (
                ("dimension: 3", "dimension: 4"), ("sizes: ", "sizes: 2 "),
                ("kinds: ", "kinds: list "), ("directions: ", "directions: none "),
            ):  # fmt: skip
                header = header.replace(old, new)
        content = header.encode() + gzip.compress(layers.tobytes(), mtime=0)
        found.append(Source(f"{name}.seg.nrrd", content))
    return found


def read_slicer(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the label map of a segmentation on its image, and the image's affine."""
    from tfseg.io.references import structure_names
    from tfseg.io.segments import read_segments
    from tfseg.volume import Volume

    image = Volume.from_geometry(np.zeros((7, 8, 9), np.uint8), (3, 2, 1), (0, 0, 0))
    structure_names(path)
    labels, _, _ = read_segments(path, image)
    return labels.array, labels.affine


def freesurfer() -> list[Source]:
    """Return volumes of FreeSurfer, plain and packed."""
    import nibabel as nib

    image = nib.freesurfer.MGHImage(VALUES.T.astype(">i2"), np.diag([-1.0, 2, 3, 1]))
    content = image.to_bytes()
    return [Source("a.mgh", content), Source("a.mgz", gzip.compress(content, mtime=0))]


def read_freesurfer(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels and affine."""
    from tfseg.datasets import freesurfer

    volume = freesurfer.read(path)
    return volume.array, volume.affine


def real(*suffixes: str) -> list[Source]:
    """Return some small real files, the same ones every time."""
    folder = real_data()
    files = sorted(folder.rglob("*")) if folder.is_dir() else []
    fitting = [
        path
        for path in files
        if path.name.endswith(suffixes) and path.stat().st_size <= MOST_SOURCE_BYTES
    ]
    chosen = fitting[:: max(1, len(fitting) // REAL_FILES)][:REAL_FILES]
    return [Source(path.name, path.read_bytes()) for path in chosen]


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels and affine."""
    from tfseg.io import read_volume

    volume = read_volume(path)
    return volume.array, volume.affine


READ = {".seg.nrrd": read_slicer, ".mgz": read_freesurfer, ".mgh": read_freesurfer}


def read_any(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels and affine by the reader of the file's suffix."""
    own = (reader for suffix, reader in READ.items() if path.name.endswith(suffix))
    return next(own, read)(path)


@cache
def good(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Return what the source holds before it is damaged."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {**source.beside, source.name: source.content}.items():
            Path(folder, name).write_bytes(content)
        return read_any(Path(folder, source.name))


def same(first: np.ndarray, second: np.ndarray) -> bool:
    """Tell whether two arrays are alike, NaN included."""
    return first.shape == second.shape and np.array_equal(
        first, second, equal_nan=first.dtype.kind == "f"
    )


def vouched(path: Path, source: Source) -> bool:
    """Tell whether all that can have changed is under a checksum."""
    if source.damages:
        return source.damages.endswith(("gz", "zraw"))
    if source.name.endswith((".gz", ".mgz")):
        return True
    content, stop = source.content, 0
    if b"CompressedData = True" in content and b"LOCAL\n" in content:
        stop = content.index(b"LOCAL\n") + 6
    elif b"encoding: gzip\n" in content or b"encoding: bzip2\n" in content:
        stop = content.index(b"\n\n") + 2 if b"\n\n" in content else 0
    return stop > 0 and path.read_bytes()[:stop] == content[:stop]


def silent(path: Path, source: Source, answer: object) -> str:
    """Return why an answer must not have been given, or an empty text."""
    array, affine = answer  # type: ignore[misc]
    again, _ = read_any(path)
    if not same(array, again):
        return "two readings differ"
    if vouched(path, source):
        voxels, place = good(source)
        if not same(array, voxels) or not np.array_equal(affine, place):
            return "other voxels from a damaged stream"
    if path.name.endswith(".nii") and not source.damages:
        return by_nibabel(path, array)
    return ""


def by_nibabel(path: Path, array: np.ndarray) -> str:
    """Return where nibabel reads other voxels from the file, if it reads it."""
    import nibabel as nib

    nib.imageglobals.logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = np.asanyarray(nib.load(path).dataobj).astype(np.float32)
    except Exception:  # it refuses more than we do in some places
        return ""
    expected = stored.reshape(stored.shape + (1,) * (3 - stored.ndim))
    expected = expected.transpose(2, 1, 0, *range(3, expected.ndim)).ravel()
    with np.errstate(all="ignore"):
        ours = array.astype(np.float32).ravel()
        close = np.isclose(ours, expected, rtol=1e-3, equal_nan=True) | ~np.isfinite(expected)
    return "" if len(ours) == len(expected) and close.all() else "nibabel reads other voxels"


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a damaged copy: a third of them by one bit."""
    return one_bit(content, rng) if rng.random() < 0.33 else damaged(content, rng)


reader = partial(Reader, read=read_any, oracle=silent, damage=damage)
READERS = {
    "metaimage": reader(metaimages),
    "nrrd": reader(nrrds),
    "nifti": reader(niftis),
    "analyze": reader(pairs),
    "slicer": reader(slicer),
    "freesurfer": reader(freesurfer),
}

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    warnings.simplefilter("error")
    sys.exit(main(__doc__, READERS))
