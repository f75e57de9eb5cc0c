"""Ways to store pixels: bits, tables, transfer syntaxes, multi-frame files, zips."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from tfseg.errors import DataError
from tfseg.io import dicom, read_volume

ARRAY = np.random.default_rng(1).integers(-1000, 1000, (6, 5, 7)).astype(np.int16)
Write = Callable[..., list[Path]]


def rewrite(paths: list[Path], change: Callable[[Dataset], None], **options: Any) -> Path:
    for path in paths:
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path, **options)
    return paths[0].parent


# Bits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "high"), [(12, 11), (12, 15), (10, 12), (16, 15)])
def test_junk_around_the_stored_bits(
    write_series: Write, signed: bool, bits: int, high: int
) -> None:
    rng = np.random.default_rng(2)
    low = -(1 << bits - 1) if signed else 0
    values = rng.integers(low, low + (1 << bits), (4, 5, 7))
    shift = high + 1 - bits
    mask = ((1 << bits) - 1) << shift
    words = (values << shift & mask) | (rng.integers(0, 1 << 16, values.shape) & ~mask)
    folder = write_series(
        words.astype(np.uint16),
        BitsStored=bits,
        HighBit=high,
        PixelRepresentation=int(signed),
    )[0].parent
    assert np.array_equal(read_volume(folder).array, values)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_all_sizes_of_pixels(write_series: Write, dtype: str) -> None:
    limits = np.iinfo(dtype)
    array = np.array([limits.min, limits.max, 0, 1, 2, 3], dtype).reshape(1, 2, 3)
    volume = read_volume(write_series(array)[0])
    assert volume.array.dtype == dtype
    assert np.array_equal(volume.array, array)


def test_an_odd_number_of_bytes_is_padded(write_series: Write) -> None:
    array = np.arange(15, dtype=np.uint8).reshape(1, 3, 5)
    path = write_series(array, PixelData=array.tobytes() + b"\0")[0]
    assert np.array_equal(read_volume(path).array, array)


def test_float_pixels(write_series: Write) -> None:
    array = np.random.default_rng(3).normal(size=(4, 5, 7)).astype(np.float32)
    folder = write_series(
        array.view(np.int32),
        each=lambda index: {"FloatPixelData": array[index].tobytes(), "PixelData": None},
        BitsStored=None,
        HighBit=None,
        PixelRepresentation=None,
    )[0].parent
    volume = read_volume(folder)
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, array)


@pytest.mark.parametrize(
    ("slope", "intercept"), [(1, -1024), (-1, 0), (3, 7), (40, -9), (1, 40000), (1.5, 0)]
)
def test_rescaled_values_are_exact(write_series: Write, slope: float, intercept: float) -> None:
    stored = np.array([0, 1, 2, 1000, 30000, 65535], np.uint16).reshape(1, 2, 3)
    kinds = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    volume = read_volume(write_series(stored, **kinds)[0])
    assert np.array_equal(volume.array, stored * float(slope) + intercept)
    assert volume.array.dtype.kind == ("f" if slope == 1.5 else "i")


@pytest.mark.parametrize(
    ("signed", "first"), [(False, 0), (False, 10), (True, 0), (True, 10), (True, -10)]
)
def test_modality_lut(write_series: Write, signed: bool, first: int) -> None:
    stored = np.arange(-20, 100).reshape(1, 10, 12)
    stored = stored.astype(np.int16) if signed else (stored + 20).astype(np.uint16)
    table = np.random.default_rng(4).integers(0, 4096, 64).astype(np.uint16)
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [64, first, 16])
    item.add_new("ModalityLUTType", "LO", "US")
    item.add_new("LUTData", "OW", table.tobytes())
    path = write_series(stored, ModalityLUTSequence=Sequence([item]), RescaleSlope=None,
                        RescaleIntercept=None)[0]  # fmt: skip
    dataset = pydicom.dcmread(path)
    expected = apply_modality_lut(dataset.pixel_array, dataset)
    assert np.array_equal(read_volume(path).array[0], expected)


def test_each_slice_has_its_own_modality_lut(write_series: Write) -> None:
    stored = np.tile(np.arange(4, dtype=np.uint16), (3, 2, 1))

    def each(index: int) -> dict[str, Any]:
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [4, 0, 16])
        item.add_new("LUTData", "US", [100 * index + entry for entry in (7, 5, 3, 1)])
        return {"ModalityLUTSequence": Sequence([item])}

    expected = np.tile([7, 5, 3, 1], (3, 2, 1)) + 100 * np.arange(3)[:, np.newaxis, np.newaxis]
    assert np.array_equal(read_volume(write_series(stored, each=each)[0].parent).array, expected)


def test_a_damaged_modality_lut(write_series: Write) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS", [64, 0, 16])
    item.add_new("LUTData", "OW", bytes(10))
    path = write_series(ARRAY[:1], ModalityLUTSequence=Sequence([item]))[0]
    with pytest.raises(DataError, match=r"image 100 says 64 of 16 bits and has 5"):
        read_volume(path)


def test_overlays_are_ignored(write_series: Write) -> None:
    def overlay(dataset: Dataset) -> None:
        dataset.add_new(0x60000010, "US", 5)
        dataset.add_new(0x60000011, "US", 7)
        dataset.add_new(0x60003000, "OW", b"\xff" * 6)

    assert np.array_equal(read_volume(rewrite(write_series(ARRAY), overlay)).array, ARRAY)


def test_optional_elements_may_be_missing(write_series: Write) -> None:
    folder = write_series(
        ARRAY,
        SliceThickness=None,
        RescaleSlope=None,
        RescaleIntercept=None,
        SeriesNumber=None,
        InstanceNumber=None,
        HighBit=None,
        SOPInstanceUID=None,
        Modality=None,
        PhotometricInterpretation=None,
    )[0].parent
    assert np.array_equal(read_volume(folder).array, ARRAY)


def test_optional_elements_may_be_nonsense(write_series: Write) -> None:
    folder = write_series(ARRAY)[0].parent
    for path in folder.iterdir():
        content = path.read_bytes()
        assert content.count(b"\x50\x00DS\x04\x009.0 ") == 1  # SliceThickness
        path.write_bytes(content.replace(b"DS\x04\x009.0 ", b"DS\x04\x00x?y "))
    assert np.array_equal(read_volume(folder).array, ARRAY)


# Transfer syntaxes and files ------------------------------------------------------------------


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_uncompressed_transfer_syntaxes(write_series: Write, syntax: Any) -> None:
    def change(dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset["PixelData"].VR = "OW"
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        # Nested sequences of undefined length, to be stepped over.
        item, inner = Dataset(), Dataset()
        inner.CodeValue = "1"
        item.PurposeOfReferenceCodeSequence = Sequence([inner])
        dataset.SourceImageSequence = Sequence([item, Dataset()])
        for element in (dataset["SourceImageSequence"],
                        item["PurposeOfReferenceCodeSequence"]):  # fmt: skip
            element.is_undefined_length = True

    options = {"little_endian": syntax != ExplicitVRBigEndian,
               "implicit_vr": syntax == ImplicitVRLittleEndian}  # fmt: skip
    paths = write_series(ARRAY)
    for path in paths:
        dataset = pydicom.dcmread(path)
        change(dataset)
        pydicom.dcmwrite(path, dataset, force_encoding=True, **options)
    volume = read_volume(paths[0].parent)
    assert np.array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(volume.spacing_mm, (4, 0.5, 0.75))


def test_files_without_preamble(write_series: Write) -> None:
    paths = write_series(ARRAY)
    for path in paths:
        bare = Dataset(pydicom.dcmread(path))  # without preamble and file meta information
        pydicom.dcmwrite(path, bare, implicit_vr=True, little_endian=True)
        assert path.read_bytes()[128:132] != b"DICM"
    assert np.array_equal(read_volume(paths[0].parent).array, ARRAY)


def test_a_dicomdir_beside_the_images(write_series: Write) -> None:
    folder = write_series(ARRAY)[0].parent
    record, directory = Dataset(), Dataset()
    record.DirectoryRecordType, record.PatientName = "PATIENT", "Secret^Name"
    directory.file_meta = pydicom.dataset.FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    directory.FileSetID = "SCAN"
    directory.DirectoryRecordSequence = Sequence([record])
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)
    tree = dicom.scan_tree(folder)
    assert (len(tree.series), tree.skipped, tree.unreadable) == (1, 1, ())
    assert np.array_equal(read_volume(folder).array, ARRAY)
    with pytest.raises(DataError, match="a DICOMDIR is no image"):
        dicom.read(folder / "DICOMDIR")


def test_a_zip(write_series: Write, tmp_path: Path) -> None:
    folder = write_series(ARRAY, folder="scan/deep")[0].parents[1]
    (folder / "notes.txt").write_text("not DICOM")
    shutil.make_archive(str(tmp_path / "scan"), "zip", folder)
    assert np.array_equal(read_volume(tmp_path / "scan.zip").array, ARRAY)


def test_a_zip_cannot_write_elsewhere(write_series: Write, tmp_path: Path) -> None:
    path = write_series(ARRAY[:1])[0]
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in/scan.zip", "w") as archive:
        archive.write(path, "../../../outside")
        archive.writestr("/absolute", "text")
    assert np.array_equal(read_volume(tmp_path / "in/scan.zip").array, ARRAY[:1])
    assert [found.name for found in (tmp_path / "in").iterdir()] == ["scan.zip"]
    assert not Path("/absolute").exists()


def test_a_damaged_zip(write_series: Write, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "scan"), "zip", write_series(ARRAY)[0].parent)
    content = bytearray((tmp_path / "scan.zip").read_bytes())
    content[200:260] = bytes(60)
    (tmp_path / "scan.zip").write_bytes(content)
    with pytest.raises(DataError, match="the zip cannot be unpacked"):
        read_volume(tmp_path / "scan.zip")


def test_damage_within_a_zip_is_named_by_the_zip(write_series: Write, tmp_path: Path) -> None:
    paths = write_series(ARRAY)
    for path in paths:
        path.write_bytes(path.read_bytes()[:-20])
    shutil.make_archive(str(tmp_path / "scan"), "zip", paths[0].parent)
    with pytest.raises(DataError, match=r"scan\.zip: series CT 1: the pixels of image") as caught:
        read_volume(tmp_path / "scan.zip")
    assert "tfseg-" not in str(caught.value)


# Multi-frame files ----------------------------------------------------------------------------


def enhanced(
    array: np.ndarray, heights: Any, frames: Callable[[int], dict[str, Any]] = lambda index: {}
) -> Dataset:
    """An Enhanced MR image: frames 0.5 x 0.75 mm, position and slope in groups of their own."""
    dataset = Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.SOPClassUID, dataset.SOPInstanceUID = EnhancedMRImageStorage, "1.2.3.4"
    dataset.SeriesInstanceUID, dataset.Modality = "1.2.3.5", "MR"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = array.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    measures.PixelSpacing = [0.5, 0.75]
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelMeasuresSequence = Sequence([measures])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for index, height in enumerate(heights):
        group, position, values = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [float(height), 20, 30]
        values.RescaleSlope, values.RescaleIntercept = 2, index
        group.PlanePositionSequence = Sequence([position])
        group.PixelValueTransformationSequence = Sequence([values])
        for keyword, items in frames(index).items():
            item = Dataset()
            for name, value in items.items():
                setattr(item, name, value)
            setattr(group, keyword, Sequence([item]))
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    dataset.PixelData = array.tobytes()
    return dataset


def stacks(path: Path) -> dict[str, dicom.Loaded]:
    (series,) = dicom.scan_tree(path).series
    return {stack.label: dicom.load(stack) for stack in dicom.split(series)}


@pytest.mark.parametrize("compressed", [False, True])
def test_an_enhanced_file(tmp_path: Path, compressed: bool) -> None:
    heights = [9, 0, 3, 12, 6, 15]  # stored in an order that means nothing
    dataset = enhanced(ARRAY, heights)
    if compressed:
        dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "frames.dcm", enforce_file_format=True)
    volume = read_volume(tmp_path / "frames.dcm")
    assert volume.shape == (6, 5, 7)
    # Rows run to the back, columns downwards: the normal, their cross product, to the right.
    order = np.argsort(heights)[::-1]
    expected = np.stack([2 * ARRAY[index] + index for index in order])
    assert np.array_equal(volume.array, expected)
    np.testing.assert_allclose((volume.affine @ [1, 2, 3, 1])[:3], (12, 20 + 3 * 0.75, 29))


def test_an_enhanced_file_of_two_echoes(tmp_path: Path) -> None:
    dataset = enhanced(
        ARRAY,
        [0, 0, 3, 3, 6, 6],
        lambda index: {"MREchoSequence": {"EffectiveEchoTime": 2.5 + 2.5 * (index % 2)}},
    )
    dataset.save_as(tmp_path / "frames.dcm", enforce_file_format=True)
    found = stacks(tmp_path)
    assert list(found) == ["echo 2.5", "echo 5"]
    for label, first in (("echo 2.5", 0), ("echo 5", 1)):
        expected = np.stack([2 * ARRAY[first + at] + first + at for at in (4, 2, 0)])
        assert np.array_equal(found[label].volume.array, expected)
    with pytest.raises(DataError, match=r"there are 2 volumes: MR 0 \(echo 2\.5\), MR 0 \(echo 5"):
        read_volume(tmp_path / "frames.dcm")


def test_an_enhanced_file_of_b_values_directions_and_times(tmp_path: Path) -> None:
    kinds = [(0, None), (800, [1.0, 0, 0]), (800, [0, 1.0, 0])]

    def frame(index: int) -> dict[str, Any]:
        b, direction = kinds[index // 2]
        items: dict[str, Any] = {"DiffusionBValue": float(b)}
        if direction:
            item = Dataset()
            item.DiffusionGradientOrientation = direction
            items["DiffusionGradientDirectionSequence"] = Sequence([item])
        return {"MRDiffusionSequence": items}

    dataset = enhanced(ARRAY, [0, 3] * 3, frame)
    dataset.save_as(tmp_path / "frames.dcm", enforce_file_format=True)
    assert list(stacks(tmp_path)) == ["b 0", "b 800, direction 0/1/0", "b 800, direction 1/0/0"]
    times = enhanced(
        ARRAY, [0, 3] * 3, lambda i: {"FrameContentSequence": {"TemporalPositionIndex": 1 + i // 2}}
    )
    times.save_as(tmp_path / "frames.dcm", enforce_file_format=True)
    assert list(stacks(tmp_path)) == ["time 1", "time 2", "time 3"]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda d: d.PerFrameFunctionalGroupsSequence.pop(), "6 frames needs a functional group; "),
        (lambda d: setattr(d, "NumberOfFrames", 60), "each of the 60 frames needs a functional"),
        (lambda d: setattr(d, "PixelData", d.PixelData[:-70]), "420 bytes are needed, .* has 350"),
        (lambda d: delattr(d, "SharedFunctionalGroupsSequence"), "needs ImageOrientationPatient"),
    ],
)
def test_damaged_enhanced_files(
    tmp_path: Path, change: Callable[[Dataset], Any], rule: str
) -> None:
    dataset = enhanced(ARRAY, [0, 3, 6, 9, 12, 15])
    change(dataset)
    dataset.save_as(tmp_path / "frames.dcm", enforce_file_format=True)
    with pytest.raises(DataError, match=rule):
        read_volume(tmp_path / "frames.dcm")


def test_reconstructed_nuclear_medicine(write_series: Write) -> None:
    path = write_series(
        ARRAY[:1],
        Modality="NM",
        NumberOfFrames=6,
        SpacingBetweenSlices=2.5,
        PixelData=ARRAY.tobytes(),
    )[0]
    volume = read_volume(path)
    assert np.array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(volume.spacing_mm, (2.5, 0.5, 0.75))


def test_a_frame_too_few(write_series: Write) -> None:
    path = write_series(
        ARRAY[:1], Modality="NM", NumberOfFrames=6, SpacingBetweenSlices=2.5,
        PixelData=ARRAY[:5].tobytes(),
    )[0]  # fmt: skip
    with pytest.raises(DataError, match="420 bytes are needed, the pixel data has 350"):
        read_volume(path)


# Mosaics --------------------------------------------------------------------------------------


def csa_header(**tags: list[str]) -> bytes:
    """Siemens' private header, format SV10, with the given tags."""
    data = b"SV10\4\3\2\1" + len(tags).to_bytes(4, "little") + (77).to_bytes(4, "little")
    for name, texts in tags.items():
        data += name.encode().ljust(64, b"\0") + (1).to_bytes(4, "little") + b"IS\0\0"
        data += (6).to_bytes(4, "little") + len(texts).to_bytes(4, "little")
        data += (77).to_bytes(4, "little")
        for text in texts:
            item = text.encode() + b"\0"
            data += len(item).to_bytes(4, "little") * 4 + item.ljust(-(-len(item) // 4) * 4, b"\0")
    return data


def mosaic(array: np.ndarray, side: int) -> np.ndarray:
    rows, columns = array.shape[1:]
    sheet = np.zeros((1, rows * side, columns * side), array.dtype)
    for index, plane in enumerate(array):
        top, left = index // side * rows, index % side * columns
        sheet[0, top : top + rows, left : left + columns] = plane
    return sheet


def add_csa(count: int, normal: list[str], creator: str = "SIEMENS CSA HEADER") -> Any:
    def change(dataset: Dataset) -> None:
        block = dataset.private_block(0x0029, creator, create=True)
        header = csa_header(NumberOfImagesInMosaic=[str(count)], SliceNormalVector=normal)
        block.add_new(0x10, "OB", header)

    return change


@pytest.mark.parametrize("sign", [1, -1])
def test_a_mosaic(write_series: Write, sign: int) -> None:
    paths = write_series(
        mosaic(ARRAY, 3),
        [(10, 20, 30)],
        ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"],
        SpacingBetweenSlices=3,
    )
    folder = rewrite(paths, add_csa(6, ["0.0", "0.0", f"{sign}.0"]))
    volume = read_volume(folder)
    assert np.array_equal(volume.array, ARRAY[::sign])
    # The slices lie in the middle of the sheet: 14 of 21 columns and 10 of 15 rows are halved.
    corner = (10 + 7 * 0.75, 20 + 5 * 0.5, 30 if sign > 0 else 30 - 15)
    np.testing.assert_allclose(volume.origin_mm, corner)
    np.testing.assert_allclose(volume.spacing_mm, (3, 0.5, 0.75))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda d: None, "private header that says how is missing"),
        (add_csa(6, ["0", "0"]), r"a normal vector; its private header says 6 and \[0.0, 0.0\]"),
        (add_csa(0, ["0", "0", "1"]), r"a mosaic of 1 to 4096 slices .* says 0"),
        (add_csa(17, ["0", "0", "1"]), "5 x 5 tiles do not fit into 15 x 21 pixels"),
        (add_csa(6, ["0", "0", "north"]), "private header that says how is missing or damaged"),
    ],
)
def test_damaged_mosaics(write_series: Write, change: Callable[[Dataset], None], rule: str) -> None:
    paths = write_series(
        mosaic(ARRAY, 3), ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"], SpacingBetweenSlices=3
    )
    with pytest.raises(DataError, match=rule):
        read_volume(rewrite(paths, change))


def test_a_mosaic_does_not_reach_beyond_numbers(write_series: Write) -> None:
    paths = write_series(
        mosaic(ARRAY, 3),
        ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"],
        SpacingBetweenSlices="1e308",
    )
    with pytest.raises(DataError, match=r"PixelSpacing above 0 and at most 1e\+06; got 1e\+308"):
        read_volume(rewrite(paths, add_csa(6, ["0", "0", "1"])))


def test_a_mosaic_does_not_guess_the_distance_of_its_slices(write_series: Write) -> None:
    # SliceThickness is there, and says nothing about the gap between slices.
    paths = write_series(mosaic(ARRAY, 3), ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    with pytest.raises(DataError, match="needs SpacingBetweenSlices and PixelSpacing above 0"):
        read_volume(rewrite(paths, add_csa(6, ["0", "0", "1"])))
