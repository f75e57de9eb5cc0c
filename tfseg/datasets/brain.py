"""Brain MR: BraTS, ISLES, MRBrainS and iSeg."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.reading import check_ids, find, read_image, read_values
from tfseg.errors import DataError

# BraTS: one order of channels for every year, and what each year calls them.
_BRATS_CHANNELS = ("T1", "T1c", "T2", "FLAIR")
_BRATS_NAMES = {"_": ("t1", "t1ce", "t2", "flair"), "-": ("t1n", "t1c", "t2w", "t2f")}
_BRATS_2015 = ("MR_T1.", "MR_T1c.", "MR_T2.", "MR_Flair.")
# Until 2016 the necrosis (1) and the tumour that does not enhance (3) were told apart.
_BRATS_OLD_VALUES = {0: 0, 1: 1, 2: 2, 3: 1, 4: 3}
_BRATS_VALUES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 3}  # enhancing: 4 until 2022, 3 from 2023 on


def _brats_cases(root: Path) -> list[Case]:
    """Return the cases of a year from 2017 on; those without a reference are the test set."""
    cases = []
    for mark, names in _BRATS_NAMES.items():
        for second in find(root, f"**/*{mark}{names[1]}.nii.gz"):
            stem = second.name.removesuffix(f"{mark}{names[1]}.nii.gz")
            paths = [second.with_name(f"{stem}{mark}{name}.nii.gz") for name in names]
            label = second.with_name(f"{stem}{mark}seg.nii.gz")
            labelled = label.is_file()
            cases.append(
                Case(
                    stem,
                    paths[0],
                    label if labelled else None,
                    split="train" if labelled else "test",
                    channels=tuple(paths[1:]),
                )
            )
    return sorted(cases, key=lambda case: (case.split == "test", case.id))


def _brats_2015_folders(root: Path) -> list[Path]:
    return sorted({path.parents[1] for path in find(root, "**/VSD.Brain*MR_T1c.*/*.mha")})


def recognises_brats(root: Path) -> bool:
    """Tell whether case folders hold BraTS' files of any year."""
    return bool(_brats_cases(root) or _brats_2015_folders(root))


def open_brats(root: Path) -> Dataset:
    """Open BraTS of 2012 to 2016 (MetaImage) or of 2017 and later (NIfTI).

    The classes are those of 2017 on, in every year: necrosis and non-enhancing tumour, oedema,
    enhancing tumour.

    Raises:
        DataError: a case lacks a channel.
    """
    old = _brats_2015_folders(root)
    cases = [_brats_2015_case(folder) for folder in old] or _brats_cases(root)
    values = _BRATS_OLD_VALUES if old else _BRATS_VALUES
    return Dataset(
        name="BraTS",
        adapter="brats",
        root=root,
        dims=3,
        modalities=_BRATS_CHANNELS,
        labels=("background", "necrosis", "edema", "enhancing"),
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, values),
        stored=values,
    )


def _brats_2015_case(folder: Path) -> Case:
    paths = []
    for name in _BRATS_2015:
        paths += find(folder, f"VSD.Brain*{name}*/*.mha", least=1, what="a channel")[:1]
    reference = next(iter(find(folder, "VSD.Brain*OT*/*.mha")), None)
    return Case(
        f"{folder.parent.name}_{folder.name}",  # HGG or LGG
        paths[0],
        reference,
        split="train" if reference else "test",
        channels=tuple(paths[1:]),
    )


def example_brats(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write the layout of 2018."""
    for number in range(cases):
        name = f"Brats18_TFSEG_{number + 1}_1"
        image, label = examples.draw(rng, 3)
        folder = root / ("HGG" if number % 2 else "LGG") / name
        for gain, channel in enumerate(_BRATS_NAMES["_"], start=1):
            examples.save((gain * image).astype(np.int16), folder / f"{name}_{channel}.nii.gz")
        stored = np.array([0, 1, 2, 4], np.uint8)[label]
        examples.save(stored, folder / f"{name}_seg.nii.gz")


_ISLES = re.compile(r"\.(?:MR_|CT_|(?=CT\.))([A-Za-z0-9]+)\.")  # MR_ADC, CT_CBF, CT


def recognises_isles(root: Path) -> bool:
    """Tell whether SMIR or VSD folders hold a diffusion or perfusion channel and a lesion."""
    return any(_isles_references(root)) and not recognises_brats(root)


def _isles_references(root: Path) -> list[Path]:
    kinds = ("nii", "nii.gz")
    return [path for kind in kinds for path in find(root, f"**/*.Brain.*OT.*/*OT.*.{kind}")]


def open_isles(root: Path) -> Dataset:
    """Open ISLES 2015 to 2018; the channels are those that every case has, by name.

    Four-dimensional perfusion series are left out.

    Raises:
        DataError: the cases have no channel in common.
    """
    folders = sorted({path.parents[1] for path in _isles_references(root)})
    files = {folder: _isles_channels(folder) for folder in folders}
    shared = sorted(set.intersection(*(set(found) for found in files.values())))
    if not shared:
        raise DataError(f"{root}: the cases have no channel in common. Check that all are there.")
    references = {path.parents[1]: path for path in _isles_references(root)}
    cases = [
        Case(
            folder.name,
            files[folder][shared[0]],
            references[folder],
            channels=tuple(files[folder][name] for name in shared[1:]),
        )
        for folder in folders
    ]
    return Dataset(
        name="ISLES",
        adapter="isles",
        root=root,
        dims=3,
        modalities=tuple(shared),
        labels=("background", "lesion"),
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, {0: 0, 1: 1}),
    )


def _isles_channels(folder: Path) -> dict[str, Path]:
    found = {}
    for path in (*find(folder, "*.Brain.*/*.nii"), *find(folder, "*.Brain.*/*.nii.gz")):
        name = _ISLES.search(path.name)
        if name and "4D" not in name[1]:
            found[name[1]] = path
    return found


def example_isles(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write the layout of 2017, with its series of four dimensions."""
    for number in range(cases):
        image, label = examples.draw(rng, 1)
        for gain, channel in enumerate(("MR_ADC", "MR_Tmax", "MR_4DPWI"), start=1):
            array = (gain * image).astype(np.int16)
            if "4D" in channel:
                array = np.stack([array] * 3, axis=-1)
            stem = f"SMIR.Brain.XX.O.{channel}.{number * 10 + gain}"
            examples.save(array, root / f"TRAINING/case_{number + 1}" / stem / f"{stem}.nii")
        stem = f"SMIR.Brain.XX.O.OT.{number * 10}"
        examples.save(label, root / f"TRAINING/case_{number + 1}" / stem / f"{stem}.nii")


_MRBRAINS = ("T1.nii", "T1_IR.nii", "T2_FLAIR.nii")
_MRBRAINS_LABELS = "LabelsForTesting.nii"  # cerebrospinal fluid, gray and white matter


def recognises_mrbrains(root: Path) -> bool:
    """Tell whether numbered folders hold the label maps of MRBrainS13."""
    return any(root.glob(f"TrainingData/*/{_MRBRAINS_LABELS}"))


def open_mrbrains(root: Path) -> Dataset:
    """Open MRBrainS13: three channels, three tissues (``LabelsForTesting``)."""
    cases = []
    for label in find(root, f"TrainingData/*/{_MRBRAINS_LABELS}"):
        paths = [label.parent / name for name in _MRBRAINS]
        cases.append(Case(label.parent.name, paths[0], label, channels=tuple(paths[1:])))
    for first in find(root, f"TestData/*/{_MRBRAINS[0]}"):
        paths = [first.parent / name for name in _MRBRAINS[1:]]
        cases.append(Case(f"test_{first.parent.name}", first, channels=tuple(paths), split="test"))
    return Dataset(
        name="MRBrainS13",
        adapter="mrbrains13",
        root=root,
        dims=3,
        modalities=("T1", "T1_IR", "T2_FLAIR"),
        labels=("background", "cerebrospinal_fluid", "gray_matter", "white_matter"),
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, {0: 0, 1: 1, 2: 2, 3: 3}),
        folds=5,
    )


def example_mrbrains(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write training folders, and one test folder."""
    for number in range(cases + 1):
        image, label = examples.draw(rng, 3)
        half = "TrainingData" if number < cases else "TestData"
        folder = root / half / str(number + 1)
        for gain, name in enumerate(_MRBRAINS, start=1):
            examples.save((gain * image).astype(np.int16), folder / name)
        if number < cases:
            examples.save(label, folder / _MRBRAINS_LABELS)
            examples.save(label * 2, folder / "LabelsForTraining.nii")


def recognises_iseg(root: Path) -> bool:
    """Tell whether ``subject-1-T1`` and ``subject-1-label`` are there, as Analyze pairs."""
    return any(root.glob("**/subject-*-T1.hdr"))


def open_iseg(root: Path) -> Dataset:
    """Open iSeg 2017: infants of six months, T1 and T2."""
    cases = []
    for first in find(root, "**/subject-*-T1.hdr"):
        stem = first.name.removesuffix("-T1.hdr")
        label = first.with_name(f"{stem}-label.hdr")
        labelled = label.exists()
        cases.append(
            Case(
                stem,
                first,
                label if labelled else None,
                split="train" if labelled else "test",
                channels=(first.with_name(f"{stem}-T2.hdr"),),
            )
        )
    return Dataset(
        name="iSeg-2017",
        adapter="iseg2017",
        root=root,
        dims=3,
        modalities=("T1", "T2"),
        labels=("background", "cerebrospinal_fluid", "gray_matter", "white_matter"),
        cases=check_ids(root, cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, {0: 0, 10: 1, 150: 2, 250: 3}),
        stored={0: 0, 10: 1, 150: 2, 250: 3},
    )


def example_iseg(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write training subjects, and one test subject without labels."""
    for number in range(1, cases + 2):
        image, label = examples.draw(rng, 3)
        folder = root / ("iSeg-2017-Training" if number <= cases else "iSeg-2017-Testing")
        for gain, name in ((1, "T1"), (2, "T2")):
            examples.save_analyze((gain * image), folder / f"subject-{number}-{name}.hdr")
        if number <= cases:
            stored = np.array([0, 10, 150, 250], np.uint8)[label]
            examples.save_analyze(stored, folder / f"subject-{number}-label.hdr")


ADAPTERS = (
    Adapter(
        name="brats",
        title="BraTS: brain tumours, every year from 2012 on",
        layout="case folders with NAME_t1ce.nii.gz and NAME_seg.nii.gz, or VSD.Brain MetaImages",
        dims=3,
        reference="Menze et al. 2015, doi:10.1109/TMI.2014.2377694",
        licence="terms of use of the challenge",
        registration=True,
        recognises=recognises_brats,
        open=open_brats,
        example=example_brats,
    ),
    Adapter(
        name="isles",
        title="ISLES: stroke lesions, 2015 to 2018",
        layout="case folders with SMIR.Brain or VSD.Brain folders, the reference in ...OT...",
        dims=3,
        reference="Maier et al. 2017, doi:10.1016/j.media.2016.07.009",
        licence="terms of use of the challenge",
        registration=True,
        recognises=recognises_isles,
        open=open_isles,
        example=example_isles,
    ),
    Adapter(
        name="mrbrains13",
        title="MRBrainS13: brain tissues",
        layout=f"TrainingData/N/{{T1,T1_IR,T2_FLAIR}}.nii with {_MRBRAINS_LABELS}",
        dims=3,
        reference="Mendrik et al. 2015, doi:10.1155/2015/813696",
        licence="terms of use of the challenge",
        registration=True,
        recognises=recognises_mrbrains,
        open=open_mrbrains,
        example=example_mrbrains,
    ),
    Adapter(
        name="iseg2017",
        title="iSeg-2017: tissues of the infant brain",
        layout="subject-N-T1.hdr, subject-N-T2.hdr, subject-N-label.hdr (Analyze)",
        dims=3,
        reference="Wang et al. 2019, doi:10.1109/TMI.2019.2901712",
        licence="terms of use of the challenge",
        registration=True,
        recognises=recognises_iseg,
        open=open_iseg,
        example=example_iseg,
    ),
)
