"""What the loss of a run has to know of the training cases before the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tfseg.config import TrainConfig
from tfseg.errors import ConfigError
from tfseg.losses import build_loss, fill_frequencies, wants_frequencies
from tfseg.losses.loss import SegmentationLoss
from tfseg.models.config import ModelConfig
from tfseg.models.detector import DetectorConfig
from tfseg.pipeline.cache import PreparedCase, with_voxel_maps
from tfseg.plan import Plan
from tfseg.training.detection import DetectionObjective, check_mask_loss

Track = Callable[[Iterable[Any], str], Iterable[Any]]


def prepare_loss(
    config: TrainConfig, cases: list[PreparedCase], plan: Plan, track: Track
) -> tuple[TrainConfig, SegmentationLoss, list[PreparedCase]]:
    """Return the run's loss, with what it needs of the training cases.

    Args:
        config: of the run.
        cases: the training cases.
        plan: of the run.
        track: shows progress over cases.

    Returns:
        The configuration, whose loss now names the classes' frequencies if a term takes them
        and none were given; the loss; the cases, with the voxel map that the loss asks for.
    """
    if wants_frequencies(config.loss):
        counted = class_frequencies(track(cases, "Counting voxels"), plan.num_classes)
        config = config.model_copy(update={"loss": fill_frequencies(config.loss, *counted)})
    loss = build_loss(config.loss)
    maker = loss.map_maker()
    if maker is not None:
        make, key = maker
        cases = with_voxel_maps(
            cases, make, key, plan, lambda waiting: track(waiting, "Preparing voxel weights")
        )
    return config, loss, cases


def check_loss(loss: SegmentationLoss, network: ModelConfig, plan: Plan) -> None:
    """Refuse a loss that does not fit all training outputs of a network. Computes nothing.

    Raises:
        ConfigError: e.g. a class weight for each label, where an output has groups of labels.
    """
    if isinstance(network, DetectorConfig):
        check_mask_loss(loss, network, plan)
        return
    loss.check(plan.patch_size, plan.num_classes, len(plan.channels))
    grouped = [group for group in network.label_groups(plan.num_classes) if group is not None]
    if grouped and loss.map_maker():
        raise ConfigError(
            "a loss with a map of voxel weights must have the same labels at every training "
            f"output; got {loss.expression!r}, and this network's stages learn groups of labels. "
            "Use a loss without a map."
        )
    for classes in sorted({max(group) + 1 for group in grouped} - {plan.num_classes}):
        try:
            loss.check(plan.patch_size, classes, len(plan.channels))
        except ConfigError as error:
            raise ConfigError(
                f"the loss must fit a stage that learns {classes} groups of labels, too: {error}"
            ) from error


def refuse_unused_loss(config: TrainConfig, network: ModelConfig) -> None:
    """Refuse a loss that was asked for where there is nothing to apply it to.

    Raises:
        ConfigError: the network is a detector without masks.
    """
    unused = isinstance(network, DetectorConfig) and not network.has_masks
    if unused and "loss" in config.model_fields_set:
        raise ConfigError(
            f"the loss of a detector is that of its masks, and {config.model} has none; got loss "
            f"{config.loss!r}. Leave loss out, or train mask_rcnn."
        )


def detection_objective(
    model: Any, network: ModelConfig, loss: SegmentationLoss
) -> DetectionObjective | None:
    """Return what a detector learns; ``None`` for all other networks."""
    if isinstance(network, DetectorConfig):
        return DetectionObjective(model, network, loss)
    return None


def class_frequencies(
    cases: Iterable[PreparedCase], classes: int
) -> tuple[Sequence[float], Sequence[float]]:
    """Return how frequent the classes are, background first, each above 0.

    Returns:
        The share of all voxels that are of each class; and the share of the voxels of those
        cases that have the class (Badrinarayanan et al. 2015, arXiv:1511.00561). A class that
        no case has counts as one voxel.
    """
    counts, hosts = np.zeros(classes), np.zeros(classes)
    total = 0
    for case in cases:
        # What is beyond the classes is ignored.
        found = sum(np.bincount(piece.ravel(), minlength=classes)[:classes] for piece in case.label)
        counts += found
        hosts += np.where(found > 0, np.sum(found), 0)
        total += int(np.sum(found))
    counts = np.maximum(counts, 1)
    hosts = np.where(hosts > 0, hosts, total)
    # Digits that count: the text of the loss is read by people.
    return _rounded(counts / total), _rounded(counts / hosts)


def _rounded(shares: np.ndarray) -> list[float]:
    return [float(f"{share:.6g}") for share in shares]
