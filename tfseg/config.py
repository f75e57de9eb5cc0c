"""The configuration of a training run: frozen, checked, unknown keys refused."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tfseg import strict_json
from tfseg.augmentation import AugmentationConfig
from tfseg.errors import ConfigError
from tfseg.plan import Plan, first_problem

UNLIMITED_EPOCHS = 100_000  # the most there may be: the time budget ends the run
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class TrainConfig(BaseModel):
    """Everything ``tfseg train`` decides besides the plan.

    Attributes:
        model: registry name.
        options: the network's own options.
        data: data set folder.
        fold: held-out fold, or ``all`` to train on every case.
        folds: of a run that trains a network for each of them and makes one ensemble of all;
            ``fold`` is then ``all``, and lengths and budgets are those of one fold.
        epochs, steps_per_epoch: length of the run; the learning rate falls to 0 over it.
        time_budget_s: seconds that the command may take in all, from looking at the data to the
            figures of the held-out cases; the learning rate then follows whichever is further,
            epochs or time.
        optimizer: ``adamw`` (beta_2 0.99) or ``sgd`` (Nesterov momentum 0.99).
        schedule: how the learning rate falls, see :func:`tfseg.schemes.schedule.rate_factor`.
        warmup: share of the run at its start in which the learning rate rises from 0.
        average: how much of the average of the weights a step keeps, at most; that average is the
            network of the run. 0 takes the last step's weights.
        accumulate: steps whose gradients are averaged before the weights move.
        patience: epochs without a better validation Dice before the run stops; 0 never stops.
            What the validation cases then say is no proof any more: they chose the end.
        validate_every: epochs between whole-volume validations, which only watch.
        validation_cases: how many held-out cases those use at most; the final figures use all.
        foreground: share of patches centred on a foreground voxel.
        loss: a sum of losses such as ``dice + 0.5*focal(gamma=2)``.
        replicas: 0 takes every GPU (or the one CPU); N > 0 takes N logical CPU devices.
        mixed_precision: float16 compute with float32 variables; ``None`` where there is a GPU.
        deterministic: the same result bit for bit on the same machine.
        weights: a run folder, ``.keras`` or ``.weights.h5`` file to start from, or published
            weights of the network's encoder, see :mod:`tfseg.training.weights`.
        freeze: epochs at the start in which the network's encoder keeps its weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    options: dict[str, Any] = Field(default_factory=dict)
    data: str
    fold: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    folds: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    epochs: Annotated[int, Field(ge=1, le=UNLIMITED_EPOCHS)] = 100
    steps_per_epoch: Annotated[int, Field(ge=1, le=100_000)] = 50
    time_budget_s: Annotated[float, Field(gt=0)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, le=10)] | None = None
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 1e-4
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    accumulate: Annotated[int, Field(ge=1, le=1024)] = 1
    clip_norm: Annotated[float, Field(gt=0)] = 12.0
    patience: Annotated[int, Field(ge=0)] = 0
    validate_every: Annotated[int, Field(ge=1)] = 5
    validation_cases: Annotated[int, Field(ge=1)] = 12
    foreground: Annotated[float, Field(ge=0, le=1)] = 0.5
    loss: Annotated[str, Field(min_length=1)] = "dice + ce"
    augmentation: AugmentationConfig = AugmentationConfig()
    replicas: Annotated[int, Field(ge=0, le=64)] = 0
    mixed_precision: bool | None = None
    deterministic: bool = False
    weights: str | None = None
    freeze: Annotated[int, Field(ge=0, le=100_000)] = 0

    @property
    def initial_rate(self) -> float:
        """The learning rate at step 0: given, or the optimizer's customary one."""
        return self.learning_rate or {"adamw": 1e-3, "sgd": 1e-2}[self.optimizer]

    @classmethod
    def parse(cls, document: object, source: str) -> TrainConfig:
        """Validate a configuration given as parsed JSON; ``source`` names it in messages."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ConfigError(f"{source}: {first_problem(error)}.") from error


# What --set may give; the other three have options of their own.
_RUN_KEYS = tuple(
    key for key in TrainConfig.model_fields if key not in {"model", "options", "data", "folds"}
)


def parse_duration(text: str) -> float:
    """Return seconds from ``90s``, ``30m``, ``2h``, ``1d`` or a plain number of seconds.

    Raises:
        ConfigError: another form, or not positive.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    seconds = float(match[1]) * _UNITS_S[match[2] or "s"] if match else 0.0
    if not 0 < seconds < math.inf:
        raise ConfigError(f"a time must be like 90s, 30m or 2h and above 0; got {text!r}.")
    return seconds


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """Return the ``key=value`` pairs of ``--set``; values are JSON where they parse as such.

    A comma makes a list: ``patch_size=64,64,64``. A dotted key goes into a section:
    ``augmentation.flip=x``.

    Raises:
        ConfigError: no ``=``, an empty key, or the same key twice.
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ConfigError(f"--set must be key=value; got {setting!r}.")
        if key in parsed:
            raise ConfigError(f"--set {key} is given twice. Give each key once.")
        # The options of a loss hold commas; they are not a list of losses.
        parsed[key] = value.strip() if key == "loss" else _value(value.strip())
    return parsed


def split_settings(
    settings: dict[str, Any], model_options: tuple[str, ...], model: str
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Sort settings into (run, plan, network) by whose key each is.

    Raises:
        ConfigError: a key that none of the three has.
    """
    run: dict[str, Any] = {}
    plan: dict[str, Any] = {}
    network: dict[str, Any] = {}
    for key, value in whole_augmentation(settings).items():
        if key in _RUN_KEYS:
            run[key] = value
        elif key in Plan.model_fields:
            plan[key] = value
        elif key in model_options or key == "faithful":
            network[key] = value
        else:
            raise _unknown_setting(key, model_options, model)
    return run, plan, network


def whole_augmentation(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with ``augmentation.x`` put into ``augmentation``, which may name a set.

    Raises:
        ConfigError: parts beside a whole that is not the name of a set.
    """
    mark = "augmentation."
    parts = {
        key.removeprefix(mark): value for key, value in settings.items() if key.startswith(mark)
    }
    rest = {key: value for key, value in settings.items() if not key.startswith(mark)}
    if not parts:
        return rest
    whole = rest.get("augmentation", "default")
    if not isinstance(whole, str):
        raise ConfigError(
            f"--set augmentation is given as a whole and by its part {next(iter(parts))!r}. "
            "Choose one of the two, or a set and parts: "
            "--set augmentation=strong --set augmentation.flip=x."
        )
    return {**rest, "augmentation": {"preset": whole, **parts}}


def _unknown_setting(key: str, model_options: tuple[str, ...], model: str) -> ConfigError:
    import difflib

    known = [*_RUN_KEYS, *Plan.model_fields, *model_options, "faithful"]
    near = difflib.get_close_matches(key, known, n=2, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"{model}: {', '.join(model_options)}."
    return ConfigError(f"no setting is called {key!r}. {hint}")


def _value(text: str) -> Any:
    if "," in text and not text.startswith(("[", "{", '"')):
        return [_value(part.strip()) for part in text.split(",") if part.strip()]
    try:
        return strict_json.loads(text)
    except strict_json.JsonError as error:
        if text.lstrip().startswith(("[", "{", '"')):
            raise ConfigError(f"{text[:80]!r} is not valid JSON: {error}.") from error
        return text
