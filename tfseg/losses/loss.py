"""A sum of losses as a Keras loss, and over the outputs of a network in training."""

from __future__ import annotations

import functools
import importlib
import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from tfseg.errors import ConfigError
from tfseg.losses.compound import deep_supervision_sum
from tfseg.losses.expression import Term, parse_loss
from tfseg.losses.fields import make_fields
from tfseg.losses.registry import LossInfo
from tfseg.losses.settings import LossSettings
from tfseg.plan import first_problem

LabelGroups = Sequence[Sequence[int] | None]
MapMaker = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class _Part:
    """A term that is ready to be computed."""

    weight: float
    function: Callable[..., tf.Tensor]
    options: dict[str, Any]
    settings: LossSettings
    info: LossInfo


@keras.saving.register_keras_serializable("tfseg")
class SegmentationLoss(keras.losses.Loss):
    """A weighted sum of losses, from logits, for ``compile`` and for training loops of your own.

    Args:
        expression: e.g. ``"dice + 0.5*focal(gamma=2)"``; see :mod:`tfseg.losses.expression`.
        multi_label: channels are independent (sigmoid) rather than exclusive (softmax). A
            single channel always is.
        reduction: over the samples of a batch: ``sum_over_batch_size`` (their mean), ``sum``,
            or ``none``.

    Raises:
        ConfigError: the expression, a name or an option is not valid.
    """

    def __init__(
        self,
        expression: str = "dice + ce",
        *,
        multi_label: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name or "segmentation_loss", reduction=reduction, dtype=dtype)
        self.expression = expression
        self.multi_label = multi_label
        self._parts = tuple(_part(term) for term in parse_loss(expression))

    @property
    def needs(self) -> frozenset[str]:
        """What the loss takes besides labels and logits: ``image``, ``map``, or nothing."""
        return frozenset(need for part in self._parts for need in part.info.needs)

    def map_maker(self) -> tuple[MapMaker, str] | None:
        """Return what makes the map that the loss needs, and what it depends on, in words.

        Returns:
            A function of one label map ([z,] y, x), and a key that differs where its result
            may; ``None`` where the loss needs no map.

        Raises:
            ConfigError: two terms need different maps.
        """
        found = {}
        for part in self._parts:
            if part.info.map_maker:
                module, _, name = part.info.map_maker.partition(":")
                function = getattr(importlib.import_module(module), name)
                taken = inspect.signature(function).parameters
                chosen = {**part.settings.model_dump(), **part.options}
                options = {key: chosen[key] for key in taken if key in chosen}
                key = f"{part.info.map_maker} {options}"
                found[key] = functools.partial(function, **options)
        if len(found) > 1:
            raise ConfigError(
                f"a loss must need one voxel map at most; got {' and '.join(found)}. "
                "Give the terms the same options."
            )
        return next(((maker, key) for key, maker in found.items()), None)

    def check(self, size: Sequence[int], classes: int, channels: int) -> None:
        """Refuse options that do not fit a network, before it is trained. Computes nothing.

        Args:
            size: ([z,] y, x) of the network's output.
            classes: its channels.
            channels: those of the image.

        Raises:
            ConfigError: e.g. weights for another number of classes.
        """
        voxels = (1, *size)

        def traced(labels: Any, logits: Any, image: Any, voxel_map: Any) -> tf.Tensor:
            return self.per_sample(labels, logits, image=image, voxel_map=voxel_map)

        # AutoGraph would wrap what a loss raises.
        tf.function(traced, autograph=False).get_concrete_function(
            tf.TensorSpec(voxels, tf.int32),
            tf.TensorSpec((*voxels, classes), tf.float32),
            tf.TensorSpec((*voxels, channels), tf.float32),
            tf.TensorSpec(voxels, tf.float32),
        )

    def per_sample(
        self,
        labels: Any,
        logits: Any,
        *,
        weights: Any = None,
        image: Any = None,
        voxel_map: Any = None,
    ) -> tf.Tensor:
        """Return the loss of every sample, (batch,) float32 (float64 for float64 logits).

        Args:
            labels: (batch, [z,] y, x[, 1]) integers, or (batch, [z,] y, x, k) targets in [0, 1].
            logits: (batch, [z,] y, x, k).
            weights: (batch, [z,] y, x) voxel weights.
            image: (batch, [z,] y, x, c) the network's input, where :attr:`needs` has ``image``.
            voxel_map: (batch, [z,] y, x), where :attr:`needs` has ``map``; computed from the
                labels where it is left out.
        """
        total: tf.Tensor | None = None
        for part in self._parts:
            fields = make_fields(
                labels,
                logits,
                part.settings,
                multi_label=self.multi_label,
                weights=weights,
                image=image,
                voxel_map=voxel_map,
            )
            value = part.weight * part.function(fields, **part.options)
            total = value if total is None else total + value
        return total

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Return :meth:`per_sample`."""
        return self.per_sample(y_true, y_pred)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        """Return the reduced loss; ``sample_weight`` is one a sample or one a voxel."""
        voxels = samples = None
        if sample_weight is not None:
            given = tf.convert_to_tensor(sample_weight)
            if given.shape.rank is None:
                raise ConfigError(
                    "sample_weight must be one a sample or one a voxel from the first fit on; its "
                    "rank changed. Compile the model again."
                )
            if given.shape.rank == 1 or given.shape.as_list()[1:] == [1]:
                samples = tf.reshape(given, [-1])
            else:
                voxels = given
        each = self.per_sample(y_true, y_pred, weights=voxels)
        if samples is not None:
            each *= tf.cast(samples, each.dtype)
        if self.reduction in (None, "none"):
            return each
        return tf.reduce_sum(each) if self.reduction == "sum" else tf.reduce_mean(each)

    def get_config(self) -> dict[str, Any]:
        """Return what :meth:`from_config` makes the same loss from."""
        return {
            "expression": self.expression,
            "multi_label": self.multi_label,
            "reduction": self.reduction,
            "name": self.name,
        }


def supervised_loss(
    loss: SegmentationLoss,
    labels: tf.Tensor,
    outputs: Sequence[tf.Tensor],
    weights: Sequence[float],
    *,
    image: tf.Tensor | None = None,
    voxel_map: tf.Tensor | None = None,
    groups: LabelGroups = (),
) -> tf.Tensor:
    """Return the weighted sum of a loss over training outputs (deep supervision), (batch,).

    An output at a coarser grid meets labels, image and map taken at the centre voxel of each of
    its cells. Lee et al. 2015, arXiv:1409.5185. An output of shape (batch,) is a loss that the
    network computes itself, such as an autoencoder's: it is added, times its weight.

    Args:
        loss: of one output.
        labels: (batch, [z,] y, x) integers.
        outputs: logits of each output, the full one first; sizes divide the labels'. Then
            losses of the network's own.
        weights: one for each output at least; cut to their number. Those of the logits are
            scaled to sum 1. An output of weight 0 is not computed.
        image: the network's input.
        voxel_map: the map that the loss needs.
        groups: for each output, its class of each label value, or ``None`` where the labels are
            its classes; empty where they are for all.

    Raises:
        ConfigError: fewer weights than outputs.
    """
    if len(weights) < len(outputs):
        raise ConfigError(
            f"deep supervision needs one weight an output; got {len(weights)} weights for "
            f"{len(outputs)} outputs."
        )
    values, used, own = [], [], []
    for index, (logits, weight) in enumerate(zip(outputs, weights, strict=False)):
        if not weight:
            continue
        if len(logits.shape) == 1:
            own.append(weight * logits)
            continue
        used.append(weight)
        cut = _to_grid_of(labels, logits)
        values.append(
            loss.per_sample(
                regrouped(labels[cut], groups[index] if groups else None),
                logits,
                image=None if image is None else image[cut],
                voxel_map=None if voxel_map is None else voxel_map[cut],
            )
        )
    total = deep_supervision_sum(values, used)
    return tf.add_n([total, *(tf.cast(value, total.dtype) for value in own)])


def regrouped(labels: tf.Tensor, group: Sequence[int] | None) -> tf.Tensor:
    """Return each label's entry of ``group``; values outside it, such as ignored ones, stay."""
    if group is None:
        return labels
    table = tf.constant(group, labels.dtype)
    known = (labels >= 0) & (labels < len(group))
    inside = tf.where(known, labels, tf.zeros_like(labels))
    return tf.where(known, tf.gather(table, tf.cast(inside, tf.int32)), labels)


def _to_grid_of(labels: tf.Tensor, logits: tf.Tensor) -> tuple[slice, ...]:
    cuts = [slice(None)]
    for fine, coarse in zip(labels.shape[1:], logits.shape[1:-1], strict=True):
        step = fine // coarse
        cuts.append(slice(step // 2, None, step))
    return tuple(cuts)


def _part(term: Term) -> _Part:
    function = getattr(importlib.import_module(term.info.module), term.info.name)
    common = {name: value for name, value in term.options.items() if name in _COMMON}
    own = {name: value for name, value in term.options.items() if name not in _COMMON}
    accepted = option_model(function)
    unknown = sorted(set(own) - set(accepted.model_fields))
    if unknown:
        known = ", ".join([*accepted.model_fields, *_COMMON])
        raise ConfigError(f"{term.info.name} has no option {unknown[0]!r}. Its options: {known}.")
    try:
        options = accepted.model_validate(own)
        settings = LossSettings.model_validate(common)
    except ValidationError as error:
        raise ConfigError(f"{term.info.name}: {first_problem(error)}.") from error
    return _Part(term.weight, function, dict(options), settings, term.info)


_COMMON = tuple(LossSettings.model_fields)


def option_model(function: Callable[..., Any]) -> type[BaseModel]:
    """Return the rules of a loss's own options, read from its signature's annotations."""
    hints = typing.get_type_hints(function, include_extras=True)
    options: dict[str, Any] = {
        name: (hints[name], parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    rules = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    return create_model(function.__name__, __config__=rules, **options)
