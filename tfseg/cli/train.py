"""``tfseg train``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tfseg.artifact import Manifest
    from tfseg.config import TrainConfig
    from tfseg.training.run import Setup

_LIMITS = ("epochs", "time_budget_s")
_BUILTIN_EPOCHS = 20  # enough to see every organ of the synthetic scans, in minutes on two cores


@click.command()
@click.option("--model", help="Network to train; `tfseg models` lists them.")
@click.option(
    "--data",
    type=click.Path(),
    help="Data set folder (default: a synthetic one); with --resume: where it is now.",
)
@click.option("--run", type=click.Path(), help="Run folder (default: runs/<model>-<date>).")
@click.option("--fold", help="Fold held out for validation, or `all` to hold out none. [0]")
@click.option(
    "--folds",
    metavar="all|N,N,...",
    help="Train a network for each fold, one after the other, and make one ensemble of them; "
    "lengths and budgets are those of one fold.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1, 100_000),
    help="Epochs of 50 steps. [100; 20 on the synthetic data]",
)
@click.option("--time-budget", help="Stop training after this long: 90s, 30m, 2h.")
@click.option("--plan", "plan_file", type=click.Path(), help="Plan to use (see `tfseg plan`).")
@click.option("--config", "config_file", type=click.Path(), help="JSON file of settings.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the run, the plan or the network, e.g. backbone=resnet34. Repeatable.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Of everything random. [0]")
@click.option("--replicas", type=click.IntRange(0, 64), help="N logical CPU devices. [all GPUs]")
@click.option("--deterministic", is_flag=True, help="The same result bit for bit.")
@click.option("--resume", is_flag=True, help="Go on with --run, or with the latest run.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def train(run: str | None, resume: bool, as_json: bool, **given: Any) -> None:
    """Train a network.

    `tfseg train --model unet` alone makes a synthetic CT data set, trains on it, measures the
    held-out fold and writes everything to runs/unet-<date>. Settings come from --config, then
    --set, then the options above. After an interruption, --resume goes on where it stopped.
    """
    import time

    from tfseg.cli.console import note, print_json
    from tfseg.files import remove_partials
    from tfseg.quiet import import_tensorflow
    from tfseg.runs import new_run, resumed_run
    from tfseg.workers import read_workers

    began = time.monotonic()
    if not read_workers().is_chief:
        _follow(run, given, began, resume=resume)
        return
    with ExitStack() as stack:
        if resume:
            folder = stack.enter_context(resumed_run(run))
            remove_partials(folder)
            import_tensorflow()
            setup = _resumed(folder, given)
        elif run:  # refused before the data are looked at, which may take minutes
            folder = stack.enter_context(new_run("", run))
            setup = _new_setup(given, run)
        else:
            setup = _new_setup(given, run)
            folder = stack.enter_context(new_run(setup.config.model, None))
        note(_describe(setup, folder))
        work = _train_folds if setup.config.folds else _train
        manifest, metrics = work(setup, folder, began, resume=resume, quiet=as_json)
    if as_json:
        training = {key: one for key, one in manifest.training.items() if key != "images"}
        print_json({"run": str(folder), "training": training, "metrics": metrics})
    else:
        click.echo(f"{folder}: trained {manifest.training['steps']} steps")


def _follow(run: str | None, given: dict[str, Any], began: float, *, resume: bool) -> None:
    """Train with the other processes of this training, whose chief writes what is written."""
    from tfseg.errors import ConfigError
    from tfseg.quiet import import_tensorflow
    from tfseg.runs import ROOT, existing_run

    import_tensorflow()
    from tfseg.training.run import follow_run

    if resume:
        folder = existing_run(run)
        setup = _resumed(folder, given)
    else:
        folder = Path(run) if run else ROOT / "new"  # only its surroundings count
        if (folder / "config.json").exists():
            raise ConfigError(f"{folder} holds a run already. Use --resume, or another --run.")
        setup = _new_setup(given, run)
    follow_run(setup, folder, resume=resume, began=began)


def _train(
    setup: Setup,
    folder: Path,
    began: float,
    *,
    resume: bool,
    quiet: bool,
    whole: Path | None = None,
) -> tuple[Manifest, dict[str, Any]]:
    """Train, measure and report a run; return its manifest and its figures."""
    from tfseg.cli.console import ConsoleProgress
    from tfseg.training.run import train_run

    manifest = train_run(
        setup, folder, resume=resume, whole=whole, progress=ConsoleProgress(), began=began
    )
    return _measured(setup, folder, manifest, quiet=quiet)


def _measured(
    setup: Setup, folder: Path, manifest: Manifest, *, quiet: bool
) -> tuple[Manifest, dict[str, Any]]:
    metrics = _evaluate(setup.config, folder, quiet=quiet)
    manifest = manifest.model_copy(update={"metrics": metrics})
    manifest.save(folder, "manifest.json")
    _report(folder)
    return manifest, metrics


def _train_folds(
    setup: Setup, folder: Path, began: float, *, resume: bool, quiet: bool
) -> tuple[Manifest, dict[str, Any]]:
    """Train what is missing of a run of several folds, and join their networks."""
    import time

    from tfseg.cli.console import ConsoleProgress, note
    from tfseg.files import remove_partials
    from tfseg.runs import mark_latest, new_run, resumed_run
    from tfseg.training.folds import join, members
    from tfseg.training.run import first_manifest

    del resume  # what is there goes on, what is not begins
    setup.save(folder)
    first_manifest(setup, folder).save(folder, "manifest.json")
    mark_latest(folder)
    for one in members(setup, folder, ConsoleProgress()):
        if one.finished:
            note(f"fold {one.fold} is finished")
            continue
        note(f"fold {one.fold} -> {one.folder}")
        with resumed_run(str(one.folder)) if one.begun else new_run("", str(one.folder)):
            remove_partials(one.folder)
            _train(one.setup, one.folder, began, resume=one.begun, quiet=True, whole=folder)
        began = time.monotonic()
    note("Joining the networks of all folds")
    return _measured(setup, folder, join(setup, folder), quiet=quiet)


def _new_setup(given: dict[str, Any], run: str | None) -> Setup:
    from tfseg.cli.console import ConsoleProgress
    from tfseg.config import TrainConfig, parse_settings, split_settings
    from tfseg.errors import ConfigError
    from tfseg.files import read_json
    from tfseg.models import PRESETS, model_config, segmentation_info
    from tfseg.plan import Plan
    from tfseg.quiet import import_tensorflow

    settings: dict[str, Any] = {}
    if given["config_file"]:
        document = read_json(given["config_file"], "the configuration")
        if not isinstance(document, dict):
            raise ConfigError(f"{given['config_file']} must hold a JSON object of settings.")
        settings.update(document)
    settings.update(parse_settings(given["settings"]))
    settings.update(_options(given))
    model = settings.pop("model", None)
    if model is None:
        raise ConfigError("train needs a network: --model unet. `tfseg models` lists them.")
    info = segmentation_info(str(model))
    if model in PRESETS:
        preset = PRESETS[model]
        settings = {**preset.options, **preset.settings, **settings}
        model = info.name
    import_tensorflow()
    known = tuple(type(model_config(model)).model_fields)
    data = settings.pop("data", None)
    if data is None:
        settings.setdefault("epochs", _BUILTIN_EPOCHS)
    run_settings, plan_settings, options = split_settings(settings, known, model)
    config = TrainConfig.parse(
        # Absolute, so that the run can be resumed and evaluated from any folder.
        {
            "model": model,
            "data": str(Path(str(data)).resolve()) if data else "",
            "options": options,
            **run_settings,
        },
        "settings",
    )
    model_config(model, **options)
    plan = Plan.load(given["plan_file"]) if given["plan_file"] else None
    if data is None:
        config = config.model_copy(update={"data": str(_builtin_data(run, config.seed).resolve())})
    if given["folds"] is not None:
        config = _with_folds(config, given["folds"])
    from tfseg.training.run import plan_run

    return plan_run(config, plan_settings, plan, ConsoleProgress())


def _with_folds(config: TrainConfig, text: str) -> TrainConfig:
    from tfseg.datasets import open_dataset
    from tfseg.errors import ConfigError
    from tfseg.training.folds import check_folds, choose_folds
    from tfseg.workers import read_workers

    if read_workers().count > 1:
        raise ConfigError(
            "--folds trains one network after the other in one process. Where several train "
            "together, give --fold N."
        )
    check_folds(config)
    folds = choose_folds(text, open_dataset(config.data), config.seed)
    return config.model_copy(update={"folds": folds, "fold": "all"})


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """Return the command's own options as settings; those not given are left out."""
    from tfseg.config import UNLIMITED_EPOCHS, parse_duration
    from tfseg.errors import ConfigError

    settings = {
        key: given[key]
        for key in ("model", "data", "epochs", "seed", "replicas")
        if given[key] is not None
    }
    if given["fold"] is not None:
        settings["fold"] = int(given["fold"]) if given["fold"].isdecimal() else given["fold"]
    if given["folds"] is not None and given["fold"] is not None:
        raise ConfigError("--fold trains one network, --folds several. Choose one of the two.")
    if given["time_budget"] is not None:
        settings["time_budget_s"] = parse_duration(given["time_budget"])
        if given["epochs"] is None:
            settings["epochs"] = UNLIMITED_EPOCHS  # time alone ends the run
    if given["deterministic"]:
        settings["deterministic"] = True
    return settings


def _resumed(folder: Path, given: dict[str, Any]) -> Setup:
    """Return a run's set-up; its length and the place of its data may change when it goes on."""
    from dataclasses import replace

    from tfseg.config import TrainConfig, parse_settings, whole_augmentation
    from tfseg.errors import ConfigError
    from tfseg.files import read_json
    from tfseg.plan import Plan
    from tfseg.training.run import Setup

    setup = Setup.load(folder)
    config = setup.config
    limits = {key: value for key, value in _options(given).items() if key in _LIMITS}
    fixed = {key: value for key, value in _options(given).items() if key not in _LIMITS}
    if given["config_file"]:
        document = read_json(given["config_file"], "the configuration")
        fixed.update(document if isinstance(document, dict) else {"config": document})
    fixed.update(parse_settings(given["settings"]))
    if "augmentation" in fixed:  # the run has the values of a named set, not its name
        fixed = whole_augmentation(fixed)
        document = {"model": "", "data": "", "augmentation": fixed.pop("augmentation")}
        whole = TrainConfig.parse(document, "settings").augmentation.model_dump(mode="json")
        fixed.update({f"augmentation.{key}": value for key, value in whole.items()})
    if given["plan_file"] and Plan.load(given["plan_file"]) != setup.plan:
        fixed["plan"] = given["plan_file"]
    data = fixed.pop("data", None)
    if data is not None:
        limits["data"] = str(Path(str(data)).resolve())
    if given["folds"] is not None and not config.folds:
        raise ConfigError("--resume goes on with the run as it was configured, which has one fold.")
    for key, value in fixed.items():
        now = _setting(setup, key)
        if value != now:
            raise ConfigError(
                f"--resume goes on with the run as it was configured; {key} cannot change"
                f"{f' from {now} to {value}' if key != 'plan' else ''}. Only --epochs, "
                "--time-budget and the place of --data can. Start a new run for the rest."
            )
    _replace_limit(config, given, limits)
    return replace(setup, config=config.model_copy(update=limits))


def _replace_limit(config: TrainConfig, given: dict[str, Any], limits: dict[str, Any]) -> None:
    """Let --epochs or --time-budget alone replace the run's only limit, and say so."""
    from tfseg.cli.console import note
    from tfseg.config import UNLIMITED_EPOCHS

    if given["epochs"] is not None and given["time_budget"] is None:
        if config.time_budget_s is not None and config.epochs == UNLIMITED_EPOCHS:
            limits["time_budget_s"] = None
            note(
                f"The run had {config.time_budget_s:g} s; now it goes on to epoch "
                f"{limits['epochs']}, however long that takes."
            )
    elif given["time_budget"] is not None and given["epochs"] is None:
        if config.time_budget_s is not None:
            del limits["epochs"]  # the run keeps the other limit that it has
        else:
            note(
                f"The run had {config.epochs} epochs; now it goes on until "
                f"{limits['time_budget_s']:g} s are trained in all."
            )


def _setting(setup: Setup, key: str) -> Any:
    """Return a setting of a run as ``--set`` would give it; ``None`` where there is none."""
    known = setup.plan.model_dump(mode="json") | setup.config.options
    found: Any = known | setup.config.model_dump(mode="json")
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _builtin_data(run: str | None, seed: int) -> Path:
    """Return the synthetic CT data set, made on first use beside the runs."""
    from tfseg.cli.console import note
    from tfseg.datasets.phantom import make_phantom
    from tfseg.files import write_error
    from tfseg.locks import locked
    from tfseg.runs import CACHE, ROOT

    root = Path(run).parent if run else ROOT
    folder = root / CACHE / f"phantom-ct-{seed}"
    if folder.is_dir():
        return folder
    try:
        with locked(root / CACHE, on_wait=lambda holder: note(f"Waiting for {holder}")):
            if not folder.is_dir():  # else the process that we waited for made it
                note(f"No --data: making a synthetic CT data set in {folder}")
                make_phantom(folder, kind="ct-abdomen", seed=seed)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


def _evaluate(config: TrainConfig, folder: Path, *, quiet: bool) -> dict[str, Any]:
    """Measure the held-out fold; return what the manifest keeps, which names no case."""
    from tfseg.cli.evaluate import measure

    if config.fold == "all" and not config.folds:
        return {}
    metrics = measure(folder, quiet=quiet)
    return metrics.model_dump(
        mode="json",
        include={
            "cases",
            "mean_dice",
            "empty",
            "mean_dice_where_present",
            "distance_unit",
            "classes",
        },
        exclude={"classes": {"__all__": {"worst"}}},
    )


def _report(folder: Path) -> None:
    from tfseg.report import write_report

    write_report(folder)


def _describe(setup: Setup, folder: Path) -> str:
    plan, config = setup.plan, setup.config
    size = "x".join(map(str, plan.patch_size))
    return (
        f"{config.model} {plan.dims}D on {config.data}: patch {size}, batch {plan.batch_size}, "
        f"{plan.num_classes} classes -> {folder}"
    )
