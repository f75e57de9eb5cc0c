"""Cross-validation in one run: a network for each fold, and one ensemble of them.

The run's folder holds a run for each fold, ``fold_0``, ``fold_1``, ..., and is a run itself: its
network is the ensemble. All folds share one plan, made from all cases, and the prepared volumes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from tfseg.artifact import Manifest
from tfseg.config import TrainConfig
from tfseg.datasets import Dataset, open_dataset
from tfseg.datasets.split import Split
from tfseg.errors import ConfigError
from tfseg.files import atomic_path, sha256
from tfseg.inference.tta import MIRRORED
from tfseg.models import load_run, model_config
from tfseg.models.ensemble import ensemble_of
from tfseg.progress import SILENT, Progress
from tfseg.runs import fold_folder
from tfseg.training.cases import after_weights
from tfseg.training.hooks import Product
from tfseg.training.run import Setup, first_manifest

Folds = tuple[int, ...]


@dataclass(frozen=True)
class Member:
    """The run of one fold.

    Attributes:
        begun: it is in its folder already, finished or not.
        finished: its network and its figures are there.
    """

    fold: int
    folder: Path
    setup: Setup
    begun: bool
    finished: bool


def choose_folds(text: str, dataset: Dataset, seed: int) -> Folds:
    """Return the folds that ``--folds`` names: ``all``, or numbers with commas between them.

    Raises:
        ConfigError: another text, or a fold that the data set does not have.
    """
    count = dataset.fold_count(seed)
    if not count:
        raise ConfigError(f"{dataset.root}: folds need at least 2 labelled cases.")
    if text == "all":
        return tuple(range(count))
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < count for part in parts):
        raise ConfigError(
            f"folds must be `all`, or numbers from 0 to {count - 1} with commas between them; got "
            f"{text!r}."
        )
    chosen = tuple(sorted({int(part) for part in parts}))
    if len(chosen) < 2:
        raise ConfigError(
            f"an ensemble must have at least two folds; got {text!r}. One alone is `fold`."
        )
    return chosen


def members(setup: Setup, folder: Path, progress: Progress = SILENT) -> list[Member]:
    """Return the runs of a cross-validation, those that are there and those to come.

    Args:
        setup: of the whole.
        folder: of the whole.
        progress: hears of remarks.
    """
    dataset: Dataset | None = None
    found = []
    for fold in setup.config.folds or ():
        place = fold_folder(folder, fold)
        if (place / "config.json").is_file():
            # The length, and where the data are, are what the whole's configuration says now.
            its = Setup.load(place)
            update = {
                key: getattr(setup.config, key) for key in ("data", "epochs", "time_budget_s")
            }
            found.append(
                Member(
                    fold,
                    place,
                    replace(its, config=its.config.model_copy(update=update)),
                    begun=True,
                    finished=(place / "metrics.json").is_file()
                    and its.config.model_copy(update=update) == its.config,
                )
            )
            continue
        dataset = dataset or open_dataset(setup.config.data)
        config = setup.config.model_copy(update={"fold": fold, "folds": None})
        split = Split.of(*dataset.split(fold, config.seed))
        split = after_weights(split, config, progress)
        its = replace(setup, config=config, split=split)
        found.append(Member(fold, place, its, begun=False, finished=False))
    return found


def join(setup: Setup, folder: Path) -> Manifest:
    """Make one network of all folds' networks; return the manifest, written beside it.

    Raises:
        ConfigError: see :func:`tfseg.models.ensemble.ensemble_of`.
    """
    keras.utils.clear_session()
    folds = setup.config.folds or ()
    networks, manifests = zip(*(load_run(fold_folder(folder, fold)) for fold in folds), strict=True)
    path = folder / Product.NAME
    with atomic_path(path) as temporary:
        whole = ensemble_of(networks, setup.config.model)
        whole.save(temporary)
    manifest = first_manifest(setup, folder)
    manifest = manifest.model_copy(
        update={
            "training": {
                **_summed(manifests),
                "folds": list(folds),
                "fold": "all",
                "seed": setup.config.seed,
                MIRRORED: setup.config.augmentation.flip,
                "cases": len(setup.split.training),
                "held_out_cases": 0,
                "parameters": whole.count_params(),
                "images": setup.split.digests,
            },
            "files": {path.name: sha256(path)},
        }
    )
    manifest.save(folder, "manifest.json")
    return manifest


def _summed(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """Return what the members took together."""
    return {
        key: round(sum(one.training[key] for one in manifests), 1)
        for key in ("epochs", "steps", "seconds")
    }


def check_folds(config: TrainConfig) -> None:
    """Refuse a network whose answers have no mean.

    Raises:
        ConfigError: it answers with objects.
    """
    if not model_config(config.model).has_mean:
        raise ConfigError(
            f"folds make an ensemble, which averages probabilities; {config.model} answers with "
            "objects, which have no mean. Train its folds one by one with `fold`."
        )
