"""The one way from a data set and a network to a plan, for ``tfseg plan`` and ``tfseg train``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tfseg.datasets.base import Case, Dataset
from tfseg.errors import ConfigError
from tfseg.fingerprint import ImageFingerprint
from tfseg.models import model_config
from tfseg.plan import Plan
from tfseg.planning.fingerprint import take_fingerprint
from tfseg.planning.planner import Budget, fit_patch, make_plan, network_options
from tfseg.planning.steps import with_steps
from tfseg.progress import SILENT, Progress
from tfseg.steps import Steps

if TYPE_CHECKING:
    from tfseg.models.config import ModelConfig


@dataclass(frozen=True)
class Request:
    """What a plan is wanted for.

    Attributes:
        model: of the network or preset.
        options: of the network, that the user gave; the others are fitted to the plan.
        dims: rank of the network; ``None`` takes the data set's.
        settings: entries of the plan that the user gave; the rest is planned.
        plan: a whole plan of the user's, instead of a planned one.
        steps: on intensities, before the normalisation.
    """

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    dims: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    plan: Plan | None = None
    steps: Steps = ()


@dataclass(frozen=True)
class Planned:
    """A plan and the network that fits it.

    Attributes:
        options: of the network: the user's, and what was fitted.
        network: the same, parsed.
        images: of the training images; a manifest keeps it.
    """

    plan: Plan
    options: dict[str, Any]
    network: ModelConfig
    images: ImageFingerprint


def plan_for(
    dataset: Dataset,
    cases: Sequence[Case],
    request: Request,
    budget: Budget,
    progress: Progress = SILENT,
) -> Planned:
    """Look at the training cases once and make the plan.

    Args:
        cases: those trained on: a plan must not know of held-out ones.
        budget: what the machine affords.

    Raises:
        InputError: data, plan or options that do not fit.
    """
    plan, settings = request.plan, dict(request.settings)
    dims = settings.get("dims", request.dims)
    if dims is None:
        dims = dataset.dims if plan is None else plan.dims
    if dims not in (2, 3):
        raise ConfigError(f"dims must be 2 or 3; got {dims!r}.")
    known = set(type(model_config(request.model)).model_fields)
    fingerprint = take_fingerprint(
        dataset, cases, lambda items: progress.track(items, "Looking at the data")
    )
    planned = plan is None
    if plan is None:
        plan = make_plan(dataset, fingerprint, budget, dims)
    if settings:
        plan = Plan.parse({**plan.model_dump(), **settings}, "the plan with these settings")
    if request.steps:
        plan = with_steps(
            plan,
            request.steps,
            dataset,
            cases,
            lambda items: progress.track(items, "Learning the steps"),
        )
    if plan.labels != dataset.labels or len(plan.channels) != len(dataset.modalities):
        raise ConfigError(
            f"the plan's labels and channels must be the data set's; got {plan.labels} and "
            f"{len(plan.channels)} channels for {dataset.labels} and {len(dataset.modalities)}. "
            "Make a plan for this data set: tfseg plan."
        )
    depth = request.options.get("depth")
    chosen = depth if isinstance(depth, int) else None
    options = {**network_options(known, plan, budget, chosen), **request.options}
    if request.options.get("faithful"):
        options = dict(request.options)
    network = model_config(request.model, **options)
    if planned and "patch_size" not in settings:
        plan = fit_patch(plan, network.divisor(plan.dims))
    return Planned(plan, options, network, fingerprint.images)
