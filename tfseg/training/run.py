"""A run from its request to a trained network in its folder, in three steps.

:func:`plan_run` decides everything that can be decided before a voxel is prepared. Of
:func:`train_run`, :func:`_gather` finds and prepares the cases, :func:`_assemble` builds the
networks and the engine, and :func:`_finish` writes what the run was.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfseg import __version__
from tfseg.artifact import Manifest
from tfseg.config import TrainConfig
from tfseg.datasets import Dataset, open_dataset
from tfseg.datasets.split import Split
from tfseg.datasets.twice import twice
from tfseg.errors import ConfigError, DataError, TfsegError
from tfseg.files import read_json, sha256, write_json
from tfseg.fingerprint import ImageFingerprint
from tfseg.inference.tta import MIRRORED
from tfseg.models import model_config
from tfseg.pipeline.cache import PreparedCase, prepare_cases
from tfseg.pipeline.patches import PatchSampler
from tfseg.pipeline.picture import write_patches
from tfseg.plan import Plan
from tfseg.planning import Budget, Request, plan_for
from tfseg.progress import SILENT, Progress
from tfseg.runs import CACHE, mark_latest
from tfseg.schemes import scheme_class
from tfseg.schemes.base import SEGMENTER, Scheme, Task
from tfseg.training import hooks
from tfseg.training.cases import after_weights, cases_of
from tfseg.training.checkpoint import Counters
from tfseg.training.devices import gpu_count, open_strategy, seed_everything
from tfseg.training.engine import Engine
from tfseg.training.memory import check_memory
from tfseg.training.validation import choose_cases, describe
from tfseg.training.validation import summary as validation_summary
from tfseg.training.weights import load_weights
from tfseg.workers import read_workers


@dataclass(frozen=True)
class Setup:
    """A run that is ready to start: its configuration, its plan and its cases.

    Attributes:
        split: which cases are trained on and held out.
        fingerprint: of the training images; the manifest keeps it.
    """

    config: TrainConfig
    plan: Plan
    split: Split
    fingerprint: ImageFingerprint | None = None

    def save(self, folder: Path) -> None:
        """Write the run's files; the configuration last, it marks the run."""
        self.plan.save(folder / "plan.json")
        self.split.save(folder)
        write_json(folder / "config.json", self.config.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path) -> Setup:
        """Read the set-up of an existing run."""
        path = folder / "config.json"
        config = TrainConfig.parse(read_json(path, "the run's configuration"), str(path))
        known = _known(folder)
        split = Split.load(folder)
        return cls(
            config,
            Plan.load(folder / "plan.json"),
            split,
            None if known is None else known.fingerprint,
        )


def plan_run(
    config: TrainConfig,
    plan_settings: Mapping[str, Any],
    plan: Plan | None = None,
    progress: Progress = SILENT,
) -> Setup:
    """Complete a configuration: make the plan, and fit the network's options to it.

    Args:
        config: with the options the user gave.
        plan_settings: entries of the plan that the user gave; the rest is planned.
        plan: a whole plan of the user's, instead of a planned one.
        progress: hears how far it is.

    Raises:
        InputError: data, plan or options that do not fit; nothing was written.
    """
    if config.patience and config.fold == "all" and not config.folds:
        raise ConfigError(
            "patience needs held-out cases, which tell when nothing gets better any more; "
            "fold=all holds out none. Leave patience out, or choose a fold."
        )
    dataset = open_dataset(config.data)
    fold = None if config.fold == "all" else config.fold
    training, held_out = dataset.split(fold, config.seed)
    split = Split.of(
        training, held_out, lambda cases: progress.track(cases, "Taking down the cases")
    )
    split = after_weights(split, config, progress)
    by_id = {case.id: case for case in (*training, *held_out)}
    open_strategy(config.replicas)  # before anything starts TensorFlow, which fixes the devices
    planned = plan_for(
        dataset,
        [by_id[one.id] for one in split.training],
        Request(config.model, config.options, settings=plan_settings, plan=plan),
        Budget.cpu() if config.replicas else Budget.of(gpu_count()),
        progress,
    )
    task = Task(
        config.model_copy(update={"options": planned.options}), planned.network, planned.plan
    )
    scheme = scheme_class(planned.network.scheme)
    task = scheme.complete(task, len(dataset.labels), dataset.ignored)
    scheme.check(task)
    return Setup(task.config, planned.plan, split, planned.images)


@dataclass(frozen=True)
class Cases:
    """The prepared cases of a run.

    Attributes:
        training: what is learned from.
        held_out: number of the others.
        watched: those of the others that a validation segments.
    """

    training: Sequence[PreparedCase]
    held_out: int
    watched: Sequence[PreparedCase]


def train_run(
    setup: Setup,
    folder: Path,
    *,
    resume: bool,
    whole: Path | None = None,
    progress: Progress = SILENT,
    began: float | None = None,
) -> Manifest:
    """Train in ``folder`` and return the manifest, written there beside the network.

    Of several processes that train together this is for the chief; see :func:`follow_run`.

    Args:
        setup: of the run.
        folder: of the run.
        resume: go on where it stopped.
        whole: the run of several folds that this one is a part of.
        progress: hears how far it is.
        began: when the command began, by :func:`time.monotonic`.

    Raises:
        TfsegError: see :meth:`tfseg.training.engine.Engine.train`.
    """
    whole = folder if whole is None else whole
    task, cases = _gather(setup, folder, whole.parent / CACHE, resume, progress)
    engine = _assemble(task, cases, folder, resume, progress, began)
    setup = replace(setup, config=task.config)
    manifest = first_manifest(setup, folder, resume=resume)
    # Everything that can be refused has been: only now does the run appear on disk.
    setup.save(folder)
    manifest.save(folder, "manifest.json")
    write_patches(_sampler(task, cases), folder)
    mark_latest(whole)
    counters = _train(engine)
    return _finish(manifest, setup.split, engine, counters, cases, progress)


def follow_run(setup: Setup, folder: Path, *, resume: bool, began: float | None = None) -> None:
    """Train with the chief of several processes, which writes and says what there is to.

    Args:
        setup: of the run, made from the same request as the chief's.
        folder: of the run; its surroundings have the prepared volumes.
        resume: go on where it stopped.
        began: when the command began, by :func:`time.monotonic`.

    Raises:
        TfsegError: see :func:`train_run`.
    """
    task, cases = _gather(setup, folder, folder.parent / CACHE, resume, SILENT)
    _train(_assemble(task, cases, folder, resume, SILENT, began))


def _train(engine: Engine) -> Counters:
    try:
        return engine.train()
    except tf.errors.ResourceExhaustedError as error:
        raise TfsegError(
            "the device ran out of memory. Use a smaller patch_size, batch_size or base_filters."
        ) from error
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        if read_workers().count == 1:
            raise
        raise TfsegError(
            "another process of this training was lost. Start all of them again with --resume."
        ) from error


def _gather(
    setup: Setup, folder: Path, cache: Path, resume: bool, progress: Progress
) -> tuple[Task, Cases]:
    """Find the run's cases and prepare them; complete the task by what they tell."""
    config, plan = setup.config, setup.plan
    network = model_config(config.model, **config.options)
    if resume and not Path(config.data).is_dir():
        raise DataError(
            f"the run's data set is gone: there is no folder {config.data}. Name where it is now "
            "(--data)."
        )
    dataset = open_dataset(config.data)
    training, held_out = cases_of(setup.split, dataset, folder, resume=resume, progress=progress)
    prepared = prepare_cases(
        dataset,
        (*training, *held_out),
        plan,
        cache,
        lambda cases: progress.track(cases, "Preparing volumes"),
    )
    if not resume:
        _say_twice(setup.split, dataset, {case.id for case in prepared if case.places}, progress)
    learned: Sequence[PreparedCase] = prepared[: len(training)]
    others = prepared[len(training) :]
    if not any(case.places for case in learned):
        raise DataError("no training case has a foreground voxel; there is nothing to learn.")
    scheme = scheme_class(network.scheme)
    task = Task(config, network, plan)
    task, learned = scheme.prepare(task, learned, progress)
    return task, Cases(learned, len(others), _watched(others, task, progress))


def _say_twice(split: Split, dataset: Dataset, drawn: set[str], progress: Progress) -> None:
    """Say what is there twice and should be once, such as an image in both parts."""
    test = [case for case in dataset.cases if case.split == "test"]
    alike = split.doubles(progress.track(test, "Comparing test cases"))
    for remark in (*alike, *split.shared_labels(drawn), *twice(dataset.cases)):
        progress.note(remark)


def _watched(
    held_out: Sequence[PreparedCase], task: Task, progress: Progress
) -> Sequence[PreparedCase]:
    """Choose the validation cases; none where nothing could be seen on them."""
    plan = task.plan
    chosen = choose_cases(held_out, task.config.validation_cases, plan.num_classes)
    if not chosen:
        return ()
    progress.note(describe(chosen, len(held_out), plan.labels))
    if any(case.places for case in chosen):
        return chosen
    progress.note("No held-out case has a foreground voxel: no validation can tell anything.")
    return ()


def _assemble(
    task: Task, cases: Cases, folder: Path, resume: bool, progress: Progress, began: float | None
) -> Engine:
    """Build the networks and the engine, and let them go on where the run stopped."""
    config, plan = task.config, task.plan
    going_on = resume and any((folder / "checkpoints").glob("*.npz"))
    if resume and not going_on:
        progress.note("There is no checkpoint yet: the run starts at its beginning.")
    strategy = open_strategy(config.replicas)
    scheme_class(task.network.scheme).check(task)
    replicas = strategy.num_replicas_in_sync
    if plan.batch_size % replicas:
        raise ConfigError(
            f"batch_size must be divisible by the number of devices ({replicas}); got "
            f"{plan.batch_size}. Use batch_size={-(-plan.batch_size // replicas) * replicas}."
        )
    mixed = gpu_count() > 0 if config.mixed_precision is None else config.mixed_precision
    keras.mixed_precision.set_dtype_policy("mixed_float16" if mixed else "float32")
    seed_everything(config.seed, deterministic=config.deterministic)
    seen = task.network.wider_input(plan.patch_size)
    if seen != plan.patch_size:
        progress.note(
            f"{config.model} is unpadded: it sees patches mirrored at their borders, {seen}."
        )
    with strategy.scope():
        scheme = scheme_class(task.network.scheme)(task, cases.training)
        segmenter = scheme.learners()[SEGMENTER]
        if config.weights and not going_on:
            progress.note(str(load_weights(segmenter.network, config.weights)))
            if segmenter.average is not None:
                segmenter.average.restart()
    if config.replicas or not gpu_count():
        check_memory(segmenter.network, plan.batch_size, plan.patch_size)
    engine = Engine(scheme, strategy, config, folder, _hooks(scheme, task, cases), began)
    if going_on:
        engine.resume()
        _check_length(engine.finished(), config, Setup.load(folder).config, progress)
    return engine


def _sampler(task: Task, cases: Cases) -> PatchSampler:
    config = task.config
    return PatchSampler(
        cases.training, task.plan, config.augmentation, config.foreground, config.seed
    )


def _hooks(scheme: Scheme, task: Task, cases: Cases) -> list[hooks.Hook]:
    """Return what happens after an epoch, in order."""
    if not read_workers().is_chief:
        return []
    product = scheme.product()
    found: list[hooks.Hook] = [hooks.Watch(product, cases.watched, task.plan, cases.held_out)]
    if task.config.patience:
        found.append(hooks.Patience(task.config.patience))
    return [*found, hooks.Product(product), hooks.History(), hooks.Show()]


def _check_length(
    finished: str, config: TrainConfig, before: TrainConfig, progress: Progress
) -> None:
    """Refuse a new length that leaves nothing to train; a run that ended may be ended again."""
    if not finished:
        return
    if (config.epochs, config.time_budget_s) != (before.epochs, before.time_budget_s):
        raise ConfigError(
            f"there is nothing to go on with: {finished}. Give more epochs or more time."
        )
    progress.note(f"Nothing is left to train: {finished}.")


def _finish(
    manifest: Manifest,
    split: Split,
    engine: Engine,
    counters: Counters,
    cases: Cases,
    progress: Progress,
) -> Manifest:
    """Write what the run was."""
    config, labels = engine.config, manifest.plan.labels
    segmenter = engine.scheme.learners()[SEGMENTER]
    summary = {
        "cases": len(cases.training),
        "held_out_cases": cases.held_out,
        "fold": config.fold,
        "seed": config.seed,
        MIRRORED: config.augmentation.flip,
        "epochs": counters.epoch,
        "steps": counters.step,
        "seconds": round(counters.elapsed_s, 1),
        "ended": engine.finished(),
        "parameters": segmenter.network.count_params(),
        "images": split.digests,
    }
    judged = [one for one in counters.history if one.get("val_dice") is not None]
    if judged:
        summary["validation"] = validation_summary(judged[-1], len(cases.watched), labels)
        summary["validation"]["chose"] = "when the run ended" if config.patience else "nothing"
        if not judged[-1]["val_dice"]:
            progress.note("The network finds nothing of what the validation cases have.")
    if config.patience:
        progress.note(
            f"The {len(cases.watched)} validation cases chose when the run ended: figures of the "
            "held-out cases, which they are among, are no proof."
        )
    path = engine.folder / hooks.Product.NAME
    manifest = manifest.model_copy(update={"training": summary, "files": {path.name: sha256(path)}})
    manifest.save(engine.folder, "manifest.json")
    return manifest


def first_manifest(setup: Setup, folder: Path, *, resume: bool = True) -> Manifest:
    """Return what a run's manifest says before the training; a run that is there keeps its id."""
    config = setup.config
    return Manifest(
        versions={"tfseg": __version__, "tensorflow": tf.__version__, "keras": keras.__version__},
        format="run",
        run_id=_run_id(folder, resume),
        model=config.model,
        config=model_config(config.model, **config.options).model_dump(mode="json"),
        plan=setup.plan,
        fingerprint=setup.fingerprint,
    )


def _run_id(folder: Path, resume: bool) -> str:
    """Return a run's identity: a new one, or that of the run that is resumed.

    It is random: two runs are two, even of one configuration in folders of one name.
    """
    known = _known(folder) if resume else None
    return (known.run_id if known else "") or uuid.uuid4().hex


def _known(folder: Path) -> Manifest | None:
    """Return the manifest of a run that began before; ``None`` where it came not so far."""
    path = folder / "manifest.json"
    return Manifest.load(folder, path.name) if path.is_file() else None
