"""The cases of a run: kept apart from what its weights have seen, and found again."""

from __future__ import annotations

from pathlib import Path

from tfseg.config import TrainConfig
from tfseg.datasets import Case, Dataset
from tfseg.datasets.split import Split
from tfseg.errors import ConfigError, DataError, some
from tfseg.files import read_json
from tfseg.progress import Progress


def after_weights(split: Split, config: TrainConfig, progress: Progress) -> Split:
    """Let no case be held out that the weights which a run begins with were trained on.

    Raises:
        ConfigError: none could be held out.
    """
    donor = Split.behind(config.weights)
    if donor is None or config.fold == "all":
        return split if donor is None else split.after(donor, same_fold=False)
    after = split.after(donor, same_fold=_same_fold(config))
    before, now = ({one.id for one in each.held_out} for each in (split, after))
    if before and not now:
        raise ConfigError(
            f"{config.weights} was trained on every case of fold {config.fold}, so none could be "
            "held out. Use the fold and seed of that run, fold=all, or other weights."
        )
    for what, cases in (("trained on", before - now), ("held out", now - before)):
        if cases:
            progress.note(f"{what}, as by {config.weights}: {some(sorted(cases))}")
    return after


def _same_fold(config: TrainConfig) -> bool:
    """Tell whether the run that the weights are of has the same fold and seed."""
    path = Path(config.weights or "")
    path = (path if path.is_dir() else path.parent) / "config.json"
    other = read_json(path, "the other run's configuration") if path.is_file() else None
    return isinstance(other, dict) and (other.get("fold"), other.get("seed")) == (
        config.fold,
        config.seed,
    )


def cases_of(
    split: Split, dataset: Dataset, folder: Path, *, resume: bool, progress: Progress
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Return the run's (training, held-out) cases, in the order of the split.

    Raises:
        DataError: a run that goes on does not find its cases as they were.
    """
    here = {case.id: case for case in dataset.cases if case.label}
    place = {one.id: one.id for one in (*split.training, *split.held_out)}
    if resume:
        place = _found_again(split, dataset, folder, progress)
    try:
        training, held_out = (
            tuple(here[place[one.id]] for one in part) for part in (split.training, split.held_out)
        )
    except KeyError as error:
        raise DataError(f"{dataset.root}: the training case {error} is gone.") from error
    return training, held_out


def _found_again(
    split: Split, dataset: Dataset, folder: Path, progress: Progress
) -> dict[str, str]:
    """Return where a run that goes on finds its cases: id in the run -> id in the data set."""
    found = split.find(dataset, lambda cases: progress.track(cases, "Recognising the cases"))
    missing = [one.id for one in (*found.missing_training, *found.missing_held_out)]
    reasons = [f"{len(missing)} are not in {dataset.root}: {some(missing)}"] if missing else []
    reasons += [some(found.changed)] if found.changed else []
    if reasons:
        raise DataError(
            f"{folder} can go on only with the cases that it began with; {'; '.join(reasons)}. "
            f"Restore them, or start a new run from its network: weights={folder}."
        )
    for remark in found.remarks:
        progress.note(remark)
    new = found.ids("new", "related")
    if new:
        progress.note(f"not in this run, as they were added later: {some(new)}")
    # A copy under another name comes first, so that the case of the same name replaces it.
    renamed = {before.id: now for now, before in found.records.items()}
    return renamed | {one: one for one, before in found.records.items() if before.id == one}
