"""``tfseg predict``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tfseg.inference.prediction import Instances
    from tfseg.inference.predictor import Predictor
    from tfseg.io.dicom_out.about import About
    from tfseg.io.outputs import Output
    from tfseg.io.scans import Scan


@click.command()
@click.argument("model", type=click.Path())
@click.argument("inputs", nargs=-1, required=True, type=click.Path(), metavar="INPUT...")
@click.option("-o", "--output", required=True, type=click.Path(), help="File or folder to write.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["nifti", "png", "dicom-seg", "rtstruct"]),
    help="Of the label maps. [by OUTPUT's suffix; in a folder png for pictures, else nifti]",
)
@click.option(
    "--seg-type",
    type=click.Choice(["binary", "fractional", "labelmap"]),
    help="Of dicom-seg: masks, probabilities, or one label map. [binary]",
)
@click.option(
    "--codes",
    type=click.Path(path_type=Path),
    help="JSON file of coded names (SNOMED CT) for dicom-seg and rtstruct.",
)
@click.option(
    "--report", is_flag=True, help="With dicom-seg: also <name>_report.dcm, volumes in ml."
)
@click.option("--save-probabilities", is_flag=True, help="Also write <name>.npz, (z, y, x, class).")
@click.option(
    "--tta",
    is_flag=True,
    help="Average over mirror images along the axes that the training mirrored: 2 to 8 times the "
    "time.",
)
@click.option(
    "--post",
    multiple=True,
    metavar="STEP",
    help="On the label map, in their order: largest_component, 'remove_small(mm3=50)', fill_holes; "
    "of some labels: 'fill_holes(liver)'. Repeatable.",
)
@click.option(
    "--anyway",
    is_flag=True,
    help="Segment what is plainly another kind of image than the model was trained on.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.  [default: refuse]")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def predict(
    model: str,
    inputs: tuple[str, ...],
    output: str,
    format_name: str | None,
    seg_type: str | None,
    codes: Path | None,
    report: bool,
    save_probabilities: bool,
    tta: bool,
    post: tuple[str, ...],
    anyway: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Segment scans with a run or an exported model.

    MODEL is a run folder or any exported artifact. INPUT is a file (NIfTI, MHA, NRRD, PNG, TIFF,
    JPEG, GIF), a DICOM folder or zip, or a folder of such files. Label maps have their scan's grid.
    Of a DICOM folder of several patients or series each is segmented that the model is for, and
    named by hashes of its study and series; a table tells what was left out, and why.

    dicom-seg and rtstruct need a DICOM scan: the result refers to its slices and bears its
    patient's name, number and study, as DICOM requires to file it. No other format names the
    patient.

    The run of a detector also writes its objects one by one: <name>_instances.nii.gz, the number
    of each voxel's object, and <name>_instances.json, label, score and box of each.
    """
    from dataclasses import asdict

    from tfseg.cli.console import heard, note, print_json, print_left_out
    from tfseg.errors import ConfigError, TfsegError
    from tfseg.files import check_outputs
    from tfseg.inference.predictor import Predictor
    from tfseg.io.dicom_out.about import About
    from tfseg.io.outputs import Output, report_of
    from tfseg.io.scans import LeftOut, open_scans, refuse_nothing_written
    from tfseg.io.targets import label_targets
    from tfseg.preprocess.likeness import UnlikeError

    form = Output(format_name, seg_type, codes, report)
    form.check()
    concepts = form.concepts()
    scans, left = click.get_current_context().with_resource(open_scans(inputs))
    pairs = label_targets(scans, output, form.suffixes)
    targets = [target for _, target in pairs]
    if report and set(targets) & {report_of(target) for target in targets}:
        raise ConfigError("a report would replace another scan's result. Rename the scan.")
    if save_probabilities:
        _refuse_shared_names(targets, "probabilities", ".npz")
    beside = [report_of(target) for target in targets] if report else []
    beside += [_beside(target, ".npz") for target in targets] if save_probabilities else []
    check_outputs([*targets, *beside], overwrite=overwrite)
    if post and form.needs_probabilities:
        raise ConfigError(
            "--seg-type fractional holds the network's probabilities, which --post does not "
            "change. Use --seg-type binary, or leave --post out."
        )
    predictor = Predictor.open(model).refine(tta=tta, post=post)
    if predictor.finds_instances:
        _refuse_shared_names(targets, "objects", "_instances.json")
        objects = ("_instances.nii.gz", "_instances.json")
        check_outputs(
            [_beside(target, suffix) for target in targets for suffix in objects],
            overwrite=overwrite,
        )
    labels = predictor.manifest.plan.labels
    about = About.of(predictor.manifest, concepts)
    written, failed = [], []
    for scan, target in pairs:
        started = time.monotonic()
        try:
            with heard() as said:
                volumes_ml, remarks, more = _segment(
                    predictor, scan, target, form, about, save_probabilities, anyway
                )
            if report:
                more["report"] = str(report_of(target))
        except TfsegError as error:
            if scan.is_part and isinstance(error, UnlikeError):
                left.append(LeftOut(scan.stem, error.reason))
                continue
            if len(pairs) == 1:
                raise
            text = str(error)
            note(f"tfseg: {text if str(scan) in text else f'{scan}: {text}'}")
            failed.append(str(scan))
            continue
        seconds = time.monotonic() - started
        note(f"{target}  {seconds:.1f} s")
        for remark in remarks:
            note(f"{scan}: {remark}")
        written.append(
            {
                "input": str(scan),
                "output": str(target),
                "seconds": round(seconds, 3),
                "volumes_ml": dict(zip(labels[1:], volumes_ml[1:], strict=True)),
                "remarks": [*(one.removeprefix(f"{scan}: ") for one in said), *remarks],
                **more,
            }
        )
    if as_json:
        print_json(
            {
                "model": model,
                "written": written,
                "failed": failed,
                "left_out": [asdict(one) for one in left],
            }
        )
    elif left:
        print_left_out(left)
    if failed:
        raise TfsegError(f"{len(failed)} of {len(pairs)} scans could not be segmented.")
    refuse_nothing_written(written, left)


def _refuse_shared_names(targets: list[Path], what: str, suffix: str) -> None:
    from tfseg.errors import ConfigError

    seen: dict[Path, Path] = {}
    for target in targets:
        beside = _beside(target, suffix)
        other = seen.setdefault(beside, target)
        if other != target:
            raise ConfigError(
                f"{other} and {target} would both write their {what} to "
                f"{beside}. Run them into two folders."
            )


def _beside(target: Path, suffix: str) -> Path:
    from tfseg.io import volume_stem

    return target.with_name(volume_stem(target) + suffix)


def _write_instances(instances: Instances, scan: Scan, target: Path) -> dict[str, object]:
    """Write a detector's objects beside the label map; return what JSON tells of them."""
    from tfseg.files import write_json
    from tfseg.io import write_volume

    file = _beside(target, "_instances.nii.gz")
    write_volume(instances.numbers, file)
    document = {"scan": scan.name, "instances": instances.objects}
    write_json(_beside(target, "_instances.json"), document)
    return {"instances": str(file), "objects": len(instances.objects)}


def _segment(
    predictor: Predictor,
    scan: Scan,
    target: Path,
    form: Output,
    about: About,
    keep: bool,
    anyway: bool,
) -> tuple[list[float], tuple[str, ...], dict[str, object]]:
    """Write the label map of one scan.

    Returns:
        Each label's volume in ml, remarks, and what JSON tells of objects.

    Args:
        predictor: the model.
        scan: the file or folder.
        target: the file to write.
        form: how.
        about: the labels and the model.
        keep: also write the probabilities.
        anyway: take what is plainly another kind of image.
    """
    import numpy as np

    from tfseg.cli.console import share_bar
    from tfseg.files import atomic_path
    from tfseg.inference.postprocess import refuse_millimetres
    from tfseg.io.outputs import source_for, write_labels
    from tfseg.preprocess.likeness import check_likeness

    source = source_for(scan, form)
    volume = scan.read()
    if scan.is_picture:
        refuse_millimetres(predictor.post, scan)
    remarks = check_likeness(
        volume,
        str(scan),
        predictor.manifest,
        picture=scan.is_picture,
        anyway=anyway,
        part=scan.is_part,
    )
    with share_bar(scan.name) as advance:
        prediction = predictor.predict(
            volume,
            advance,
            probabilities=keep or form.needs_probabilities,
            instances=predictor.finds_instances,
        )
    labels, probabilities = prediction.labels, prediction.probabilities
    remarks = (*remarks, *predictor.remarks)
    write_labels(
        labels, target, form, about, source,
        probabilities=probabilities if form.needs_probabilities else None,
        scan=volume, remarks=remarks,
    )  # fmt: skip
    if keep and probabilities is not None:
        with atomic_path(_beside(target, ".npz")) as temporary:
            np.savez_compressed(temporary, probabilities=probabilities)
    counts = np.bincount(labels.array.ravel(), minlength=predictor.manifest.plan.num_classes)
    voxel_ml = float(np.prod(labels.spacing_mm)) / 1000
    found = prediction.instances
    more = {} if found is None else _write_instances(found, scan, target)
    return [round(int(count) * voxel_ml, 3) for count in counts], remarks, more
