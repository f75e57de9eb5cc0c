"""Write the pages that list losses, metrics and data sets, from their registries.

    python docs/make_lists.py

A test compares the pages with what this writes.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from tfseg.datasets import ADAPTERS
from tfseg.files import write_text
from tfseg.losses import LOSSES, LossSettings
from tfseg.metrics.registry import METRICS

DOCS = Path(__file__).resolve().parent


def losses_page() -> str:
    """Return ``losses.md``."""
    common = ", ".join(
        f"`{name}={field.default!r}`" for name, field in LossSettings.model_fields.items()
    )
    lines = [
        "# Losses",
        "",
        '`tfseg train --set loss="dice + 0.5*focal(gamma=2)"` trains with any sum of them; the',
        "default is `dice + ce`. In Python `tfseg.losses.build_loss(text)` is a Keras loss, from",
        "logits, in 2D and 3D. p is the target, q the probability, N the number of voxels, <p,q>",
        "and |p| sums over voxels. `tfseg losses NAME` tells more of one.",
        "",
        f"Every supervised loss also takes {common}.",
        "",
        "Terms are functions of other tensors, in `tfseg.losses`' modules, for training schemes;",
        "they cannot be trained with by themselves.",
    ]
    for kind, title in (("supervised", "Supervised"), ("term", "Terms")):
        lines += [
            "",
            f"## {title}",
            "",
            "| loss | what it is | formula | paper |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{info.signature}` | {info.category} | {_cell(info.formula)} "
            f"| {_cell(info.paper)} |"
            for info in LOSSES.values()
            if info.kind == kind
        ]
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    """Return ``metrics.md``."""
    lines = [
        "# Metrics",
        "",
        "`tfseg evaluate --metrics dice,hd95,nsd` measures them; `tfseg metrics NAME` tells more",
        "of one. A and B are the class in the reference and in the prediction, TP, FP, FN and TN",
        "its voxels against the rest, d(A->B) the distances from each surface voxel of A to the",
        "nearest of B, n their number. A value that is not defined is left out of every mean and",
        "counted beside it.",
        "",
        "A class that neither map has counts as found (Dice 1) unless `--both-empty nan` is",
        "given. So where cases lack a class, the mean says little of whether it is found:",
        "`evaluate` then also gives the Dice over the cases whose reference has it, how many",
        "have none, and in how many it was missed or invented.",
        "",
        "While a network is trained, up to `validation_cases` of the held-out cases are segmented",
        "now and then, picked so that they have the classes there are. They watch and choose",
        "nothing: the network of a run is the average of its weights over the last steps, so what",
        "the held-out cases say at the end comes from cases that had no say. What is shown is the",
        "Dice of each class pooled over them, that is of their voxels counted together, and the",
        "mean over the classes that any of them has: a network that finds nothing has 0, and what",
        "it finds where nothing is costs. `history.csv` has for each class its pooled Dice, the",
        "cases that have it (`val_cases_...`), those where it was missed altogether and those",
        "without it where it was found (`val_invented_...`). With `--set patience=N` they choose",
        "when the run ends, N epochs after the best of them; the run and its report say so.",
    ]
    for group, members in itertools.groupby(METRICS.values(), key=lambda info: info.group):
        lines += [
            "",
            f"## {group.capitalize()}",
            "",
            "| metric | of | unit | formula | where a map lacks the class | source |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| `{info.name}` | {info.level} | {info.unit} | {_cell(info.summary)} "
            f"| {_cell(info.empty)} | {_cell(info.source)} |"
            for info in members
        ]
    return "\n".join(lines) + "\n"


def datasets_page() -> str:
    """Return ``datasets.md``."""
    lines = [
        "# Data sets",
        "",
        "A folder is recognised from what is in it; `--data FOLDER` is all that is said. Data of",
        "your own: `images/` beside `labels/`, or a table `cases.csv`; `labels.csv` (value,name)",
        "names the label values of both; their labels may be DICOM Segmentations or structure",
        "sets. `tfseg check FOLDER` reads every case, names what is wrong and files that are of",
        "no case; `tfseg phantom OUT --layout NAME` writes a tiny example of any layout.",
        "",
        "A label of several overlapping structures becomes one label map, in which the later",
        "structure of the list is kept. Cases of one patient never part in a split.",
        "",
        "| name | data | recognised by | dims | reference | licence |",
        "|---|---|---|---|---|---|",
    ]
    for adapter in ADAPTERS:
        others = [name for name in adapter.ids if name != adapter.name]
        also = f"; also {', '.join(others)}" if others else ""
        asks = "; registration" if adapter.registration else ""
        lines.append(
            f"| `{adapter.name}` | {_cell(adapter.title + also)} | {_cell(adapter.layout)} "
            f"| {adapter.dims} | {_cell(adapter.reference)} | {_cell(adapter.licence + asks)} |"
        )
    lines += ["", *_NOTES.splitlines()]
    return "\n".join(lines) + "\n"


_NOTES = """\
## What to know

Layouts were written from publications and public code; of most the data themselves were not at
hand, so that a copy may differ in a detail. What could be tried on real files: the Decathlon,
DRIVE, BIDS derivatives and plain folders. Look at a few cases before you train for days.

- `ddsm`: the pictures are published as LJPEG, whose headers are not true (width and height
  swapped, another prediction than announced), so that common decoders give noise. Convert them
  without resizing, e.g. with the free program aaalgo/ljpeg, to 16-bit PNG, TIFF or PGM of the
  same name beside them or in `PNGFiles`. Outlines with their inside are the label; the outlines
  of cores are left out. A mass is kept where it overlaps calcifications.
- `cbis_ddsm`: a mammogram is one case with all of its abnormalities. The publisher split masses
  and calcifications apart, so that some patients train in one part and are tested in the other:
  they count as test cases here.
- `nih_pancreas`: the headers of the label files do not agree with the scans. Labels are taken in
  the order of the DICOM pixels, slices from the feet up, and must have the scan's size. Copies
  that somebody has converted or turned belong in plain folders.
- `nsclc_radiomics`: the label is GTV-1 of the structure set; where there is none, the tumour of
  the Segmentation.
- `oasis3`: the 40 structures of FreeSurfer's `aseg` become three tissues, those of `oasis1`: the
  cortex and the deep nuclei are gray matter, the brain stem, the corpus callosum and lesions of
  the white matter white; ventricles and choroid plexus are fluid. They are brought to the grid of
  the scan (nearest neighbour), or of `orig.mgz` where no scan was fetched.
- `adni`, `nitrc` and the private sets of the surveys: there are no label maps of one layout; give
  them as plain folders. Downloads of grand-challenge.org mostly are plain folders, too.
- MedMNIST and IXI hold no segmentations: tfseg says so."""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the pages."""
    write_text(DOCS / "datasets.md", datasets_page())
    write_text(DOCS / "losses.md", losses_page())
    write_text(DOCS / "metrics.md", metrics_page())


if __name__ == "__main__":
    main()
