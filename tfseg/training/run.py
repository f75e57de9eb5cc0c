"""A run from its request to a trained network in its folder."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tfseg.artifact import Manifest
from tfseg.config import TrainConfig
from tfseg.datasets import Case, Dataset, open_dataset
from tfseg.datasets.base import IGNORE_NAME, IGNORED
from tfseg.datasets.split import Split, recall
from tfseg.errors import ConfigError, DataError, TfsegError
from tfseg.files import read_json, sha256, write_json
from tfseg.fingerprint import ImageFingerprint
from tfseg.losses import build_loss, leave_out
from tfseg.models import model_config, model_info
from tfseg.pipeline.augment import check_augmentation
from tfseg.pipeline.cache import prepare_cases
from tfseg.pipeline.patches import PatchSampler
from tfseg.pipeline.picture import write_patches
from tfseg.plan import Plan
from tfseg.planning import Budget, fit_patch, make_plan, network_options, take_fingerprint
from tfseg.runs import CACHE, mark_latest

Track = Callable[[Iterable[Any], str], Iterable[Any]]


@dataclass(frozen=True)
class Setup:
    """A run that is ready to start: its configuration, its plan and its cases.

    Attributes:
        fingerprint: of the training images; the manifest keeps it.
        split: which cases are trained on and held out; ``None`` for a run of an older release.
    """

    config: TrainConfig
    plan: Plan
    fingerprint: ImageFingerprint | None = None
    split: Split | None = None

    def save(self, folder: Path) -> None:
        """Write the run's files; the configuration last, it marks the run."""
        self.plan.save(folder / "plan.json")
        if self.split is not None:
            self.split.save(folder)
        write_json(folder / "config.json", self.config.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path) -> Setup:
        """Read the set-up of an existing run."""
        path = folder / "config.json"
        config = TrainConfig.parse(read_json(path, "the run's configuration"), str(path))
        known = _known(folder)
        plan = Plan.load(folder / "plan.json")
        return cls(config, plan, None if known is None else known.fingerprint, Split.load(folder))


def plan_run(
    config: TrainConfig, plan_settings: dict[str, Any], plan: Plan | None, track: Track
) -> Setup:
    """Complete a configuration: make the plan, and fit the network's options to it.

    Args:
        config: with the options the user gave.
        plan_settings: entries of the plan that the user gave; the rest is planned.
        plan: a whole plan of the user's, instead of a planned one.
        track: shows progress over cases.

    Raises:
        InputError: data, plan or options that do not fit; nothing was written.
    """
    from tfseg.training.objective import check_loss, refuse_unused_loss
    from tfseg.training.stages import check_epochs

    dataset = open_dataset(config.data)
    fold = None if config.fold == "all" else config.fold
    training, held_out = dataset.split(fold, config.seed)
    split = Split.of(training, held_out, lambda cases: track(cases, "Taking down the cases"))
    split = _after_weights(split, config)
    by_id = {case.id: case for case in (*training, *held_out)}
    training = tuple(by_id[one.id] for one in split.training)
    budget = _budget(config)
    dims = plan_settings.get("dims", dataset.dims if plan is None else plan.dims)
    if dims not in (2, 3):
        raise ConfigError(f"dims must be 2 or 3; got {dims!r}.")
    planned = plan is None
    look = partial(
        take_fingerprint, dataset, training, lambda cases: track(cases, "Looking at the data")
    )
    fingerprint = None
    if plan is None:
        fingerprint = look()
        plan = make_plan(dataset, fingerprint, budget, dims)
    if plan_settings:
        plan = Plan.parse({**plan.model_dump(), **plan_settings}, "the plan with --set")
    if plan.labels != dataset.labels or len(plan.channels) != len(dataset.modalities):
        raise ConfigError(
            f"the plan's labels and channels must be the data set's; got {plan.labels} and "
            f"{len(plan.channels)} channels for {dataset.labels} and {len(dataset.modalities)}. "
            "Make a plan for this data set: tfseg plan."
        )
    config = _leaving_out(config, dataset)
    fields = set(type(model_config(config.model)).model_fields)
    depth = config.options.get("depth")
    chosen = depth if isinstance(depth, int) else None
    options = {**network_options(fields, plan, budget, chosen), **config.options}
    if config.options.get("faithful"):
        options = config.options
    network = model_config(config.model, **options)
    if planned and "patch_size" not in plan_settings:
        plan = fit_patch(plan, network.divisor(plan.dims))
    check_augmentation(config.augmentation, plan)
    loss = build_loss(config.loss)
    loss.map_maker()
    refuse_unused_loss(config, network)
    check_epochs(network.training_stages(), config.epochs)
    if not config.replicas:  # the check starts TensorFlow, and logical devices come before that
        check_loss(loss, network, plan)
    images = (fingerprint or look()).images
    return Setup(config.model_copy(update={"options": options}), plan, images, split)


def _leaving_out(config: TrainConfig, dataset: Dataset) -> TrainConfig:
    """Let the loss leave out the voxels that the data set says nothing of."""
    from tfseg.models.detector import DetectorConfig

    ignores = dataset.ignored is not None
    known = (dataset.ignored, IGNORED) if dataset.ignored is not None else ()
    loss = leave_out(config.loss, IGNORED if ignores else -1, known, len(dataset.labels))
    if not ignores:
        return config
    if isinstance(model_config(config.model), DetectorConfig):
        raise ConfigError(
            f"a detector learns objects, and what a label map leaves open (`{IGNORE_NAME}`, "
            f"{dataset.ignored}) might be one. Choose another network than {config.model}."
        )
    return config.model_copy(update={"loss": loss})


def _after_weights(split: Split, config: TrainConfig) -> Split:
    """Let no case be held out that the weights which a run begins with were trained on."""
    from tfseg.cli.console import note, some

    donor = Split.behind(config.weights)
    if donor is None or config.fold == "all":
        return split if donor is None else split.after(donor, same_fold=False)
    after = split.after(donor, same_fold=_same_fold(config))
    before, now = ({one.id for one in each.held_out} for each in (split, after))
    if before and not now:
        raise ConfigError(
            f"{config.weights} was trained on every case of fold {config.fold}, so none could be "
            "held out. Use the fold and seed of that run, --fold all, or other weights."
        )
    for what, cases in (("trained on", before - now), ("held out", now - before)):
        if cases:
            note(f"{what}, as by {config.weights}: {some(sorted(cases))}")
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


def train_run(setup: Setup, folder: Path, *, resume: bool, track: Track) -> Manifest:
    """Train in ``folder`` and return the manifest, written there beside the network.

    Raises:
        TfsegError: see :meth:`tfseg.training.trainer.Trainer.train`.
    """
    import keras
    import tensorflow as tf

    from tfseg.cli.console import note
    from tfseg.models.same_size import build_same_size
    from tfseg.training.devices import gpu_count, open_strategy, seed_everything
    from tfseg.training.memory import check_memory
    from tfseg.training.objective import check_loss, detection_objective, prepare_loss
    from tfseg.training.stages import check_epochs
    from tfseg.training.trainer import Trainer
    from tfseg.training.validation import choose_cases, describe
    from tfseg.training.validation import summary as validation_summary
    from tfseg.training.weights import load_weights

    config, plan = setup.config, setup.plan
    network = model_config(config.model, **config.options)
    check_epochs(network.training_stages(), config.epochs)
    if resume and not Path(config.data).is_dir():
        raise DataError(
            f"the run's data set is gone: there is no folder {config.data}. Name it with --data."
        )
    dataset = open_dataset(config.data)
    split, training, held_out = _cases(setup, dataset, folder, resume=resume, track=track)
    for remark in () if resume else split.doubles():
        note(remark)
    cache = folder.parent / CACHE
    prepared = prepare_cases(
        dataset,
        (*training, *held_out),
        plan,
        cache,
        lambda cases: track(cases, "Preparing volumes"),
    )
    if not any(case.places for case in prepared[: len(training)]):
        raise DataError("no training case has a foreground voxel; there is nothing to learn.")
    config, loss, prepared[: len(training)] = prepare_loss(
        config, prepared[: len(training)], plan, track
    )
    going_on = resume and any((folder / "checkpoints").glob("*.npz"))
    if resume and not going_on:
        note("There is no checkpoint yet: the run starts at its beginning.")
    judges = choose_cases(prepared[len(training) :], config.validation_cases, plan.num_classes)
    if judges:
        note(describe(judges, len(held_out), plan.labels))
    if not any(case.places for case in judges):
        if judges:
            note("No held-out case has a foreground voxel: nothing can choose the best checkpoint, "
                 "so the last one is kept.")  # fmt: skip
        judges = []
    strategy = open_strategy(config.replicas)
    check_loss(loss, network, plan)
    replicas = strategy.num_replicas_in_sync
    if plan.batch_size % replicas:
        raise ConfigError(
            f"batch_size must be divisible by the number of devices ({replicas}); got "
            f"{plan.batch_size}. Use --set batch_size={-(-plan.batch_size // replicas) * replicas}."
        )
    mixed = gpu_count() > 0 if config.mixed_precision is None else config.mixed_precision
    keras.mixed_precision.set_dtype_policy("mixed_float16" if mixed else "float32")
    seed_everything(config.seed, deterministic=config.deterministic)
    seen = network.wider_input(plan.patch_size)
    if seen != plan.patch_size:
        note(f"{config.model} is unpadded: it sees patches mirrored at their borders, {seen}.")
    with strategy.scope():
        shape = (*plan.patch_size, len(plan.channels))
        model = build_same_size(config.model, shape, plan.num_classes, **config.options)
        objective = detection_objective(model, network, loss)
        if config.weights and not going_on:
            note(str(load_weights(model, config.weights)))
    if config.replicas or not gpu_count():
        check_memory(model, plan.batch_size, plan.patch_size)

    trainer = Trainer(
        model=model,
        strategy=strategy,
        config=config,
        sampler=PatchSampler(
            prepared[: len(training)], plan, config.augmentation, config.foreground, config.seed
        ),
        validation=judges,
        loss=loss,
        loss_weights=model_info(config.model).loss_weights,
        folder=folder,
        stages=network.training_stages(),
        groups=network.label_groups(plan.num_classes),
        objective=objective,
    )
    if going_on:
        trainer.resume()
        _check_length(trainer.finished(), config, Setup.load(folder).config)
    manifest = Manifest(
        versions=_versions(tf.__version__, keras.__version__),
        format="run",
        run_id=_run_id(folder, resume),
        model=config.model,
        config=network.model_dump(mode="json"),
        plan=plan,
        fingerprint=setup.fingerprint,
    )
    # Everything that can be refused has been: only now does the run appear on disk.
    Setup(config, plan, split=split).save(folder)
    manifest.save(folder, "manifest.json")
    write_patches(trainer.sampler, folder)
    mark_latest(folder)
    try:
        progress = trainer.train()
    except tf.errors.ResourceExhaustedError as error:
        raise TfsegError(
            "the device ran out of memory. Use a smaller patch_size, batch_size or base_filters."
        ) from error
    summary = {
        "cases": len(training),
        "held_out_cases": len(held_out),
        "fold": config.fold,
        "seed": config.seed,
        "mirrored": config.augmentation.flip,
        "epochs": progress.epoch,
        "steps": progress.epoch * config.steps_per_epoch,
        "seconds": round(progress.elapsed_s, 1),
        "best_epoch": progress.best_epoch,
        "parameters": model.count_params(),
        "images": split.digests,
    }
    best = [one for one in progress.history if one["epoch"] == progress.best_epoch]
    if judges and best and best[0].get("val_dice") is not None:
        summary["validation"] = validation_summary(best[0], len(judges), plan.labels)
        if not best[0]["val_dice"]:
            note("The network that is kept finds nothing of what the validation cases have.")
    network_file = folder / "model.keras"
    files = {network_file.name: sha256(network_file)} if network_file.is_file() else {}
    manifest = manifest.model_copy(update={"training": summary, "files": files})
    manifest.save(folder, "manifest.json")
    return manifest


def _cases(
    setup: Setup, dataset: Dataset, folder: Path, *, resume: bool, track: Track
) -> tuple[Split, tuple[Case, ...], tuple[Case, ...]]:
    """Return the run's split and its (training, held-out) cases, in the order of the split.

    Raises:
        DataError: a run that goes on does not find its cases as they were.
    """
    split, here = setup.split, {case.id: case for case in dataset.cases if case.label}
    if split is None:
        fold = None if setup.config.fold == "all" else setup.config.fold
        known = _known(folder)
        cases = recall(dataset, fold, setup.config.seed, known.training if known else {}, folder)
        return Split.of(*cases), *cases
    place = {one.id: one.id for one in (*split.training, *split.held_out)}
    if resume:
        place = _found_again(split, dataset, folder, track)
    try:
        training, held_out = (
            tuple(here[place[one.id]] for one in part) for part in (split.training, split.held_out)
        )
    except KeyError as error:
        raise DataError(f"{dataset.root}: the training case {error} is gone.") from error
    return split, training, held_out


def _found_again(split: Split, dataset: Dataset, folder: Path, track: Track) -> dict[str, str]:
    """Return where a run that goes on finds its cases: id in the run -> id in the data set."""
    from tfseg.cli.console import note, some

    found = split.find(dataset, lambda cases: track(cases, "Recognising the cases"))
    missing = [one.id for one in (*found.missing_training, *found.missing_held_out)]
    reasons = [f"{len(missing)} are not in {dataset.root}: {some(missing)}"] if missing else []
    reasons += [some(found.changed)] if found.changed else []
    if reasons:
        raise DataError(
            f"{folder} can go on only with the cases that it began with; {'; '.join(reasons)}. "
            f"Restore them, or start a new run from its network: --set weights={folder}."
        )
    for remark in found.remarks:
        note(remark)
    new = found.ids("new", "related")
    if new:
        note(f"not in this run, as they were added later: {some(new)}")
    # A copy under another name comes first, so that the case of the same name replaces it.
    renamed = {before.id: now for now, before in found.records.items()}
    return renamed | {one: one for one, before in found.records.items() if before.id == one}


def _check_length(finished: str, config: TrainConfig, before: TrainConfig) -> None:
    """Refuse a new length that leaves nothing to train; a run that ended may be ended again."""
    from tfseg.cli.console import note

    if not finished:
        return
    if (config.epochs, config.time_budget_s) != (before.epochs, before.time_budget_s):
        raise ConfigError(
            f"there is nothing to go on with: {finished}. Give more with --epochs or --time-budget."
        )
    note(f"Nothing is left to train: {finished}.")


def _budget(config: TrainConfig) -> Budget:
    if config.replicas:
        return Budget.cpu()
    from tfseg.training.devices import gpu_count

    return Budget.gpu() if gpu_count() else Budget.cpu()


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


def _versions(tensorflow: str, keras: str) -> dict[str, str]:
    from tfseg import __version__

    return {"tfseg": __version__, "tensorflow": tensorflow, "keras": keras}
