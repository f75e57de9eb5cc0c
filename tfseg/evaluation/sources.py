"""Where predictions come from: a folder of label maps, a run, or an exported model."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tfseg.arrays import DAMAGE, read_npz
from tfseg.artifact import FILE_NAME, find_manifest
from tfseg.cli.console import track
from tfseg.datasets import Case, Dataset, open_dataset
from tfseg.datasets.reading import normalised
from tfseg.datasets.split import Found, Role, Split
from tfseg.errors import ConfigError, DataError, some
from tfseg.evaluation.runner import Evaluation
from tfseg.evaluation.values import remark_of, table_for, to_classes
from tfseg.files import read_json
from tfseg.inference.postprocess import refuse_millimetres
from tfseg.inference.prediction import Prediction
from tfseg.inference.predictor import Predictor
from tfseg.io import is_picture, read_volume, volume_stem, volume_suffix
from tfseg.io.references import object_kind, read_structures
from tfseg.layout import CONFIG, MANIFEST, is_run
from tfseg.plan import first_problem
from tfseg.preprocess.likeness import check_likeness, kind_of
from tfseg.runs import fold_folder
from tfseg.volume import Volume

_log = logging.getLogger(__name__)
Refine = Callable[[Predictor], Predictor]

_PROBABILITIES = "probabilities"


class _Trained(BaseModel):
    """What the evaluation needs to know of a training: the data and which cases were held out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    data: str | None = None
    fold: Annotated[int, Field(ge=0)] | Literal["all"]
    folds: tuple[int, ...] | None = None
    seed: Annotated[int, Field(ge=0)] = 0


def open_evaluation(
    target: Path,
    data: Path | None = None,
    *,
    all_cases: bool = False,
    anyway: bool = False,
    refine: Refine | None = None,
) -> Evaluation:
    """Find out what ``target`` is and which cases its predictions are measured on.

    Args:
        target: a run folder, an exported model, or a folder of label maps named like the cases.
        data: the data set with the references; a run knows its own.
        all_cases: for a model: measure every labelled case, not only those held out from its
            training. For data that it was not trained on.
        anyway: for a model: measure it on what is plainly another kind of image, too.
        refine: what is done to a model's predictor before it predicts.

    Raises:
        DataError: the target is none of these, the data set is missing, or no case matches.
        ConfigError: the model had no case held out, or label maps are to be refined.
    """
    if not target.exists():
        raise DataError(
            f"there is no {target}. Name a run folder, an exported model or a folder of "
            "predictions."
        )
    if is_run(target):
        return _of_run(target, data, all_cases, anyway, refine)
    files = _prediction_files(target) if target.is_dir() else []
    if files and refine is not None:
        raise ConfigError(
            f"{target} holds label maps, to which nothing more is done. Name a run or an exported "
            "model, or leave --tta and --post out."
        )
    if files:
        return _of_predictions(target, files, data)
    manifest = find_manifest(target)
    if manifest is not None and manifest.name == MANIFEST:  # the rest of a run
        return _of_run(target, data, all_cases, anyway, refine)
    if manifest is not None:
        return _of_artifact(target, data, all_cases, anyway, refine)
    raise DataError(
        f"{target} is no run folder ({CONFIG}), no exported model ({FILE_NAME}) and holds "
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
    stems = [normalised(volume_stem(case.image)) for case in labelled]
    by_name = {
        stem: case for stem, case in zip(stems, labelled, strict=True) if stems.count(stem) == 1
    }
    by_name.update({normalised(case.id): case for case in labelled})
    found: dict[str, Path] = {}
    unmatched = []
    for path in files:
        case = by_name.get(normalised(volume_stem(path)))
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
    table = table_for(folder, found.values(), dataset)
    saved = {case: _probabilities_file(path) for case, path in found.items()}

    def predict(case: Case, with_probabilities: bool) -> Prediction:
        labels = _read_prediction(found[case.id], case, dataset, table)
        return Prediction(
            labels, _read_probabilities(saved[case.id]) if with_probabilities else None
        )

    return Evaluation(
        dataset,
        cases,
        predict=predict,
        source=f"predictions in {folder.name}",
        has_probabilities=any(path.is_file() for path in saved.values()),
        missing=missing,
        unmatched=tuple(unmatched),
        remarks=(remark_of(table),) if table else (),
    )


def _read_prediction(path: Path, case: Case, dataset: Dataset, table: Mapping[int, int]) -> Volume:
    """Return a label map; structures in DICOM are matched by the labels' names."""
    if object_kind(path):
        return read_structures(path, dataset.read_image(case), dataset.labels[1:], case.image)
    labels = read_volume(path, labels=True)
    return to_classes(labels, table) if table else labels


def _probabilities_file(label_map: Path) -> Path:
    """Return where ``tfseg predict --save-probabilities`` writes them: beside the label map."""
    return label_map.with_name(volume_stem(label_map) + ".npz")


def _read_probabilities(path: Path) -> NDArray[Any]:
    """Return the class probabilities (z, y, x, class) of a file.

    Raises:
        DataError: no such file, no NumPy archive, or no array of that name and rank in it.
    """
    try:
        array = read_npz(path)[_PROBABILITIES]
    except FileNotFoundError:
        raise DataError(
            f"there is no {path} with the probabilities of its label map. Write it with tfseg "
            "predict --save-probabilities."
        ) from None
    except DAMAGE as error:
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


def _of_run(
    run: Path, data: Path | None, all_cases: bool, anyway: bool, refine: Refine | None
) -> Evaluation:
    source = run / CONFIG
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
    if trained.folds and not all_cases:
        found = _of_folds(run, trained.folds, dataset, anyway, refine)
        if found is not None:
            return found
    known = Split.load(run)
    predictor = _opened(run, refine)
    chosen = _choose(dataset, known, trained, run, all_cases)
    return _of_model(dataset, chosen, predictor, anyway)


def _opened(model: Path, refine: Refine | None) -> Predictor:
    predictor = Predictor.open(model)
    return predictor if refine is None else refine(predictor)


def _of_artifact(
    artifact: Path, data: Path | None, all_cases: bool, anyway: bool, refine: Refine | None
) -> Evaluation:
    if data is None:
        raise DataError(f"{artifact} is a model, which needs cases. Name a data set with --data.")
    dataset = open_dataset(data)
    predictor = _opened(artifact, refine)
    training = predictor.manifest.training
    known = Split.of_digests(training.get("images"))
    trained = None if all_cases and known is None else _trained(training, artifact)
    chosen = _choose(dataset, known, trained, artifact, all_cases)
    return _of_model(dataset, chosen, predictor, anyway)


def _trained(document: object, source: Path) -> _Trained:
    try:
        return _Trained.model_validate(document)
    except ValidationError as error:
        raise DataError(
            f"{source} does not say which cases were held out from training "
            f"({first_problem(error)}). Use --all-cases with data the model was not trained on."
        ) from error


@dataclass(frozen=True)
class _Chosen:
    """The cases to measure a model on, and what to say of them."""

    cases: tuple[Case, ...]
    words: str
    roles: dict[str, Role] = field(default_factory=dict)
    new: tuple[str, ...] = ()
    held_out_missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def _found(known: Split, dataset: Dataset) -> Found:
    return known.find(dataset, lambda cases: track(tuple(cases), "Recognising the cases"))


def _choose(
    dataset: Dataset,
    known: Split | None,
    trained: _Trained | None,
    model: Path,
    all_cases: bool,
    found: Found | None = None,
) -> _Chosen:
    """Choose the cases of a data set to measure a model on.

    Those held out from its training where they are there; else those that it has never had.
    ``found`` is what ``known`` found in the data set, where it has looked already.
    """
    labelled = [case for case in dataset.cases if case.label is not None]
    if not labelled:
        raise DataError(f"{dataset.root}: no case has a reference label map to measure against.")
    if known is None:
        if all_cases or trained is None:
            return _Chosen(tuple(labelled), "all labelled cases")
        raise DataError(
            f"{model} does not say which cases were held out from its training. Use --all-cases "
            "with data that it was not trained on."
        )
    found = found or _found(known, dataset)
    held_out_ids, new = found.ids("held out"), found.ids("new", "related")
    if all_cases:
        chosen, words = set(found.roles), f"all labelled cases: {_counted(found.roles)}"
        new = ()
    elif held_out_ids:
        chosen, words = set(held_out_ids), _fold_words(trained)
        if found.missing_held_out:
            words += f", {len(held_out_ids)} of {len(known.held_out)} cases"
    elif unseen := found.ids("new") or found.ids("test"):
        chosen, words = set(unseen), "cases that the model was not trained on"
        new = tuple(case for case in new if case not in chosen)
    else:
        raise ConfigError(
            f"{dataset.root} has no case that {model} was not trained on: "
            f"{_counted(found.roles)}. Name other data with --data."
        )
    gone = [one.id for one in found.missing_held_out]
    remarks = [*found.changed, *found.remarks]
    if "" in gone:
        remarks.append(f"{len(gone)} of {len(known.held_out)} held-out cases are not there")
    lost = [one.id for one in found.missing_training]
    if lost and found.ids("trained on"):  # else it is another data set
        names = "" if "" in lost else f": {some(lost)}"
        remarks.append(f"{len(lost)} of {len(known.training)} training cases are not there{names}")
    return _Chosen(
        cases=tuple(case for case in labelled if case.id in chosen),
        words=words,
        roles=found.roles,
        new=new,
        held_out_missing=tuple(filter(None, gone)),  # an export knows no names
        remarks=tuple(remarks),
    )


def _fold_words(trained: _Trained | None) -> str:
    return (
        "held-out cases"
        if trained is None
        else (f"held-out fold {trained.fold} (seed {trained.seed})")
    )


def _counted(roles: Mapping[str, Role]) -> str:
    """Return how many cases have each role, in words."""
    return ", ".join(f"{number} {role}" for role, number in Counter(roles.values()).most_common())


def _of_folds(
    run: Path, folds: Sequence[int], dataset: Dataset, anyway: bool, refine: Refine | None
) -> Evaluation | None:
    """Return the evaluation of each case by the network of the fold that held it out.

    ``None`` where the data set has none of these cases.
    """
    parts = {}
    for fold in folds:
        place = fold_folder(run, fold)
        trained = _trained(read_json(place / CONFIG, "the run's configuration"), place)
        known = Split.load(place)
        found = _found(known, dataset)
        if found.ids("held out"):
            parts[place] = _choose(dataset, known, trained, place, False, found)
    if not parts:
        return None
    home = {case.id: place for place, chosen in parts.items() for case in chosen.cases}

    @lru_cache(maxsize=1)  # the cases come fold by fold, and a network takes much memory
    def of_fold(place: Path) -> Evaluation:
        return _of_model(dataset, parts[place], _opened(place, refine), anyway)

    said = [one for chosen in parts.values() for one in chosen.remarks]
    return Evaluation(
        dataset,
        tuple(case for chosen in parts.values() for case in chosen.cases),
        predict=lambda case, wanted: of_fold(home[case.id]).predict(case, wanted),
        source=f"each case by the network of the fold, of {len(folds)}, that held it out",
        has_probabilities=True,
        in_turn=True,
        roles=dict.fromkeys(home, "held out"),
        held_out_missing=tuple(one for chosen in parts.values() for one in chosen.held_out_missing),
        remarks=tuple(dict.fromkeys((*said, *of_fold(next(iter(parts))).remarks))),
    )


def _of_model(dataset: Dataset, chosen: _Chosen, predictor: Predictor, anyway: bool) -> Evaluation:
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
        if picture:
            refuse_millimetres(predictor.post, case.image)
        for remark in check_likeness(
            image, case.image, predictor.manifest, picture=picture, anyway=anyway
        ):
            _log.warning("%s: %s", case.id, remark)
        return image

    return Evaluation(
        dataset,
        chosen.cases,
        predict=lambda case, wanted: predictor.predict(image_of(case), probabilities=wanted),
        source=chosen.words,
        has_probabilities=True,
        in_turn=True,
        roles=dict(chosen.roles),
        new=chosen.new,
        held_out_missing=chosen.held_out_missing,
        remarks=(*chosen.remarks, *predictor.remarks),
    )
