"""Where predictions come from: a folder of label maps, a run, or an exported model."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tfseg.artifact import FILE_NAME
from tfseg.datasets import Case, Dataset, open_dataset
from tfseg.errors import ConfigError, DataError
from tfseg.evaluation.runner import Evaluation
from tfseg.files import read_json
from tfseg.inference.predictor import Predictor
from tfseg.io import is_picture, read_volume, volume_stem, volume_suffix
from tfseg.io.references import object_kind, read_structures
from tfseg.plan import first_problem
from tfseg.preprocess.likeness import check_likeness, kind_of
from tfseg.volume import Volume

_log = logging.getLogger(__name__)

_RUN_MANIFEST = "manifest.json"
_RUN_CONFIG = "config.json"
_PROBABILITIES = "probabilities"
# Where exports keep their manifest; a SavedModel's folder holds one folder a version.
_ARTIFACT_MANIFESTS = (FILE_NAME, f"assets.extra/{FILE_NAME}", f"*/assets.extra/{FILE_NAME}")


class _Trained(BaseModel):
    """What the evaluation needs to know of a training: the data and which cases were held out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    data: str | None = None
    fold: Annotated[int, Field(ge=0)] | Literal["all"]
    seed: Annotated[int, Field(ge=0)] = 0


def is_run(path: Path) -> bool:
    """Tell whether ``path`` is a run folder."""
    return (path / _RUN_MANIFEST).is_file()


def open_evaluation(
    target: Path, data: Path | None = None, *, all_cases: bool = False, anyway: bool = False
) -> Evaluation:
    """Find out what ``target`` is and which cases its predictions are measured on.

    Args:
        target: a run folder, an exported model, or a folder of label maps named like the cases.
        data: the data set with the references; a run knows its own.
        all_cases: for a model: measure every labelled case, not only those held out from its
            training. For data that it was not trained on.
        anyway: for a model: measure it on what is plainly another kind of image, too.

    Raises:
        DataError: the target is none of these, the data set is missing, or no case matches.
        ConfigError: the model had no case held out.
    """
    if not target.exists():
        raise DataError(
            f"there is no {target}. Name a run folder, an exported model or a folder of "
            "predictions."
        )
    if is_run(target):
        return _of_run(target, data, all_cases, anyway)
    files = _prediction_files(target) if target.is_dir() else []
    if files:
        return _of_predictions(target, files, data)
    if target.is_file() or any(any(target.glob(name)) for name in _ARTIFACT_MANIFESTS):
        return _of_artifact(target, data, all_cases, anyway)
    raise DataError(
        f"{target} is no run folder ({_RUN_MANIFEST}), no exported model ({FILE_NAME}) and holds "
        "no label maps such as case_01.nii.gz. Name one of these."
    )


def _prediction_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and volume_suffix(path) and not path.name.startswith(".")
    )


def _of_predictions(folder: Path, files: list[Path], data: Path | None) -> Evaluation:
    if data is None:
        raise DataError(
            f"{folder} holds label maps, and these need references. Name the data set with --data."
        )
    dataset = open_dataset(data)
    labelled = [case for case in dataset.cases if case.label is not None]
    # A label map may be named after the case or after its image file.
    stems = [volume_stem(case.image) for case in labelled]
    by_name = {
        stem: case for stem, case in zip(stems, labelled, strict=True) if stems.count(stem) == 1
    }
    by_name.update({case.id: case for case in labelled})
    found: dict[str, Path] = {}
    unmatched = []
    for path in files:
        case = by_name.get(volume_stem(path))
        if case is None:
            unmatched.append(path.name)
        elif case.id in found:
            raise DataError(
                f"{folder}: case {case.id} has two predictions, {found[case.id].name} and "
                f"{path.name}. Keep one."
            )
        else:
            found[case.id] = path
    if not found:
        raise DataError(
            f"{folder}: no prediction belongs to a labelled case of {data}: the files are named "
            f"like {files[0].name}, the cases like {labelled[0].id if labelled else '(none)'}. "
            "Name each file after its case."
        )
    cases = tuple(case for case in labelled if case.id in found)
    splits = {case.split for case in cases}
    missing = tuple(c.id for c in labelled if c.split in splits and c.id not in found)
    saved = {case: _probabilities_file(path) for case, path in found.items()}
    return Evaluation(
        dataset,
        cases,
        predict=lambda case: _read_prediction(found[case.id], case, dataset),
        source=f"predictions in {folder.name}",
        probabilities=(lambda case: _read_probabilities(saved[case.id]))
        if any(path.is_file() for path in saved.values())
        else None,
        missing=missing,
        unmatched=tuple(unmatched),
    )


def _read_prediction(path: Path, case: Case, dataset: Dataset) -> Volume:
    """Return a label map; structures in DICOM are matched by the labels' names."""
    if object_kind(path):
        return read_structures(path, dataset.read_image(case), dataset.labels[1:], case.image)
    return read_volume(path, labels=True)


def _probabilities_file(label_map: Path) -> Path:
    """Return where ``tfseg predict --save-probabilities`` writes them: beside the label map."""
    return label_map.with_name(volume_stem(label_map) + ".npz")


def _read_probabilities(path: Path) -> NDArray[Any]:
    """Return the class probabilities (z, y, x, class) of a file.

    Raises:
        DataError: no such file, no NumPy archive, or no array of that name and rank in it.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            array = archive[_PROBABILITIES]
    except FileNotFoundError:
        raise DataError(
            f"there is no {path} with the probabilities of its label map. Write it with tfseg "
            "predict --save-probabilities."
        ) from None
    except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} must be a NumPy archive with an array {_PROBABILITIES!r} ({error}). Write "
            "it again with tfseg predict --save-probabilities."
        ) from error
    if array.ndim != 4 or not np.issubdtype(array.dtype, np.floating):
        raise DataError(
            f"{path}: probabilities must be floats (z, y, x, class); got {array.dtype} of shape "
            f"{array.shape}."
        )
    return np.asarray(array)


def _of_run(run: Path, data: Path | None, all_cases: bool, anyway: bool) -> Evaluation:
    source = run / _RUN_CONFIG
    trained = _trained(read_json(source, "the run's configuration"), source)
    if data is None:
        if trained.data is None:
            raise DataError(f"{source} names no data set. Name it with --data.")
        data = Path(trained.data)
        if not data.is_dir():
            raise DataError(
                f"the run's data set is gone: there is no folder {data}. Name it with --data."
            )
    dataset = open_dataset(data)
    cases, words = _labelled(dataset) if all_cases else _held_out(dataset, trained, run)
    return _of_model(dataset, cases, words, Predictor.open(run), anyway)


def _of_artifact(artifact: Path, data: Path | None, all_cases: bool, anyway: bool) -> Evaluation:
    if data is None:
        raise DataError(f"{artifact} is a model, which needs cases. Name a data set with --data.")
    dataset = open_dataset(data)
    predictor = Predictor.open(artifact)
    if all_cases:
        cases, words = _labelled(dataset)
    else:
        cases, words = _held_out(dataset, _trained(predictor.manifest.training, artifact), artifact)
    return _of_model(dataset, cases, words, predictor, anyway)


def _trained(document: object, source: Path) -> _Trained:
    try:
        return _Trained.model_validate(document)
    except ValidationError as error:
        raise DataError(
            f"{source} does not say which cases were held out from training "
            f"({first_problem(error)}). Use --all-cases with data the model was not trained on."
        ) from error


def _held_out(dataset: Dataset, trained: _Trained, model: Path) -> tuple[tuple[Case, ...], str]:
    if trained.fold == "all":
        raise ConfigError(
            f"{model} was trained on every case (fold all), so none is held out to measure it on. "
            "Name other data with --data and --all-cases."
        )
    _, held_out = dataset.split(trained.fold, trained.seed)
    return held_out, f"held-out fold {trained.fold} (seed {trained.seed})"


def _labelled(dataset: Dataset) -> tuple[tuple[Case, ...], str]:
    cases = tuple(case for case in dataset.cases if case.label is not None)
    if not cases:
        raise DataError(f"{dataset.root}: no case has a reference label map to measure against.")
    return cases, "all labelled cases"


def _of_model(
    dataset: Dataset,
    cases: tuple[Case, ...],
    source: str,
    predictor: Predictor,
    anyway: bool,
) -> Evaluation:
    labels = predictor.manifest.plan.labels
    if labels != dataset.labels:
        raise DataError(
            f"the model's labels must be those of {dataset.root}; the model has "
            f"{', '.join(labels)}, the data set {', '.join(dataset.labels)}."
        )

    def image_of(case: Case) -> Volume:
        image = dataset.read_image(case)
        if image.modality is None and len(dataset.modalities) == 1:
            image = Volume(image.array, image.affine, kind_of(dataset.modalities[0]))
        picture = is_picture(case.image)
        for remark in check_likeness(
            image, case.image, predictor.manifest, picture=picture, anyway=anyway
        ):
            _log.warning("%s: %s", case.id, remark)
        return image

    return Evaluation(
        dataset,
        cases,
        predict=lambda case: predictor.predict(image_of(case)),
        source=source,
        both=lambda case: predictor.predict_with_probabilities(image_of(case)),
        in_turn=True,
    )
