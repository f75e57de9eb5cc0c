"""The fingerprint of the images that a network was trained on, as its manifest carries it.

It says what kind of image the network knows: figures over all training images, none of one case.
:mod:`tfseg.preprocess.likeness` takes it and compares a scan with it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Percentiles of an image's voxels; the outer ones leave single bright or dark voxels aside.
PERCENTS = (0.5, 5.0, 50.0, 95.0, 99.5)

_Finite = Annotated[float, Field(allow_inf_nan=False)]
Span = tuple[_Finite, _Finite]  # the least and the greatest over the images


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChannelValues(_Record):
    """Intensities of one channel, in the source's unit.

    Attributes:
        name: of the channel, as the plan calls it.
        percentiles: for each of :data:`PERCENTS` the span of the images' own percentiles.
    """

    name: str
    percentiles: tuple[Span, Span, Span, Span, Span]


class ImageFingerprint(_Record):
    """What the training images have in common.

    Attributes:
        cases: how many they are.
        modality: DICOM's code of all of them (``CT``, ``MR``, ...), where files or data set say it.
        pictures: they are PNG, JPEG and the like, which have no millimetres.
        slices: span of the number of slices along the canonical z.
        spacing_mm: spans of the voxel size (z, y, x) in canonical orientation.
        extent_mm: spans of the size (z, y, x) of the image, voxels times spacing.
        channels: in the plan's order.
    """

    cases: Annotated[int, Field(ge=1)]
    modality: str | None = None
    pictures: bool = False
    slices: tuple[int, int]
    spacing_mm: tuple[Span, Span, Span]
    extent_mm: tuple[Span, Span, Span]
    channels: tuple[ChannelValues, ...]
