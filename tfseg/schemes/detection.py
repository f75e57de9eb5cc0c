"""Training a detector: anchors, proposals and masks of the objects in labelled patches."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import numpy as np
import tensorflow as tf

from tfseg.datasets.base import IGNORE_NAME
from tfseg.errors import ConfigError
from tfseg.losses import build_loss
from tfseg.models.detector import DetectorConfig
from tfseg.pipeline.augment import check_augmentation
from tfseg.pipeline.cache import PreparedCase
from tfseg.pipeline.streams import Sample, Stream
from tfseg.schemes.base import SEGMENTER, Batch, Task
from tfseg.schemes.detection_loss import DetectionObjective
from tfseg.schemes.objects import find_objects
from tfseg.schemes.supervised import PATCHES, Supervised


class Detection(Supervised):
    """One detector that learns from the objects of labelled patches.

    The loss of the configuration is that of the masks.
    """

    name: ClassVar[str] = "detection"

    def __init__(self, task: Task, cases: Sequence[PreparedCase]) -> None:
        super().__init__(task, cases)
        self._network = _detector(task)
        self._objective = DetectionObjective(
            self.learners()[SEGMENTER].network, self._network, build_loss(task.config.loss)
        )

    @classmethod
    def complete(cls, task: Task, labels: int, ignored: int | None) -> Task:
        """Refuse label maps that leave voxels open."""
        if ignored is not None:
            raise ConfigError(
                f"a detector learns objects, and what a label map leaves open (`{IGNORE_NAME}`, "
                f"{ignored}) might be one. Choose another network than {task.config.model}."
            )
        return super().complete(task, labels, ignored)

    @classmethod
    def check(cls, task: Task) -> None:
        """Refuse a loss that masks inside boxes cannot have, and one for masks that are not there.

        Raises:
            ConfigError: it needs the image or a map of voxel weights, does not fit the classes, or
                was asked for though the detector has no masks.
        """
        config, network, loss = task.config, _detector(task), build_loss(task.config.loss)
        check_augmentation(config.augmentation, task.plan)
        if not network.has_masks and "loss" in config.model_fields_set:
            raise ConfigError(
                f"the loss of a detector is that of its masks, and {config.model} has none; got "
                f"loss {config.loss!r}. Leave loss out, or train mask_rcnn."
            )
        if loss.needs:
            raise ConfigError(
                "the loss of a detector is that of masks inside boxes, and may need nothing but "
                f"labels and logits; got {loss.expression!r}, which needs the "
                f"{' and '.join(loss.needs)}. Use loss='dice + ce'."
            )
        classes = max(task.plan.num_classes, 2) if network.merges_classes else 1
        loss.check((8,) * task.plan.dims, classes, len(task.plan.channels))

    def streams(self) -> Mapping[str, Stream]:
        """Return the stream of patches with their objects."""
        patches = super().streams()[PATCHES]
        most, merged = self._network.max_objects, self._network.merges_classes
        rank = self._task.plan.dims

        def draw(index: int) -> Sample:
            return with_objects(patches.draw(index), most, merged=merged)

        signature = {
            **patches.signature,
            "objects": patches.signature["label"],
            "boxes": ("float32", (most, 2 * rank)),
            "classes": ("int32", (most,)),
            "seed": ("int32", ()),
        }
        return {PATCHES: Stream(draw, signature, patches.batch_size)}

    def losses(self, batch: Batch) -> tf.Tensor:
        """Return the loss of every sample of a batch, (batch,)."""
        return self._objective(batch)


def with_objects(sample: Sample, most: int, *, merged: bool) -> Sample:
    """Return a patch with what a detector learns of it besides.

    Args:
        sample: with ``image`` ([z,] y, x, c) and ``label`` ([z,] y, x).
        most: objects that are kept, the largest ones.
        merged: see :func:`find_objects`.

    Returns:
        The sample, and ``objects`` (the number of each voxel's object, ([z,] y, x) uint8),
        ``boxes`` (most, 2 * rank), ``classes`` (most,) and ``seed``, which decides what is sampled.
    """
    objects, boxes, classes = find_objects(sample["label"], most, merged=merged)
    seed = np.array(zlib.crc32(np.ascontiguousarray(sample["image"]).tobytes()) >> 1, np.int32)
    return {**sample, "objects": objects, "boxes": boxes, "classes": classes, "seed": seed}


def _detector(task: Task) -> DetectorConfig:
    """Return the network's configuration as what :attr:`ModelConfig.scheme` says it is."""
    return cast(DetectorConfig, task.network)
