"""Is a scan of the kind that a network was trained on?

A network answers for any array of numbers. Given an MR series where it has seen CT, or a picture
with grey values of 0 to 255 where it has seen HU, its answer looks like one and means nothing. So
what is *plainly* of another kind is refused: another modality where both are known, sizes ten times
off, values that cannot be in the unit of the training images. What is merely unusual is remarked.
Hospitals differ, and a crop is a good image: every rule here leaves room for them.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfseg.artifact import Manifest
from tfseg.errors import DataError
from tfseg.fingerprint import PERCENTS, ChannelValues, ImageFingerprint, Span
from tfseg.plan import Channel, ClipZScore, Plan, Scale, Window
from tfseg.preprocess.normalise import other_channels
from tfseg.volume import Volume

# Times smaller or larger than any training image: along every axis, along one. A scan of few slices
# or a crop is no other kind of image.
_PLAIN, _UNUSUAL = 10.0, 3.0
_NEGATIVE = -100.0  # well below zero in HU, where air is -1000; MR and pictures have no such values
_MOST_SAMPLED = 1 << 20  # voxels of a channel: percentiles to a tenth of one

# Modalities that are one kind of image: radiographs go by several codes (PS3.3 C.7.3.1.1.1).
_SAME = {"DX": "CR", "RG": "CR", "DR": "CR", "XR": "CR", "IVUS": "US"}
# Codes that tell nothing of the image, such as secondary capture.
_VAGUE = frozenset({"", "OT", "SC", "OTHER", "UNKNOWN", "XC", "GM", "SM", "OP"})

# What data sets call their channels -> DICOM's code.
_NAMES = (
    ("CT", re.compile(r"(ce|nc|cb|ld)?cts?|hu|hounsfield|computed tomography", re.IGNORECASE)),
    (
        "MR",
        re.compile(
            r"mri?|t1.*|t2.*|flair|dwi|adc|pd|pdw|swi|bold|lge|cine|bssfp|mra",
            re.IGNORECASE,
        ),
    ),
    ("PT", re.compile(r"pt|pet|suv|fdg", re.IGNORECASE)),
    ("US", re.compile(r"us|ultrasound|ivus", re.IGNORECASE)),
    ("CR", re.compile(r"cr|dx|xr|x[- ]?rays?|radiograph", re.IGNORECASE)),
    ("MG", re.compile(r"mg|mammogra.*", re.IGNORECASE)),
)


class UnlikeError(DataError):
    """A scan is plainly not what a network was trained on; ``reason`` says why, without it."""

    def __init__(self, message: str, reason: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True)
class Look:
    """What one image looks like; see :class:`tfseg.fingerprint.ImageFingerprint`.

    Attributes:
        modality: a code of :func:`kind_of`, or ``None``.
        shape: (z, y, x) voxels, canonical.
        spacing_mm: (z, y, x).
        percentiles: (channels, len(PERCENTS)).
        picture: it is from a format without millimetres.
    """

    modality: str | None
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    percentiles: NDArray[np.float64]
    picture: bool

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Size (z, y, x)."""
        z, y, x = (count * mm for count, mm in zip(self.shape, self.spacing_mm, strict=True))
        return z, y, x


def look_at(canonical: Volume, *, picture: bool) -> Look:
    """Return what an image in canonical orientation looks like."""
    step = math.ceil((math.prod(canonical.shape) / _MOST_SAMPLED) ** (1 / 3))
    sample = canonical.channel_last()[::step, ::step, ::step].astype(np.float64)
    percentiles = np.percentile(sample, PERCENTS, axis=(0, 1, 2)).T
    kind = kind_of(canonical.modality or "")
    return Look(kind, canonical.shape, canonical.spacing_mm, percentiles, picture)


def kind_of(name: str) -> str | None:
    """Return the modality that a code, or a data set's name of a channel, stands for.

    Names such as ``T1_IR`` and ``CT_portal`` go by their first word. ``None`` if it says nothing.
    """
    code = name.strip().upper()
    if code in _VAGUE:
        return None
    for word in (name.strip(), re.split(r"[\s_/]+", name.strip())[0]):
        for modality, pattern in _NAMES:
            if pattern.fullmatch(word):
                return modality
    return _SAME.get(code, code if code in {"NM", "XA", "RF", "IO"} else None)


def summarise(looks: Sequence[Look], names: Sequence[str]) -> ImageFingerprint:
    """Return the fingerprint of images.

    Args:
        looks: one an image, at least one.
        names: of the channels. What they tell of the modality counts where the files tell nothing.
    """
    said = {look.modality for look in looks} - {None} or {kind_of(name) for name in names}
    percentiles = np.stack([look.percentiles for look in looks])
    channels = [
        ChannelValues(
            name=name,
            percentiles=tuple(_span(percentiles[:, index, place]) for place in range(5)),  # type: ignore[arg-type]
        )
        for index, name in enumerate(names)
    ]
    return ImageFingerprint(
        cases=len(looks),
        modality=said.pop() if len(said) == 1 else None,
        pictures=all(look.picture for look in looks),
        slices=(min(look.shape[0] for look in looks), max(look.shape[0] for look in looks)),
        spacing_mm=_spans([look.spacing_mm for look in looks]),
        extent_mm=_spans([look.extent_mm for look in looks]),
        channels=tuple(channels),
    )


def check_likeness(
    volume: Volume,
    scan: str | os.PathLike[str],
    manifest: Manifest,
    *,
    picture: bool,
    anyway: bool = False,
    part: bool = False,
) -> tuple[str, ...]:
    """Refuse an image that is plainly of another kind than a model's training images.

    Args:
        volume: as it was read.
        scan: where from, for the message.
        manifest: of the model.
        picture: the file is of a format without millimetres.
        anyway: plain differences are remarked like the others.
        part: it is one of several volumes of a folder, where single slices are localizers: a
            network of rank 3 is not for them unless it was trained on such.

    Returns:
        Remarks on what is unusual, each a clause that a result may carry.

    Raises:
        UnlikeError: it is plainly of another kind, or has another number of channels.
    """
    plan, known = manifest.plan, manifest.fingerprint
    if volume.channels != len(plan.channels):
        reason = other_channels(volume.channels, plan.channels)
        raise UnlikeError(f"{scan}: {reason}", reason)
    look = look_at(volume.canonical()[0], picture=picture)
    plain = list(_plain(look, plan, known))
    if part and plan.dims == 3 and look.shape[0] == 1 and (known is None or known.slices[0] > 1):
        plain.append("it is a single slice, the network takes volumes")
    if plain and not anyway:
        reason = "; ".join(plain)
        raise UnlikeError(
            f"{scan} is plainly another kind of image than {manifest.model} was trained on: "
            f"{reason}. Use a model of such images, or give --anyway.",
            reason,
        )
    unusual = [] if known is None else _unusual(look, plan, known)
    return (*(f"segmented anyway: {text}" for text in plain), *unusual)


def _plain(look: Look, plan: Plan, known: ImageFingerprint | None) -> Iterator[str]:
    """Yield what makes an image plainly another kind."""
    modality = known.modality if known else _modality_of(plan)
    if look.modality and modality and look.modality != modality:
        yield f"it is {look.modality}, the training images are {modality}"
    if known is None:
        return
    if known.pictures and not look.picture and look.shape[0] > 1:
        yield f"it is a volume of {look.shape[0]} slices, the training images are pictures"
    if look.picture and not known.pictures:
        yield "it is a picture without millimetres, the training images are in mm"
    yield from _sizes(look, plan, known, plain=True)
    for channel, values, mine in zip(plan.channels, known.channels, look.percentiles, strict=True):
        yield from _values(channel, values, mine)


def _unusual(look: Look, plan: Plan, known: ImageFingerprint) -> list[str]:
    remarks = list(_sizes(look, plan, known, plain=False))
    for channel, values, mine in zip(plan.channels, known.channels, look.percentiles, strict=True):
        if mine[0] == mine[-1]:
            remarks.append(f"{channel.name} is constant but for 1 % of its voxels")
        elif _is_absolute(channel) and not (
            values.percentiles[1][0] <= mine[2] <= values.percentiles[3][1]
        ):
            remarks.append(
                f"{channel.name}: its median, {mine[2]:.4g}, is outside of what 90 % of a "
                f"training image's voxels have ({_written(values, 1, 3)})"
            )
    return remarks


def _modality_of(plan: Plan) -> str | None:
    kinds = {kind_of(channel.name) for channel in plan.channels}
    return kinds.pop() if len(kinds) == 1 else None


def _sizes(look: Look, plan: Plan, known: ImageFingerprint, *, plain: bool) -> Iterator[str]:
    """Yield sizes that are plainly off, which is along every axis, or those merely unusual."""
    if known.pictures or look.picture:
        return
    axes = range(3 - plan.dims, 3)  # a 2D network sees slices one by one
    things = [("extent", look.extent_mm, known.extent_mm)]
    if plan.spacing_mm is not None:
        things.insert(0, ("voxel size", look.spacing_mm, known.spacing_mm))
    for what, mine, spans in things:
        larger = [mine[axis] / spans[axis][1] for axis in axes]
        smaller = [spans[axis][0] / mine[axis] for axis in axes]
        is_plain = max(min(larger), min(smaller)) >= _PLAIN
        worst = max(*larger, *smaller)
        if worst > _UNUSUAL and is_plain == plain:
            theirs = " x ".join(_range(*spans[axis]) for axis in axes)
            yield (
                f"its {what} ({' x '.join(f'{mine[axis]:.3g}' for axis in axes)} mm) is up to "
                f"{worst:.3g} times off the training images' ({theirs} mm)"
            )


def _values(channel: Channel, known: ChannelValues, mine: NDArray[np.float64]) -> Iterator[str]:
    """Yield how a channel's values cannot be in the unit of the training images'."""
    least, low, _, _, most = known.percentiles
    if low[1] < _NEGATIVE and mine[0] >= 0:
        yield (
            f"{channel.name} has no values below 0, of every training image's at least 5 % are "
            f"{low[1]:.4g} or less"
        )
        return
    if least[0] >= 0 and mine[1] < _NEGATIVE:
        yield f"{channel.name} has values down to {mine[0]:.4g}, the training images none below 0"
        return
    if not _is_absolute(channel) or mine[0] == mine[-1]:
        return
    spread = mine[-1] - mine[0]
    narrowest, widest = most[0] - least[1], most[1] - least[0]
    apart = mine[0] > most[1] or mine[-1] < least[0]
    if apart or spread > _PLAIN * widest or (narrowest > 0 and spread < narrowest / _PLAIN):
        yield (
            f"{channel.name} has values of {mine[0]:.4g} to {mine[-1]:.4g}, the training images "
            f"{_written(known, 0, 4)}"
        )


def _is_absolute(channel: Channel) -> bool:
    """Tell whether the unit of the values matters: constants, with nothing fitted to the image."""
    return isinstance(channel.normalisation, ClipZScore | Scale | Window) and not channel.steps


def _span(values: NDArray[np.float64]) -> Span:
    return float(values.min()), float(values.max())


def _spans(rows: Sequence[Sequence[float]]) -> tuple[Span, Span, Span]:
    table = np.asarray(rows, np.float64)
    return _span(table[:, 0]), _span(table[:, 1]), _span(table[:, 2])


def _written(values: ChannelValues, first: int, last: int) -> str:
    return _range(values.percentiles[first][0], values.percentiles[last][1])


def _range(low: float, high: float) -> str:
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
